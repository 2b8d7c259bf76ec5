"""Progress: a bar on a terminal and in a notebook, sparse lines in a log, nothing elsewhere."""

import io
import multiprocessing
import re
import sys
import threading
import time
from types import SimpleNamespace

import pytest
import tqdm as bars
import tqdm.auto

from sme.common.process import progress
from sme.common.process.progress import Lines, fraction, phase


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Log:
    """All that was written to it."""

    def __init__(self, capture):
        self.capture, self.text = capture, ""

    def getvalue(self):
        self.text += self.capture.readouterr().err
        return self.text


@pytest.fixture
def log(monkeypatch, capsys):
    """A log whose first line comes after a twentieth of a second."""
    monkeypatch.setattr(progress, "FIRST", 0.05)
    monkeypatch.setattr(Lines, "_ended", -progress.GAP)
    return Log(capsys)


def until(stream, pattern):
    began = time.monotonic()
    while not re.search(pattern, stream.getvalue()):
        assert time.monotonic() - began < 10, stream.getvalue()
        time.sleep(0.01)


def threads():
    return [each for each in threading.enumerate() if each.name == "sme-progress"]


def test_short_work_leaves_no_line_in_a_log(log, monkeypatch):
    monkeypatch.setattr(progress, "FIRST", 60.0)
    with progress.progress(total=3, desc="cells") as bar, phase("compile, order 2"):
        bar.update(3)
    assert list(progress.progress(range(4))) == [0, 1, 2, 3]
    assert log.getvalue() == ""
    began = time.monotonic()
    while threads():
        assert time.monotonic() - began < 10


def test_long_work_says_what_goes_on_and_how_long_it_will(log):
    with progress.progress(total=10, unit="step", desc="order 2, τ = 1/16, 3 of 5") as bar:
        bar.update(4)
        until(log, r"progress: order 2, τ = 1/16, 3 of 5: 40% after \d\d:\d\d, \d\d:\d\d left\n")
        with phase("compile, order 2"):
            until(log, r"; compile, order 2: after 00:0\d\n")
        bar.set_description("order 2, τ = 1/8, 4 of 5")
        bar.update(6)
        until(log, r"τ = 1/8, 4 of 5: 100% after")
    lines = log.getvalue().splitlines()
    assert len(lines) <= 6, "they grow sparse"
    assert all(line.startswith("progress: ") for line in lines)
    assert Lines.running == []


def test_the_time_between_lines_doubles_over_phases_that_follow_each_other(log):
    began, said = time.monotonic(), []
    while time.monotonic() - began < 0.8:
        with phase("trace"):
            time.sleep(0.02)
        said.append(log.getvalue().count("\n"))
    assert 3 <= said[-1] <= 5


def test_a_log_that_is_closed_ends_no_work(log, monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.progress(total=2) as bar:
        stream.close()
        time.sleep(0.2)
        assert threads()
        bar.update(2)


def test_a_terminal_has_a_bar_that_goes_away(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with phase("trace, order 2"):
        assert "trace, order 2 …" in stream.getvalue()
    for _ in progress.progress(range(3), desc="models", mininterval=0):
        pass
    assert "models:" in stream.getvalue()
    assert stream.getvalue().endswith("\r")


def test_a_notebook_has_its_own_and_other_shells_have_not(monkeypatch):
    shell = SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert progress._kind() == (tqdm.auto.tqdm, False)
    shell.config = {}
    assert progress._kind()[0] is Lines
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert progress._kind()[0] is Lines


def test_there_is_none_without_a_stream_in_a_worker_or_where_it_is_turned_off(monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    assert progress._kind() == (bars.tqdm, None)
    monkeypatch.delenv("TQDM_DISABLE")
    monkeypatch.setattr(multiprocessing, "current_process", lambda: SimpleNamespace(name="LokyProcess-1"))
    assert progress._kind() == (bars.tqdm, None)
    stream = io.StringIO()
    stream.close()
    for nowhere in (None, stream):
        monkeypatch.setattr(sys, "stderr", nowhere)
        assert progress._kind() == (bars.tqdm, True)
        assert list(progress.progress(range(2))) == [0, 1]


def test_a_log_without_a_thread_has_no_lines_and_the_work_goes_on(log, monkeypatch):
    def none(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none)
    with progress.progress(total=2) as bar:
        bar.update(2)
    assert log.getvalue() == ""


@pytest.mark.parametrize(("tau", "said"), [(1 / 16, "1/16"), (1.0, "1"), (0.1, "1/10"), (3 / 8, "0.375"),
                                           (0.000976562, "1/1024"), (0.3, "0.3"),
                                           (1 / 2**30, "9.31323e-10")])
def test_step_sizes_are_fractions_where_they_are_given_so(tau, said):
    assert fraction(tau) == said
