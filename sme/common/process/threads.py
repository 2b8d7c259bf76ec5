"""Work over threads of this process that take turns in all but compiled code, where they run beside each other.

torch's transforms keep their nesting in globals of the process, and a user's functions may count or remember: one thread at a
time is in Python. Compiled code (`aside`) needs nobody, and lets the others go on.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from sme.common.process.turns import in_turn

T = TypeVar("T")
STACK = 2**24
"""bytes of a thread's stack, on which compiled code keeps a few paths"""
_here = threading.local()


class _Stopped(BaseException):
    """Nobody waits for what a thread does."""


class _Team:
    """Threads that share one turn."""

    def __init__(self) -> None:
        self.turn, self.stopped = threading.Lock(), False


def spread_threads(work: Callable[..., T], tasks: Iterable[tuple[Any, ...]], threads: int) -> Iterator[T]:
    """`work(*task)` of every task as they are done: here, or in so many threads, with the same numbers.

    What one of them raises is raised here. Whoever stops listening, by an interrupt too, waits no longer than for what compiled
    code is at.
    """
    waiting = list(tasks)
    count = min(threads, len(waiting))
    if count <= 1:
        yield from (work(*task) for task in waiting)
        return
    team, done = _Team(), queue.SimpleQueue[tuple[T | None, BaseException | None]]()
    todo, own = iter(waiting), torch.get_num_threads()

    def run() -> None:
        _here.team = team
        try:
            with in_turn(), team.turn:
                while not team.stopped and (task := next(todo, None)) is not None:
                    done.put((work(*task), None))
        except BaseException as fault:
            done.put((None, fault))

    torch.set_num_threads(1)  # as in a worker process: digits do not depend on how many there are
    members = [threading.Thread(target=run, name=f"sme-{number}", daemon=True) for number in range(count)]
    usual = threading.stack_size(STACK)
    try:
        for each in members:
            each.start()
        threading.stack_size(usual)
        for _ in waiting:
            made, fault = done.get()
            if fault is not None:
                raise fault
            yield made  # type: ignore[misc]
    finally:
        team.stopped = True
        for each in members:
            each.join()
        torch.set_num_threads(own)


@contextmanager
def aside() -> Iterator[None]:
    """Within it the others of the team have their turn."""
    team: _Team | None = getattr(_here, "team", None)
    if team is None:
        yield
        return
    team.turn.release()
    try:
        yield
    finally:
        team.turn.acquire()
    if team.stopped:
        raise _Stopped
