"""The house: packages that import downwards alone, folders that can be read at a glance, and names that hide nothing."""

import ast
import functools
import graphlib
from pathlib import Path

import pytest

import sme
from sme.common import moved

ROOT = Path(sme.__file__).parent
FLOORS = ("common", "optimizers", "problems", "equations", "simulate", "convergence", "studies", "cli")
"""from the ground up"""
WIDE = ("optimizers", "studies")
"""one rule a file, one study a folder"""
WIDEST, DEEPEST, LONGEST = 12, 3, 250
ROOF = ("sme", "sme.info")
"""of these, what imports from all"""


def module(path):
    """Its dotted name."""
    parts = ("sme", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module(path): path for path in sorted(ROOT.rglob("*.py"))}


def imports(path):
    """The modules of the package that a file imports when it runs."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typed = {each for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
             for each in ast.walk(node)}
    for node in ast.walk(tree):
        if node in typed:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "sme":
            for each in node.names:
                inner = f"{node.module}.{each.name}"
                yield inner if inner in MODULES else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name.partition(".")[0] == "sme")


@functools.cache
def graph():
    """What each module imports of the package."""
    return {name: set(imports(path)) for name, path in MODULES.items()}


def floor(name):
    return FLOORS.index(name.split(".")[1])


def test_imports_go_downwards():
    up = [f"{name} imports {other}" for name, others in graph().items() if name not in ROOF
          for other in others if other in ROOF or floor(other) > floor(name)]
    assert not up


def test_there_is_no_circle():
    graphlib.TopologicalSorter({name: others - {name} for name, others in graph().items()}).prepare()


def test_every_import_is_found():
    assert not [f"{name} imports {other}" for name, others in graph().items() for other in others if other not in MODULES]


@pytest.mark.parametrize("folder", [ROOT, *(path for path in sorted(ROOT.rglob("*")) if (path / "__init__.py").exists())],
                         ids=lambda folder: folder.relative_to(ROOT.parent).as_posix())
def test_folders_are_neither_wide_nor_deep(folder):
    inside = [each for each in folder.iterdir()
              if each.name != "__init__.py" and (each.suffix == ".py" or (each / "__init__.py").exists())]
    assert len(inside) <= WIDEST or folder.name in WIDE
    assert len(folder.relative_to(ROOT).parts) <= DEEPEST
    if folder == ROOT:
        assert {each.stem for each in inside} == {*FLOORS, "info"}
    elif "studies" not in folder.parts:
        assert len(inside) >= 2


def test_no_public_name_is_hidden_at_the_top():
    assert not {each.stem for each in ROOT.iterdir()} & set(sme.__all__)


def test_files_are_short():
    long = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    assert not {name: lines for name, lines in long.items() if lines > LONGEST and name != "sme"}  # the list of public names


def test_old_names_lead_to_modules_that_are_there():
    assert set(moved.NEW.values()) <= set(MODULES)
    assert not set(moved.NEW) & set(MODULES)
