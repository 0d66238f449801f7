"""What is wrong with a dataset's files, gathered so that one error can name it all."""

from __future__ import annotations

from pathlib import Path

from cmudrn.errors import CmudrnError

SHOWN = 8
"""File names of a kind of problem that a sentence gives; the rest is counted."""


class Problems:
    """Wrong files by what is wrong with them."""

    def __init__(self) -> None:
        self.found: dict[str, list[Path]] = {}

    def note(self, problem: str, path: Path) -> None:
        """Remember one wrong file; the problem completes "1 file ..."."""
        self.found.setdefault(problem, []).append(path)

    def refuse(self, name: str) -> None:
        """Raise one error that names every kind of problem, if there is any.

        Raises:
            CmudrnError: something was noted.
        """
        if self.found:
            listed = "; ".join(self.sentences())
            raise CmudrnError(f"{name} cannot be used: {listed}.")

    def sentences(self) -> list[str]:
        """Return one phrase for each kind of problem, with the first file names."""
        return [_phrase(problem, paths) for problem, paths in self.found.items()]


def _phrase(problem: str, paths: list[Path]) -> str:
    names = ", ".join(f"{path.parent.name}/{path.name}" for path in paths[:SHOWN])
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return f"{len(paths)} {'file' if len(paths) == 1 else 'files'} {problem} ({names}{more})"
