"""How results are written, and who may write them."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

from cmudrn.errors import TargetError

if sys.platform != "win32":
    import fcntl


@contextmanager
def atomic_file(
    target: str | os.PathLike[str], *, like: Sequence[str | os.PathLike[str]] = ()
) -> Iterator[BinaryIO]:
    """Yield a file that takes target's place when the block ends well, and vanishes otherwise.

    Where the system allows it the file has no name before it is complete, so that even a killed
    process leaves nothing behind. File and name are on the disk when the block has ended. Where
    target is a link, the link stays and the file that it points to is replaced. A file that is
    replaced hands on its mode.

    Args:
        target: the file.
        like: the files that the content was made from; the new file is not more readable than any.

    Raises:
        TargetError: the file cannot be made, or target is no file name.
    """
    path = Path(os.fspath(target))
    _check_name(path)
    path = _behind_link(path)
    temporary = path.with_name(f".{os.urandom(8).hex()}.part")
    try:
        with _nameless(path.parent) or open(temporary, "x+b") as file:
            _set_mode(file, path, like)
            yield file
            file.flush()
            os.fsync(file.fileno())
            if not temporary.exists():
                _name(file, temporary)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise TargetError(f"Cannot write {path}: {error.strerror}.", path=path) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def replace_file(made: Path, target: Path, *, like: Sequence[str | os.PathLike[str]] = ()) -> None:
    """Give a finished file target's place, as `atomic_file` does; for what writes files by name.

    Args:
        made: on the disk of the target's folder.
        target: see `atomic_file`.
        like: see `atomic_file`.

    Raises:
        OSError: it cannot be done.
    """
    path = _behind_link(target)
    with made.open("rb") as file:
        _set_mode(file, path, like)
        os.fsync(file.fileno())
    try:
        os.replace(made, path)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with made.open("rb") as file, atomic_file(path, like=[made, *like]) as copy:
            shutil.copyfileobj(file, copy)  # the link led to another disk
        made.unlink()
    sync_folder(path.parent)


def _behind_link(path: Path) -> Path:
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _check_name(path: Path) -> None:
    try:
        os.lstat(path)
    except ValueError as error:  # a null character, or letters that no file name can hold
        raise TargetError(f"{str(path)!r} is not a file name.", path=path) from error
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


def _set_mode(file: BinaryIO, replaced: Path, like: Sequence[str | os.PathLike[str]]) -> None:
    """Give a new file the mode of the one it replaces; it is not more readable than `like`."""
    if sys.platform == "win32":
        return
    mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    with suppress(OSError):
        former = os.stat(replaced)
        mode = stat.S_IMODE(former.st_mode) & 0o777
        with suppress(OSError):
            os.fchown(file.fileno(), -1, former.st_gid)
        mode &= _readers(former, file)
    for source in like:
        with suppress(OSError):
            mode &= _readers(os.stat(source), file)
    os.fchmod(file.fileno(), mode)


def _readers(model: os.stat_result, file: BinaryIO) -> int:
    """Return the most that the mode of a file may be so that nobody new can read it."""
    others = model.st_mode & 0o007
    same_group = model.st_gid == os.fstat(file.fileno()).st_gid
    return 0o700 | (model.st_mode & 0o070 if same_group else others << 3) | others


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, where the system can do that."""
    if sys.platform == "win32":
        return
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def claim_target(target: str | os.PathLike[str]) -> Iterator[None]:
    """Keep other processes of this user from making the same result until the block ends.

    A claim is a lock on one byte of a file in the user's cache folder; it goes with the process,
    however that ends. Where there are no such locks, nothing is claimed.

    Raises:
        TargetError: another process is making it.
    """
    place = hashlib.sha256(os.path.realpath(target).encode(errors="surrogateescape")).digest()
    byte = int.from_bytes(place[:7])
    descriptor = _claims()
    if sys.platform == "win32" or descriptor is None:
        yield
        return
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
    except (BlockingIOError, PermissionError) as error:
        sentence = f"{target} is being written by another run."
        raise TargetError(sentence, path=target, busy=True) from error
    except OSError:  # a file system without locks
        yield
        return
    try:
        yield
    finally:
        fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, byte)


@cache
def _claims() -> int | None:
    """Return the descriptor of the file of claims; open until the process ends.

    Closing any descriptor of a file takes back all that the process has locked of it.
    """
    if sys.platform == "win32":
        return None
    with suppress(OSError):
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(folder / "claims", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    return None


def cache_folder() -> Path:
    """Return the folder for what this program keeps for a user between runs."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return Path(cache or os.path.expanduser("~/.cache")) / "cmudrn"


def check_target(source: Path | None, target: Path, overwrite: bool) -> None:
    """Refuse a target that would cost the user a file, or cannot be written.

    Raises:
        TargetError: it is the source, it exists and overwrite is off, or it lies in no folder
            that can be made.
    """
    try:
        _check_target(source, target, overwrite)
    except OSError as error:  # a name too long, a folder that may not be looked into
        raise TargetError(f"Cannot write {target}: {error.strerror}.", path=target) from error


def _check_target(source: Path | None, target: Path, overwrite: bool) -> None:
    if target.exists():
        if target.is_dir():
            raise TargetError(f"{target} is a folder.", path=target)
        if source and source.exists() and target.samefile(source):
            sentence = f"{source} would overwrite itself; choose another output."
            raise TargetError(sentence, path=target)
        if not overwrite:
            raise TargetError(f"{target} exists already.", path=target, exists=True)
        if not stat.S_ISREG(target.stat().st_mode):
            raise TargetError(f"{target} is not a file that can be replaced.", path=target)
    elif target.is_symlink():
        raise TargetError(f"Cannot write {target}: it is a link to nothing.", path=target)
    ancestor = next(parent for parent in target.absolute().parents if parent.exists())
    if not ancestor.is_dir() or not os.access(ancestor, os.W_OK):
        sentence = f"Cannot write {target}: {ancestor} is not a folder to write to."
        raise TargetError(sentence, path=target)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; their names are on the disk when it returns.

    Raises:
        TargetError: it cannot be made.
    """
    try:
        missing = [one for one in (folder, *folder.parents) if not one.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for made in missing:
            sync_folder(made.parent)
    except OSError as error:
        sentence = f"Cannot make the folder {folder}: {error.strerror}."
        raise TargetError(sentence, path=folder) from error
