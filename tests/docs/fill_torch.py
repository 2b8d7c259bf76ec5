"""Put the tables of optimizers into docs/torch.md: python -m tests.docs.fill_torch"""

import re
import warnings
from pathlib import Path

import torch

import sme
from sme.optimizers.imported.against import NEAR, differences
from sme.optimizers.imported.forms import REFUSED, Place, form
from sme.optimizers.regimes import REGIMES
from tests.docs import other_optimizers

PAGE = Path(__file__).parents[2] / "docs" / "torch.md"
HEAD = "| class | τ ballistic | τ batch-equivalent | fields | 50 steps |\n|---|---|---|---|---|\n"
OTHERS = "| library | optimizer | fields | status |\n|---|---|---|---|\n"
OTHER = re.compile(re.escape(OTHERS) + r"((?:\|.*\n)*)")
TABLE = re.compile(re.escape(HEAD) + r"(?:\|.*\n)*")
LONG = 0.04
"""a learning rate with which every class starts soon"""
VARIANTS = {
    "SGD": ({}, {"momentum": 0.9, "dampening": 0.9}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}),
    "RMSprop": ({}, {"centered": True}, {"momentum": 0.9}, {"centered": True, "momentum": 0.9}),
    "Adam": ({}, {"amsgrad": True}), "Adagrad": ({"lr_decay": 0.1},), "ASGD": ({"t0": 1},)}
"""settings that make another rule of a class"""


def classes():
    """Those of torch.optim, by name."""
    return {name: kind for name, kind in sorted(vars(torch.optim).items())
            if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer}


def rows():
    """A row for each class and variant."""
    for name, kind in classes().items():
        for settings in VARIANTS.get(name, ({},)):
            shown = name + (f" ({', '.join(f'{key}={value}' for key, value in settings.items())})" if settings else "")
            parameter = torch.nn.Parameter(torch.zeros((3, 2) if name == "Muon" else 3))
            optimizer = kind([parameter], lr=LONG, **settings)
            try:
                yield f"| {shown} | {' | '.join(_known(kind, optimizer))} |"
            except sme.SMEError as fault:
                reason = REFUSED.get(name) or str(fault).partition(" with ")[2].partition(", and no")[0]
                yield f"| {shown} | – | – | – | refused: {reason} |"


def _known(kind, optimizer):
    group = optimizer.param_groups[0]
    made, steps, fields = form(kind, group), [], ()
    sizes = ["give tau" if made.loose else {2: "√lr", 1: "lr", 0.5: "lr²", 0: "give tau"}[made.power(each)]
             for each in REGIMES.values()]
    for place, size in zip(REGIMES.values(), sizes, strict=True):
        tau = 0.1 if size == "give tau" else LONG ** (1 / made.power(place))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a start that is chosen
            rule = sme.from_torch(optimizer, regime=place, tau=tau, t0=2 * tau if group.get("t0") == 1 else None)
        fields = rule.fields
        steps.append(max(differences(kind, group, rule, Place(place, tau, rule.t0 or None)).values()))
    assert max(steps) <= NEAR
    return *sizes, ", ".join(fields).replace("theta", "θ"), "torch's"


def kept(text: str) -> dict[tuple[str, str], str]:
    """The rows of other libraries that stand on the page."""
    lines = OTHER.findall(text)[0].splitlines()
    return {tuple(line.strip("| ").split(" | ")[:2]): line for line in lines}


def filled(text: str, say=lambda line: None) -> str:
    """The page with its tables; `say` is told of what is not installed."""
    text = TABLE.sub(lambda _: HEAD + "".join(f"{row}\n" for row in rows()), text)
    others = "".join(f"{row}\n" for row in other_optimizers.rows(kept(text), say))
    return OTHER.sub(lambda _: OTHERS + others, text)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), print), encoding="utf-8")
