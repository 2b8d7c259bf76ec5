"""Optimizers of other libraries as black boxes: rows of docs/torch.md, kept where a library is not installed."""

import importlib
import re
from collections.abc import Iterator

import sme

T0 = 1.0
REASON = re.compile(r"^.*?(?=, by|, like|:)")
"""of a refusal, without its numbers"""


def betas(tau):
    return 1 - tau, 1 - 0.5 * tau


def of_torch(name, **given):
    """A class of pytorch_optimizer at a step size; settings may be functions of it."""
    def make(library):
        kind = getattr(library, name)

        def built(parameters, tau):
            return kind(parameters, lr=tau, **{key: value(tau) if callable(value) else value for key, value in given.items()})

        return built

    return make


def of_optax(write):
    """A transformation at a step size."""
    return lambda library: lambda parameters, tau: write(library, tau)


def both(tau):
    return {"b1": 1 - tau, "b2": 1 - 0.5 * tau}


LIBRARIES = {
    "pytorch_optimizer": {
        "AdaBelief (eps = ετ)": of_torch("AdaBelief", betas=betas, eps=lambda tau: 0.1 * tau, rectify=False),
        "AdEMAMix": of_torch("AdEMAMix", betas=lambda tau: (*betas(tau), 1 - 0.1 * tau), alpha=2.0, eps=0.1, t_alpha_beta3=None),
        "Adan": of_torch("Adan", betas=lambda tau: (1 - tau, 1 - tau, 1 - 0.5 * tau), eps=0.1),
        "Lamb": of_torch("Lamb", betas=betas, eps=0.1, pre_norm=False),
        "LaProp": of_torch("LaProp", betas=betas, eps=0.1, centered=False),
        "Lion (β₁ fixed)": of_torch("Lion", betas=lambda tau: (0.7, 1 - tau)),
        "QHAdam": of_torch("QHAdam", betas=betas, nus=(0.7, 0.8), eps=0.1),
        "StableAdamW": of_torch("StableAdamW", betas=betas, eps=0.1),
        "Tiger (β = 1 − cτ)": of_torch("Tiger", beta=lambda tau: 1 - tau),
        "Yogi": of_torch("Yogi", betas=betas, eps=0.1)},
    "optax": {
        "adabelief": of_optax(lambda optax, tau: optax.adabelief(tau, **both(tau), eps=0.1, eps_root=0.0)),
        "adadelta": of_optax(lambda optax, tau: optax.adadelta(tau, rho=1 - tau, eps=0.1)),
        "adam": of_optax(lambda optax, tau: optax.adam(tau, **both(tau), eps=0.1)),
        "chain(clip_by_global_norm, adamw)": of_optax(lambda optax, tau: optax.chain(
            optax.clip_by_global_norm(0.6), optax.adamw(tau, **both(tau), eps=0.1))),
        "lamb": of_optax(lambda optax, tau: optax.lamb(tau, **both(tau), eps=0.1)),
        "lion (b1 fixed)": of_optax(lambda optax, tau: optax.lion(tau, b1=0.7, b2=1 - tau)),
        "nadam": of_optax(lambda optax, tau: optax.nadam(tau, **both(tau), eps=0.1)),
        "rmsprop": of_optax(lambda optax, tau: optax.rmsprop(tau, decay=1 - 0.5 * tau, eps=0.1)),
        "sgd with momentum": of_optax(lambda optax, tau: optax.sgd(tau, momentum=1 - tau)),
        "yogi": of_optax(lambda optax, tau: optax.yogi(tau, **both(tau), eps=0.1))}}
"""ten of each, at lr = τ and 1 − β = cτ; what is named stands in the table"""


def rows(kept: dict[tuple[str, str], str], say=lambda line: None) -> Iterator[str]:
    """A row for each optimizer, that of the page where its library is not installed."""
    for library, each in LIBRARIES.items():
        try:
            found = importlib.import_module(library)
            if library == "optax":
                importlib.import_module("jax")
        except ImportError:
            say(f"{library} is not installed (pip install -e '.[boxes]'): its {len(each)} rows stay as they are")
            found = None
        for name, make in each.items():
            yield kept[library, name] if found is None else f"| {library} | {name} | {' | '.join(_row(make(found)))} |"


def _row(make) -> tuple[str, str]:
    try:
        box = sme.black_box(make, t0=T0)
    except sme.SMEError as fault:
        return "–", f"refused: {REASON.search(str(fault))[0]}"
    rows = "all paths at once" if getattr(box.box(3), "together", True) else "path by path"
    return ", ".join(box.fields).replace("theta", "θ"), f"taken, {rows}"
