"""Opening what somebody else put there: files, and nothing that only looks like one.

A pipe without a writer, or a device, would keep a reader waiting or give it bytes without end.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO, cast


class NotRegularError(OSError):
    """A pipe, device, socket or folder where a file was expected."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(errno.EINVAL, "it is not a file", os.fspath(path))


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Return a file opened for reading, unbuffered; never waits for a writer.

    Raises:
        NotRegularError: there is something else.
        OSError: it cannot be opened.
        ValueError: it is no name of a file.
    """
    # Opened before it is looked at, so that it cannot become something else in between. Windows
    # knows neither pipes in folders nor the flag.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotRegularError(path)
        return cast("BinaryIO", os.fdopen(descriptor, "rb", buffering=0))
    except BaseException:
        os.close(descriptor)
        raise


def check_regular(path: str | os.PathLike[str]) -> None:
    """Refuse what is no file, before a library opens it by its name.

    Raises:
        NotRegularError: there is something else.
        OSError: it cannot be looked at.
        ValueError: it is no name of a file.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise NotRegularError(path)
