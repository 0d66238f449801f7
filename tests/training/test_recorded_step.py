"""The recorded step of a CUDA card against a plain one, and when it is taken."""

from __future__ import annotations

import pytest
import torch

from cmudrn.networks.registry import make_network
from cmudrn.networks.supervision import make_supervision
from cmudrn.training.config import load_config
from cmudrn.training.data.batches import StepBatch
from cmudrn.training.recorded_step import RecordedStep, can_record
from cmudrn.training.soap import SOAP

SMALL = ["network.features=4", "data.batch=4", "data.patch=16", "training.clip=0.1"]


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("cmudrn-paper", True),
        ("drn-rain", True),
        ("cmudrn-unet", True),  # the floor of its loss is a number on the card
        ("cmudrn-elastic", False),  # depths change
        ("hdcwnet", False),  # and here the loss
    ],
)
def test_steps_that_are_all_alike_can_be_recorded(preset: str, expected: bool) -> None:
    config = load_config(preset)
    assert can_record(config, make_supervision(config.loss)) is expected


needs_card = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")


@needs_card
@pytest.mark.parametrize("preset", ["cmudrn-paper", "cmudrn-unet-glare"])
def test_a_recorded_step_has_the_gradients_of_a_plain_one(preset: str) -> None:
    config = load_config(preset, SMALL)
    torch.manual_seed(0)
    network = make_network(config.network).cuda().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches = [batch_of(rain) for rain in (1, 2, 4)]
    recorded = RecordedStep(network, make_supervision(config.loss), config, batches[0], bf16=False)
    plain = make_supervision(config.loss)
    for step, batch in enumerate(batches, start=400):
        loss, norm = recorded(batch, step)
        found = [parameter.grad.clone() for parameter in network.parameters()]
        alike = make_network(config.network).cuda()
        alike.load_state_dict(network.state_dict())
        degraded, clean, belongs = (x.cuda() for x in (batch.degraded, batch.clean, batch.belongs))
        plain.prepare(degraded, step)
        expected = plain(alike(degraded), clean, belongs).total
        expected.backward()
        before = torch.nn.utils.clip_grad_norm_(alike.parameters(), config.training.clip)
        torch.testing.assert_close(loss, expected.detach(), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(norm, before, rtol=1e-2, atol=1e-3)
        wanted = [parameter.grad for parameter in alike.parameters()]
        torch.testing.assert_close(found, wanted, rtol=0.05, atol=1e-3)


@needs_card
def test_recorded_moves_are_those_of_plain_ones() -> None:
    torch.manual_seed(0)
    shapes = [(8, 4, 3, 3), (8,), (4, 8, 1, 1)]
    gradients = [[torch.randn(shape, device="cuda") for shape in shapes] for _ in range(25)]
    ends = []
    for recorded in (False, True):
        weights = [torch.nn.Parameter(torch.zeros(shape, device="cuda")) for shape in shapes]
        optimiser = SOAP(weights, lr=0.1)
        if recorded:
            optimiser.record()
        for weight in weights:
            weight.grad = torch.zeros_like(weight)
        for step, of_step in enumerate(gradients):
            optimiser.param_groups[0]["lr"] = 0.1 / (1 + step)
            for weight, gradient in zip(weights, of_step, strict=True):
                assert weight.grad is not None
                weight.grad.copy_(gradient)
            optimiser.step()
        ends.append([weight.detach() for weight in weights])
    torch.testing.assert_close(*ends, rtol=1e-3, atol=1e-4)


def batch_of(rain: int) -> StepBatch:
    """Return four pictures, of which the first ones are of rain."""
    clean = torch.rand(4, 3, 16, 16)
    first = torch.arange(4) < rain
    belongs = torch.stack([first, ~first])
    return StepBatch((clean + 0.2).clamp(0, 1), clean, belongs, belongs, 3, 3)
