"""The recorded step of a CUDA card against a plain one, and when it is taken."""

from __future__ import annotations

import pytest
import torch

from cmudrn.networks.registry import make_network
from cmudrn.networks.supervision import make_supervision
from cmudrn.training.config import load_config
from cmudrn.training.data.batches import StepBatch
from cmudrn.training.recorded_step import RecordedStep, can_record

SMALL = ["network.features=4", "data.batch=4", "data.patch=16", "training.clip=0.1"]


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("cmudrn-paper", True),
        ("drn-rain", True),
        ("cmudrn-elastic", False),  # depths change
        ("cmudrn", False),  # and the loss
        ("cmudrn-unet", False),
    ],
)
def test_steps_that_are_all_alike_can_be_recorded(preset: str, expected: bool) -> None:
    config = load_config(preset)
    assert can_record(config, make_supervision(config.loss)) is expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
def test_a_recorded_step_has_the_gradients_of_a_plain_one() -> None:
    config = load_config("cmudrn-paper", SMALL)
    torch.manual_seed(0)
    network = make_network(config.network).cuda().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches = [batch_of(rain) for rain in (1, 2, 4)]
    recorded = RecordedStep(network, make_supervision(config.loss), config, batches[0], bf16=False)
    plain = make_supervision(config.loss)
    for batch in batches:
        loss, norm = recorded(batch)
        found = [parameter.grad.clone() for parameter in network.parameters()]
        alike = make_network(config.network).cuda()
        alike.load_state_dict(network.state_dict())
        outputs = alike(batch.degraded.cuda())
        expected = plain(outputs, batch.clean.cuda(), batch.belongs.cuda()).total
        expected.backward()
        before = torch.nn.utils.clip_grad_norm_(alike.parameters(), config.training.clip)
        torch.testing.assert_close(loss, expected.detach(), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(norm, before, rtol=1e-2, atol=1e-3)
        wanted = [parameter.grad for parameter in alike.parameters()]
        torch.testing.assert_close(found, wanted, rtol=0.05, atol=1e-3)


def batch_of(rain: int) -> StepBatch:
    """Return four pictures, of which the first ones are of rain."""
    clean = torch.rand(4, 3, 16, 16)
    first = torch.arange(4) < rain
    belongs = torch.stack([first, ~first])
    return StepBatch((clean + 0.2).clamp(0, 1), clean, belongs, belongs, 3, 3)
