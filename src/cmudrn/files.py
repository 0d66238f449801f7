"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from cmudrn.errors import CmudrnError


@contextmanager
def atomic_file(target: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Yield a file that takes target's place when the block ends well, and vanishes otherwise.

    Where the system allows it the file has no name before it is complete, so that even a killed
    process leaves nothing behind.

    Raises:
        CmudrnError: the file cannot be made, or target is no file name.
    """
    path = Path(os.fspath(target))
    _check_name(path)
    temporary = path.with_name(f".{os.urandom(8).hex()}.part")
    try:
        with _nameless(path.parent) or open(temporary, "x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if not temporary.exists():
                _name(file, temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise CmudrnError(f"Cannot write {path}: {error.strerror}.") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _check_name(path: Path) -> None:
    try:
        os.lstat(path)
    except ValueError as error:  # a null character, or letters that no file name can hold
        raise CmudrnError(f"{str(path)!r} is not a file name.") from error
    except OSError:
        pass  # whether it can be written, writing tells


def _nameless(folder: Path) -> BinaryIO | None:
    """Return a new file in folder without a name, or None where there is no such thing."""
    if sys.platform != "linux" or not os.path.isdir("/proc/self/fd"):
        return None
    with suppress(OSError):
        return os.fdopen(os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o666), "w+b")
    return None


def _name(file: BinaryIO, path: Path) -> None:
    # Only with a folder's descriptor does Python ask the system to follow the link in /proc.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.link(f"/proc/self/fd/{file.fileno()}", path, src_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


def check_target(source: Path | None, target: Path, overwrite: bool) -> None:
    """Refuse a target that would cost the user a file, or cannot be written.

    Raises:
        CmudrnError: it is the source, it exists and overwrite is off, or it lies in no folder
            that can be made.
    """
    try:
        _check_target(source, target, overwrite)
    except OSError as error:  # a name too long, a folder that may not be looked into
        raise CmudrnError(f"Cannot write {target}: {error.strerror}.") from error


def _check_target(source: Path | None, target: Path, overwrite: bool) -> None:
    if target.exists():
        if target.is_dir():
            raise CmudrnError(f"{target} is a folder.")
        if source and target.samefile(source):
            raise CmudrnError(f"{source} would overwrite itself; choose another output.")
        if not overwrite:
            raise CmudrnError(f"{target} exists already (--overwrite replaces it).")
    ancestor = next(parent for parent in target.absolute().parents if parent.exists())
    if not ancestor.is_dir() or not os.access(ancestor, os.W_OK):
        raise CmudrnError(f"Cannot write {target}: {ancestor} is not a folder to write to.")
