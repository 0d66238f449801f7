"""`cmudrn batch`: many files, on this machine or many."""

from __future__ import annotations

import importlib.util
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from cmudrn.cli.application import app
from cmudrn.cli.options import Dehaze, Device, FollowLinks
from cmudrn.cli.terminal import complain, show
from cmudrn.errors import CmudrnError, MissingExtraError

if TYPE_CHECKING:
    from cmudrn.cluster.job import OnOutcome, Progress
    from cmudrn.cluster.worker import Outcome


@app.command()
def batch(
    source: Annotated[str, typer.Argument(help="Folder: a path or an fsspec address (s3://).")],
    target: Annotated[str, typer.Argument(help="Folder for the results, likewise.")],
    model: Annotated[str, typer.Option(help="A shipped model's name, or an ONNX file.")] = "cmudrn",
    strength: Annotated[
        float, typer.Option(min=0, max=1, help="0 changes nothing, 1 is full strength.")
    ] = 1.0,
    stages: Annotated[
        int | None, typer.Option(min=1, help="Outer recursions. Fewer are faster.")
    ] = None,
    recursions: Annotated[
        int | None, typer.Option(min=1, help="Inner recursions. Fewer are faster.")
    ] = None,
    dehaze: Dehaze = None,
    quality: Annotated[
        int | None, typer.Option(min=1, max=100, help="Quality of JPEG, WebP and AVIF.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=0, help="Pictures at once. 0 is one for each core.")
    ] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads of each engine.")] = 1,
    device: Device = "cpu",
    tries: Annotated[int, typer.Option(min=1, help="Tries for a file that cannot be reached.")] = 3,
    address: Annotated[
        str | None, typer.Option(help="Address of a Ray cluster. Without it this machine alone.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files in the target that no batch made.")
    ] = False,
    follow_links: FollowLinks = False,
) -> None:
    """Restore a folder of pictures with many workers; run again, it goes on where it stopped."""
    # Not imported yet: Ray reads an environment that the job sets.
    if any(importlib.util.find_spec(name) is None for name in ("fsspec", "ray")):
        raise MissingExtraError("This command", "cluster")
    from cmudrn.cluster.job import FOLDER, Job, run_job
    from cmudrn.restoration import RestoreSettings

    settings = RestoreSettings(strength, stages, recursions, dehazing=dehaze)
    job = Job(
        source, target, model, settings, quality, workers, threads, tries, address, overwrite,
        follow_links, device,
    )  # fmt: skip
    progress = run_job(job, _teller())
    earlier = f", {progress.before} were done before" if progress.before else ""
    show(f"{progress.done} files restored in {progress.seconds:.1f} s{earlier}.")
    for sentence in progress.passed_over:
        complain(sentence)
    if progress.clips:
        show(f"Clips left out: {progress.clips}; cmudrn restore takes them.")
    if progress.bad:
        raise CmudrnError(
            f"{len(progress.bad)} of {progress.total} files could not be restored; "
            f"{target}/{FOLDER}/bad.json lists them."
        )


def _teller() -> OnOutcome:
    """Return a function that prints bad files and notes at once and the progress now and then."""
    period = 1.0 if sys.stderr.isatty() else 10.0
    last = time.monotonic()

    def tell(outcome: Outcome, progress: Progress) -> None:
        nonlocal last
        if outcome.state == "bad":
            show(f"bad: {outcome.reason}", err=True)
        if outcome.notes:
            show(f"note: {outcome.name}: {outcome.notes}", err=True)
        if time.monotonic() - last >= period:
            last = time.monotonic()
            show(str(progress), err=True)

    return tell
