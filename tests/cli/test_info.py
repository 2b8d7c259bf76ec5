"""The table of what runs here: whole, and never an exception."""

import importlib.metadata
import runpy
import sys

import torch

from sme import info
from sme.common import library
from sme.common.identity.numerics import NUMERICS, said, written
from sme.common.version import version


def test_the_command_prints_a_line_for_each(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "sme.info")  # which runpy warns of
    runpy.run_module("sme.info", run_name="__main__")
    out, err = capsys.readouterr()
    assert err == ""
    lines = dict(line.split("  ", 1) for line in out.splitlines())
    found = {name: value.strip() for name, value in lines.items()}
    assert found["sme"] == version()
    assert found["numerics"] == said(written(NUMERICS))
    assert found["python"] == sys.version.split()[0]
    for name in info.PACKAGES:
        assert found[name] == importlib.metadata.version(name)
    assert found["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert torch.cuda.is_available() == info.cuda()
    assert info.built() == torch.version.cuda
    assert set(found) >= {"platform", "processor", "cores", "CUDA", "C compiler", "compiled code", "backend=auto"}


def test_no_compiler_is_said_and_not_raised(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    for kept in (library.compiler, library.compiler_version, library.load):
        kept.cache_clear()
    try:
        rows = dict(info.table())
    finally:
        library.compiler.cache_clear()
    assert rows["C compiler"].startswith("none: ")
    assert "no-such-compiler" in rows["C compiler"]
    assert rows["backend=auto"].startswith("torchsde: ")


def test_whatever_breaks_the_other_lines_stay(monkeypatch):
    def broken(*ignored):
        raise RuntimeError("a strange machine")

    for module, name in ((library, "cache"), (info, "version"), (info, "cpu"), (info, "built")):
        monkeypatch.setattr(module, name, broken)
    monkeypatch.setattr(importlib.metadata, "version", broken)
    rows = dict(info.table())
    assert rows["numerics"] == said(written(NUMERICS))
    assert sum("a strange machine" in value for value in rows.values()) >= 4 + len(info.PACKAGES)
