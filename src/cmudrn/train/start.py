"""From a configuration to a run that is under way."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from cmudrn import __version__
from cmudrn.config import Config, DataConfig
from cmudrn.errors import CmudrnError
from cmudrn.nn.averaged import open_context
from cmudrn.nn.engine import read_averaged
from cmudrn.train.batches import PatchSource
from cmudrn.train.fingerprints import fingerprint_code, fingerprint_data
from cmudrn.train.loop import Progress, Run
from cmudrn.train.processes import join_processes
from cmudrn.train.scenes import show_thumbnails, show_without_veil
from cmudrn.train.sources import make_sources
from cmudrn.train.validation import STRUCTURES, Show, Validation, show_middle
from cmudrn.weather.patches import PatchWeather

SCREENS_SEED = 0
FAMILIES = ["clear", "csd-rain", "light-rain", "rain-mixture", "snow", "csd-snow", "snow-mixture"]


def start_run(
    config: Config,
    folder: Path,
    *,
    threads: int = 0,
    until: int | None = None,
    weights_of: Path | None = None,
    sources: dict[str, PatchSource] | None = None,
    report: Callable[[Progress], None] | None = None,
) -> Run:
    """Train (or go on training) in a folder and return the finished run.

    Args:
        config: everything that decides the result.
        folder: the run's folder; an unfinished run in it goes on.
        threads: processor threads; 0 is torch's choice.
        until: stop after this step.
        weights_of: checkpoint whose averaged weights a new run starts from.
        sources: what `make_sources` returned for this run's data; None calls it.
        report: told of progress; None prints it.

    Raises:
        CmudrnError: data are missing, or the folder belongs to another configuration or was trained
            on other files.
    """
    if threads:
        torch.set_num_threads(threads)
    processes = join_processes()
    sources = sources or make_sources(config.data, SCREENS_SEED)
    origin = provenance(config)
    run = Run(config, folder, sources, processes, origin)
    if run.record.get("data", origin["data"]) != origin["data"]:
        raise CmudrnError(
            f"{folder} holds a run on other files than its data are now; "
            "choose another folder, or bring the files back."
        )
    if weights_of is not None and run.step == 0:
        start = read_averaged(weights_of)
        if start[0] != config.network:
            raise CmudrnError(f"{weights_of} holds another network than this preset's.")
        run.begin_with(start[1], str(start[2]["training"]["step"]))
    validate = None
    if config.data.validation and processes.first:
        families = (*FAMILIES, STRUCTURES) if config.data.structures else FAMILIES
        validate = Validation(Path(config.data.validation), families, choose_view(config.data))
    run.train(validate, (report or _print_progress) if processes.first else _be_silent, until)
    processes.leave()
    return run


def choose_view(config: DataConfig) -> Show:
    """Return what a network is validated on: the same view that it is trained on.

    Raises:
        CmudrnError: the context branch is missing or wrong.
    """
    seed = SCREENS_SEED + 1
    if config.view == "thumbnails":
        return show_thumbnails(seed)
    if config.context is not None:
        return show_without_veil(open_context(Path(config.context)), seed)
    return show_middle(PatchWeather(seed))


def provenance(config: Config) -> dict[str, Any]:
    """Return what a run folder says about the data, program and machine that made it."""
    context = config.data.context
    return {
        **({"context": sha256(Path(context).read_bytes()).hexdigest()} if context else {}),
        "data": fingerprint_data(config.data),
        "code": fingerprint_code(),
        "version": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }


def _commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _be_silent(progress: Progress) -> None:
    """Tell nothing."""


def _print_progress(progress: Progress) -> None:
    hours, rest = divmod(int(progress.seconds_left), 3600)
    print(
        f"step {progress.step}/{progress.steps}  loss {progress.loss:.4f}  "
        f"{progress.steps_per_second:.2f} steps/s  {hours}:{rest // 60:02d} h left",
        file=sys.stderr,
        flush=True,
    )
