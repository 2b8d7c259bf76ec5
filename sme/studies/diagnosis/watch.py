"""`sme.watch`: the noise of the gradient along an ordinary training loop."""

import math
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from sme.common.errors import SMEError, reason, warn
from sme.common.inputs import dense, short, whole
from sme.common.storage.files import write_text
from sme.convergence.fit.fieller import factor

WINDOW = 32
"""pairs of gradients behind a row"""
FEWEST = 3
"""pairs from which on there is an interval"""
SINGLE = 4
"""bytes of a number in single precision"""
COLUMNS = ["step", "lr", "noise_scale", "low", "high", "gradient_square", "noise_trace", "gradient", "pairs"]


class Watch:
    """The numbers of `sme.diagnose` along a run: every so many steps two gradients in a row are held against each other.

    For gradients `g, g'` of two batches, `½|g − g'|²` is `tr Σ` in the mean and `g·g'` is `|∇f|²`, up to how far a step moves
    them; of a reshuffled epoch of `N` steps, whose batches lean away from each other, both are freed of `tr Σ/(N − 1)`. A row is
    the ratio of their means over the last `WINDOW` pairs with Fieller's interval.

    Attributes
    ----------
    table
        a row for each pair: `step`, `lr` of the first group, `noise_scale` = `tr Σ/|∇f|²` with `low` and `high` (95 %),
        `gradient_square` = `|∇f|²`, `noise_trace` = `tr Σ`, `gradient`, the norm of the batch's gradient, and `pairs`.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, every: int, epoch: int | None, window: int, csv: Path | None,
                 writer: Any) -> None:
        self.optimizer, self.every, self.epoch, self.window = optimizer, every, epoch, window
        self.csv, self.writer = csv, writer
        self.steps, self.spent, self.began = 0, 0.0, math.nan
        self._held: Tensor | None = None
        self._pairs: list[tuple[int, float, float, float, float]] = []
        self._bad = False
        self._hook = optimizer.register_step_pre_hook(self._step)

    def _step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        begun = time.perf_counter()
        if math.isnan(self.began):
            self.began = begun
        place, self.steps = self.steps % self.every, self.steps + 1
        if place <= 1:
            with torch.no_grad():
                self._look(place)
        self.spent += time.perf_counter() - begun

    def _look(self, place: int) -> None:
        seen = [p.grad for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        if not seen:
            return
        now = torch.cat([_numbers(each).to(seen[0].device) for each in seen])
        before, self._held = self._held, now if place == 0 else None
        if place == 0 or before is None or before.shape != now.shape:
            return  # the first of two, or another set of parameters has gradients now
        both, one, other = torch.stack((before.dot(now), before.dot(before), now.dot(now))).tolist()
        if not math.isfinite(both + one + other):
            if not self._bad:
                warn(f"step {self.steps}: a gradient is not finite (NaN or ∞), and the watch leaves it out: look at the loss")
            self._bad = True
            return
        self._add(both, one, other)

    def _add(self, both: float, one: float, other: float) -> None:
        apart = 0.5 * (one + other) - both
        lean = apart / self.epoch if self.epoch else 0.0  # E apart = tr Σ N/(N − 1), E both = |∇f|² − tr Σ/(N − 1)
        lr = float(self.optimizer.param_groups[0]["lr"])
        self._pairs.append((self.steps, lr, apart - lean, both + lean, math.sqrt(other)))
        if self.writer is not None:
            row = dict(zip(COLUMNS, self._row(len(self._pairs)), strict=True))
            for name in ("noise_scale", "low", "high", "gradient"):
                self.writer.add_scalar(f"sme/{name}", row[name], self.steps)

    def _row(self, count: int) -> tuple[float, ...]:
        """Of the last pairs among the first `count`; worked out when it is asked for, not while the loop runs."""
        step, lr, _, _, norm = self._pairs[count - 1]
        pairs = np.array([each[2:4] for each in self._pairs[max(0, count - self.window) : count]])
        trace, signal = map(float, pairs.mean(0))
        value, low, high = trace / signal if signal > 0 else math.inf, 0.0, math.inf
        if len(pairs) >= FEWEST:
            spread = np.cov(pairs.T) / len(pairs)
            _, low, high = factor((trace, signal), (spread[0, 0], spread[1, 1], spread[0, 1]), len(pairs))
        return step, lr, value, low, high, signal, trace, norm, len(pairs)

    @property
    def table(self) -> pd.DataFrame:
        """All rows so far."""
        return pd.DataFrame([self._row(k + 1) for k in range(len(self._pairs))], columns=COLUMNS)

    @property
    def cost(self) -> float:
        """The share of the loop's time, from its first step on, that went into watching."""
        return self.spent / max(time.perf_counter() - self.began, 1e-300) if self.steps > 1 else math.nan

    def close(self) -> None:
        """Watch no longer; the table is written, if a file was named."""
        self._hook.remove()
        if self.csv is not None:
            write_text(self.csv, self.table.to_csv(index=False))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.close()
        except SMEError as late:
            if kind is None:
                raise
            warn(str(late))  # the loop's own fault is the one to be seen

    def __str__(self) -> str:
        if not self._pairs:
            watched = "one step was" if self.steps == 1 else f"{self.steps} steps were"
            return (f"nothing is known yet: {watched} watched, and the noise shows between the gradients of two in "
                    f"a row, once in {self.every}")
        row = dict(zip(COLUMNS, self._row(len(self._pairs)), strict=True))
        return (f"step {row['step']}: tr Σ/|∇f|² of a step's gradient is {row['noise_scale']:.3g} ({row['low']:.3g} to "
                f"{row['high']:.3g}, 95 %, from {row['pairs']} pairs of gradients); watching took {100 * self.cost:.1f} % of the "
                "time")

    def __repr__(self) -> str:
        return f"<Watch: {self}>"


def _numbers(gradient: Tensor) -> Tensor:
    """Side by side, in single precision at the least: inner products of half the digits overflow, and differ by rounding."""
    flat = dense("a gradient", gradient.detach())
    flat = (torch.view_as_real(flat) if flat.is_complex() else flat).flatten()
    return flat if flat.dtype.itemsize >= SINGLE else flat.float()


def _file(csv: Any) -> Path | None:
    """Where the table goes, seen to be possible before the loop runs."""
    if csv is None:
        return None
    try:
        path = Path(csv)
        path.parent.mkdir(parents=True, exist_ok=True)
        if "\0" in str(path) or path.is_dir() or not os.access(path.parent, os.W_OK):
            raise PermissionError("it cannot be written to")
        return path
    except (TypeError, ValueError, OSError) as fault:
        raise SMEError(f"csv must be a file that can be written to, got {short(csv)}: {reason(fault)}") from None


def watch(optimizer: torch.optim.Optimizer, every: int = 10, *, epoch: int | None = None, window: int = WINDOW,
          csv: str | Path | None = None, writer: Any = None) -> Watch:
    """Follow the noise of the gradients that an optimizer is given, at the cost of three inner products every `every` steps.

    Parameters
    ----------
    optimizer
        of torch.optim; its steps are as they were.
    every
        so many steps, at least 2, of which the first two are looked at.
    epoch
        steps of an epoch whose batches are reshuffled, such as `len(loader)`: batches of one epoch are not independent, and with
        few of them the numbers are off by a share `1/epoch` of the noise without it. None: independent batches.
    window
        so many pairs are averaged over, at least 3.
    csv
        a file that the table is written to by `close()`, or at the end of `with sme.watch(…)`.
    writer
        anything with `add_scalar(name, value, step)`, such as tensorboard's `SummaryWriter`.

    Returns
    -------
    Watch
        with the `table` so far; printing it says the last numbers and what watching cost.

    Raises
    ------
    SMEError
        for bad input.
    """
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise SMEError(f"watch takes an optimizer of torch.optim, such as torch.optim.AdamW(module.parameters()), got "
                       f"{short(optimizer)}")
    if writer is not None and not callable(getattr(writer, "add_scalar", None)):
        raise SMEError(f"writer must have add_scalar(name, value, step), as tensorboard's SummaryWriter, got {short(writer)}")
    steps = None if epoch is None else whole("epoch", epoch, 2)
    return Watch(optimizer, whole("every", every, 2), steps, whole("window", window, FEWEST), _file(csv), writer)
