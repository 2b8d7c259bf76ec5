"""Kept files: read guarded, with checksums; whatever has changed is named, and never taken for what was written."""

import dataclasses
import json
import os
import random
import re
import shutil
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

import sme
from sme.common.identity import numerics
from sme.common.output.provenance import harmless, plain
from sme.common.storage import files, seal, sums
from sme.convergence import collect
from sme.convergence.comparison import picture
from sme.convergence.comparison.comparison import COLUMNS, Comparison
from sme.convergence.fit import predicted
from sme.convergence.fit.predicted import ObstructionConstants
from sme.convergence.spec.outline import StudyMetadata
from sme.convergence.store import asked
from sme.convergence.store.asked import Requests
from sme.convergence.store.points import Point
from sme.studies.autoencoder import runs_file
from sme.studies.panels import run
from tests.support.tiny import tiny

START = {"theta": torch.tensor([0.7, -0.4])}
HARMS = ["flip"] * 6 + ["cut", "swap", "field", "field"]
VALUES = [None, "abc", -1, 0, True, 2.5, float("nan"), 10**30, [], {}, ["a"]]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study of two orders, two shards and two times."""
    with pytest.MonkeyPatch.context() as patch:
        tiny(patch, 16)
        return sme.weak_error(sme.Quadratic(), sme.Momentum(), order=[1, 2], tau=[1 / 2, 1 / 4], start=START, times=[0.5, 1],
                              observables=["loss", "mean m"], paths=2 * 32768, backend="torchsde",
                              results=tmp_path_factory.mktemp("made"))


@pytest.fixture
def folder(made, tmp_path):
    shutil.copytree(made.folder, tmp_path / made.name)
    return tmp_path / made.name


def harmed(content, rnd):
    """The content with one small damage."""
    how = rnd.choice(HARMS)
    data = bytearray(content)
    if how == "cut":
        return bytes(data[: rnd.randrange(len(data))])
    if how == "swap":
        i, j = rnd.sample(range(len(data)), 2)
        data[i], data[j] = data[j], data[i]
    elif how == "flip":
        data[rnd.randrange(len(data))] ^= 1 << rnd.randrange(8)
    else:
        tree = json.loads(content)
        tree[rnd.choice(list(tree))] = rnd.choice(VALUES)
        return json.dumps(tree).encode()
    return bytes(data)


def readers(folder, name):
    """Every kind of kept JSON file: its path, and what reads it."""
    point = next((folder / "points").glob("*.json"))
    request = next((folder / asked.FOLDER).glob("*.json"))
    predicted.write(folder, name, ObstructionConstants(64, {"loss at end": (-0.0123, 0.0021)}))
    return {"point": (point, lambda: dataclasses.astuple(Point.load(point, name, numerics.written(("checkpoints",))))[0]),
            "asked": (request, lambda: Requests.load(request, name)),
            "spec": (folder / "spec.json", lambda: StudyMetadata.read(folder)),
            "obstruction": (folder / predicted.FILE, lambda: predicted.read(folder, name)),
            "sums": (folder / sums.FOLDER / "errors.csv.json", lambda: sums.check(folder / "errors.csv", name))}


@pytest.mark.parametrize("kind", ["point", "asked", "spec", "obstruction", "sums"])
def test_no_damage_changes_what_is_read(kind, folder, made):
    path, read = readers(folder, made.name)[kind]
    content, whole, rnd, said = path.read_bytes(), read(), random.Random(kind), []
    for _ in range(150):
        path.write_bytes(harmed(content, rnd))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                found = read()
            except ValueError as fault:
                said.append(str(fault))
                continue
        said += [str(each.message) for each in caught]
        assert found == whole or (caught and found is None), path.read_bytes()
    assert not any("\n" in each for each in said)
    assert len(said) > 100


@pytest.mark.parametrize("put", ["fifo", "device", "folder", "nested", "latin", "large"])
@pytest.mark.parametrize("where", ["spec.json", "points", "asked"])
def test_what_is_no_file_of_ours_is_named_and_never_stops_the_rest(put, where, folder, made, monkeypatch):
    path = next((folder / where).glob("*")) if "." not in where else folder / where
    path.unlink()
    act = {"fifo": lambda: os.mkfifo(path), "device": lambda: path.symlink_to("/dev/zero"), "folder": path.mkdir,
           "loop": lambda: path.symlink_to(path.name), "nested": lambda: path.write_text("[" * 10**5),
           "latin": lambda: path.write_bytes(b"\xe9"), "large": lambda: (path.touch(), os.truncate(path, 2**31))}
    act[put]()
    good = folder.parent / "renamed"
    shutil.copytree(made.folder, good)
    with pytest.warns(UserWarning, match=r"\w") as caught:
        table = collect.rebuild(folder.parent)
    said = [str(each.message) for each in caught]
    assert any(str(path) in each or path.name in each for each in said), said
    assert not any("\n" in each for each in said)
    if where == "spec.json":  # then the other stands for it
        assert len(table) == len(made.slopes)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_file_that_has_nothing_to_give_at_once_is_refused(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "kernel")  # as files of /proc, which say that they are regular
    writer = os.open(tmp_path / "kernel", os.O_RDWR)
    monkeypatch.setattr(files, "_regular", lambda *_: None)
    with pytest.raises(ValueError, match="nothing to be read"):
        files.read_bytes(tmp_path / "kernel")
    os.close(writer)


def test_a_deep_or_foreign_tree_is_one_line(tmp_path):
    path = tmp_path / "x.json"
    for text, words in (("[" * 10**5 + "]" * 10**5, "nested too deeply"), ("[]", "no group"), ('{"a": 1}', "no checksum"),
                        ('{"a": 1, "sha256": "0"}', "not those that were written")):
        path.write_text(text)
        with pytest.raises(ValueError, match=words):
            seal.read(path)
    path.write_text('{"a": 1}')
    assert seal.read(path, older=("a", "b")) == ({"a": 1}, False)
    with pytest.raises(ValueError, match="no checksum"):
        seal.read(path, older=("b",))
    seal.write(path, {"a": [1.5, float("nan")], "é": None})
    assert seal.read(path)[1]


def test_a_checksum_is_that_of_the_bytes_and_holds_for_files_laid_out_otherwise(tmp_path, monkeypatch):
    path, data = tmp_path / "x.json", {"mean": [0.1, float("nan"), -1e-300], "θ": {"2": None}}
    whole = seal.text(data)
    path.write_text(whole)
    with monkeypatch.context() as patch:  # nothing is encoded again
        patch.setattr(seal, "of", lambda data: pytest.fail("it was encoded again"))
        found, sealed = seal.read(path)
    assert sealed
    assert json.dumps(found) == json.dumps(data)
    for other in (json.dumps(json.loads(whole), indent=1), whole + "\n"):
        path.write_text(other)
        assert json.dumps(seal.read(path)[0]) == json.dumps(data)
    for at in range(0, len(whole), 7):
        path.write_text(whole[:at] + chr(ord(whole[at]) ^ 1) + whole[at + 1:])
        with pytest.raises(ValueError, match=r"\S"):
            seal.read(path)


def test_the_look_for_half_written_files_bears_that_they_vanish(tmp_path, monkeypatch):
    (tmp_path / f".gone.1{files.PART}").symlink_to(tmp_path / "nowhere")
    old = tmp_path / f".old.1{files.PART}"
    old.touch()
    os.utime(old, (1, 1))
    assert files.half_written(tmp_path) == [old]


@pytest.mark.parametrize("mask", [0o077, 0o027, 0o002])
def test_files_have_the_mode_that_the_umask_leaves(mask, tmp_path):
    before = os.umask(mask)
    try:
        files.write_text(tmp_path / "x", "τ")
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o666 & ~mask


def test_points_name_their_variables(folder, made, tmp_path):
    path = next((folder / "points").glob("*.json"))
    data = json.loads(path.read_text())
    assert (data["observables"], data["times"]) == (["loss", "mean m"], [0.5, 1.0])
    del data["sha256"]
    for changes in ({"observables": ["mean m", "loss"]}, {"times": [0.5, 0.75]}, {"observables": ["loss"]}):
        path.write_text(seal.text({**data, **changes}))
        with pytest.warns(UserWarning, match="other observables or times"):
            assert len(sme.load(folder).points) == len(made.points) - 1
    older = {name: value for name, value in data.items() if name not in ("observables", "times")}
    path.write_text(seal.text(older))  # a point of 0.2.0
    assert len(sme.load(folder).points) == len(made.points)


def test_observables_in_another_order_are_the_same_study(folder, made, monkeypatch):
    tiny(monkeypatch, 16)
    again = sme.weak_error(sme.Quadratic(), sme.Momentum(), order=1, tau=[1 / 2, 1 / 4], start=START, times=[0.5, 1],
                           observables=["mean m", "loss"], paths=2 * 32768, backend="torchsde", results=folder.parent)
    assert again.name == made.name
    assert again.errors.equals(made.errors)


def test_a_copy_and_another_name_of_a_folder(folder, made):
    shutil.copytree(folder, folder.parent / f"{folder.name} (copy)")
    with pytest.warns(UserWarning, match="is a copy of"):
        assert len(collect.rebuild(folder.parent)) == len(made.slopes)
    assert sme.load(folder.parent / f"{folder.name} (copy)").errors.equals(made.errors)
    folder.rename(folder.with_name(f"{folder.name[:-8]}0badcafe"))
    with pytest.raises(sme.SMEError, match=f"it is that of {made.name}"):
        sme.load(folder.with_name(f"{folder.name[:-8]}0badcafe"))


def test_tables_without_their_points_are_held_to_their_checksums(folder, made):
    shutil.rmtree(folder / "points")
    assert len(sme.load(folder).errors) == len(made.errors)
    text = (folder / "errors.csv").read_text()
    digit = next(i for i in range(len(text) // 2, len(text)) if text[i] in "12345678")
    (folder / "errors.csv").write_text(f"{text[:digit]}9{text[digit + 1:]}")
    with pytest.raises(sme.SMEError, match="not what was written"):
        sme.load(folder)
    with pytest.warns(UserWarning, match="left as it is"):
        collect.rebuild(folder.parent)


@pytest.fixture(scope="module")
def compared():
    """A comparison at two step sizes, and at each of them."""
    rows = [(tau, "loss", "end", 1.0, -0.03 * tau, 2e-4, 1e-6, -150 * tau, -9.5, 17.0, 65536, 0.0) for tau in (1 / 2, 1 / 4)]
    names = ("order 2, independent", "order 1, independent")
    whole = Comparison("sgd-study-01234567", names, pd.DataFrame(rows, columns=COLUMNS), 3, True)
    return whole, *(dataclasses.replace(whole, table=whole.table.iloc[[i]]) for i in (0, 1))


@pytest.mark.parametrize("damage", [
    lambda whole: b"", lambda whole: whole[: 2 * len(whole) // 3], lambda whole: whole.replace(b"tau", b"eta"),
    lambda whole: whole.replace(b"0.25", b"soon"), lambda whole: b"\xfe\xff" + whole, lambda whole: whole.replace(b"1", b"7", 1),
    lambda whole: b'a,"b', lambda whole: whole + whole.splitlines(keepends=True)[1], lambda whole: b"[" * 10**5])
@pytest.mark.parametrize("summed", [True, False])
def test_a_damaged_comparison_is_named_and_written_anew(damage, summed, compared, tmp_path, monkeypatch):
    monkeypatch.setattr(picture, "draw", lambda *_: None)
    both, coarse, fine = compared
    both.save(tmp_path)
    (path,) = tmp_path.glob("compare*.csv")
    whole = path.read_bytes()
    bad = damage(whole)
    path.write_bytes(bad)
    if not summed:  # of 0.2.0
        if bad.count(b"\n") == whole.count(b"\n") + 1 or (len(bad) == len(whole) and b"soon" not in bad and b"eta" not in bad):
            return  # a table as good as the other
        shutil.rmtree(tmp_path / sums.FOLDER)
    with pytest.warns(UserWarning, match=f"{re.escape(str(path))} is not a whole comparison"):
        coarse.save(tmp_path)
    assert path.read_bytes().splitlines() == whole.splitlines()[:2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fine.save(tmp_path)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("without", ["points", "errors.csv"])
def test_slopes_that_were_changed_are_not_joined(without, folder, made, tmp_path):
    collect.rebuild(tmp_path)
    if without == "points":
        shutil.rmtree(folder / "points")
    else:
        (folder / without).unlink()
    right = (folder / "slopes.csv").read_text()
    digit = next(i for i in range(len(right) // 2, len(right)) if right[i] in "12345678")
    (folder / "slopes.csv").write_text(f"{right[:digit]}9{right[digit + 1:]}")
    with pytest.warns(UserWarning, match=r"slopes.csv is not a table of slopes and is left out.*not what was written"):
        assert collect.join(tmp_path).empty
    if without == "points":
        with pytest.warns(UserWarning, match="left as it is"):
            assert collect.rebuild(tmp_path).empty
    else:  # made again
        assert len(collect.rebuild(tmp_path)) == len(made.slopes)
        assert (folder / "slopes.csv").read_text() == right


@pytest.mark.slow
def test_a_study_in_which_all_pairs_diverge_stops_nothing(folder, made, monkeypatch):
    tiny(monkeypatch, 16)
    with pytest.warns(UserWarning, match="curvature"):
        lost = sme.weak_error(sme.Quadratic(), sme.SGD(), order=1, tau=[16, 12], horizon=720, start=START, paths=32768,
                              backend="torchsde", results=folder.parent, observables=["|theta|^2"])
    assert lost.errors["diverged"].tolist() == [1.0, 1.0]
    assert lost.errors["error"].isna().all()
    (lost.folder / "errors.csv").unlink()
    table = collect.rebuild(folder.parent)
    assert set(table["study"]) == {made.name, lost.name}
    assert table[table["study"] == lost.name]["slope"].replace("", np.nan).isna().all()
    assert (folder.parent / "slopes.csv").exists()
    assert (lost.folder / "errors.csv").exists()


def test_tables_of_trajectories_are_held_to_their_checksums(tmp_path, monkeypatch):
    made = sme.trajectories(sme.Quadratic(), sme.SGD(), tau=1 / 2, start=START, order=1, paths=6, checkpoints=[1.0], points=1,
                            backend="torchsde", results=tmp_path)
    assert {path.name for path in (made.folder / sums.FOLDER).iterdir()} == {"trajectories.csv.json", "histograms.csv.json"}
    run.histograms(tmp_path, "all", [])
    table = made.folder / "histograms.csv"
    table.write_text(table.read_text().replace("1", "2", 1))
    with pytest.raises(sme.SMEError, match="not what was written"):
        run.histograms(tmp_path, "all", [])


def test_runs_of_a_map_are_whole_and_its_own(tmp_path):
    path, rnd = tmp_path / "0.npz", random.Random(2)
    losses, edges = np.random.default_rng(0).random((7, 3)), np.ones((2, 3))
    runs_file.write(path, "one 0", losses, edges)
    whole = path.read_bytes()
    for owner, shape, words in (("other 0", (7, 3), "runs of one 0, not of other 0"), ("one 0", (7, 4), "shape")):
        with pytest.raises(sme.SMEError, match=words):
            runs_file.read(path, owner, shape)
    refused = 0
    for _ in range(200):
        data = bytearray(whole)
        data[rnd.randrange(len(data))] ^= 1 << rnd.randrange(8)
        path.write_bytes(bytes(data[: rnd.randrange(len(data))] if rnd.random() < 0.2 else data))
        try:
            assert np.array_equal(runs_file.read(path, "one 0", (7, 3))[0], losses)
        except sme.SMEError:
            refused += 1
    assert refused > 100
    np.savez_compressed(path, losses=losses, edges=edges)  # of 0.2.0
    assert np.array_equal(runs_file.read(path, "one 0", (7, 3))[1], edges)


@pytest.mark.parametrize("name", ["=1+1", "+1", "-x", "@SUM(A1)", "a\nb", "a\rb", "\x1b[31m", "a\u2028b", "\ud800", 3])
def test_names_that_break_a_table_or_run_are_refused(name):
    with pytest.raises(sme.SMEError) as fault:
        sme.weak_error(sme.Quadratic(), sme.SGD(), tau=1 / 2, start=START, observables={name: lambda s: s["theta"].sum(-1)})
    str(fault.value).encode()
    assert "\n" not in str(fault.value)


def test_an_older_name_that_a_spreadsheet_runs_is_escaped_and_read_back():
    assert [harmless(each) for each in ("=x", "-y", "x-y", "|x|")] == ["'=x", "'-y", "x-y", "|x|"]
    assert all(plain(harmless(each)) == each for each in ("=x", "-y", "'", "'x", "x"))
    assert pd.Series(["+z"]).map(harmless).tolist() == ["'+z"]
