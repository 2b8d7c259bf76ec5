"""Compiled code in a cache: what others planted, what was cut, compilers that hang, fail or lie, folders that cannot be used."""

import os
import shutil
import subprocess
import time
import types
import warnings
from pathlib import Path

import pytest

from sme import info
from sme.common import library
from sme.common.library import NoCompilerError
from sme.common.storage import cache as storage_cache
from sme.common.storage.files import sha
from sme.common.storage.records import Records
from sme.simulate import backend

SOURCE = "int answer(void) {{ return {}; }}\n"
PLANTED = ('#include <stdio.h>\n__attribute__((constructor)) static void go(void) {{ fclose(fopen("{}", "w")); }}\n'
           "int answer(void) {{ return 1; }}\n")
needs_compiler = pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A folder for libraries, and a compiler that is looked for anew before and after."""
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("SME_CACHE", str(folder))
    monkeypatch.setattr(library, "GIVEN_UP", set())
    kept = (library.compiler, library.compiler_version)
    for each in kept:
        each.cache_clear()
    yield folder
    for each in kept:
        each.cache_clear()


def fake(tmp_path, monkeypatch, body):
    """A compiler that does this."""
    script = tmp_path / "cc"
    script.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setenv("CC", str(script))
    return str(script)


def answer(number):
    return library.load.__wrapped__(SOURCE.format(number)).answer()


@needs_compiler
@pytest.mark.parametrize("cut", [0, 1, 64, 3000, -4000, -1])
def test_a_library_that_was_cut_is_compiled_again(cut, cache):
    assert answer(30) == 30
    (kept,) = cache.glob("*.so")
    whole = kept.read_bytes()
    kept.unlink()  # this process has it open
    kept.write_bytes(whole[:cut])
    kept.chmod(0o700)
    assert answer(30) == 30
    assert [each.read_bytes() for each in cache.glob("*.so")] == [whole]


@needs_compiler
@pytest.mark.parametrize("how", ["others may write", "somebody else's", "a link", "another checksum", "under another key"])
def test_a_planted_library_is_never_loaded(how, cache, tmp_path, monkeypatch):
    ran = tmp_path / "ran"
    (tmp_path / "boom.c").write_text(PLANTED.format(ran), encoding="utf-8")
    subprocess.run([*library.compiler(), "-shared", "-fPIC", str(tmp_path / "boom.c"), "-o", str(tmp_path / "boom.so")],
                   check=True)
    boom = (tmp_path / "boom.so").read_bytes()
    assert answer(31) == 31
    (kept,) = cache.glob("*.so")
    key = kept.stem.partition("-")[0]
    kept.unlink()
    place = {"another checksum": kept, "under another key": cache / f"{'0' * len(key)}-{sha(boom)}.so"}.get(
        how, cache / f"{key}-{sha(boom)}.so")
    if how == "a link":
        place.symlink_to(tmp_path / "boom.so")
    else:
        place.write_bytes(boom)
        place.chmod(0o722 if how == "others may write" else 0o700)
    if how == "somebody else's":
        real = Path.lstat
        monkeypatch.setattr(Path, "lstat", lambda path: types.SimpleNamespace(
            st_uid=os.getuid() + (path == place), st_mode=real(path).st_mode))
    assert answer(31) == 31
    assert not ran.exists()


def test_a_compiler_that_hangs_is_given_up_with_all_it_started(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(library, "PATIENCE", 0.4)
    fake(tmp_path, monkeypatch, f"sleep 600 &\necho $! > {tmp_path}/child\nwait")
    with pytest.raises(NoCompilerError, match=r"gives no answer within 0\.4 s"):
        answer(32)
    began = time.monotonic()
    with pytest.raises(NoCompilerError, match="was given up"):
        answer(32)
    assert time.monotonic() - began < 0.3
    child = int((tmp_path / "child").read_text())
    for _ in range(100):  # until its new parent has taken note
        if not alive(child):
            break
        time.sleep(0.02)
    assert not alive(child)


def alive(number):
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(("body", "said"), [
    ("exit 0", "makes no library"), ("kill -SEGV $$", "no message"), ("printf '\\377\\376 odd\\n' >&2; exit 1", "odd"),
    ("printf 'one\\ntwo\\n' >&2; exit 3", "fails: one"), ("exec 1>&-; exec 2>&-; exit 1", "no message"),
    ('while [ "$1" ]; do [ "$1" = -o ] && echo junk > "$2"; shift; done', "cannot be loaded"),
])
def test_a_compiler_that_fails_or_lies_is_one_line(body, said, cache, tmp_path, monkeypatch):
    fake(tmp_path, monkeypatch, body)
    with pytest.raises(NoCompilerError, match=said) as fault:
        answer(33)
    assert "\n" not in str(fault.value)
    assert not list(cache.glob("*/"))


@pytest.mark.parametrize(("command", "said"), [('cc "x', "is no command"), ("cc 'y", "is no command"), ("/", "is not there"),
                                               ("no-such-compiler -O2", "is not there")])
def test_a_command_that_is_none_is_said(command, said, cache, monkeypatch):
    monkeypatch.setenv("CC", command)
    with pytest.raises(NoCompilerError, match=said):
        answer(34)
    assert dict(info.table())["C compiler"].startswith("none: ")


@pytest.mark.parametrize(("how", "said"), [("file", "File exists"), ("below a file", "Not a directory"), ("loop", "."),
                                           ("open to others", "others can write to it"), ("foreign", "belongs to somebody else"),
                                           ("read-only", "cannot be written to")])
def test_a_cache_that_cannot_be_used_is_said_and_another_taken(how, said, tmp_path, monkeypatch):
    place, home = tmp_path / "place", tmp_path / "home"
    if how in ("file", "below a file"):
        place.write_text("x", encoding="utf-8")
        place = place / "x" if how == "below a file" else place
    elif how == "loop":
        place.symlink_to(place)
    else:
        place.mkdir()
        place.chmod({"open to others": 0o777}.get(how, 0o755))
    if how == "foreign":
        real = Path.stat
        monkeypatch.setattr(Path, "stat", lambda path, **how: types.SimpleNamespace(
            st_uid=os.getuid() + 1, st_mode=0o40755) if path == place else real(path, **how))
    if how == "read-only":
        access = os.access
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != place and access(path, mode))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    monkeypatch.setenv("SME_CACHE", str(place))
    with pytest.warns(UserWarning, match=f"(?s)SME_CACHE={place} cannot be used.*{said}"):
        storage_cache.complain()
    assert library.cache() == home / "sme"
    monkeypatch.setenv("SME_CACHE", str(tmp_path / "new" / "one"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        storage_cache.complain()
    assert library.cache() == tmp_path / "new" / "one"
    assert library.cache().stat().st_mode & 0o77 == 0


def test_the_home_folder_is_meant_by_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SME_CACHE", "~/of mine")
    monkeypatch.chdir(tmp_path)
    assert library.cache() == tmp_path / "of mine"
    assert not (tmp_path / "~").exists()


@needs_compiler
def test_a_library_without_the_function_is_refused(monkeypatch):
    empty = types.SimpleNamespace()
    monkeypatch.setattr(backend, "source", lambda setup: "int other;")
    monkeypatch.setattr(backend, "load", lambda source: empty)
    setup = types.SimpleNamespace(order=1, weights=None, horizon=1.0, steps=4, tau=0.25)
    fault = backend._source(setup, Records(None))
    assert isinstance(fault, NoCompilerError)
    assert "without the function" in str(fault)
    empty.run = None
    assert backend._source(setup, Records(None)) == "int other;"


def test_a_compiler_is_soon_given_up_where_it_says_not_even_its_version(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(library, "ANSWER", 0.3)
    fake(tmp_path, monkeypatch, "exec sleep 600")
    with pytest.raises(NoCompilerError, match=r"gives no answer within 0\.3 s"):
        answer(36)


@needs_compiler
def test_what_is_compiled_ahead_is_compiled_once(cache, monkeypatch):
    compiled, real = [], library._compile
    monkeypatch.setattr(library, "_compile", lambda source, *rest: (compiled.append(source), real(source, *rest))[1])
    for _ in range(2):
        library.ahead(SOURCE.format(77))
    assert answer(77) == 77
    library.ahead("int broken(")
    with pytest.raises(NoCompilerError, match="fails"):
        library.load.__wrapped__("int broken(")
    assert compiled == [SOURCE.format(77), "int broken(", "int broken("]


def test_no_compiler_outlives_a_process_that_leaves_it_at_work(cache, tmp_path, monkeypatch):
    fake(tmp_path, monkeypatch, f'case "$*" in *version*) echo 1; exit;; esac; echo $$ > {tmp_path}/pid; sleep 60')
    library.ahead(SOURCE.format(78))
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.01)
    library._leave()
    child, until = int((tmp_path / "pid").read_text()), time.monotonic() + 20
    while (alive(child) or list(cache.glob("tmp*"))) and time.monotonic() < until:
        time.sleep(0.01)
    assert not alive(child)
    assert not list(cache.glob("tmp*"))
