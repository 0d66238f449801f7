"""The network over several scales: what it costs, how far it sees, tiles, supervision, export."""

from pathlib import Path

import numpy as np
import pytest
import torch

import cmudrn
from cmudrn.export.onnx_unet import export_unet
from cmudrn.networks.cmudrn_unet import alignment, radius
from cmudrn.networks.config import LossConfig, NetworkConfig
from cmudrn.networks.drn import Outputs
from cmudrn.networks.registry import count_parameters, macs_per_pixel, make_network
from cmudrn.networks.weighted_supervision import WeightedSupervision
from cmudrn.restoration import RestoreSettings, restore_image
from cmudrn.training.config import load_config

SMALL = NetworkConfig.model_validate(
    {
        "kind": "cmudrn-unet",
        "widths": [4, 5, 6, 7],
        "cross_stitch": {"kind": "learned", "a": 0.9},
    }
)


def small_network(config: NetworkConfig = SMALL) -> torch.nn.Module:
    torch.manual_seed(0)
    network = make_network(config)
    with torch.no_grad():
        for parameter in network.parameters():  # everything matters, also the last layers
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


def test_the_default_network_keeps_its_limits() -> None:
    config = load_config("cmudrn-unet").network
    assert macs_per_pixel(config) <= 30_000
    assert count_parameters(make_network(config)) <= 800_000
    assert alignment(config) == 16


def test_a_pixel_is_seen_as_far_as_the_radius_and_wide_enough() -> None:
    network = small_network().double()
    picture = torch.rand(1, 3, 512, 512, dtype=torch.double, requires_grad=True)
    network(picture).fused[0, :, 250, 260].sum().backward()
    assert picture.grad is not None
    rows, columns = picture.grad.abs().sum(1)[0].nonzero(as_tuple=True)
    reach = max((rows - 250).abs().max(), (columns - 260).abs().max())
    assert 250 / 2 <= reach <= radius(SMALL)


@torch.no_grad()
def test_tiles_at_multiples_of_the_alignment_give_the_whole() -> None:
    network = small_network().double()
    picture = torch.rand(1, 3, 432, 448, dtype=torch.double)
    whole, inside = network(picture).fused, radius(SMALL)
    part = network(picture[:, :, 32:, 16:]).fused
    difference = part[..., inside:, inside:] - whole[..., 32 + inside :, 16 + inside :]
    assert difference.abs().max() < 1e-9


@pytest.mark.parametrize("kind", ["learned", "fixed", "off"])
@torch.no_grad()
def test_the_exported_graph_computes_the_network(tmp_path: Path, kind: str) -> None:
    stitch = SMALL.cross_stitch.model_copy(update={"kind": kind})
    config = SMALL.model_copy(update={"cross_stitch": stitch})
    network, path = small_network(config), tmp_path / "small.onnx"
    export_unet(
        config, network.state_dict(), path, "small", elastic=False, licence="MIT", training={}
    )
    image = torch.rand(1, 3, 37, 21)  # no multiples of the alignment
    outputs = network(image)
    settings = RestoreSettings(layers=True)
    for engine in ("onnx", "native"):
        restorer = cmudrn.load(path, engine=engine, precision="fp32")
        assert restorer.info.alignment == alignment(config)
        pixels = image[0].permute(1, 2, 0).contiguous().numpy()
        done = restore_image(restorer, pixels, settings)
        wanted = outputs.fused[0].permute(1, 2, 0).clamp(0, 1).numpy()
        assert np.abs(done.pixels - wanted).max() < 1e-5
        for task, branch in zip(("rain", "snow"), outputs.branches, strict=True):
            assert np.abs(done.branches[task] - branch[-1][0].permute(1, 2, 0).numpy()).max() < 1e-5


def test_errors_on_untouched_pixels_weigh_more_and_the_floor_moves() -> None:
    term = {"distance": "psnr", "floor_db": 30, "ssim": 0.0}
    config = LossConfig.model_validate(
        {
            "local": {"weight": 0},
            "recurrence": {"weight": 0},
            "global": term,
            "untouched": 3.0,
            "opening_floor_db": 20,
            "opening_steps": 100,
        }
    )
    supervision = WeightedSupervision(config)
    clean = torch.full((1, 3, 8, 8), 0.5)
    degraded = clean.clone()
    degraded[..., :4, :] = 0.8
    wrong_there, wrong_here = clean.clone(), clean.clone()
    wrong_there[..., :4, :] += 0.1
    wrong_here[..., 4:, :] += 0.1
    belongs = torch.ones(2, 1, dtype=torch.bool)

    def cost(fused: torch.Tensor, step: int) -> float:
        supervision.prepare(degraded, step)
        return float(supervision(Outputs(((clean,), (clean,)), fused), clean, belongs).total)

    def expected(mean: float, floor_db: float) -> float:
        return 0.1 * float(np.log10(1 + mean * 10 ** (floor_db / 10)))

    assert cost(wrong_there, 0) == pytest.approx(expected(0.005, 20), rel=1e-3)
    assert cost(wrong_here, 0) == pytest.approx(expected(0.015, 20), rel=1e-3)
    assert cost(wrong_here, 50) == pytest.approx(expected(0.015, 25), rel=1e-3)
    assert cost(wrong_here, 1000) == pytest.approx(expected(0.015, 30), rel=1e-3)
