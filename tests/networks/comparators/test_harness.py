"""Other authors' networks in the place of one of ours: any size, colours, windows, training."""

from __future__ import annotations

import itertools

import pytest
import torch
from support.weights_by_rule import fill_by_rule, fill_hdcwnet_by_rule

from cmudrn.networks.comparators import hdcwnet
from cmudrn.networks.comparators.harness import VARIANTS, HdcwHarness, next_multiple, reach
from cmudrn.networks.comparators.windows import restore_in_windows, starts
from cmudrn.networks.comparators.ycrcb import to_rgb, to_ycrcb, to_ycrcb_8bit
from cmudrn.networks.registry import count_parameters

SIZES = {"tkl-narrow": 912_263, "hdcwnet-narrow": 510_730, "airnet-narrow": 198_907}
NARROW = [name for name in VARIANTS if name.endswith("-narrow")]


@pytest.mark.parametrize(
    ("rgb", "ycrcb"),
    [
        ((0, 0, 0), (0, 128, 128)),
        ((255, 255, 255), (255, 128, 128)),
        ((255, 0, 0), (76, 255, 85)),
        ((0, 255, 0), (150, 21, 43)),
        ((0, 0, 255), (29, 107, 255)),
        ((12, 200, 77), (130, 44, 98)),
        ((250, 128, 3), (150, 199, 45)),
        ((90, 91, 92), (91, 127, 129)),
    ],
)
def test_colours_are_opencvs(rgb: tuple[int, ...], ycrcb: tuple[int, ...]) -> None:
    pixel = torch.tensor(rgb).view(1, 3, 1, 1) / 255
    assert (to_ycrcb_8bit(pixel) * 255).round().int().flatten().tolist() == list(ycrcb)
    assert torch.allclose(to_ycrcb(pixel) * 255, torch.tensor(ycrcb).view(1, 3, 1, 1) + 0.0, atol=1)


def test_colours_come_back() -> None:
    picture = torch.rand(2, 3, 5, 7)
    assert torch.allclose(to_rgb(to_ycrcb(picture)), picture, atol=1e-3)  # their factors are short


def test_padding_mirrors_without_repeating_the_edge() -> None:
    row = torch.arange(4.0).view(1, 1, 1, 4)
    assert reach(row, 1, 9).flatten().tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert reach(row[..., :1], 2, 3).flatten().tolist() == [0] * 6
    assert [next_multiple(side, 16, 32) for side in (1, 32, 33, 64)] == [32, 32, 48, 64]


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("size", [(1, 1), (17, 30), (50, 33)])
def test_every_narrow_variant_takes_any_size(name: str, size: tuple[int, int]) -> None:
    network = VARIANTS[name]().eval()
    with torch.no_grad():
        outputs = network(torch.rand(1, 3, *size))
    assert outputs.fused.shape == (1, 3, *size) and outputs.branches == ((outputs.fused,),)
    assert torch.isfinite(outputs.fused).all()


@pytest.mark.parametrize("name", [*NARROW, "prn"])
def test_every_narrow_variant_learns(name: str) -> None:
    torch.manual_seed(1)
    network = VARIANTS[name]().train()
    degraded = torch.rand(2, 3, 32, 32)
    clean = degraded.flip(0)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    costs = []
    for _ in range(6):
        optimizer.zero_grad()
        cost = (network(degraded).fused - clean).abs().mean()
        cost.backward()
        optimizer.step()
        costs.append(cost.item())
    assert costs[-1] < costs[0]
    idle = {n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()}
    # Restoring needs only the first block of AirNet's encoder; the rest learns by contrast.
    assert all(".encoder_q.E." in name or ".encoder_q.mlp." in name for name in idle)


def test_narrow_variants_are_much_smaller() -> None:
    for name in NARROW:
        narrow = count_parameters(VARIANTS[name]())
        full = count_parameters(VARIANTS[name.removesuffix("-narrow")]())
        assert narrow < full / 10
    assert {name: count_parameters(VARIANTS[name]()) for name in NARROW} == SIZES


def test_prenet_returns_every_stage() -> None:
    outputs = VARIANTS["prenet"]().eval()(torch.rand(1, 3, 9, 8), 3)
    assert len(outputs.branches[0]) == 3
    assert torch.equal(outputs.fused, outputs.branches[0][-1])


def test_the_border_of_hdcwnet_is_zero_in_ycrcb() -> None:
    network = hdcwnet.HDCWNet(widths=hdcwnet.Widths.scaled(1 / 16))
    seen = []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    HdcwHarness(network, eight_bit=True).eval()(torch.ones(1, 3, 16, 32))
    (picture,) = seen
    assert picture.shape == (1, 3, 48, 64)
    inside = picture[..., 16:-16, 16:-16]
    assert picture.abs().sum() == inside.abs().sum()
    assert (inside * 255).round()[0, :, 0, 0].tolist() == [255, 128, 128]


def test_slopes_of_single_pixels_fit_one_size_only() -> None:
    network = hdcwnet.HDCWNet((48, 64), hdcwnet.Widths.scaled(1 / 16))
    fill_hdcwnet_by_rule(network)
    with torch.no_grad():
        assert network(torch.rand(1, 3, 48, 64)).shape == (1, 3, 16, 32)
        with pytest.raises(RuntimeError):
            network(torch.rand(1, 3, 64, 64))


@pytest.mark.parametrize("size", [1, 7, 8, 9, 40, 64, 65, 200, 1000])
@pytest.mark.parametrize("window", [40, 64])
def test_windows_cover_every_side_and_overlap(size: int, window: int) -> None:
    places = starts(size, window)
    assert places[0] == 0 and (size <= window or places[-1] == size - window)
    step = window - min(32, window // 2)
    assert all(b - a <= step for a, b in itertools.pairwise(places))


@pytest.mark.parametrize("size", [(64, 96), (96, 64), (10, 20), (150, 230), (300, 97)])
def test_windows_of_a_network_that_does_nothing_are_the_picture(size: tuple[int, int]) -> None:
    picture = torch.rand(1, 3, *size)

    def restore(window: torch.Tensor) -> torch.Tensor:
        assert window.shape == (1, 3, 64, 96)
        return window

    assert torch.allclose(restore_in_windows(picture, restore, (64, 96)), picture, atol=1e-6)


def test_a_picture_of_the_window_s_size_is_restored_as_it_is() -> None:
    picture = torch.rand(1, 3, 64, 96)
    made = restore_in_windows(picture, lambda window: window * window, (64, 96))
    assert torch.allclose(made, picture * picture, atol=1e-6)


def test_the_rule_fills_every_network() -> None:
    for name in NARROW:
        fill_by_rule(VARIANTS[name](), 0.5)
