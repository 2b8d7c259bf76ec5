"""torch's recurrent layers, written out step by step: torch.func cannot batch its own."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Cell = Callable[[Tensor, tuple[Tensor, ...], Sequence[Tensor]], tuple[Tensor, ...]]
"""from what goes in (already times its weight), the states and `(w_hh, b_hh)` to the new states"""


def _plain(squash: Callable[[Tensor], Tensor]) -> Cell:
    return lambda x, states, weights: (squash(x + F.linear(states[0], *weights)),)


def _gru(x: Tensor, states: tuple[Tensor, ...], weights: Sequence[Tensor]) -> tuple[Tensor, ...]:
    h = states[0]
    reset, update, new = x.chunk(3, -1)
    by_reset, by_update, by_new = F.linear(h, *weights).chunk(3, -1)
    reset, update = torch.sigmoid(reset + by_reset), torch.sigmoid(update + by_update)
    new = torch.tanh(new + reset * by_new)
    return (new + update * (h - new),)


def _lstm(x: Tensor, states: tuple[Tensor, ...], weights: Sequence[Tensor]) -> tuple[Tensor, ...]:
    into, forget, cell, out = (x + F.linear(states[0], *weights)).chunk(4, -1)
    kept = torch.sigmoid(forget) * states[1] + torch.sigmoid(into) * torch.tanh(cell)
    return torch.sigmoid(out) * torch.tanh(kept), kept


def _run(cell: Cell, input: Tensor, first: Sequence[Tensor], params: Sequence[Tensor], has_biases: bool, num_layers: int,
         bidirectional: bool, batch_first: bool) -> tuple[Tensor, list[Tensor]]:
    each, ways = 4 if has_biases else 2, 2 if bidirectional else 1
    if len(params) != each * num_layers * ways:
        raise NotImplementedError("recurrent layers with projections are not written out")
    x, last = input.transpose(0, 1) if batch_first else input, []
    for layer in range(num_layers):
        outputs = []
        for way in range(ways):
            place = layer * ways + way
            w_in, w_hidden, *biases = params[place * each : (place + 1) * each]
            states = tuple(state[place] for state in first)
            steps = F.linear(x, w_in, *biases[:1])
            seen = []
            for step in steps.flip(0) if way else steps:
                states = cell(step, states, (w_hidden, *biases[1:]))
                seen.append(states[0])
            outputs.append(torch.stack(seen[::-1] if way else seen))
            last.append(states)
        x = torch.cat(outputs, -1)
    return x.transpose(0, 1) if batch_first else x, [torch.stack(part) for part in zip(*last, strict=True)]


def layer(cell: Cell, several: bool = False) -> Callable[..., tuple[Tensor, ...]]:
    """A function of torch such as `torch.gru`, of sequences of one length, without dropout; `several` states are a tuple."""

    def run(input: Tensor, hx: Tensor | Sequence[Tensor], params: Sequence[Tensor], has_biases: bool, num_layers: int,
            dropout: float, train: bool, bidirectional: bool, batch_first: bool | None = None) -> tuple[Tensor, ...]:
        if batch_first is None or (dropout and train and num_layers > 1):
            raise NotImplementedError("recurrent layers on packed sequences, or with dropout, are not written out")
        out, last = _run(cell, input, list(hx) if several else [hx], params, has_biases, num_layers,  # type: ignore[list-item]
                         bidirectional, batch_first)
        return (out, *last)

    return run


FORMS: dict[Callable[..., object], Callable[..., object]] = {
    torch.gru: layer(_gru), torch.lstm: layer(_lstm, several=True), torch.rnn_tanh: layer(_plain(torch.tanh)),
    torch.rnn_relu: layer(_plain(torch.relu))}
