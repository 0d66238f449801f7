"""Folders that a job reads and writes: on a disk, or on whatever fsspec has a plugin for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from cmudrn.errors import CmudrnError, LimitExceededError
from cmudrn.files import atomic_file, check_regular


def open_folder(address: str) -> tuple[Any, str]:
    """Return the file system and path that an fsspec address stands for.

    On a disk the path is the real one, so that two spellings of one folder give the same.

    Raises:
        CmudrnError: no plugin for this kind of address is installed, or it has no folder.
    """
    try:
        files, path = fsspec.core.url_to_fs(address)
        return files, os.path.realpath(path) if is_disk(files) else str(path).rstrip("/")
    except (ImportError, ValueError, OSError) as error:
        raise CmudrnError(f"Cannot open {address}: {sentence(error)}.") from error


def is_inside(path: str, folder: str) -> bool:
    """Return whether a path is a folder or below it; both as `open_folder` spells them."""
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def read_whole(files: Any, path: str, max_bytes: int, name: str) -> bytes:
    """Return a file's bytes.

    Args:
        files: the file system.
        path: in it.
        max_bytes: most that are read.
        name: what to call the file in messages.

    Raises:
        CmudrnError: it is no file, or too large.
        OSError: it cannot be read.
    """
    if is_disk(files):
        check_regular(path)  # a pipe would keep its reader waiting
    size = files.size(path) or 0
    if size > max_bytes:
        raise LimitExceededError(
            f"{name} has {size:,} bytes, more than the limit of {max_bytes:,}.",
            limit_name="max_bytes", limit=max_bytes, value=size, path=name,
        )  # fmt: skip
    data: bytes = files.cat_file(path)
    return data


def write_whole(files: Any, path: str, data: bytes, like: Sequence[str] = ()) -> None:
    """Write a file that appears whole or not at all (object stores do so by themselves).

    Args:
        files: the file system.
        path: in it.
        data: what the file holds.
        like: files of this machine's disks; the new file is not more readable than any.
    """
    files.makedirs(path.rpartition("/")[0], exist_ok=True)
    if is_disk(files):
        with atomic_file(path, like=like) as file:
            file.write(data)
    else:
        files.pipe_file(path, data)


def sentence(error: Exception) -> str:
    """Return the first line of what an error says, without its full stop."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0].rstrip(".")


def is_disk(files: Any) -> bool:
    """Return whether a file system is that of this machine."""
    return isinstance(files, LocalFileSystem)
