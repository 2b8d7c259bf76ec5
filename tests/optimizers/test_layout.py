"""The two readings of a state."""

import torch

import sme
from sme.optimizers.layout import Layout


def test_a_whole_state_and_its_named_fields_are_the_same_numbers():
    layout = Layout(sme.Adam().fields, 3)
    x = torch.arange(18.0, dtype=torch.float64).reshape(2, 9)
    state = layout.named(x)
    assert list(state) == ["theta", "m", "v"]
    assert state["m"].tolist() == [[3, 4, 5], [12, 13, 14]]
    assert torch.equal(layout.whole({"v": state["v"], "more": x, **state}), x)
    assert torch.equal(layout.whole(layout.named(x[0])), x[0])
