"""Sentences for a terminal."""

from __future__ import annotations

import sys


def complain(sentence: str) -> None:
    """Print one sentence on stderr."""
    print(f"cmudrn: {printable(sentence)}", file=sys.stderr)


def printable(text: str) -> str:
    """Return text that is safe on a terminal, whatever bytes a file name holds."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
