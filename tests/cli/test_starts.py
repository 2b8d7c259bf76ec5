"""Fields of a start that no optimizer takes: refused where a command line or a call gives them, passed over in options."""

import hydra
import pytest
import torch
from hydra.core.hydra_config import HydraConfig

import sme
from sme import weak_error
from sme.cli import atlas_config, config, physical_config
from sme.cli.command import CONF
from sme.studies.atlas.run import atlas
from sme.studies.importance.run import gain


@pytest.fixture
def composed(monkeypatch):
    """A script's configuration, as `hydra.main` hands it over."""

    def compose(name, *overrides):
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            whole = hydra.compose(name, list(overrides), return_hydra_config=True)
            plain = hydra.compose(name, [each for each in overrides if not each.startswith("hydra.")])
        monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
        HydraConfig.instance().set_config(whole)
        return plain

    return compose


@pytest.mark.parametrize(("name", "overrides", "run", "said"), [
    ("weak_error", ["optimizer=sgd", "start.v=0.3"], config.run, "start.v has no use: sgd has theta; leave it out"),
    ("weak_error", ["optimizer=momentum", "+start={v: 2}"], config.run, "start.v has no use: momentum has theta, m"),
    ("weak_error", ["optimizer=rmsprop", "++start.m=0.5", "plan=true"], config.run, "start.m has no use: rmsprop has theta, v"),
    ("trajectories", ["optimizer=adagrad", "start.m=1"], config.draw, "start.m has no use: adagrad has theta, v"),
    ("regime", ["problem=polynomial", "start.v=0.1"], physical_config.examine, "start.v has no use: only theta"),
    ("phases", ["problem=polynomial", "start.v=0.1"], physical_config.chart, "start.v has no use: only theta"),
    ("svag", ["start.m=0.1"], physical_config.approach, "start.m has no use: only theta"),
    ("scaling", ["problem=logistic", "start.m=0.1"], physical_config.rescale, "start.m has no use: only theta"),
    ("atlas", ["~optimizers.adam", "start.m=0.2"], atlas_config.explore, "start.m has no use: these optimizers have theta, v"),
])
def test_a_field_from_the_command_line_that_nothing_takes_is_refused(name, overrides, run, said, composed):
    with pytest.raises(sme.SMEError, match=said.replace("+", r"\+")):
        run(composed(name, *overrides))


def test_options_serve_several_optimizers_and_so_does_a_sweep(composed, monkeypatch, recwarn):
    seen = []
    monkeypatch.setattr(config, "weak_error", lambda **parts: seen.append(parts["start"]))
    monkeypatch.setattr(config, "arguments", lambda values, _, of=config.arguments: of(values, weak_error))
    config.run(composed("weak_error", "optimizer=sgd"))  # the option quadratic has m and v
    config.run(composed("weak_error", "optimizer=adam", "start.m=0.25"))
    assert not recwarn.list
    config.run(composed("weak_error", "optimizer=sgd", "start.m=0.25", "hydra.mode=MULTIRUN"))
    assert [list(each) for each in seen] == [["theta"], ["theta", "m", "v"], ["theta"]]
    assert float(seen[1]["m"][0]) == 0.25
    assert str(recwarn.pop().message).startswith("start.m has no use: sgd has theta")


@pytest.mark.parametrize("call", [
    lambda start: sme.weak_error(sme.Quadratic(), sme.SGD(), tau=0.5, start=start),
    lambda start: sme.trajectories(sme.Quadratic(), sme.SGD(), tau=0.5, start=start),
    lambda start: sme.check_order(sme.Quadratic(), sme.SGD(), start=start),
    lambda start: sme.stationary(sme.Quadratic(), sme.SGD(), tau=0.5, start=start),
    lambda start: atlas(sme.Polynomial(noise=0.5), [sme.RMSProp()], {**start, "m": start["v"]}),
    lambda start: gain(sme.Logistic(examples=20), sme.SGD(), tau=0.5, horizon=1.0, start=start),
])
def test_a_field_that_a_call_gives_and_the_optimizer_has_not_is_refused(call):
    with pytest.raises(sme.SMEError, match="unknown field in start"):
        call({"theta": torch.ones(2), "v": torch.ones(2)})
