"""Train the runs of a study side by side for a set time, for a card that is lent for minutes.

    python tools/pack_photographs.py $CMUDRN_DATA/clean runs/packed      # once, before
    CMUDRN_DATA=runs python tools/train_rows.py claims-full runs/studies --seconds 570

A run goes on from its last checkpoint, so the same command on the next machine continues it. Scores
are not worked out: `cmudrn study NAME --run RUNS` does that afterwards, on any machine.

Needs Python with torch for the card, NumPy, onnx, pydantic, pyvips with libvips, safetensors and
typer; the package itself need not be installed (PYTHONPATH=src).
"""

from __future__ import annotations

import argparse
import functools
import os
import signal
import sys
import time
from multiprocessing import get_context
from pathlib import Path

from cmudrn.experiments.study import Trial, list_trials, read_study
from cmudrn.training.loop import Progress, finished_steps
from cmudrn.training.run import start_run

POLL_SECONDS = 0.5


def train(trial: Trial) -> None:
    """Train one run until it ends or is interrupted; what it kept last stays."""
    try:
        start_run(trial.config, trial.folder, threads=1, report=functools.partial(tell, trial))
    except KeyboardInterrupt:
        os._exit(0)  # the processes that prepare patches end with their parent


def tell(trial: Trial, progress: Progress) -> None:
    """Print a line about a run."""
    print(
        f"{trial.folder.name}: step {progress.step}, loss {progress.loss:.4f}, "
        f"{progress.steps_per_second:.1f} steps/s, {progress.seconds_left:.0f} s left",
        flush=True,
    )


def main() -> int:
    """Train the runs, print how far each has come, and return 1 where one failed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("study")
    parser.add_argument("runs", type=Path)
    parser.add_argument("--row", action="append", default=[])
    parser.add_argument("--seconds", type=float, default=570)
    given = parser.parse_args()
    trials = list_trials(given.study, read_study(given.study), given.runs, {}, given.row)
    context = get_context("spawn")
    processes = [context.Process(target=train, args=(trial,)) for trial in trials]
    end = time.monotonic() + given.seconds
    for process in processes:
        process.start()
    while time.monotonic() < end and any(process.is_alive() for process in processes):
        time.sleep(POLL_SECONDS)
    for process in processes:
        if process.is_alive() and process.pid:
            os.kill(process.pid, signal.SIGINT)
    for process in processes:
        process.join()
    for trial in trials:
        lines = list(finished_steps(trial.folder))
        print(f"{trial.folder.name}: {lines[-1] if lines else 'no checkpoint'}")
    return int(any(process.exitcode for process in processes))


if __name__ == "__main__":
    sys.exit(main())
