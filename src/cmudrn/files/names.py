"""Names of files as text that others read: on a terminal, in a table, in a log."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Return text that is safe on a terminal, whatever bytes a file name holds.

    Control characters, line breaks and marks that turn the direction of writing are replaced.

    Example:
        >>> printable("a\x1b[2Jb")
        'a�[2Jb'
    """
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
