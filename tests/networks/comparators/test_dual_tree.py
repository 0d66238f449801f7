"""The dual-tree wavelet transform reconstructs images and has its defining properties."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cmudrn.errors import CmudrnError
from cmudrn.networks.comparators import dual_tree
from cmudrn.networks.comparators.dual_tree import TREE_A, Coefficients, inverse, transform
from cmudrn.networks.comparators.hdcwnet import pack_coarse, pack_fine, unpack


def picture(height: int, width: int) -> torch.Tensor:
    torch.manual_seed(height * width)
    return torch.rand(2, 3, height, width, dtype=torch.double)


@pytest.mark.parametrize("size", [(8, 8), (8, 20), (24, 40), (64, 12)])
def test_a_picture_comes_back(size: tuple[int, int]) -> None:
    assert torch.allclose(inverse(transform(picture(*size))), picture(*size), atol=1e-12)


def test_shapes_are_the_documented_ones() -> None:
    coefficients = transform(picture(24, 40))
    assert coefficients.low.shape == (2, 3, 12, 20)
    assert coefficients.fine.shape == (2, 2, 3, 6, 12, 20)
    assert coefficients.coarse.shape == (2, 2, 3, 6, 6, 10)


def test_an_even_picture_has_no_detail() -> None:
    coefficients = transform(torch.full((1, 1, 16, 16), 0.5, dtype=torch.double))
    assert coefficients.fine.abs().max() < 1e-12
    assert coefficients.coarse.abs().max() < 1e-7  # the high-pass taps add up to 1e-8
    assert torch.allclose(coefficients.low, torch.ones(()).double(), atol=1e-7)


def test_the_quarter_shift_filter_is_orthogonal() -> None:
    taps = np.array(TREE_A)
    for shift in range(1, 5):
        assert abs(taps[2 * shift :] @ taps[: -2 * shift]) < 1e-14
    assert taps @ taps == pytest.approx(1, abs=1e-14)
    assert taps.sum() == pytest.approx(2**0.5, abs=1e-14)


def test_the_coarse_level_is_an_orthogonal_matrix() -> None:
    whole = picture(16, 24)[0]
    low, high = dual_tree._split_2(whole)
    assert torch.allclose(low.square().sum() + high.square().sum(), whole.square().sum())
    assert torch.allclose(dual_tree._join_2(low, high), whole, atol=1e-12)
    for part, given in zip(
        dual_tree._split_2(dual_tree._join_2(high, low)), (high, low), strict=True
    ):
        assert torch.allclose(part, given, atol=1e-12)  # so any coefficients come back, too


def test_a_moved_edge_keeps_its_energy_as_no_single_tree_does() -> None:
    both, single = [], []
    for place in range(24, 32):
        edge = torch.zeros(1, 1, 64, 64, dtype=torch.double)
        edge[..., place:] = 1
        both.append(transform(edge).coarse.square().sum().item())
        smooth, _ = dual_tree._filter_pair(edge[0].transpose(1, 2))
        _, high = dual_tree._split_2(smooth)
        single.append(high[:, 0::2].square().sum().item())
    assert max(both) < 1.4 * min(both)
    assert max(single) > 2 * max(both) / min(both) * min(single)


def test_stripes_answer_in_their_own_direction() -> None:
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    strongest = []
    for angle in (15, 45, 75, 105, 135, 165):
        direction = np.deg2rad(angle + 90)
        stripes = torch.cos(0.5 * np.pi * (np.cos(direction) * x - np.sin(direction) * y))
        size = transform(stripes[None, None].double()).coarse.square().sum((0, 1, 2, 4, 5))
        strongest.append(int(size.argmax()))
    assert sorted(strongest) == [0, 1, 2, 3, 4, 5]
    assert strongest in ([0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0])


@pytest.mark.parametrize("size", [(6, 16), (16, 18), (4, 16)])
def test_other_sides_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(CmudrnError, match="multiples of 4, of 8 or more"):
        transform(picture(*size))


def test_gradients_pass_both_ways() -> None:
    small = picture(8, 8)[:1, :1].requires_grad_()

    def there_and_back(degraded: torch.Tensor) -> torch.Tensor:
        made = transform(degraded)
        return inverse(Coefficients(2 * made.low, made.fine.sin(), made.coarse.square()))

    assert torch.autograd.gradcheck(there_and_back, (small,))


def test_coarse_channels_are_unpacked_as_they_were_packed_and_fine_ones_are_not() -> None:
    bands = torch.randn(1, 2, 3, 6, 4, 4)
    assert torch.equal(unpack(pack_coarse(bands)), bands)
    assert not torch.equal(unpack(pack_fine(bands)), bands)
    assert torch.equal(pack_fine(bands)[0, 18 + 6 * 2 + 5], bands[0, 1, 2, 5])
    assert torch.equal(pack_coarse(bands)[0, 18 + 3 * 5 + 2], bands[0, 1, 2, 5])


def test_it_is_the_transform_of_the_package_of_that_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, function in (("asfarray", np.asarray), ("issubsctype", np.issubdtype)):
        monkeypatch.setattr(np, name, function, raising=False)  # it was written for NumPy 1
    dtcwt = pytest.importorskip("dtcwt", reason="the package dtcwt, an oracle, is not installed")
    theirs = dtcwt.Transform2d(biort="near_sym_a", qshift="qshift_a")
    pyramid = theirs.forward(picture(24, 40)[0, 1].numpy(), nlevels=2)
    ours = transform(picture(24, 40))
    assert np.abs(pyramid.lowpass - ours.low[0, 1].numpy()).max() < 1e-12
    for high, bands in zip(pyramid.highpasses, (ours.fine, ours.coarse), strict=True):
        together = torch.view_as_complex(bands[0, :, 1].permute(1, 2, 3, 0).contiguous())
        assert np.abs(high - together.permute(1, 2, 0).numpy()).max() < 1e-12
    changed = dtcwt.Pyramid(2 * pyramid.lowpass, tuple(h * h for h in pyramid.highpasses))
    squared = [
        torch.view_as_complex(b.movedim(1, -1).contiguous()) for b in (ours.fine, ours.coarse)
    ]
    fine, coarse = (torch.view_as_real(b * b).movedim(-1, 1) for b in squared)
    back = inverse(Coefficients(2 * ours.low, fine, coarse))[0, 1].numpy()
    assert np.abs(theirs.inverse(changed) - back).max() < 1e-12
