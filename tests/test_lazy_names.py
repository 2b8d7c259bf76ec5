"""Public names are imported when they are asked for: what comes before the first one loads nothing that takes long."""

import ast
import concurrent.futures
import importlib
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import sme

HEAVY = {"torch", "pandas", "matplotlib", "scipy", "seaborn", "sklearn", "torchsde", "joblib"}
ROOT = Path(sme.__file__).parents[1]
TOLD = """
import sys
def heavy(): return sorted({each.partition(".")[0] for each in sys.modules} & set(%r))
"""


def fresh(code):
    """What a process without the package's modules prints."""
    done = subprocess.run([sys.executable, "-c", TOLD % sorted(HEAVY) + code], capture_output=True, text=True, cwd=ROOT,
                          check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_nothing_that_takes_long_is_loaded_before_the_first_name():
    said = fresh("""
import contextlib, io
import sme
assert "Adam" in dir(sme) and not hasattr(sme, "adam_")
from sme import info
from sme.cli import main
for name in main.scripts():
    sys.argv = [name, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        main.main(name)
    assert "Settings" in out.getvalue()
info.driver = lambda: False
info.table()
sys.argv = ["sme"]
with contextlib.redirect_stdout(io.StringIO()) as out:
    main.console()
print(heavy())
sme.SGD
print("torch" in heavy())
""")
    assert said == ["[]", "True"]


def test_names_come_whatever_is_set_around_the_first_one_and_packages_with_all_that_is_in_them():
    said = fresh("""
import threading, torch, sme
found = []
with torch.inference_mode(), torch.device("meta"):
    threads = [threading.Thread(target=lambda: found.append(sme.check_order)) for _ in range(8)]
    for each in threads: each.start()
    for each in threads: each.join()
    sme.stationary
assert len(found) == 8 and len(set(map(id, found))) == 1
from sme.equations import stationary
assert not stationary.SHIFTS.is_inference() and stationary.SHIFTS.device.type == "cpu"
print(sme.problems.noise.minibatch.law.MinibatchNoise is sme.MinibatchNoise)
""")
    assert said == ["True"]


@pytest.mark.slow
def test_a_law_by_its_name_is_there_without_the_others():
    said = fresh("from sme.problems.noise.named import NAMED\nprint(*sorted(NAMED))")
    assert said == ["affine gaussian rademacher skewed student"]


def test_the_three_lists_of_names_are_one():
    tree = ast.parse(Path(sme.__file__).read_text(encoding="utf-8"))
    typed = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    there = {(f"{node.module}", each.name) for node in typed.body for each in node.names}
    assert there == {(f"sme.{module}", name) for module, names in sme.HOMES.items() for name in names.split()}
    assert sorted(name for _, name in there) == sorted(sme.__all__)
    assert len(sme.__all__) == len(set(sme.__all__))


@pytest.mark.parametrize("name", sme.__all__)
def test_every_name_is_what_its_module_has(name):
    value = getattr(sme, name)
    assert value is vars(sme)[name]
    assert value.__name__ == name
    assert getattr(importlib.import_module(value.__module__), name) is value
    assert pickle.loads(pickle.dumps(value)) is value


def test_all_are_shown_and_imported_by_a_star_and_no_other_is_there():
    there = {}
    exec("from sme import *", there)
    assert set(there) - {"__builtins__"} == set(sme.__all__)
    assert set(sme.__all__) <= set(dir(sme))
    with pytest.raises(AttributeError, match="module 'sme' has no attribute 'Adm'"):
        _ = sme.Adm
    with pytest.raises(ImportError, match="cannot import name 'Adm'"):
        exec("from sme import Adm", {})


def test_threads_get_the_same(monkeypatch):
    for name in sme.__all__:
        monkeypatch.delitem(vars(sme), name, raising=False)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: [getattr(sme, name) for name in sme.__all__], range(8)))
    assert all(one is other for each in found for one, other in zip(each, found[0], strict=True))


@pytest.mark.slow  # 8 s: a study in a process of its own, and its points found by another
def test_a_study_whose_points_are_there_loads_no_compiler_of_torch_and_nothing_to_draw_with(tmp_path):
    said = fresh(f"""
import os
os.environ["SME_CACHE"] = {str(tmp_path / "cache")!r}
import sme, torch
from sme.convergence.estimator import paired
paired.BLOCK_PAIRS = 16
start = {{"theta": torch.tensor([1.0, 0.5])}}
settings = dict(start=start, tau=[1 / 2, 1 / 4], order=1, paths=1, results={str(tmp_path)!r}, backend="torchsde")
if os.fork():
    os.wait()
    sme.weak_error(sme.Quadratic(), sme.SGD(), **settings)
    print(sorted({{"torch._dynamo", "sympy", "scipy.integrate", "torch._decomp.decompositions_for_jvp"}} & set(sys.modules)))
    print({{"matplotlib", "seaborn", "sklearn"}} & set(heavy()))
else:
    sme.weak_error(sme.Quadratic(), sme.SGD(), **settings)
    os._exit(0)
""")
    assert said[-2:] == ["[]", "set()"]
