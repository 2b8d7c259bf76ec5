"""Work over processes."""

import signal
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import torch
from joblib import Parallel, delayed, parallel_config

T = TypeVar("T")


def spread(work: Callable[..., T], tasks: Iterable[tuple[Any, ...]], processes: int, ordered: bool = True) -> Iterator[T]:
    """`work(*task)` of every task, as they are done or in their order: here, or in worker processes with one thread each."""
    if processes == 1:
        yield from (work(*task) for task in tasks)
        return
    with parallel_config("loky", n_jobs=processes, inner_max_num_threads=1, initializer=_ready):
        parallel = Parallel(return_as="generator" if ordered else "generator_unordered", batch_size=1)
        yield from parallel(delayed(work)(*task) for task in tasks)


def _ready() -> None:
    """In a worker process of ours, never in the user's."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal interrupts all processes: the first one ends the others
