"""SOAP against Adam, and the properties of its rotations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from cmudrn.training.soap import (
    SOAP,
    Factors,
    by_axes,
    eigenvectors,
    find_factors,
    first_state,
    move,
    rotate,
)

BETAS = (0.95, 0.95)


def follow(optimiser: torch.optim.Optimizer, parameter: Tensor, gradients: list[Tensor]) -> Tensor:
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimiser.step()
    return parameter.detach()


def test_rotations_are_undone_by_their_transposes() -> None:
    tensor = torch.rand(4, 5, 6)
    bases = [torch.linalg.qr(torch.rand(n, n))[0] for n in (4, 5, 6)]
    turned = rotate(tensor, bases)
    torch.testing.assert_close(turned, torch.einsum("abc,ai,bj,ck->ijk", tensor, *bases))
    torch.testing.assert_close(rotate(turned, [b.T for b in bases]), tensor)


def test_a_steps_numbers_may_be_tensors() -> None:
    torch.manual_seed(0)
    gradients = [torch.randn(4, 5, 3, 3) for _ in range(3)]
    ends = []
    for wrap in (float, torch.tensor):
        kernel = nn.Parameter(torch.zeros(4, 5, 3, 3))
        state = first_state(by_axes(gradients[0]))
        for step, gradient in enumerate(gradients[1:], start=1):
            kernel.grad = gradient
            factors = Factors(*(wrap(x) for x in find_factors(0.1, BETAS, step)))
            with torch.no_grad():
                move(kernel, state, factors, BETAS)
        ends.append(kernel.detach())
    torch.testing.assert_close(*ends)
    assert float(ends[0].abs().max()) > 0


def test_a_bias_gets_plain_adam_after_one_step_of_looking() -> None:
    gradients = [torch.randn(7) for _ in range(6)]
    ours, theirs = nn.Parameter(torch.zeros(7)), nn.Parameter(torch.zeros(7))
    moved = follow(SOAP([ours], lr=0.1), ours, gradients)
    adam = torch.optim.Adam([theirs], lr=0.1, betas=(0.95, 0.95))
    torch.testing.assert_close(moved, follow(adam, theirs, gradients[1:]))


def test_a_kernel_moves_alike_in_every_basis() -> None:
    """Turned gradients give a turned step: what Adam, which sees the axes, does not do."""
    gradients = [torch.randn(4, 5, 3, 3).double().float() for _ in range(9)]
    bases = [torch.linalg.qr(torch.randn(n, n))[0] for n in (4, 5, 9)]
    turned = [rotate(g.flatten(2), bases).reshape(g.shape) for g in gradients]
    plain, other = nn.Parameter(torch.zeros(4, 5, 3, 3)), nn.Parameter(torch.zeros(4, 5, 3, 3))
    moved = rotate(follow(SOAP([plain], lr=0.1), plain, gradients).flatten(2), bases)
    torch.testing.assert_close(
        follow(SOAP([other], lr=0.1), other, turned).flatten(2), moved, atol=2e-3, rtol=1e-2
    )


@pytest.mark.parametrize("seed", range(3))
def test_it_learns_a_badly_conditioned_kernel_faster_than_adam(seed: int) -> None:
    torch.manual_seed(seed)
    mixing = torch.linalg.qr(torch.randn(6, 6))[0] * torch.logspace(0, -3, 6)
    inputs = torch.einsum("ij,bjhw->bihw", mixing, torch.randn(16, 6, 12, 12))
    truth = torch.randn(6, 6, 3, 3)
    target = nn.functional.conv2d(inputs, truth)
    losses = {}
    for name, make in {"soap": SOAP, "adam": torch.optim.Adam}.items():
        kernel = nn.Parameter(torch.zeros_like(truth))
        optimiser = make([kernel], lr=0.03)
        for _ in range(300):
            optimiser.zero_grad()
            loss = (nn.functional.conv2d(inputs, kernel) - target).square().mean()
            loss.backward()
            optimiser.step()
        losses[name] = float(loss.detach())
    assert losses["soap"] < 0.8 * losses["adam"]


@pytest.mark.parametrize("raises", [True, False])
def test_the_eigenvectors_of_singular_covariances_are_numbers(
    monkeypatch: pytest.MonkeyPatch, raises: bool
) -> None:
    """LAPACK's float32 routine gives none for some of them; which ones is up to its version."""
    real = torch.linalg.eigh

    def fails_in_float32(matrix: Tensor) -> tuple[Tensor, Tensor]:
        values, vectors = real(matrix)
        if matrix.dtype == torch.float32:
            if raises:
                raise RuntimeError("linalg.eigh: the algorithm failed to converge")
            vectors = vectors * torch.nan
        return values, vectors

    rows = torch.rand(6, 2, dtype=torch.float64)
    covariance = (rows @ rows.T).float()
    expected = real(covariance.double())[1].float()
    monkeypatch.setattr(torch.linalg, "eigh", fails_in_float32)
    torch.testing.assert_close(eigenvectors(covariance), expected)
