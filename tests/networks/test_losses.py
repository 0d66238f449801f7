"""The losses against scikit-image and against the paper's equations written out."""

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from cmudrn.networks.config import LossConfig, TermConfig
from cmudrn.networks.drn import Outputs
from cmudrn.networks.losses import Supervision, distance
from cmudrn.networks.ssim import ssim
from cmudrn.networks.supervision import make_supervision
from cmudrn.training.config import load_config


@pytest.mark.parametrize("shape", [(11, 11), (24, 31), (64, 48)])
def test_ssim_is_scikit_images(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    clean = rng.random((3, *shape))
    estimate = np.clip(clean + 0.1 * rng.standard_normal(clean.shape), 0, 1)
    oracle = structural_similarity(
        estimate,
        clean,
        channel_axis=0,
        data_range=1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    ours = ssim(torch.from_numpy(estimate)[None], torch.from_numpy(clean)[None])
    assert abs(float(ours[0]) - oracle) < 1e-6


def test_zero_padding_is_a_zero_padded_convolution() -> None:
    x, y = torch.rand(2, 1, 3, 20, 20, dtype=torch.double)
    taps = torch.exp(-0.5 * (torch.arange(-5.0, 6.0, dtype=torch.double) / 1.5) ** 2)
    window = torch.outer(taps, taps)[None, None] / taps.sum() ** 2

    def blur(z: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(z, window.repeat(3, 1, 1, 1), padding=5, groups=3)

    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
    c1, c2 = 1e-4, 9e-4
    oracle = ((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean()
    torch.testing.assert_close(ssim(x, y, "zero")[0], oracle)


def test_ssim_of_a_picture_with_itself_is_one_and_its_gradient_is_right() -> None:
    x = torch.rand(1, 1, 12, 12, dtype=torch.double, requires_grad=True)
    assert float(ssim(x, x)[0].detach()) == pytest.approx(1)
    y = torch.rand(1, 1, 12, 12, dtype=torch.double)
    assert torch.autograd.gradcheck(lambda z: ssim(z, y), (x,))


def test_ssim_refuses_pictures_smaller_than_its_window() -> None:
    with pytest.raises(ValueError, match="11x11"):
        ssim(torch.rand(1, 3, 10, 20), torch.rand(1, 3, 10, 20))


@pytest.mark.parametrize(
    ("squared", "reduction", "expected"),
    [(True, "sum", 12.0), (True, "mean", 0.25), (False, "sum", 12**0.5), (False, "mean", 0.5)],
)
def test_every_frobenius_reading(squared: bool, reduction: str, expected: float) -> None:
    term = TermConfig.model_validate({"squared": squared, "reduction": reduction})
    estimate, clean = torch.full((1, 3, 4, 4), 0.5), torch.zeros(1, 3, 4, 4)
    assert float(distance(estimate, clean, term)[0]) == pytest.approx(expected)


def test_the_unsquared_norm_has_a_gradient_at_zero() -> None:
    estimate = torch.zeros(1, 3, 4, 4, requires_grad=True)
    distance(estimate, torch.zeros(1, 3, 4, 4), TermConfig(squared=False)).sum().backward()
    assert estimate.grad is not None
    assert torch.isfinite(estimate.grad).all()


def outputs_for(count: int, stages: int = 2) -> tuple[Outputs, torch.Tensor]:
    torch.manual_seed(1)
    branches = tuple(tuple(torch.rand(count, 3, 16, 16) for _ in range(stages)) for _ in range(2))
    return Outputs(branches, torch.rand(count, 3, 16, 16)), torch.rand(count, 3, 16, 16)


def test_the_faithful_loss_is_the_papers_sum_written_out() -> None:
    outputs, clean = outputs_for(3)
    belongs = torch.tensor([[True, True, False], [False, False, True]])
    loss = Supervision(LossConfig())(outputs, clean, belongs)

    def term(x: torch.Tensor, y: torch.Tensor, power: int) -> torch.Tensor:
        return 1 - ssim(x[None], y[None])[0] + (x - y).square().sum() ** (power / 2)

    local = recurrence = torch.zeros(())
    for branch, mine in zip(outputs.branches, belongs, strict=True):
        for i in mine.nonzero().flatten():
            local = local + term(branch[-1][i], clean[i], 2) / mine.sum()
            for estimate in branch:
                recurrence = recurrence + term(estimate[i], clean[i], 2) / mine.sum()
    fused = sum(term(outputs.fused[i], clean[i], 1) for i in range(3)) / 3
    torch.testing.assert_close(loss.total, local + recurrence + fused)
    assert loss.terms["local"] == pytest.approx(float(local), rel=1e-5)


def test_linear_stage_weights_are_the_drn_authors() -> None:
    outputs, clean = outputs_for(2)
    belongs = torch.ones(2, 2, dtype=torch.bool)
    term = {"ssim": 0.0, "reduction": "mean"}
    off = {"weight": 0.0}
    table = {"local": off, "global": off, "recurrence": term, "stage_weights": "linear"}
    loss = Supervision(LossConfig.model_validate(table))(outputs, clean, belongs)
    oracle = sum(
        0.1 * stage * (estimate - clean).square().mean()
        for branch in outputs.branches
        for stage, estimate in enumerate(branch, 1)
    )
    torch.testing.assert_close(loss.total, oracle)


def test_parts_of_a_batch_add_up_to_the_whole() -> None:
    outputs, clean = outputs_for(4)
    belongs = torch.tensor([[True, True, False, False], [False, True, True, True]])
    supervision = Supervision(LossConfig())
    whole = supervision(outputs, clean, belongs).total
    parts = torch.zeros(())
    for part in ([0, 2], [1, 3]):
        mine = Outputs(
            tuple(tuple(x[part] for x in branch) for branch in outputs.branches),
            outputs.fused[part],
        )
        parts = parts + supervision(mine, clean[part], belongs[:, part], belongs).total
    torch.testing.assert_close(parts, whole)


def test_a_batch_without_a_task_still_reaches_every_parameter() -> None:
    outputs, clean = outputs_for(2)
    for x in (*outputs.branches[0], *outputs.branches[1]):
        x.requires_grad_()
    belongs = torch.tensor([[True, True], [False, False]])
    Supervision(LossConfig())(outputs, clean, belongs).total.backward()
    assert all(x.grad is not None for branch in outputs.branches for x in branch)


WEIGHTED = load_config("cmudrn-unet-glare").loss


@pytest.mark.parametrize("config", [LossConfig(), WEIGHTED], ids=["plain", "weighted"])
@pytest.mark.parametrize("rain", [0, 1, 4])
def test_static_shapes_cost_the_same(rain: int, config: LossConfig) -> None:
    outputs, clean = outputs_for(4)
    degraded = (clean + 0.1 * (torch.rand_like(clean) < 0.1)).clamp(0, 1)
    first = torch.arange(4) < rain
    belongs = torch.stack([first, ~first])
    costs, gradients = [], []
    for static in (False, True):
        leaves = [x.detach().requires_grad_() for branch in outputs.branches for x in branch]
        fused = outputs.fused.detach().requires_grad_()
        supervision = make_supervision(config)
        supervision.static_shapes = static
        supervision.prepare(degraded, torch.tensor(300.0) if static else 300)
        loss = supervision(Outputs((tuple(leaves[:2]), tuple(leaves[2:])), fused), clean, belongs)
        loss.total.backward()
        costs.append(torch.stack([loss.total, *loss.terms.values()]))
        gradients.append([x.grad for x in (*leaves, fused)])
    torch.testing.assert_close(*costs)
    torch.testing.assert_close(*gradients)
