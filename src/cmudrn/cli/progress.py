"""How far a run is: a bar on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cmudrn.cli.terminal import complain, verbosity
from cmudrn.files import printable

INTERVAL_S = 10.0
"""Seconds between two lines where there is no terminal."""

OnPart = Callable[[int, int], None]
"""Called with the number of parts of a file that are done and of all parts."""

Start = Callable[[Path], OnPart]
"""Called when a file is begun."""


@contextmanager
def show_progress(files: int) -> Iterator[Start]:
    """Yield what to call at each file; on standard error, and nothing if only errors are wanted."""
    if verbosity() < 0:
        yield _silent
    elif sys.stderr.isatty():
        with _bar(files) as start:
            yield start
    else:
        yield Lines(files).start


def _silent(_path: Path) -> OnPart:
    return lambda *_: None


class Lines:
    """Prints a line at most every `INTERVAL_S`.

    Args:
        files: how many there are.
        clock: seconds, from any start.
        write: prints a sentence.
    """

    def __init__(
        self,
        files: int,
        clock: Callable[[], float] = time.monotonic,
        write: Callable[[str], None] = complain,
    ) -> None:
        self._files, self._clock, self._write = files, clock, write
        self._begun = 0
        self._first = self._last = clock()

    def start(self, path: Path) -> OnPart:
        """Begin a file."""
        self._begun += 1

        def on_part(done: int, total: int) -> None:
            now = self._clock()
            if now - self._last >= INTERVAL_S:
                self._last = now
                place = f"file {self._begun} of {self._files}, " if self._files > 1 else ""
                share = f"{done / total:.0%}" if total else f"{done} frames"
                self._write(f"{place}{path}: {share} after {now - self._first:.0f} s")

        on_part(0, 1)
        return on_part


@contextmanager
def _bar(files: int) -> Iterator[Start]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=files)
        started = iter(range(files))

        def start(path: Path) -> OnPart:
            index = next(started)
            bar.update(task, completed=index, description=escape(printable(path.name)))
            return lambda done, total: bar.update(task, completed=index + done / max(total, 1))

        yield start
