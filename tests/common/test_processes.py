"""Workers: never more than there is to do, none after its parent, and what they refuse in one line."""

import errno
import multiprocessing
import os
import select
import threading
import time

import pytest
from joblib.externals.loky.backend.process import LokyProcess
from omegaconf import OmegaConf

import sme
from sme.cli import config
from sme.common.process import processes


def mine(number):
    return number, os.getpid()


def refuse(number):
    if number == 2:
        raise sme.SMEError("two\nis none") from RuntimeError("a traceback\nof another process")  # as joblib does
    return number


def test_one_task_needs_no_worker():
    assert list(processes.spread(mine, [(5,)], 10**9)) == [(5, os.getpid())]
    assert list(processes.spread(mine, [], 4)) == []


def test_there_are_never_more_workers_than_tasks(monkeypatch):
    asked = []

    def config(backend, n_jobs, **options):
        asked.append((n_jobs, options["initargs"]))
        return real("sequential")

    real = processes.parallel_config
    monkeypatch.setattr(processes, "parallel_config", config)
    assert [number for number, _ in processes.spread(mine, ((i,) for i in range(3)), 10**22)] == [0, 1, 2]
    assert [number for number, _ in processes.spread(mine, ((i,) for i in range(7)), 2)] == list(range(7))
    assert asked == [(3, (os.getpid(),)), (2, (os.getpid(),))]


def test_a_workers_refusal_comes_without_its_traceback(monkeypatch):
    config = processes.parallel_config
    monkeypatch.setattr(processes, "parallel_config", lambda *_, **__: config("sequential"))
    with pytest.raises(sme.SMEError, match=r"^two is none$") as caught:
        list(processes.spread(refuse, [(1,), (2,)], 2))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def starve(number):
    try:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    finally:
        raise UnboundLocalError("child_r")  # as Python's own code does where a pipe cannot be had


def test_that_no_more_files_may_be_open_is_said_whatever_hides_it(monkeypatch):
    config = processes.parallel_config
    monkeypatch.setattr(processes, "parallel_config", lambda *_, **__: config("sequential"))
    with pytest.raises(sme.SMEError, match=r"2 processes cannot be started \(Too many open files\).*ulimit -n.*processes=1"):
        list(processes.spread(starve, [(1,), (2,)], 2))


def test_a_process_ends_with_its_parent(monkeypatch):
    monkeypatch.setattr(processes, "LOOK_S", 0.02)
    read, write = os.pipe()
    parent = os.fork()
    if parent == 0:
        child = os.fork()
        if child == 0:
            os.close(read)
            processes.follow(os.getppid())
            time.sleep(60)
            os._exit(0)
        time.sleep(0.2)
        os._exit(0)
    os.close(write)
    began = time.monotonic()
    os.waitpid(parent, 0)
    assert select.select([read], [], [], 30)[0]  # the end of the pipe: nobody holds it open any more
    assert os.read(read, 1) == b""
    assert 0.15 < time.monotonic() - began < 30
    os.close(read)


def test_a_job_of_hydras_joblib_launcher_follows_and_no_other_process_does(monkeypatch):
    followed = []
    monkeypatch.setattr(processes, "follow", followed.append)
    assert config.values_of(OmegaConf.create({"tau": 1})) == {"tau": 1}
    monkeypatch.setattr(multiprocessing, "current_process", multiprocessing.Process)
    processes.follow_joblib()  # of a pool of the user's own
    assert not followed
    monkeypatch.setattr(multiprocessing, "current_process", LokyProcess)
    config.values_of(OmegaConf.create({"tau": 1}))
    assert followed == [os.getppid()]


def test_one_thread_looks_for_the_parent(monkeypatch):
    monkeypatch.setattr(processes, "LOOK_S", 0.01)
    begun, parents = [], iter([7] * 5)
    monkeypatch.setattr(os, "getppid", lambda: next(parents, 8))
    monkeypatch.setattr(os, "_exit", begun.append)
    for _ in range(3):
        processes.follow(7)
    for each in threading.enumerate():
        if each.name == processes.FOLLOWS:
            each.join(5)
    assert begun == [1]
