"""The one entry of all scripts: streams in any state, Hydra's own faults, an interrupt, what is ours and what is not."""

import io
import os
import runpy
import signal
import sys
import warnings
from pathlib import Path

import pytest

import sme
from sme.cli import command
from sme.common.derivatives import torch_forward
from sme.common.identity import recipe
from sme.common.process import interrupt
from tests.support.few import few

SCRIPTS = Path(__file__).parents[2] / "scripts"
WIDE = "τ = ½, 漢字 \udcff"


def ended(task, capsys):
    """Exit code and standard error of a task."""
    code = 0
    try:
        command.cli(task)
    except SystemExit as stop:
        code = stop.code
    return code, capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_any_encoding_takes_any_text(monkeypatch, encoding):
    held = io.BytesIO()
    stream = io.TextIOWrapper(held, encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    command.cli(lambda: print(WIDE))
    assert b"\\udcff" in held.getvalue()
    assert stream.errors == "strict"  # as it was


def test_closed_streams_are_no_streams(monkeypatch):
    ran = []
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)

    def task():
        print("x", file=sys.stdout)
        print("y", file=sys.stderr)
        warnings.warn("z", stacklevel=1)
        ran.append(1)

    command.cli(task)
    assert ran == [1]
    assert sys.stdout is None


def test_a_reader_that_has_gone_does_not_stop_the_work(monkeypatch, capsys):
    read, write = os.pipe()
    os.close(read)
    ran = []
    with os.fdopen(write, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)

        def task():
            for _ in range(3):
                print("x" * 100_000)
            ran.append(1)

        assert ended(task, capsys) == (0, "")
    assert ran == [1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
def test_a_full_disk_behind_the_output_is_one_line(monkeypatch, capsys):
    with open("/dev/full", "w", encoding="utf-8") as stream:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdout", stream)
        code, err = ended(lambda: print("x"), capsys)
    assert code == 2
    assert err.startswith("error: cannot use the standard output: No space left")
    assert err.count("\n") == 1


@pytest.mark.parametrize(("fault", "code", "words"), [
    (sme.SMEError("a\nb"), 2, "error: a b\n"),
    (PermissionError(13, "Permission denied", "/x"), 2, "error: cannot use /x: Permission denied. Give"),
    (OSError(28, "No space left on device"), 2, "error: cannot use the standard output: No space"),
    (MemoryError("3 EiB"), 2, "error: there is not enough memory (3 EiB)"),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried\nmore"), 2, "error: there is not enough memory"),
    (KeyboardInterrupt(), 130, "error: interrupted"),
])
def test_a_fault_is_one_line_and_a_code(capsys, fault, code, words):
    def task():
        raise fault

    found, err = ended(task, capsys)
    assert found == code
    assert words in err
    assert err.count("\n") == 1


def test_a_loss_that_is_refused_for_want_of_memory_is_not_blamed(capsys):
    def task():
        try:
            raise MemoryError
        except MemoryError as fault:
            raise sme.SMEError("the loss cannot be differentiated") from fault

    assert ended(task, capsys) == (2, "error: there is not enough memory: give fewer paths or a smaller problem\n")


@pytest.mark.parametrize(("fault", "words"), [
    (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "not enough memory to load the libraries"),
    (MemoryError(), "not enough memory to load the libraries"),
    (ModuleNotFoundError("No module named 'torchsde'", name="torchsde"), "torchsde, which sme needs, cannot be loaded"),
])
def test_libraries_that_cannot_be_loaded_are_one_line(fault, words, monkeypatch, capsys):
    def fail(name):
        raise fault

    monkeypatch.setattr(command.importlib, "import_module", fail)
    with pytest.raises(SystemExit):
        command.loaded("sme.cli.tasks")
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1


def test_a_module_of_ours_that_cannot_be_loaded_keeps_its_traceback():
    with pytest.raises(ModuleNotFoundError):
        command.loaded("sme.nowhere")


@pytest.mark.parametrize("fault", [ZeroDivisionError, RuntimeError])
def test_a_fault_of_ours_keeps_its_traceback(fault):
    task = {}
    exec("def task(): raise fault", {"__name__": "sme.somewhere", "fault": fault}, task)
    with pytest.raises(fault):
        command.cli(task["task"])


@pytest.mark.parametrize(("code", "words"), [
    ("raise LookupError('x\\ny')", "code of yours fails: LookupError: x y (own.py, line 1, in task)"),
    ("import sys; sys.exit(3)", "code of yours ends the program by itself (SystemExit: 3; own.py, line 1, in task)"),
    ("import warnings; warnings.simplefilter('error'); warnings.warn('too\\nfew')", "too few"),
])
def test_what_code_of_the_users_does_is_one_line(code, words, capsys):
    task = {}
    exec(compile(f"def task(): {code}", "own.py", "exec"), {"__name__": "own"}, task)
    with warnings.catch_warnings():
        assert ended(task["task"], capsys) == (2, f"error: {words}\n")


def test_a_module_that_ends_the_program_as_it_is_imported_is_refused(tmp_path, monkeypatch):
    (tmp_path / "ending.py").write_text("import sys\nsys.exit('done')\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(sme.SMEError, match=r"ending\.Rule cannot be imported: SystemExit: done"):
        recipe.located("ending.Rule")


def test_a_message_names_no_cause_of_another_process():
    class _RemoteTraceback(Exception):  # noqa: N818
        """As joblib calls it."""

    fault = sme.SMEError("the cause")
    fault.__cause__ = _RemoteTraceback("two thousand characters")
    assert command._in_words(fault) == "the cause"


HYDRA = [["--resolve"], ["-c", "job", "-r"], ["--experimental-rerun=gone"], ["--shell-completion"],
         ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=0", "seed=3,4"],
         ["-m", "hydra.sweeper.max_batch_size=0", "seed=3,4"], ["-m", "hydra/launcher=submitit_slurm", "seed=3,4"],
         ["times=" + "[" * 3000 + "]" * 3000], ["hydra.job.num=x"], ["optimizer._target_=4"], ["optimizer._target_=[]"],
         ["optimizer._target_={b:2}"], ["optimizer._target_=nan"], ["optimizer._target_=sme.problems.noise"],
         ["observables={b:2}"],
         ["observables=[2.5]"], ["tau=3e-324"], ["processes=4e22"], ["plan=maybe"], ["seed=abc"], ["results=''", "plan=7"]]


@pytest.mark.parametrize("words", few(HYDRA, *range(0, len(HYDRA), 2)), ids=lambda words: " ".join(words)[:40])
def test_flags_and_launchers_of_hydra_end_in_one_line(monkeypatch, capsys, tmp_path, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(SCRIPTS / "weak_error.py"), *words, "optimizer=sgd", "order=1", "paths=1"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(sys.argv[0], run_name="__main__")
    err = capsys.readouterr().err
    lines = [line for line in err.splitlines() if not line.startswith("warning: ")]
    assert stop.value.code == 2
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert not list(tmp_path.rglob("points"))


def test_a_copied_script_finds_its_settings(monkeypatch, capsys, tmp_path):
    copy = tmp_path / "ours.py"
    copy.write_text((SCRIPTS / "weak_error.py").read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(copy), "optimizer=sgd", "--cfg", "job"])
    runpy.run_path(str(copy), run_name="__main__")
    assert "horizon: 1.0" in capsys.readouterr().out


@pytest.mark.parametrize(("words", "ours"), [
    ([str(SCRIPTS / "collect.py")], True), (["-m", "sme.info"], True), (["-m", "mine.train"], False),
    (["/home/me/train.py"], False), ([""], False), (["-c"], False)])
def test_an_interrupt_is_left_to_the_system_while_a_script_of_ours_is_imported(monkeypatch, words, ours):
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(sys, "argv", words[:1])
    monkeypatch.setattr(sys, "orig_argv", ["python", *words])
    try:
        for handler, quiet in ((signal.default_int_handler, ours), (signal.SIG_IGN, False), (lambda *_: None, False)):
            signal.signal(signal.SIGINT, handler)
            interrupt.quiet()
            assert signal.getsignal(signal.SIGINT) is (signal.SIG_DFL if quiet else handler)
            interrupt.heard()
            assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_every_script_goes_through_the_one_entry():
    for script in SCRIPTS.glob("*.py"):
        lines = script.read_text(encoding="utf-8").splitlines()
        assert lines[-4:] == ["from sme.cli.main import main", "", 'if __name__ == "__main__":', f'    main("{script.stem}")']
        assert (command.CONF / f"{script.stem}.yaml").is_file()
        assert (command.CONF / "smoke" / f"{script.stem}.yaml").is_file()


def test_what_torch_deprecates_in_its_own_code_is_not_said(monkeypatch):
    def noisy(*_):
        warnings.warn("torch.jit.script is deprecated", FutureWarning, stacklevel=2)

    monkeypatch.setattr(torch_forward, "_load", noisy)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch_forward.load.__wrapped__()
    assert torch_forward.forward_ad._maybe_load_decompositions is torch_forward.load


def test_a_date_of_the_environment_that_is_no_number_is_left_out(monkeypatch, capsys):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "soon")
    command.loaded("json")
    assert capsys.readouterr().err.startswith("warning: SOURCE_DATE_EPOCH='soon' is no number, and no library can read it")
    assert "SOURCE_DATE_EPOCH" not in os.environ
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    command.loaded("json")
    assert (capsys.readouterr().err, os.environ["SOURCE_DATE_EPOCH"]) == ("", "86400")


def test_a_folder_that_was_deleted_is_said_before_torch_ends_the_program(tmp_path, monkeypatch, capsys):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(SystemExit) as stop:
        command.loaded("json")
    monkeypatch.undo()
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: the current folder was deleted")
