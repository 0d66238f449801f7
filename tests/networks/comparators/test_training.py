"""The comparators' own losses, and what only their training needs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cmudrn.networks.comparators.airnet import AirNet
from cmudrn.networks.comparators.dual_tree import Coefficients, inverse, transform
from cmudrn.networks.comparators.harness import (
    AirNetHarness,
    AirNetTrainingOutputs,
    seen_by_hdcwnet,
    trainable,
)
from cmudrn.networks.comparators.hdcwnet import HdcwOutputs, pack_coarse, pack_fine, unpack
from cmudrn.networks.comparators.losses import (
    AuthorsSupervision,
    contradict_channel,
    contradict_loss,
    wavelet_loss,
)
from cmudrn.networks.config import LossConfig
from cmudrn.networks.registry import count_parameters
from cmudrn.training.config import load_config
from cmudrn.training.ema import update_ema

BELONGS = torch.ones(1, 2, dtype=torch.bool)
FLOOR = 6e-6
"""What the wavelet loss adds to the squares of six maps."""


def pictures() -> tuple[Tensor, Tensor]:
    """Return (degraded, clean), each (2, 3, 32, 32)."""
    torch.manual_seed(3)
    clean = F.interpolate(torch.rand(2, 3, 4, 4), (32, 32), mode="bilinear")
    return (clean + (torch.rand(2, 1, 32, 32) > 0.9) * 0.4).clamp(0, 1), clean


@pytest.mark.parametrize(
    ("kind", "authors"),
    [
        ("tkl-narrow", "tkl"),
        ("hdcwnet-narrow", "hdcwnet"),
        ("hdcwnet-narrow", "hdcwnet-slip"),
        ("airnet-narrow", "airnet"),
    ],
)
def test_every_comparator_learns_by_its_authors_loss(kind: str, authors: str) -> None:
    degraded, clean = pictures()
    network = trainable(kind, 2).train()
    supervision = AuthorsSupervision(LossConfig.model_validate({"authors": authors}))
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    costs = []
    for step in range(4):
        outputs = network(degraded)
        supervision.prepare(degraded, step)
        loss = supervision(outputs, clean, BELONGS)
        optimiser.zero_grad()
        loss.total.backward()
        optimiser.step()
        pixels = (outputs.fused - clean).abs().mean()
        costs.append((pixels if authors == "airnet" else loss.total).item())
    assert costs[-1] < costs[0]


def maps_of(picture: Tensor, *, fine_like_the_forward_one: bool) -> HdcwOutputs:
    """Return the maps of an HDCW-Net that makes the coefficients of a picture, and its result."""
    outer = transform(picture)
    inner = transform(outer.low)
    pack = pack_fine if fine_like_the_forward_one else pack_coarse
    fine1, coarse1 = pack(outer.fine), pack_coarse(outer.coarse)
    whole = inverse(Coefficients(outer.low, unpack(fine1), unpack(coarse1)))
    restored = whole[:, :, 16:-16, 16:-16]
    return HdcwOutputs(
        restored, whole, outer.low, fine1, coarse1,
        inner.low, pack(inner.fine), pack_coarse(inner.coarse),
    )  # fmt: skip


def test_without_the_slip_no_wavelet_loss_means_the_clean_picture() -> None:
    degraded, clean = map(seen_by_hdcwnet, pictures())
    made = maps_of(clean, fine_like_the_forward_one=False)
    assert wavelet_loss(made, degraded, clean, slip=False).item() == pytest.approx(FLOOR, rel=0.01)
    assert torch.allclose(made.whole, clean, atol=1e-4)


def test_with_the_slip_the_clean_picture_costs_something() -> None:
    degraded, clean = map(seen_by_hdcwnet, pictures())
    made = maps_of(clean, fine_like_the_forward_one=True)
    assert wavelet_loss(made, degraded, clean, slip=True).item() > 2 * FLOOR
    assert wavelet_loss(made, clean, clean, slip=True).item() == pytest.approx(FLOOR, rel=0.01)
    assert not torch.allclose(made.whole, clean, atol=1e-2)


def test_the_contradict_channel_is_the_greatest_of_the_least() -> None:
    picture = torch.full((1, 3, 40, 40), 0.2)
    picture[0, :, 0, 0] = torch.tensor([0.9, 0.7, 0.8])
    channel = contradict_channel(picture)
    assert channel.shape == (1, 1, 40, 40)
    assert channel[0, 0, 17, 17].item() == pytest.approx(0.7)
    assert channel[0, 0, 18, 18].item() == pytest.approx(0.2)
    assert contradict_loss(picture, picture).item() == 0.5


def test_airnet_learns_its_encoder_alone_first() -> None:
    degraded, clean = pictures()
    network = trainable("airnet-narrow", 2).train()
    config = LossConfig.model_validate({"authors": "airnet", "encoder_steps": 5})
    supervision = AuthorsSupervision(config)
    for step, moves in ((4, False), (5, True)):
        network.zero_grad()
        supervision.prepare(degraded, step)
        supervision(network(degraded), clean, BELONGS).total.backward()
        for name, parameter in network.named_parameters():
            if name.startswith("network.R.tail"):
                assert parameter.grad is not None and bool(parameter.grad.any()) == moves


def test_airnet_remembers_its_keys_in_a_ring() -> None:
    network = AirNet(4, 1, 1, queue=3)
    harness = AirNetHarness(network).train()
    held = dict(network.named_buffers())
    queue, pointer = held["E.E.queue"], held["E.E.queue_ptr"]
    before = queue.clone()
    outputs = harness(torch.rand(2, 3, 16, 16))
    assert isinstance(outputs, AirNetTrainingOutputs) and outputs.logits.shape == (2, 4)
    assert int(pointer) == 2
    assert torch.equal(queue[:, 2], before[:, 2]) and not torch.equal(queue[:, 0], before[:, 0])
    harness(torch.rand(2, 3, 16, 16))
    assert int(pointer) == 1 and not torch.equal(queue[:, 2], before[:, 2])
    assert torch.allclose(queue.norm(dim=0), torch.ones(3))


def test_what_does_not_learn_does_not_count() -> None:
    assert count_parameters(trainable("airnet-narrow", 2)) == count_parameters(AirNet(16, 2, 2))


def test_counters_have_no_average() -> None:
    average = {"counter": torch.tensor(3), "weight": torch.tensor(0.0)}
    update_ema(average, {"counter": torch.tensor(9), "weight": torch.tensor(1.0)}, 0.5, 1000)
    assert average["counter"] == 9 and average["weight"] == 0.5


@pytest.mark.parametrize("kind", ["tkl", "hdcwnet", "airnet"])
@pytest.mark.parametrize("width", ["", "-narrow"])
def test_every_comparator_has_a_preset(kind: str, width: str) -> None:
    config = load_config(kind + width)
    assert config.network.kind == kind + width and config.loss.authors == kind
    assert config.network.has_one_branch and config.data.sources
