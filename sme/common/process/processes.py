"""Work over processes, none of which outlives the one that began it."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import torch
from joblib import Parallel, delayed, parallel_config

from sme.common.errors import SMEError
from sme.common.process.blame import files_lack

T = TypeVar("T")
LOOK_S = 1.0
"""between two looks for the parent"""
FOLLOWS = "sme-follow"
"""the thread that looks"""


def spread(work: Callable[..., T], tasks: Iterable[tuple[Any, ...]], processes: int, ordered: bool = True) -> Iterator[T]:
    """`work(*task)` of every task, as they are done or in their order: here, or in worker processes with one thread each.

    There are never more workers than tasks. What a worker refuses is raised here without the worker's traceback.
    """
    waiting = list(tasks)
    workers = min(processes, len(waiting))
    if workers <= 1:
        yield from (work(*task) for task in waiting)
        return
    with parallel_config("loky", n_jobs=workers, inner_max_num_threads=1, initializer=_ready, initargs=(os.getpid(),)):
        parallel = Parallel(return_as="generator" if ordered else "generator_unordered", batch_size=1)
        try:
            yield from parallel(delayed(work)(*task) for task in waiting)
        except (SMEError, OSError) as fault:
            raise fault from None
        except Exception as fault:  # a library may hide it behind a fault of its own
            if (lacking := files_lack(fault)) is not None:
                raise SMEError(f"{workers} processes cannot be started ({lacking.strerror}): allow more open files (ulimit -n), "
                               "or give processes=1") from None
            raise


def follow(parent: int) -> None:
    """End this process, whatever it does, soon after its parent has ended: killed, it told nobody."""

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_S)
        os._exit(1)

    if all(each.name != FOLLOWS for each in threading.enumerate()):
        threading.Thread(target=look, name=FOLLOWS, daemon=True).start()


def follow_joblib() -> None:
    """The same in a worker process of joblib that is not ours, as those of Hydra's launcher; nothing in any other process."""
    if type(multiprocessing.current_process()).__module__.startswith("joblib."):
        follow(os.getppid())


def _ready(parent: int) -> None:
    """In a worker process of ours, never in the user's."""
    follow(parent)
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal interrupts all processes: the first one ends the others
