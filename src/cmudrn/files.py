"""Files: which of a folder are images or clips, how results are written, who may write them."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO, Literal

from cmudrn.errors import FileError, TargetError, UnsupportedImageError

if sys.platform != "win32":
    import fcntl

IMAGE_SUFFIXES = {
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".jpe": "jpeg",
    ".jfif": "jpeg",
    ".png": "png",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".webp": "webp",
    ".bmp": "bmp",
}
"""File name suffix of images that are read and written -> format."""

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts"}
    | {".wmv", ".flv", ".3gp", ".ogv"}
)
"""File name suffixes that are taken for video."""

UNSUPPORTED_SUFFIXES = frozenset(
    {".heic", ".heif", ".hif", ".avif", ".jxl", ".gif", ".apng", ".mng", ".svg", ".ico", ".cur"}
    | {".jp2", ".j2k", ".jpf", ".jpx", ".jxr", ".dib", ".tga", ".psd", ".psb", ".xcf", ".exr"}
    | {".hdr", ".pbm", ".pgm", ".ppm", ".pnm", ".pam", ".pfm", ".pcx", ".xbm", ".xpm", ".eps"}
    # camera raw files
    | {".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".orf", ".rw2"}
    | {".raf", ".pef", ".srw", ".raw", ".3fr", ".iiq", ".x3f"}
)
"""File name suffixes of images that are not read."""

Kind = Literal["image", "clip", "unsupported"]


def file_kind(name: str | os.PathLike[str]) -> Kind | None:
    """Return what a file's name says that it is; None is neither image nor video.

    Example:
        >>> file_kind("a.JPG"), file_kind("b.mp4"), file_kind("c.heic"), file_kind("notes.txt")
        ('image', 'clip', 'unsupported', None)
    """
    suffix = Path(name).suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return "image"
    if suffix in VIDEO_SUFFIXES:
        return "clip"
    return "unsupported" if suffix in UNSUPPORTED_SUFFIXES else None


_VIDEO_SIGNATURES = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"FLV\x01",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF: WMV
    b"OggS",
    b"YUV4MPEG2",
    b"DHAV",
    b"DKIF",  # IVF
    b".RMF",
    b"nut/multimedia",
    b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02",  # MXF
    b"\x00\x00\x01\xba",  # MPEG program stream: MPG, VOB
    b"\x00\x00\x01\xb3",  # MPEG video
    *(start + unit for start in (b"\0\0\1", b"\0\0\0\1") for unit in (b"\x67", b"\x27", b"\x40")),
)
"""How video files begin; the last are H.264 and HEVC without a container."""

_IMAGE_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"avif", b"crx ", b"jxl ")


def holds_video(path: str | os.PathLike[str]) -> bool:
    """Return whether a file's first bytes are those of video or an animated GIF."""
    try:
        with open(path, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return False
            head = file.read(1 << 20)
    except OSError:
        return False
    if head[4:8] == b"ftyp":
        return head[8:12] not in _IMAGE_BRANDS
    if head.startswith(b"GIF8"):
        return b"NETSCAPE2.0" in head or head.count(b"\x00\x21\xf9\x04") > 1
    packets = any(
        len(head) > start + 376 and {head[start + n * 188] for n in range(3)} == {0x47}
        for start in (0, 4)
    )
    return (
        head.startswith(_VIDEO_SIGNATURES)
        or head[4:8] in (b"moov", b"mdat", b"wide")
        or (head.startswith(b"RIFF") and head[8:12] == b"AVI ")
        or packets
    )


def is_hidden(relative: str | os.PathLike[str]) -> bool:
    """Return whether a path below a folder is, or lies in, something hidden."""
    return any(part.startswith(".") for part in Path(relative).parts)


def natural_order(text: str) -> tuple[tuple[int, str], ...]:
    """Return a sort key by which 2 comes before 10.

    Example:
        >>> sorted(["b10", "b2"], key=natural_order)
        ['b2', 'b10']
    """
    parts = re.split(r"(\d+)", text)
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)


@dataclass(frozen=True)
class Listing:
    """The images and clips of a folder.

    Attributes:
        images: in order of their paths.
        clips: likewise.
        passed_over: files and folders that look like something to restore and are left out, each
            with the reason: images of a kind that is not read, and links that are not followed.
        unreadable: folders that cannot be read.
    """

    images: tuple[Path, ...]
    clips: tuple[Path, ...]
    passed_over: tuple[FileError, ...]
    unreadable: tuple[FileError, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """Images and clips in order of their paths."""
        return tuple(sorted((*self.images, *self.clips)))


def list_folder(
    folder: str | os.PathLike[str],
    *,
    skip: Iterable[str | os.PathLike[str]] = (),
    below: bool = True,
    follow_links: bool = False,
) -> Listing:
    """Return the images and clips of a folder, told by their names.

    Hidden files and folders are left out. Links to folders are not followed.

    Args:
        folder: where to look.
        skip: folders to leave out with all below them, such as that of the results.
        below: also look in the folders below it.
        follow_links: take links to files that lie outside the folder.
    """
    start = Path(folder)
    left_out = {os.path.realpath(path) for path in skip}
    root = os.path.realpath(start)
    found: dict[str, list[Path]] = {"image": [], "clip": []}
    passed_over: list[FileError] = []
    unreadable: list[OSError] = []
    for place, folders, names in os.walk(start, onerror=unreadable.append):
        kept = []
        for name in folders:
            path = Path(place, name)
            if name.startswith(".") or os.path.realpath(path) in left_out:
                continue
            if path.is_symlink():
                sentence = f"{path} is a link to a folder and is not followed."
                passed_over.append(FileError(sentence, path=path))
            else:
                kept.append(name)
        folders[:] = kept if below else []
        for name in names:
            path, kind = Path(place, name), file_kind(name)
            if kind is None or name.startswith("."):
                continue
            if error := _why_passed_over(path, kind, root, follow_links):
                passed_over.append(error)
            else:
                found[kind].append(path)
    return Listing(
        tuple(sorted(found["image"])),
        tuple(sorted(found["clip"])),
        tuple(sorted(passed_over, key=lambda error: str(error.path))),
        tuple(
            FileError(f"Cannot read {path}: {error.strerror}.", path=path)
            for path, error in ((Path(error.filename), error) for error in unreadable)
        ),
    )


def _why_passed_over(path: Path, kind: Kind, root: str, follow_links: bool) -> FileError | None:
    if kind == "unsupported":
        suffix = path.suffix.lower()
        return UnsupportedImageError(
            f"{path} is passed over: {suffix} files are not read.", path=path
        )
    if not follow_links and path.is_symlink():
        real = os.path.realpath(path)
        if os.path.commonpath([root, real]) != root:
            return FileError(f"{path} is a link out of the folder and is not followed.", path=path)
    return None


@contextmanager
def atomic_file(
    target: str | os.PathLike[str], *, like: str | os.PathLike[str] | None = None
) -> Iterator[BinaryIO]:
    """Yield a file that takes target's place when the block ends well, and vanishes otherwise.

    Where the system allows it the file has no name before it is complete, so that even a killed
    process leaves nothing behind. File and name are on the disk when the block has ended. Where
    target is a link, the link stays and the file that it points to is replaced. A file that is
    replaced hands on its mode.

    Args:
        target: the file.
        like: the file that the content was made from; the new file is not more readable.

    Raises:
        TargetError: the file cannot be made, or target is no file name.
    """
    path = Path(os.fspath(target))
    _check_name(path)
    if path.is_symlink():
        path = Path(os.path.realpath(path))
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
        _sync_folder(path.parent)
    except OSError as error:
        raise TargetError(f"Cannot write {path}: {error.strerror}.", path=path) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


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


def _set_mode(file: BinaryIO, replaced: Path, like: str | os.PathLike[str] | None) -> None:
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
    if like is not None:
        with suppress(OSError):
            mode &= _readers(os.stat(like), file)
    os.fchmod(file.fileno(), mode)


def _readers(model: os.stat_result, file: BinaryIO) -> int:
    """Return the most that the mode of a file may be so that nobody new can read it."""
    others = model.st_mode & 0o007
    same_group = model.st_gid == os.fstat(file.fileno()).st_gid
    return 0o700 | (model.st_mode & 0o070 if same_group else others << 3) | others


def _sync_folder(folder: Path) -> None:
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
    """Make a folder and those above it.

    Raises:
        TargetError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sentence = f"Cannot make the folder {folder}: {error.strerror}."
        raise TargetError(sentence, path=folder) from error
