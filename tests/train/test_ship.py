"""Weights between two runs."""

import pytest
import torch

from cmudrn.errors import CmudrnError
from cmudrn.train.ship import blend


def test_a_blend_lies_between() -> None:
    ours, theirs = {"a": torch.zeros(2, 3)}, {"a": torch.ones(2, 3)}
    assert torch.equal(blend(ours, theirs, 0)["a"], ours["a"])
    assert torch.equal(blend(ours, theirs, 1)["a"], theirs["a"])
    assert torch.allclose(blend(ours, theirs, 0.25)["a"], torch.full((2, 3), 0.25))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(CmudrnError, match="different networks"):
        blend({"a": torch.zeros(2)}, {"a": torch.zeros(3)}, 0.5)
    with pytest.raises(CmudrnError, match="between 0 and 1"):
        blend({"a": torch.zeros(2)}, {"a": torch.zeros(2)}, 2)
