"""What a study would cost: the table by hand, and time and memory beside the job's own."""

import inspect
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import sme
from sme.cli import command
from sme.convergence.cost import pilot
from sme.convergence.cost import plan as plan_module
from sme.convergence.cost.plan import _schedule
from sme.convergence.estimator import paired
from sme.convergence.spec import effort
from sme.simulate.integrators.schemes import scheme

SCRIPT = Path(__file__).parents[2] / "scripts" / "weak_error.py"
START = {"theta": torch.ones(2)}
PATHS = effort.SHARD_PATHS


def tiny(monkeypatch, **settings):
    monkeypatch.setattr(paired, "BLOCK_PAIRS", 32)
    given = {"tau": [1 / 2, 1 / 4], "start": START, "order": (1, 2), "backend": "torchsde", **settings}
    return sme.plan(sme.Quadratic(), sme.SGD(), **given)


def test_the_table_has_the_effort_of_every_order_and_step_size(monkeypatch):
    made = tiny(monkeypatch, paths=3 * PATHS)
    table = made.table.set_index(["order", "tau"])
    assert list(table.index) == [(1, 0.5), (1, 0.25), (2, 0.5), (2, 0.25)]
    assert (table["paths"] == 3 * PATHS).all()
    assert (table["shards"] == 3).all()
    assert (table["found"] == 0).all()
    assert (table["left_out"] == 0).all()
    assert table["steps"].to_dict() == {(1, 0.5): 2, (1, 0.25): 4, (2, 0.5): 2, (2, 0.25): 4}
    # substeps of at most 1/64 for τ = 1/4, and as many for a larger one; the coarser levels have a half and a quarter of them
    assert (table["substeps"] == 16).all()
    assert (table["path_substeps"] == 3 * PATHS * table["steps"] * (16 + 8 + 4)).all()
    assert (table["seconds"] > 0).all()
    assert made.seconds == pytest.approx(made.starting + table["seconds"].sum())
    assert made.memory_mib >= table["memory_mib"].max() > 50
    assert re.search(r"in all: \d\S* s and \d+ MiB on 1 process$", str(made))
    assert "path substeps" in str(made)
    assert "left out" not in str(made)


def test_of_many_step_sizes_some_are_run_and_the_others_lie_between(monkeypatch):
    taken = []

    def shard(setup, at_least):
        taken.append(setup.steps)
        each = 3.0 + setup.steps  # a substep takes a little longer where there are more steps
        return setup.steps * setup.substeps(scheme(setup.equation())) * each, pilot._timed(pilot._short(setup, 1), 32)[1]

    monkeypatch.setattr(pilot, "_shard", shard)
    made = tiny(monkeypatch, order=1, tau=[1 / n for n in range(2, 15)], horizon=1.0, processes=1).table
    assert len(taken) == pilot.MOST < len(made) == 13
    assert {2, 14} <= set(taken)
    by_hand = made["shards"] * made["steps"] * made["substeps"] * (3.0 + made["steps"])
    assert made["seconds"].tolist() == pytest.approx(by_hand.tolist(), rel=1e-9)


def test_of_a_long_run_the_first_steps_are_looked_at_and_nothing_of_them_is_kept(monkeypatch):
    seen = []

    def shard(setup, at_least):
        seen.append(setup.marks)
        return 5.0 * setup.marks[-1], pilot._timed(pilot._short(setup, 1), 32)[1]

    monkeypatch.setattr(pilot, "_shard", shard)
    monkeypatch.setattr(pilot, "LONGEST", 6)
    monkeypatch.setattr(pilot, "LEAST_STEPS", 2)
    kept = plan_module.ready

    def ready(setups, backend, records):
        seen.append(records.of)
        return kept(setups, backend)

    monkeypatch.setattr(plan_module, "ready", ready)
    made = tiny(monkeypatch, order=1, tau=[1 / 4, 1 / 8], horizon=1.0, processes=1)
    assert seen == [None, (3,), (3,)]
    assert made.table["seconds"].tolist() == pytest.approx((made.table["shards"] * made.table["steps"] * 5.0).tolist(), rel=1e-9)


def test_its_settings_are_those_of_weak_error():
    given = inspect.signature(sme.plan).parameters
    assert given == inspect.signature(sme.weak_error).parameters
    assert "tau" in given


def test_points_that_are_there_cost_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(paired, "BLOCK_PAIRS", 32)
    sme.weak_error(sme.Quadratic(), sme.SGD(), tau=1 / 2, start=START, order=1, paths=1, results=tmp_path)
    before = sorted(tmp_path.rglob("*"))
    table = tiny(monkeypatch, paths=2 * PATHS, results=tmp_path).table.set_index(["order", "tau"])
    assert table["found"].to_dict() == {(1, 0.5): 1, (1, 0.25): 0, (2, 0.5): 0, (2, 0.25): 0}
    assert table["path_substeps"][1, 0.5] == PATHS * 2 * 28
    assert sorted(tmp_path.rglob("*")) == before
    done = tiny(monkeypatch, tau=1 / 2, order=1, paths=1, results=tmp_path)
    assert done.table["seconds"].sum() == 0
    assert "–" in str(done)


def test_a_tolerance_says_at_least_and_a_budget_what_it_leaves_out(monkeypatch):
    assert "at least" in str(tiny(monkeypatch, tau=1 / 2, order=1, tolerance=0.1))
    cut = tiny(monkeypatch, tau=1 / 2, order=1, paths=50_000 * PATHS, budget_s=30)
    assert 0 < cut.table["left_out"][0] < 50_000
    assert cut.seconds < 90
    assert "left out" in str(cut)


def test_the_constants_of_an_obstruction_are_part_of_the_plan(monkeypatch):
    monkeypatch.setattr(paired, "BLOCK_PAIRS", 32)
    made = sme.plan(sme.Polynomial(), sme.RMSProp(), regime="batch_equivalent", tau=1 / 4, start={"theta": torch.ones(1)},
                    order=2, paths=1, backend="torchsde", observables=["mean v"])
    assert made.predicting > 0
    assert "obstruction" in str(made)


def test_tasks_go_to_the_next_free_process():
    assert _schedule([3.0, 2.0, 2.0, 1.0], 2, float("inf")) == (4.0, 4)
    assert _schedule([3.0, 2.0, 2.0, 1.0], 2, 2.5) == (3.0, 2)  # pairs of tasks begin together
    assert _schedule([], 2, 1.0) == (0.0, 0)


def test_compiled_time_goes_with_the_pairs_and_never_against_them(monkeypatch):
    class Fake:
        source, marks = "compiled", (8,)

    times = iter([2.0, 1.0, 3.0])
    monkeypatch.setattr(pilot, "chunk", lambda setup: 1024)
    monkeypatch.setattr(pilot, "_short", lambda setup, steps: setup)
    monkeypatch.setattr(pilot, "_timed", lambda setup, pairs: (next(times), pairs))
    monkeypatch.setattr(paired, "BLOCK_PAIRS", 4096)
    seconds, pairs = pilot._shard(Fake(), 2.0)
    assert pairs == 128
    assert seconds == pytest.approx(4 * 4 * (3 + min(2 / 64, 3 / 128) * (1024 - 128)))
    times = iter([2.0, 2.0, 1.0])
    assert pilot._shard(Fake(), 2.0)[0] == pytest.approx(4 * 4 * (1 + 0.5 / 128 * (1024 - 128)))


def test_the_command_line_plans_and_writes_nothing(tmp_path, monkeypatch, capsys):
    import runpy

    monkeypatch.setattr(paired, "BLOCK_PAIRS", 32)
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "tau=1/2", "optimizer=sgd", "order=1", "plan=true", "processes=1",
                                      "backend=torchsde", f"results={tmp_path / 'results'}"])
    command.cli(lambda: runpy.run_path(str(SCRIPT), run_name="__main__"))
    assert "plan of sgd-ballistic-quadratic" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def tree(root):
    """A process and all that it has started."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
    found, new = set(), {root}
    while new:
        found |= new
        new = {child for child, parent in parents.items() if parent in found} - found
    return found


def measured(arguments, out):
    """Seconds, and the peaks of resident memory summed over all processes that run Python, in MiB."""
    peaks, began = {}, time.perf_counter()
    with out.open("w") as file:
        process = subprocess.Popen([sys.executable, SCRIPT, *arguments], stdout=file)
        while process.poll() is None:
            for pid in tree(process.pid):
                try:
                    status = Path(f"/proc/{pid}/status").read_text()
                except OSError:
                    continue
                if (peak := re.search(r"VmHWM:\s+(\d+)", status)) and status.startswith("Name:\tpython"):
                    peaks[pid] = int(peak[1]) / 1024
            time.sleep(0.2)
    assert process.returncode == 0
    return time.perf_counter() - began, sum(peaks.values())


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc")
@pytest.mark.parametrize("job", [["optimizer=adam", "order=2"], ["experiment=minibatch", "optimizer=rmsprop"]], ids=" ".join)
def test_a_plan_is_right_within_a_factor_of_one_and_a_half(job, tmp_path):
    given = [*job, f"results={tmp_path / 'results'}"]
    spent, _ = measured([*given, "plan=true"], tmp_path / "plan.txt")
    seconds, memory = measured(given, tmp_path / "job.txt")
    text = (tmp_path / "plan.txt").read_text()
    planned = [float(each) for each in re.search(r"in all: (\S+) s and (\S+) MiB", text).groups()]
    print(f"{text}\nplan took {spent:.0f} s, the job {seconds:.0f} s and {memory:.0f} MiB")
    for estimate, true in zip(planned, (seconds, memory), strict=True):
        assert 1 / 1.5 < estimate / true < 1.5
