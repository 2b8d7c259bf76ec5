"""Records beside the compiled code: what makes them others, what was damaged or planted, who writes at once."""

import io
import multiprocessing
import pickle

import numpy as np
import pytest

from sme.common.storage import records
from sme.common.storage.files import sha
from sme.common.storage.records import Records

NUMBERS = {"a": np.array([0.1, np.nan, -0.0]), "b": np.arange(3)}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A folder in which records are kept."""
    monkeypatch.setenv("SME_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Records, "kept", True)
    return tmp_path / "cache"


def made():
    raise AssertionError("it is made again")


def write(of="study", name="numbers", arrays=None):
    one = Records(of)
    one.get(name, lambda: arrays or NUMBERS)
    one.save()


def files(cache):
    return sorted(cache.glob("*"))


def test_what_is_kept_is_the_same_to_the_last_bit(cache):
    write()
    found = Records("study").get("numbers", made)
    assert {name: (each.dtype, each.tobytes()) for name, each in found.items()} == {
        name: (each.dtype, each.tobytes()) for name, each in NUMBERS.items()}
    (path,) = files(cache)
    assert path.stat().st_mode & 0o77 == 0
    assert path.stem.endswith(sha(path.read_bytes()))


def test_another_thing_another_name_and_other_code_are_made(cache, monkeypatch):
    write()
    for of, name in (("other", "numbers"), ("study", "others")):
        with pytest.raises(AssertionError, match="made again"):
            Records(of).get(name, made)
    monkeypatch.setattr(records, "environment", lambda: "other code")
    with pytest.raises(AssertionError, match="made again"):
        Records("study").get("numbers", made)


def test_code_versions_and_compiler_make_another_environment(tmp_path, monkeypatch):
    find = records.environment.__wrapped__
    monkeypatch.setattr(records, "ROOT", tmp_path)
    said = {find()}
    for name, content in (("one.py", "x = 1"), ("one.py", "x = 2"), ("two.c", "x"), ("note.txt", "x")):
        (tmp_path / name).write_text(content, encoding="utf-8")
        said.add(find())
    assert len(said) == 4  # a note is no code
    monkeypatch.setattr(records, "library_key", lambda source: "another compiler")
    said.add(find())
    monkeypatch.setattr(records.importlib.metadata, "version", lambda name: "99")
    said.add(find())
    assert len(said) == 6


def test_threads_make_another_key(cache, monkeypatch):
    write()
    monkeypatch.setattr(records.torch, "get_num_threads", lambda: 63)
    with pytest.raises(AssertionError, match="made again"):
        Records("study").get("numbers", made)


@pytest.mark.parametrize("place", [0, 40, -30, -1])
def test_a_damaged_record_is_removed_and_made_again(place, cache):
    write()
    (path,) = files(cache)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(AssertionError, match="made again"):
        Records("study").get("numbers", made)
    assert not files(cache)
    write()
    Records("study").get("numbers", made)


class Planted:
    def __reduce__(self):
        return print, ("code from a record",)


def test_records_of_others_and_pickles_are_not_read(cache, capsys):
    write()
    (path,) = files(cache)
    path.chmod(0o620)
    with pytest.raises(AssertionError, match="made again"):
        Records("study").get("numbers", made)
    assert not files(cache)
    whole = io.BytesIO()
    np.savez(whole, **{"numbers/a": np.array([Planted()], dtype=object)})
    for content in (whole.getvalue(), pickle.dumps(Planted()), b"", b"PK"):
        name = f"{path.stem.partition('-')[0]}-{sha(content)}.npz"
        (cache / name).write_bytes(content)
        (cache / name).chmod(0o600)
    with pytest.raises(AssertionError, match="made again"):
        Records("study").get("numbers", made)
    assert "code from" not in capsys.readouterr().out


def test_who_writes_at_once_loses_nothing(cache):
    both = [Records("study"), Records("study")]
    for number, each in enumerate(both):
        each.get(f"part {number}", lambda: NUMBERS)
    for each in both:
        each.save()
    with multiprocessing.get_context("fork").Pool(3) as pool:
        pool.starmap(write, [("study", f"of process {number}") for number in range(6)])
    found = Records("study")
    for name in ("part 0", "part 1", *(f"of process {number}" for number in range(6))):
        found.get(name, made)
    assert not list(cache.glob(".*"))


def test_nothing_is_kept_where_nothing_can_be(cache, tmp_path, monkeypatch):
    write(of=None)
    assert not cache.exists() or not files(cache)
    monkeypatch.setattr(records, "LIMIT", 100)
    write()
    assert not files(cache)


def test_the_oldest_go_where_there_are_too_many(cache, monkeypatch):
    write("first")
    (first,) = files(cache)
    monkeypatch.setattr(records, "ROOM", 2 * first.stat().st_size)
    for of in ("second", "third"):
        write(of)
    assert first not in files(cache)
    assert len(files(cache)) == 2
    Records("third").get("numbers", made)


def test_texts_come_back():
    assert records.words(records.text("θ = √τ\n")) == "θ = √τ\n"
