"""Settings as they were written before, and what is said of them; and those of today, which pass as they are."""

import sys
import warnings

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString

import sme
from sme.cli import spellings

OLD = [  # script, as it was written, as Hydra gets it
    ("check_order", ["rmsprop", "mine.Own"], ["optimizers=[rmsprop,mine.Own]"]),
    ("check_order", ["--models", "--results", "there"], ["table=models", "results=there"]),
    ("check_order", ["sgd", "--processes=2"], ["processes=2", "optimizers=[sgd]"]),
    ("collect", ["some where/results"], ["results='some where/results'"]),
    ("importance", ["--optimizer", "adam", "--batch", "2", "--examples=12", "--start", "0.1"],
     ["optimizer=adam", "problem.batch_size=2", "problem.examples=12", "start.theta=0.1"]),
    ("autoencoder", ["--steps", "3", "--seeds", "2"], ["steps=3", "paths=2"]),
    ("study", ["extend", "results/one", "--tau", "1/64,1/128", "--budget-s", "60"],
     ["tau=[1/64,1/128]", "budget_s=60", "task=extend", "study=results/one"]),
    ("study", ["compare", "a", "b", "--orders", "2", "1"], ["orders=[2,1]", "task=compare", "study=a", "other=b"]),
    ("panels", ["histograms", "x", "problem.problem=wells", "--over", "tau"],
     ["over=tau", "task=histograms", "name=x", "conditions=['problem.problem=wells']"]),
    ("scaling", ["torch.adam.lr=0.1", "~torch.sgd", "runs=8"], ["optimizers.adam.lr=0.1", "~optimizers.sgd", "paths=8"]),
    ("regime", ["torch=rmsprop", "lr=0.1"], ["torch=rmsprop", "lr=0.1"]),
    ("weak_error", ["--budget-s=60", "order=1"], ["budget_s=60", "order=1"]),
    ("collect", ["1999"], ["results='1999'"]),
    ("collect", ["--res", "true"], ["results='true'"]),
    ("study", ["show", "/some/lr=0.1/one"], ["task=show", "study='/some/lr=0.1/one'"]),
    ("study", ["show", "été\\it's"], ["task=show", "study='été\\it\\'s'"]),
    ("regime", ["++torch=adam", "--steps", "7"], ["++torch=adam", "steps=7"]),
]
NEW = [
    ("weak_error", ["optimizer=adam", "order=[1,2]", "-m", "tau=1/4,1/8", "~experiment", "+foo=1", "--cfg", "job"],
     ["-m", "--cfg", "job", "optimizer=adam", "order=[1,2]", "tau=1/4,1/8", "~experiment", "+foo=1"]),
    ("weak_error", ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "optimizer.c=0.5"],
     ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "optimizer.c=0.5"]),
    ("svag", ["optimizer=adamw"], ["torch=adamw"]),
    ("svag", ["problem=mine.valley", "optimizer=adam"], ["problem=own", "problem._target_=mine.valley", "torch=adam"]),
    ("weak_error", ["optimizer=mine.My.Own", "+optimizer.c=1"],
     ["optimizer=own", "optimizer._target_=mine.My.Own", "+optimizer.c=1"]),
    ("weak_error", ["optimizer=torch.NAdam", "optimizer.betas=[0.9,0.99]"],
     ["optimizer=torch", "optimizer.kind=NAdam", "optimizer.betas=[0.9,0.99]"]),
    ("trajectories", ["optimizer=torch.optim.Muon"], ["optimizer=torch", "optimizer.kind=Muon"]),
    ("weak_error", ["--info", "order=1"], ["--info", "all", "order=1"]),
    ("weak_error", ["-i", "defaults-tree", "-c", "job"], ["-i", "defaults-tree", "-c", "job"]),
    ("models", ["~parts.network", "parts.small.tau=[1/4]"], ["~parts.network", "parts.small.tau=[1/4]"]),
    ("panels", ["task=errors", "name=x", "horizon=10", "optimizer.name=sgd,adam", "observables=[loss]", "smoke=true"],
     ["task=errors", "name=x", "observables=[loss]", "smoke=true", "conditions=['horizon=10','optimizer.name=sgd,adam']"]),
]
WRONG = [
    ("weak_error", ["adam"], "'adam' is no setting of weak_error: write name=value"),
    ("weak_error", ["--ordre", "2"], "--ordre is no flag of weak_error"),
    ("weak_error", ["+optimizer=adam"], r"adds a second optimizer, and there is one: write optimizer=…, without the \+"),
    ("trajectories", ["tau=1/4", "++problem=wells"], "adds a second problem"),
    ("study", ["show", "a", "b", "c"], "'c' is no setting of study"),
    ("known_answers", ["--paths"], "--paths has no value: write paths=value"),
    ("known_answers", ["--paths", "--tau", "1/4"], "--paths has no value: write paths=value"),
    ("weak_error", ["--plan", "optimizer=adam"], "--plan has no value: write plan=value"),
    ("check_order", ["--laws=false"], "--laws=false takes no value: write table=laws"),
    ("check_order", ["optimizers=[adam]", "sgd"], "'sgd' is no setting of check_order"),
    ("weak_error", ["-q"], "'-q' is no setting of weak_error"),
    ("weak_error", ["--cfg", "all", "-c"], "-c has no value: write -c job"),
    ("weak_error", ["--cfg=jobs"], "unknown value of --cfg 'jobs': allowed are job, hydra, all"),
    ("weak_error", ["-i", "nothing"], "unknown value of -i 'nothing'"),
]
LOST = [
    ("weak_error", ["seed=1", "++seed=2"], "seed is given 2 times, and the last one counts: [+][+]seed=2"),
    ("check_order", ["--models", "--laws"], "table is given 2 times, and the last one counts: table=laws"),
    ("weak_error", ["hydra/launcher=joblib", "order=1"], "hydra/launcher=joblib has no effect on a single run: add -m"),
]


@pytest.mark.parametrize(("script", "given", "read"), OLD)
def test_what_was_written_before_is_read_and_the_new_form_said(script, given, read, monkeypatch):
    monkeypatch.setattr(sys, "argv", [f"scripts/{script}.py"])
    with pytest.warns(UserWarning, match=rf"write python scripts/{script}\.py .*: the form given here goes with") as said:
        assert spellings.read(script, given) == read
    new = str(said[0].message).partition(".py ")[2].partition(": the form")[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert spellings.read(script, spellings.shlex.split(new)) == read, "what is said is what is read"


@pytest.mark.parametrize(("script", "given", "read"), NEW)
def test_what_is_written_now_passes_without_a_word(script, given, read):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert spellings.read(script, given) == read


@pytest.mark.parametrize(("script", "given", "said"), WRONG)
def test_what_never_was_is_refused(script, given, said):
    with pytest.raises(sme.SMEError, match=said):
        spellings.read(script, given)


@pytest.mark.parametrize(("script", "given", "said"), LOST)
def test_nothing_is_passed_over_in_silence(script, given, said, monkeypatch):
    monkeypatch.setattr(sys, "argv", [f"scripts/{script}.py"])
    with pytest.warns(UserWarning, match=said):
        spellings.read(script, given)


FOLDERS = ["x", "2024", "1e5", ".5", "-inf", "NULL", ".", "a\\b", "b\\", "\\'", "it's", "é", "(x)", "a=b, c", 'q"q']


@pytest.mark.parametrize("text", FOLDERS)
def test_a_folder_of_any_name_comes_back_from_hydra_as_it_was(text):
    read = OverridesParser.create().parse_overrides([f"results={spellings._text(text)}"])[0].value()
    assert getattr(read, "text", read) == text
    assert isinstance(read, str | QuotedString)
