"""What is done to products and choices before they are written in C, to the same last bit."""

import ctypes
import math

import numpy as np
import pytest

from sme.common.library import load
from sme.simulate.codegen.operations import POINTWISE
from sme.simulate.codegen.scalars import Program, add, multiply, negate
from tests.simulate.test_compiled import needs_compiler

NUMBERS = np.random.default_rng(3).normal(size=1000)


def lines(program, *outputs):
    return [line.split(" = ")[1] for line in program.statements(outputs)[1]]


@pytest.mark.parametrize("scale", [0.5, -0.25, 8.0, 2.0**40])
def test_a_power_of_two_goes_to_the_factor_that_all_paths_share(scale):
    program = Program()
    x, tau = program.input("x"), program.input("tau", uniform=True)
    for factor in (tau, 0.3, multiply(program, tau, 3.0)):
        assert len(lines(program, multiply(program, factor, multiply(program, x, scale)))) == 1
        assert len(lines(program, multiply(program, multiply(program, x, scale), factor))) == 1
    uniform, _ = program.statements([multiply(program, tau, multiply(program, x, scale))])
    assert uniform[0].endswith(f"= tau * {f'({scale})' if scale < 0 else scale};")


def test_a_sign_goes_there_too():
    program = Program()
    x, tau = program.input("x"), program.input("tau", uniform=True)
    assert lines(program, multiply(program, tau, negate(program, x))) == ["x * v1;"]
    assert lines(program, multiply(program, negate(program, x), 0.3)) == ["x * (-0.3);"]


@pytest.mark.parametrize("scale", [0.3, 3.0, 2.0**100])
def test_what_would_be_rounded_otherwise_is_done_in_the_order_given(scale):
    program = Program()
    x, y, tau = program.input("x"), program.input("y"), program.input("tau", uniform=True)
    assert len(lines(program, multiply(program, tau, multiply(program, x, scale)))) == 2
    assert len(lines(program, multiply(program, y, multiply(program, x, 0.5)))) == 2  # both are of a path


def test_two_shared_factors_do_not_hand_it_to_each_other():
    program = Program()
    tau, dt = program.input("tau", uniform=True), program.input("dt", uniform=True)
    found = multiply(program, multiply(program, tau, 0.5), multiply(program, dt, 0.25))
    assert [line.split(" = ")[1] for line in program.statements([found])[0]] == ["tau * 0.5;", "dt * 0.25;", "v0 * v1;"]


def chosen(program, x, value, below, level=0.25):
    return POINTWISE["where"](program, POINTWISE["ge"](program, x, level), value, below)


def test_above_the_level_an_input_needs_no_choice_and_constants_are_hidden():
    program = Program()
    x = program.input("x")
    total = multiply(program, chosen(program, x, x, program.make("sqrt({0})", x)), chosen(program, x, 1.0, 0.0))
    _, written, above = program.usual([total], 0.25, "t")
    assert [line.split(" = ")[1] for line in written] == ["x >= 0.25;", "x;", "(t - t + 1.0) * 1.0;", "v2 * v3;"]
    assert above == ["v1"]
    _, written, _ = program.usual([chosen(program, x, -0.0, 1.0)], 0.25, "t")
    assert written[-1].endswith("= (t - t + 1.0) * -0.0;")  # whose sign a sum would lose


def test_a_chosen_product_stays_a_choice_so_that_it_is_rounded_before_it_is_added_to():
    program = Program()
    x, y = program.input("x"), program.input("y")
    for value in (multiply(program, x, y), negate(program, x)):
        _, written, _ = program.usual([add(program, chosen(program, x, value, 0.0), y)], 0.25, "t")
        assert sum(" ? " in line for line in written) == 1


@needs_compiler
def test_the_moved_powers_of_two_round_alike():
    program = Program()
    x, tau = program.input("x[p]"), program.input("tau", uniform=True)
    moved = add(program, multiply(program, tau, multiply(program, multiply(program, x, x), -0.125)), x)
    uniform, others = program.statements([moved])
    body = "\n".join((*uniform, "for (int p = 0; p < 1000; p++) {", *others, f"y[p] = {moved.code};", "}"))
    library = load(f"void apply(double tau, const double *x, double *y) {{\n{body}\n}}\n")
    made, tau = np.empty(1000), 1 / 3
    library.apply(ctypes.c_double(tau), NUMBERS.ctypes.data_as(ctypes.c_void_p), made.ctypes.data_as(ctypes.c_void_p))
    square = NUMBERS * NUMBERS
    apart = tau * (-0.125 * square) + NUMBERS
    assert all(abs(a - b) <= math.ulp(max(abs(c), abs(b))) for a, b, c in zip(made, apart, NUMBERS, strict=True))
    assert (tau * (-0.125 * square) == (tau * -0.125) * square).all()
