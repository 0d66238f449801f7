"""From a configuration to a run that is under way."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from cmudrn.checkpoints.veil_estimator import open_veil_estimator
from cmudrn.datasets import FileDataset
from cmudrn.datasets.folders import data_path
from cmudrn.errors import (
    CmudrnError,
    FileError,
    ImageFileError,
    TargetError,
)
from cmudrn.export.live_engine import read_averaged
from cmudrn.image.preview import picture_size
from cmudrn.training.config import Config, DataConfig
from cmudrn.training.data.batches import PatchSource, draw_sources
from cmudrn.training.data.clean_patches import list_pictures
from cmudrn.training.data.scenes import view_thumbnails, view_without_veil
from cmudrn.training.data.sources import PairPatches, make_sources
from cmudrn.training.data.views import VIEW_SIZE, View, view_middle
from cmudrn.training.distributed import join_process_group
from cmudrn.training.fingerprints import fingerprint_code, fingerprint_data
from cmudrn.training.folders import check_folders
from cmudrn.training.loop import Progress, Run
from cmudrn.training.validation import STRUCTURES, Validation
from cmudrn.version import __version__
from cmudrn.weather.patches import PatchWeather

SCREENS_SEED = 0
INIT_FROM = "began_with_sha256"
"""Key of a run's record: the file whose weights it began with."""
WORKER_TRACEBACK = "Traceback (most recent call last)"
FAMILIES = ["clear", "csd-rain", "light-rain", "rain-mixture", "snow", "csd-snow", "snow-mixture"]


def start_run(
    config: Config,
    folder: Path,
    *,
    threads: int = 0,
    until: int | None = None,
    init_from: Path | None = None,
    sources: Mapping[str, PatchSource] | None = None,
    report: Callable[[Progress], None] | None = None,
) -> Run:
    """Train (or go on training) in a folder and return the finished run.

    Args:
        config: everything that decides the result.
        folder: the run's folder; an unfinished run in it goes on.
        threads: processor threads; 0 is torch's choice.
        until: stop after this step.
        init_from: checkpoint whose averaged weights a new run starts from.
        sources: what `make_sources` returned for this run's data; None calls it.
        report: told of progress; None prints it.

    Raises:
        CmudrnError: data are missing or do not serve, the folder belongs to another configuration,
            was trained on other files or began with other weights, or it cannot be written into.
    """
    if threads:
        torch.set_num_threads(threads)
    processes = join_process_group()
    # All that may be wrong is found before the run's folder is touched.
    check_folders(config.data)
    sources = sources or make_sources(config.data, SCREENS_SEED)
    _try_sources(config, sources)
    origin = provenance(config)
    initial = None if init_from is None else _open_initial_weights(init_from, config)
    validate = _open_validation(config.data) if processes.first else None
    try:
        run = Run(config, folder, sources, processes, origin)
    except OSError as error:
        raise TargetError(
            f"No run can be kept in {folder}: {error.strerror}.", path=folder
        ) from error
    if run.record.get("data", origin["data"]) != origin["data"]:
        raise TargetError(
            f"{folder} holds a run on other files than its data are now; "
            "choose another folder, or bring the files back.",
            path=folder,
        )
    if initial is not None:
        initial.load_into(run)
    _train(run, validate, (report or _print_progress) if processes.first else _be_silent, until)
    processes.close()
    return run


def _train(
    run: Run, validate: Validation | None, report: Callable[[Progress], None], until: int | None
) -> None:
    """Take the remaining steps of a run; what goes wrong is one sentence."""
    try:
        run.train(validate, report, until)
    except CmudrnError as error:
        # torch puts the traceback of a process that prepares patches before its message, and
        # raises the same class with that text alone.
        text = str(error)
        if WORKER_TRACEBACK not in text:
            raise
        raise CmudrnError(text.rstrip().rpartition("\n")[2].partition(": ")[2]) from error
    except (OSError, SafetensorError) as error:
        raise TargetError(
            f"The run cannot be kept in {run.folder} ({error}); what it kept before is unharmed.",
            path=run.folder,
        ) from error


def _try_sources(config: Config, sources: Mapping[str, PatchSource]) -> None:
    """Draw a patch from each source that the run uses, and look at the sizes of its pairs.

    Raises:
        CmudrnError: there is no source for a task, or one does not serve.
    """
    tasks, size = config.network.tasks, config.data.patch
    for step in range(len(tasks)):  # in alternate passes each has sources of its own
        draw_sources(config, step)
    for name, source in config.data.sources.items():
        if source.task not in (*tasks, "all"):
            continue
        patches = sources[name]
        if isinstance(patches, PairPatches) and isinstance(patches.dataset, FileDataset):
            for pair in patches.dataset.files:
                _refuse_smaller(pair.clean, size, f"the source {name!r}, whose patches are of")
        patches(size, np.random.default_rng(0))


def _open_validation(config: DataConfig) -> Validation | None:
    """Return the scores that choose between models, or None.

    Raises:
        CmudrnError: the pictures are missing or too small.
    """
    if not config.validation:
        return None
    folder = data_path(config.validation)
    if config.view == "patches":  # of their middles; thumbnails are made of pictures of any size
        for path in list_pictures(folder):
            _refuse_smaller(path, VIEW_SIZE, "validation, which looks at")
    families = (*FAMILIES, STRUCTURES) if config.structures else FAMILIES
    return Validation(folder, families, choose_view(config))


def _refuse_smaller(path: Path, side: int, use: str) -> None:
    """Refuse a picture with a side that is shorter than a use of it needs.

    Raises:
        CmudrnError: it has one, or it cannot be read.
    """
    width, height = picture_size(path)
    if min(width, height) < side:
        raise ImageFileError(
            f"{path} has {width} x {height} pixels, too few for {use} {side} x {side}.", path=path
        )


@dataclass(frozen=True)
class _InitialWeights:
    """Another run's averaged weights, the warm start of a new run."""

    path: Path
    weights: dict[str, Tensor]
    steps: str
    sha256: str

    def load_into(self, run: Run) -> None:
        """Begin a new run with the weights, or check that a resumed run began with them.

        Raises:
            CmudrnError: it did not.
        """
        if run.step == 0:
            run.init_from(self.weights, self.steps)
            run.record[INIT_FROM] = self.sha256
            return
        # Runs of older versions tell that they began with weights, but not with which.
        unknown = "began_with_steps" in run.record and INIT_FROM not in run.record
        if not unknown and run.record.get(INIT_FROM) != self.sha256:
            raise TargetError(
                f"{run.folder} holds a run that did not begin with the weights of {self.path}; "
                "choose another folder.",
                path=run.folder,
            )


def _open_initial_weights(path: Path, config: Config) -> _InitialWeights:
    network, weights, record = read_averaged(path)
    if network != config.network:
        raise FileError(f"{path} holds another network than this preset's.", path=path)
    steps = str(record["training"].get("step", "unknown"))  # the DRN authors' files do not say
    return _InitialWeights(path, weights, steps, sha256(path.read_bytes()).hexdigest())


def choose_view(config: DataConfig) -> View:
    """Return what a network is validated on: the same view that it is trained on.

    Raises:
        CmudrnError: the veil estimator is missing or wrong.
    """
    seed = SCREENS_SEED + 1
    if config.view == "thumbnails":
        return view_thumbnails(seed)
    if config.veil_estimator is not None:
        return view_without_veil(open_veil_estimator(Path(config.veil_estimator)), seed)
    return view_middle(PatchWeather(seed))


def provenance(config: Config) -> dict[str, Any]:
    """Return what a run folder says about the data, program and machine that made it."""
    estimator = config.data.veil_estimator
    return {
        **(
            {"veil_estimator": sha256(Path(estimator).read_bytes()).hexdigest()}
            if estimator
            else {}
        ),
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
    """Print nothing."""


def _print_progress(progress: Progress) -> None:
    print(
        f"step {progress.step}/{progress.steps}  loss {progress.loss:.4f} (last 100 steps)  "
        f"{progress.steps_per_second:.2f} steps/s  {duration(progress.seconds_left)} left",
        file=sys.stderr,
        flush=True,
    )


def duration(seconds: float) -> str:
    """Return a duration in words.

    Example:
        >>> [duration(s) for s in (11, 660, 3900)]
        ['11 s', '11 min', '1 h 05 min']
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes = round(whole / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
