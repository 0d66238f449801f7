"""Folders that a job reads and writes: on a disk, or on whatever fsspec has a plugin for."""

from __future__ import annotations

from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from cmudrn.errors import CmudrnError
from cmudrn.image import atomic_file


def open_folder(address: str) -> tuple[Any, str]:
    """Return the file system and path that an fsspec address stands for.

    Raises:
        CmudrnError: no plugin for this kind of address is installed, or it has no folder.
    """
    try:
        files, path = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError, OSError) as error:
        raise CmudrnError(f"Cannot open {address}: {sentence(error)}.") from error
    return files, str(path).rstrip("/")


def write_whole(files: Any, path: str, data: bytes) -> None:
    """Write a file that appears whole or not at all (object stores do so by themselves)."""
    files.makedirs(path.rpartition("/")[0], exist_ok=True)
    if isinstance(files, LocalFileSystem):
        with atomic_file(path) as file:
            file.write(data)
    else:
        files.pipe_file(path, data)


def sentence(error: Exception) -> str:
    """Return the first line of what an error says, without its full stop."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0].rstrip(".")
