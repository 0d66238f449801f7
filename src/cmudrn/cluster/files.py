"""Folders that a job reads and writes: on a disk, or on whatever fsspec has a plugin for."""

from __future__ import annotations

import os
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from cmudrn.errors import CmudrnError
from cmudrn.files import atomic_file


def open_folder(address: str) -> tuple[Any, str]:
    """Return the file system and path that an fsspec address stands for.

    On a disk the path is the real one, so that two spellings of one folder give the same.

    Raises:
        CmudrnError: no plugin for this kind of address is installed, or it has no folder.
    """
    try:
        files, path = fsspec.core.url_to_fs(address)
        return files, os.path.realpath(path) if _is_disk(files) else str(path).rstrip("/")
    except (ImportError, ValueError, OSError) as error:
        raise CmudrnError(f"Cannot open {address}: {sentence(error)}.") from error


def is_inside(path: str, folder: str) -> bool:
    """Return whether a path is a folder or below it; both as `open_folder` spells them."""
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def write_whole(files: Any, path: str, data: bytes) -> None:
    """Write a file that appears whole or not at all (object stores do so by themselves)."""
    files.makedirs(path.rpartition("/")[0], exist_ok=True)
    if _is_disk(files):
        with atomic_file(path) as file:
            file.write(data)
    else:
        files.pipe_file(path, data)


def sentence(error: Exception) -> str:
    """Return the first line of what an error says, without its full stop."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0].rstrip(".")


def _is_disk(files: Any) -> bool:
    return isinstance(files, LocalFileSystem)
