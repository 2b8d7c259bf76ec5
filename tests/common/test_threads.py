"""Threads that are in Python one at a time, and beside each other in compiled code alone."""

import threading
import time

import pytest
import torch

from sme.common.process import turns
from sme.common.process.threads import aside, spread_threads


def test_every_task_is_done_once_by_as_many_as_there_are():
    found = list(spread_threads(lambda number: (number, threading.get_ident()), [(i,) for i in range(7)], 3))
    assert sorted(number for number, _ in found) == list(range(7))
    assert threading.get_ident() not in {each for _, each in found}
    assert list(spread_threads(lambda number: (number, threading.get_ident()), [(5,)], 3)) == [(5, threading.get_ident())]
    assert list(spread_threads(abs, [], 3)) == []


def test_python_is_run_by_one_at_a_time_and_compiled_code_beside():
    inside, most, meeting = [], [], threading.Barrier(3, timeout=10)

    def work(number):
        for _ in range(20):
            inside.append(number)
            most.append(len(inside))
            time.sleep(1e-4)
            inside.remove(number)
            if number < 3:
                with aside():
                    meeting.wait()  # all three are here at once
        return number

    assert sorted(spread_threads(work, [(i,) for i in range(3)], 3)) == [0, 1, 2]
    assert max(most) == 1


def test_a_fault_ends_the_others_at_their_next_turn():
    begun = threading.Event()
    steps = []

    def work(number):
        if number == 0:
            begun.wait(10)
            raise ValueError("what there is not")
        begun.set()
        for _ in range(10_000):
            with aside():
                time.sleep(1e-3)
            steps.append(number)
        return number

    def waits(number):
        with aside():
            pass
        return work(number)

    with pytest.raises(ValueError, match="what there is not"):
        list(spread_threads(waits, [(1,), (0,), (2,)], 2))
    assert len(steps) < 10_000
    assert not [each for each in threading.enumerate() if each.name.startswith("sme-")]


def test_who_stops_listening_leaves_no_thread_and_torch_as_it_was():
    own = torch.get_num_threads()
    torch.set_num_threads(own + 1)
    try:
        going = spread_threads(lambda number: torch.get_num_threads(), [(i,) for i in range(50)], 2)
        assert next(going) == 1
        going.close()
        assert torch.get_num_threads() == own + 1
    finally:
        torch.set_num_threads(own)
    assert not [each for each in threading.enumerate() if each.name.startswith("sme-")]


def test_a_thread_has_the_turn_of_the_one_that_waits_for_it():
    @turns.entry
    def inner(number):
        return number, torch.is_grad_enabled()

    @turns.entry
    def outer():
        return list(spread_threads(inner, [(0,), (1,)], 2))

    assert sorted(outer()) == [(0, False), (1, False)]


def test_without_a_team_nothing_is_set_aside():
    with aside():
        assert threading.active_count() >= 1
