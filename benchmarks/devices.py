"""Parity and speed of the networks in PyTorch on a graphics card: tables for docs/speed.md.

    python benchmarks/devices.py --device cuda

Parity is measured against the processor on one small image. Then each network is timed at the sizes
and depths of the paper's figures and at those of films, in float32 and under half precision.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from shipped_network import open_network
from torch import Tensor, nn

from cmudrn.checkpoints.checkpoint import read_checkpoint
from cmudrn.networks.registry import make_network

SIZES = {
    "500x500": (500, 500),
    "1000x1000": (1000, 1000),
    "1080p": (1088, 1920),
    "4K": (2160, 3840),
}
"""Name -> (H, W); they are rounded up to multiples of 16, as networks of several scales need."""
DEPTHS = {"cmudrn-paper": (3, 7), "cmudrn-unet-gpu": (1,)}
"""Model or run -> T = S."""
PAPER = {("500x500", 3): 9, ("1000x1000", 3): 2.55, ("500x500", 7): 2.40, ("1000x1000", 7): 0.64}
"""Frames/s that the paper gives for a GTX 1070 Ti."""
CALLS, SECONDS = 7, 2.0
"""Timed calls of each cell, and when to stop before."""

Network = Callable[[Tensor], Tensor]


def load(model: str, depth: int) -> nn.Module:
    """Return a shipped model, or a checkpoint beside the documentation, on the processor."""
    run = Path(__file__).parents[1] / "docs" / "runs" / model / "weights.safetensors"
    if run.is_file():
        checkpoint = read_checkpoint(run, averaged_only=True)
        network = make_network(checkpoint.network_config).eval()
        network.load_state_dict(checkpoint.ema)
        return network
    return open_network(model, depth)


def runner(network: nn.Module, device: str, half: bool) -> Network:
    """Return a call that gives the restored batch, in half precision under autocast or not."""

    def call(batch: Tensor) -> Tensor:
        kind = torch.device(device).type
        dtype = torch.float16 if kind == "cuda" else torch.bfloat16
        with torch.inference_mode(), torch.autocast(kind, dtype, enabled=half):
            fused: Tensor = network(batch).fused
        return fused.float()

    return call


def psnr(a: Tensor, b: Tensor) -> float:
    """Return the PSNR between two batches in [0, 1], in dB."""
    error = (a.clip(0, 1) - b.clip(0, 1)).square().mean().item()
    return float(-10 * np.log10(error + 1e-20))


def wait(device: str) -> None:
    """Return when the device has done its work."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def milliseconds(call: Network, batch: Tensor, device: str) -> float:
    """Return the median time of a call."""
    call(batch)
    wait(device)
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < CALLS and (not times or time.perf_counter() - begin < SECONDS):
        start = time.perf_counter()
        call(batch)
        wait(device)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def check(model: str, depth: int, chosen: argparse.Namespace) -> None:
    """Print one network's parity and times."""
    network = load(model, depth)
    small = torch.rand(1, 3, 128, 160, generator=torch.Generator().manual_seed(0))
    expected = runner(network, "cpu", False)(small)
    network = network.to(chosen.device).to(memory_format=torch.channels_last)
    for half in (False, True):
        call = runner(network, chosen.device, half)
        name = f"{model} T=S={depth} {'half' if half else 'fp32'}"
        near = psnr(call(small.to(chosen.device)).cpu(), expected)
        for size in chosen.sizes:
            height, width = (-(-side // 16) * 16 for side in SIZES[size])
            batch = torch.rand(1, 3, height, width, device=chosen.device)
            try:
                each = milliseconds(call, batch, chosen.device)
            except torch.OutOfMemoryError:
                print(f"| {name} | {size} | | out of memory | | |", flush=True)
                continue
            paper = PAPER.get((size, depth), "") if model == "cmudrn-paper" else ""
            print(
                f"| {name} | {size} | {near:.1f} | {each:.1f} | {1e3 / each:.2f} | {paper} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", help="what PyTorch calls it")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    chosen = parser.parse_args()
    try:
        torch.zeros(1, device=chosen.device)
    except (RuntimeError, AssertionError) as error:
        raise SystemExit(f"PyTorch has no device {chosen.device} here: {error}") from error
    cuda = torch.device(chosen.device).type == "cuda"
    print(
        torch.cuda.get_device_name() if cuda else chosen.device, "with PyTorch", torch.__version__
    )
    print("\n| network | size | PSNR against the processor, dB | ms | frames/s | paper |")
    print("|---|---|---|---|---|---|")
    for model, depths in DEPTHS.items():
        for depth in depths:
            check(model, depth, chosen)


if __name__ == "__main__":
    main()
