"""The compiled path takes the steps of the torchsde path, to rounding, or says that it does not."""

import ctypes
import dataclasses
import re

import pytest
import torch

import sme
from sme.common import library
from sme.common.library import NoCompilerError
from sme.convergence.estimator import paired
from sme.convergence.estimator.paired import prepared
from sme.convergence.spec.specification import Specification
from sme.simulate import backend
from sme.simulate.backend import compiled_setups
from sme.simulate.codegen import program
from sme.simulate.codegen.ensemble import CompiledEnsemble
from sme.simulate.codegen.interpreter import NotLoweredError
from sme.simulate.codegen.moves import one
from sme.simulate.codegen.program import source
from sme.simulate.codegen.statements import Array, Store
from sme.simulate.ensemble import TorchEnsemble
from tests.support import models
from tests.support.compiler import needs_compiler

START = {"theta": torch.tensor([1.0, 0.5])}


def wavy(theta):
    bumps = torch.cos(theta) + torch.exp(-theta**2)
    return bumps.sum() + 0.1 * theta[0] * theta[1] + torch.nn.functional.softplus(theta).mean()


def made(problem=None, optimizer=None, regime="ballistic", brownian="independent", order=2, steps=4, times=None, **start):
    parts = problem or sme.Quadratic(), optimizer or sme.RMSProp()
    spec = Specification.of(*parts, regime, brownian, 1.0, {**START, **start}, None, times)
    with torch.no_grad():
        return prepared(spec.setup(order, steps))


def ranked():
    problem = sme.Logistic(features=1, examples=6, batch_size=2)
    problem.noise = problem.noise.changed(sampling="without_replacement", coupling="ranked")
    return problem


slow = pytest.mark.slow
CASES = [
    pytest.param({}, id="rmsprop", marks=slow),
    pytest.param({"regime": "batch_equivalent"}, id="batch-equivalent, with a reference"),
    pytest.param({"optimizer": sme.RMSProp(denominator="updated"), "brownian": "step_memory"}, id="step memory"),
    pytest.param({"regime": "batch_equivalent", "brownian": "step_memory"}, id="step memory, batch-equivalent", marks=slow),
    pytest.param({"order": 1, "brownian": "none"}, id="the ODE"),
    pytest.param({"optimizer": sme.Adam(bias_correction=True, t0=1.0), "times": [0.5, 1.0]}, id="adam from t0 on", marks=slow),
    pytest.param({"optimizer": sme.AdamW()}, id="adamw", marks=slow),
    pytest.param({"optimizer": sme.Momentum()}, id="momentum, derived", marks=slow),
    pytest.param({"optimizer": sme.Nesterov(), "regime": "batch_equivalent"}, id="nesterov, batch-equivalent", marks=slow),
    pytest.param({"optimizer": sme.Signum()}, id="signum", marks=slow),
    pytest.param({"optimizer": sme.RMSProp(v_floor=0.6), "v": torch.tensor([0.7, 0.3])}, id="on the floor"),
    pytest.param({"problem": sme.Problem(wavy, 2, sme.GaussianNoise(models.varying)), "optimizer": sme.SGD()}, id="any loss",
                 marks=slow),
    pytest.param({"problem": sme.Logistic(features=1, examples=6), "optimizer": sme.SGD()}, id="minibatches"),
    pytest.param({"problem": sme.Logistic(features=1, examples=6, importance=0.5), "times": [0.5, 1.0]},
                 id="minibatches by importance", marks=slow),
    pytest.param({"problem": ranked(), "optimizer": sme.SGD(), "order": 1}, id="ranked minibatches", marks=slow),
]


@needs_compiler
@pytest.mark.parametrize("case", CASES)
def test_compiled_and_torchsde_take_the_same_steps(case):
    setup = made(**case)
    with torch.no_grad():
        fast = CompiledEnsemble(dataclasses.replace(setup, source=source(setup)), (0, 4, 0, 0), 150, offset=7)
        slow = TorchEnsemble(setup, (0, 4, 0, 0), 150, offset=7)
        for mark in setup.marks:
            fast.advance(mark)
            slow.advance(mark)
    for name, field in slow.state.items():
        torch.testing.assert_close(fast.state[name], field, rtol=1e-12, atol=1e-13)
    for mine, theirs in zip(fast.ladders, slow.ladders, strict=True):
        for level, other in zip(mine.levels, theirs.levels, strict=True):
            torch.testing.assert_close(level, other.expand_as(level), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(fast.carry, slow.carry, rtol=1e-11, atol=1e-13)
    assert torch.equal(fast.floored, slow.floored)


@pytest.mark.slow
@needs_compiler
def test_one_source_serves_every_step_size():
    assert source(made(steps=4)) == source(made(steps=16))


@pytest.mark.slow
@needs_compiler
def test_moments_depend_on_neither_chunks_nor_paths_at_a_time(monkeypatch):
    setup = made()
    with torch.no_grad():
        ready = [dataclasses.replace(setup, source=source(setup)), setup]
        monkeypatch.setattr(program, "LANES", ((1 << 30, 16),))
        ready.append(dataclasses.replace(setup, source=source(setup)))
        whole = [paired.run_block(each, (0, 4, 0, 0), 300).moments for each in ready]
        monkeypatch.setattr(paired, "chunk", lambda setup: 70)
        whole += [paired.run_block(each, (0, 4, 0, 0), 300).moments for each in ready]
    for moments in whole[1:]:
        assert moments.count == whole[0].count
        assert moments.mean == pytest.approx(whole[0].mean, rel=1e-10, abs=1e-14)
        assert moments.comoment == pytest.approx(whole[0].comoment, rel=1e-8, abs=1e-15)


def run(**changes):
    return sme.weak_error(sme.Quadratic(), sme.SGD(), tau=[1 / 2, 1 / 4], start=START, paths=1, order=2, **changes)


@needs_compiler
def test_both_backends_give_one_table(monkeypatch):
    monkeypatch.setattr(paired, "BLOCK_PAIRS", 256)
    one, other = (run(backend=name).errors for name in ("compiled", "torchsde"))
    for column in ("error", "stderr", "integrator_bias"):
        assert one[column].to_numpy() == pytest.approx(other[column].to_numpy(), rel=1e-7, abs=1e-13)


def test_without_a_compiler_a_line_says_so(monkeypatch, capsys):
    def none():
        raise NoCompilerError("there is no C compiler (cc, gcc or clang) on this machine")

    monkeypatch.setattr(library, "compiler", none)
    for kept in (library.load, library.compiler_version):
        kept.cache_clear()
    monkeypatch.setattr(paired, "BLOCK_PAIRS", 64)
    monkeypatch.setattr(backend, "LEAST", 0)
    assert not run().errors.empty
    assert "through torchsde, not compiled, since there is no C compiler" in capsys.readouterr().out
    with pytest.raises(sme.SMEError, match=r"backend='compiled' cannot be had: there is no C compiler.*Use backend='auto'"):
        run(backend="compiled")
    with pytest.raises(sme.SMEError, match="unknown backend 'cuda': allowed are auto, compiled, torchsde"):
        run(backend="cuda")


@needs_compiler
def test_what_does_not_compile_says_what_and_runs_by_torch(monkeypatch, capsys):
    problem = sme.Problem(lambda theta: torch.special.i0(theta).sum(), 2, sme.GaussianNoise(0.2 * torch.eye(2)))
    with pytest.raises(NotLoweredError, match=r"aten\.i0\.default has no form"):
        source(made(problem))
    monkeypatch.setattr(paired, "BLOCK_PAIRS", 64)
    monkeypatch.setattr(backend, "LEAST", 0)
    sme.weak_error(problem, sme.SGD(), tau=1 / 2, start=START, paths=1)
    assert "since the operation aten.i0.default has no form in C" in capsys.readouterr().out


@needs_compiler
def test_compiled_steps_that_differ_are_not_taken(monkeypatch, capsys):
    setup = made()
    right = source(setup)
    assert "* 0.5" in right
    monkeypatch.setattr(backend, "source", lambda setup: right.replace("* 0.5", "* 0.50001"))
    with torch.no_grad():
        ready = compiled_setups({(2, 4): setup}, must=False)
    assert ready[2, 4].source == ""
    assert "compiled and uncompiled steps differ" in capsys.readouterr().out


@needs_compiler
def test_step_sizes_without_control_variates_have_a_source_of_their_own(monkeypatch):
    """Long runs go without; a source made for others would read what is not there."""
    monkeypatch.setattr("sme.simulate.control_variates.controls.LONGEST", 8)
    setups = {(2, steps): made(optimizer=sme.SGD(), steps=steps) for steps in (4, 16)}
    assert setups[2, 16].weights is None
    ready = compiled_setups(setups, must=True)
    assert ready[2, 4].source != ready[2, 16].source


@needs_compiler
def test_a_damaged_library_is_compiled_again(tmp_path, monkeypatch):
    monkeypatch.setenv("SME_CACHE", str(tmp_path))
    text = "int answer(void) { return 42; }\n"
    library.load.__wrapped__(text)
    (kept,) = tmp_path.glob("*.so")
    kept.unlink()
    kept.write_bytes(b"\x7fELF")
    assert library.load.__wrapped__(text).answer() == 42


def test_a_strange_compiler_is_no_traceback(tmp_path, monkeypatch):
    text = tmp_path / "cc"
    text.write_text("no program")
    text.chmod(0o755)
    for chosen, message in ((str(text), "cannot be run"), ("/nowhere/cc -m64", "is not there")):
        monkeypatch.setenv("CC", chosen)
        for kept in (library.compiler, library.compiler_version):
            kept.cache_clear()
        with pytest.raises(NoCompilerError, match=message):
            library.load.__wrapped__("")
    monkeypatch.undo()
    for kept in (library.compiler, library.compiler_version):
        kept.cache_clear()


def test_a_state_too_large_for_the_stack_is_refused(monkeypatch):
    monkeypatch.setattr(program, "STACK", 1000)
    with pytest.raises(NotLoweredError, match=r"4 numbers and \d+ of control variates, too many"):
        source(made())


def test_many_motions_need_no_stack(monkeypatch):
    monkeypatch.setattr(program, "STACK", 60_000)
    assert "#define FIRST 90" in source(made(sme.Logistic(features=1, examples=90), sme.SGD(), order=1))


FLOORS = [
    pytest.param({"v": torch.tensor([0.4, 0.35]), "optimizer": sme.RMSProp(v_floor=0.3)}, id="some paths come near"),
    pytest.param({"regime": "batch_equivalent"}, id="none comes near, two equations", marks=slow),
    pytest.param({"optimizer": sme.Adam(), "v": torch.tensor([1.0, 0.02])}, id="adam, near at the start", marks=slow),
    pytest.param({"optimizer": sme.RMSProp(denominator="updated")}, id="updated", marks=slow),
]


@needs_compiler
@pytest.mark.parametrize("case", FLOORS)
def test_far_from_the_floor_steps_are_quick_and_the_same_to_the_last_bit(case, monkeypatch):
    monkeypatch.setattr(paired, "BLOCK_PAIRS", 512)
    setup = made(**{"steps": 8, **case})
    quick = source(setup)
    assert "made[0][p] = " in quick
    whole, counted = f"#define WHOLE 1\n{quick}", f"int tries;\n{quick}".replace("*near = 1; \\", "*near = 1; tries++; \\")
    with torch.no_grad():
        one, other, third = (paired.run_block(dataclasses.replace(setup, source=each), (0, 8, 0, 0))
                             for each in (quick, whole, counted))
    for each in (other, third):
        assert torch.equal(torch.from_numpy(one.moments.comoment), torch.from_numpy(each.moments.comoment))
        assert one.moments.mean.tobytes() == each.moments.mean.tobytes()
    tries = ctypes.c_int.in_dll(library.load(counted), "tries").value
    levels = len(setup.equations()) * 2 * 8 * 14 * (512 // int(re.search(r"#define W (\d+)", quick)[1]))
    assert tries < levels  # of all substeps
    assert (tries > 0) == ("v" in case)


@pytest.mark.slow
@needs_compiler
def test_control_variates_of_a_time_that_is_over_are_not_computed():
    setup = made(order=1, steps=8, times=[0.25, 0.5, 1.0])
    with torch.no_grad():
        slow, ready = TorchEnsemble(setup, (0, 8, 0, 0), 150), dataclasses.replace(setup, source=source(setup))
        fast, spoilt = (CompiledEnsemble(ready, (0, 8, 0, 0), 150) for _ in range(2))
        groups = spoilt.groups
        parts, run = groups.shared.unflatten(1, (groups.count, -1)), 2 * groups.one.shape.numel()
        for i, end in enumerate(groups.ends.tolist()):
            parts[end + 1 :, i, run : run + groups.one.curved.state] = 0  # the noiseless run goes on
            assert not parts[end + 1 :, i].any()
            parts[end + 1 :, i] = torch.nan
        for run in (slow, fast, spoilt):
            for mark in setup.marks:
                run.advance(mark)
    assert groups.ends.tolist() == [2, 4, 8]
    torch.testing.assert_close(fast.carry, slow.carry, rtol=1e-11, atol=1e-13)
    assert torch.equal(spoilt.carry, fast.carry)


def test_views_of_the_same_numbers_are_one_array_if_they_have_one_shape():
    store, known = Store("x[{i}][p]", 4), {}
    flat, square = Array(store, torch.arange(4)), Array(store, torch.arange(4).reshape(2, 2))
    assert one(flat, known) is flat
    assert one(square, known) is square
    assert one([Array(store, torch.arange(4)), Array(store, torch.arange(4).flip(0))], known)[0] is flat
    assert one(Array(Store("y[{i}][p]", 4), torch.arange(4)), known) is not flat
    assert one(1.5, known) == 1.5
