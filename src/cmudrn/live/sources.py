"""Where images come from: a camera, an address, a file, or a folder that grows."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import av

from cmudrn.errors import CmudrnError, FileError, LimitExceededError
from cmudrn.files import Listing, list_folder
from cmudrn.image import Picture, Pixels, read_picture
from cmudrn.live.rtsp_relay import RtspRelay
from cmudrn.video.access import (
    IMAGE_DEMUXERS,
    AddressRefusedError,
    follow_own_redirects,
    hide_password,
    stream_options,
)
from cmudrn.video.colour import colours_of, to_pixels
from cmudrn.video.limits import MAX_FRAME_PIXELS

SNAPSHOT_PAUSE_S = 0.5
"""Seconds between two requests to an address that answers with a single image."""


MAX_REDIRECTS = 5
"""Of an RTSP server, within its host and port."""

MAX_WITHOUT_SIZE = 100
"""Packets that may fail in a row before the size of frames is known."""

_JOINED_LATE = ("rtsp", "rtp", "udp", "srt")
"""Schemes of streams whose first frames may be lost, their size with them."""


@dataclass(frozen=True)
class Arrival:
    """An image that came from a source.

    Attributes:
        pixels: (H, W, 3) RGB, uint8 or uint16; of a file as `Picture` says.
        name: of the file it came from, below the watched folder and with forward slashes; "" for
            a stream.
        arrived_s: when it was there, seconds of `time.monotonic`.
        picture: all that the file holds; None for a stream.
        file: where it lies; None for a stream.
    """

    pixels: Pixels
    name: str
    arrived_s: float
    picture: Picture | None = None
    file: Path | None = None


@dataclass(frozen=True)
class UnreadableFile:
    """A file of a watched folder that stays no image.

    Attributes:
        reason: one sentence that names the file.
    """

    reason: str


class Source(Protocol):
    """Where images come from."""

    def frames(self) -> Iterator[Arrival | UnreadableFile]:
        """Yield images as they come; end, or raise CmudrnError, when the source is lost."""
        ...

    @property
    def reopens(self) -> bool:
        """Whether a source that ended may be opened again."""
        ...

    @property
    def is_sequence(self) -> bool:
        """Whether its images are frames that follow each other in time; old ones are worthless."""
        ...


@dataclass(frozen=True)
class StreamSource:
    """A camera or an address that FFmpeg opens.

    Attributes:
        address: such as rtsp://camera/1, http://camera/video, /dev/video0, or file:clip.mp4. An
            http address may also answer with a single image: it is asked again and again.
        timeout_s: an address that sends nothing for so long is lost.
        is_camera: a device of this machine.
        follow_links: also take playlists (HLS, DASH) and redirects, which name other addresses.
        max_pixels: larger frames are refused.
    """

    address: str
    timeout_s: float = 10.0
    is_camera: bool = False
    follow_links: bool = False
    max_pixels: int = MAX_FRAME_PIXELS

    @property
    def reopens(self) -> bool:
        """Whether a source that ended may be opened again: a file may not."""
        return self.is_camera or not self.address.startswith("file:")

    @property
    def is_sequence(self) -> bool:
        """Whether its images are frames that follow each other in time: they are."""
        return True

    def frames(self) -> Iterator[Arrival]:
        """Yield frames; the damaged ones, up to the next whole one, are left out.

        Raises:
            AddressRefusedError: the address leads to another host or is of no kind that is read.
            LimitExceededError: a frame has more than `max_pixels`.
            CmudrnError: the source cannot be opened or was lost.
        """
        try:
            while True:
                with self._open() as container:
                    yield from self._decode(container)
                    is_snapshot = container.format.name in IMAGE_DEMUXERS
                if not (is_snapshot and self.reopens):
                    return
                time.sleep(SNAPSHOT_PAUSE_S)
        except (av.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            if isinstance(error, av.error.ExitError):  # FFmpeg's word for a time-out
                reason = f"nothing came for {self.timeout_s:g} s"
            raise CmudrnError(f"{hide_password(self.address)}: {reason}.") from error

    def _open(self) -> Any:
        if self.is_camera:
            return av.open(self.address, format=_camera_format(), timeout=self.timeout_s)
        address = self.address
        options = stream_options(address, self.follow_links)
        options["max_pixels"] = str(self.max_pixels)  # also while FFmpeg looks what comes
        if address.lower().startswith("rtsp"):
            options |= {"rtsp_transport": "tcp", "fflags": "nobuffer"}
            if not self.follow_links:
                return self._open_relayed(options)
        try:
            return av.open(address, options=options, timeout=self.timeout_s)
        except av.FFmpegError as error:
            own = follow_own_redirects(address, self.timeout_s)
            if own == address:
                if isinstance(error, av.error.ArgumentError):
                    raise AddressRefusedError(
                        f"{hide_password(address)} sends nothing that is read as video: no stream "
                        "or image, or a playlist that names other addresses."
                    ) from error
                raise
            return av.open(own, options=options, timeout=self.timeout_s)

    @contextmanager
    def _open_relayed(self, options: dict[str, str]) -> Iterator[Any]:
        """Yield an RTSP server's container; redirects within its host and port are followed."""
        address = self.address
        options = options | stream_options("rtsp://")  # whose protocols reach the relay
        for _ in range(MAX_REDIRECTS):
            with RtspRelay(address, self.timeout_s) as relay:
                try:
                    container = av.open(relay.address, options=options, timeout=self.timeout_s)
                except av.FFmpegError:
                    if relay.location is None:
                        raise
                    address = relay.redirected()
                    continue
                with container:
                    yield container
                return
        raise AddressRefusedError(f"{hide_password(self.address)} redirects again and again.")

    def _decode(self, container: Any) -> Iterator[Arrival]:
        if not container.streams.video:
            raise CmudrnError(f"{hide_password(self.address)} sends no video.")
        stream = container.streams.video[0]
        context = stream.codec_context
        if context is None:
            raise CmudrnError(f"{hide_password(self.address)} sends video of an unknown codec.")
        if not self.address.startswith(_JOINED_LATE):
            self._check_size(context.width, context.height)
        context.flags |= 1 << 19  # AV_CODEC_FLAG_LOW_DELAY: no frame is held back
        whole, refused = False, 0
        for packet in container.demux(stream):
            try:
                pictures = packet.decode()
            except av.error.InvalidDataError:
                whole, refused = False, refused + 1
                # A stream that is joined in its middle has no size before its next key frame.
                if not context.width and refused >= MAX_WITHOUT_SIZE:
                    self._check_size(0, 0)
                continue
            for picture in pictures:
                # After a loss, frames are patched from old ones until the next key frame.
                whole = not picture.is_corrupt and (whole or bool(picture.key_frame))
                if whole:
                    self._check_size(picture.width, picture.height)
                    now = time.monotonic()
                    yield Arrival(to_pixels(picture, colours_of(picture)), "", now)

    def _check_size(self, width: int, height: int) -> None:
        if not width * height:
            raise LimitExceededError(
                f"{hide_password(self.address)} sends frames of an unknown size, or of more than "
                f"the limit of {self.max_pixels:,} pixels.",
                limit_name="max_pixels",
                limit=self.max_pixels,
                path=hide_password(self.address),
            )
        if width * height > self.max_pixels:
            raise LimitExceededError(
                f"{hide_password(self.address)} sends frames of {width}x{height} = "
                f"{width * height:,} pixels, more than the limit of {self.max_pixels:,}.",
                limit_name="max_pixels",
                limit=self.max_pixels,
                value=width * height,
                path=hide_password(self.address),
            )


FileSignature = tuple[int, int]
"""When a file was last written, nanoseconds, and its bytes: another one is another content."""


@dataclass(frozen=True)
class FolderSource:
    """A folder that images are put into.

    Attributes:
        folder: watched with all that is below it.
        skip: files and folders in it that are not watched, such as those for the results.
        results: folder of the results. Images that are there at first count where it has nothing
            of their name; without it none of them count.
        pause_s: seconds between two scans.
        patience_s: how long a file may stay unreadable, which may still be being written.
        stop: set when no more scans are wanted.
    """

    folder: Path
    skip: tuple[Path, ...] = ()
    results: Path | None = None
    pause_s: float = 0.2
    patience_s: float = 3.0
    stop: threading.Event = field(default_factory=threading.Event)
    _known: dict[Path, FileSignature] = field(default_factory=dict, init=False, repr=False)
    _told: set[str] = field(default_factory=set, init=False, repr=False)

    def __post_init__(self) -> None:
        for path, signature in self._scan(list_folder(self.folder, results=False)).items():
            result = self.results and self.results / path.relative_to(self.folder)
            if result is None or os.path.lexists(result):
                self._known[path] = signature
        self._told.update(map(str, list_folder(self.folder, results=False).passed_over))

    @property
    def reopens(self) -> bool:
        """Whether a source that ended may be opened again: a folder may come back."""
        return True

    @property
    def is_sequence(self) -> bool:
        """Whether its images are frames that follow each other in time: they are not."""
        return False

    def frames(self) -> Iterator[Arrival | UnreadableFile]:
        """Yield images that appear or change, each once it has stopped changing.

        What was yielded is remembered when the folder is lost and opened again.

        Raises:
            FileError: the folder is gone.
        """
        before: dict[Path, FileSignature] = {}
        failing: dict[tuple[Path, FileSignature], float] = {}
        while not self.stop.is_set():
            if not self.folder.is_dir():
                raise FileError(f"The folder {self.folder} is gone.", path=self.folder)
            listing = list_folder(self.folder, results=False)
            for reason in map(str, listing.passed_over):
                if reason not in self._told:
                    self._told.add(reason)
                    yield UnreadableFile(reason)
            now = self._scan(listing)
            for path, signature in now.items():
                if signature == self._known.get(path) or signature != before.get(path):
                    continue
                found = _read(path, path.relative_to(self.folder).as_posix())
                if isinstance(found, UnreadableFile):
                    first = failing.setdefault((path, signature), time.monotonic())
                    if time.monotonic() - first < self.patience_s:
                        continue
                self._known[path] = signature
                yield found
            before = now
            failing = {key: first for key, first in failing.items() if key in now.items()}
            self.stop.wait(self.pause_s)

    def _scan(self, listing: Listing) -> dict[Path, FileSignature]:
        """Return the images and videos that are there, the oldest first."""
        root = self.folder.resolve()
        skipped = {
            path
            for skip in self.skip
            for path in (skip.resolve(), skip.parent.resolve() / skip.name)
            if root in path.parents  # a folder around this one hides nothing
        }
        found = []
        for path in listing.files:
            real = root / path.relative_to(self.folder)
            if not skipped.isdisjoint((real, *real.parents)):
                continue
            try:
                status = path.stat()
            except OSError:  # gone again
                continue
            found.append((status.st_mtime_ns, path, status.st_size))
        return {path: (mtime_ns, size) for mtime_ns, path, size in sorted(found)}


def _read(path: Path, name: str) -> Arrival | UnreadableFile:
    try:
        picture = read_picture(path)
    except CmudrnError as error:
        return UnreadableFile(str(error))
    return Arrival(picture.pixels, name, time.monotonic(), picture, path)


def open_source(
    text: str,
    timeout_s: float = 10.0,
    skip: tuple[Path, ...] = (),
    *,
    results: Path | None = None,
    follow_links: bool = False,
    max_pixels: int = MAX_FRAME_PIXELS,
) -> Source:
    """Return the source that a user's words mean.

    Args:
        text: an address, "camera:" and a camera's name, a device, a file or a folder.
        timeout_s: see `StreamSource`.
        skip: see `FolderSource`.
        results: likewise.
        follow_links: see `StreamSource`.
        max_pixels: see `StreamSource`.

    Raises:
        AddressRefusedError: it is an address that is not read.
        FileError: it is neither an address, nor a camera, file or folder that is there.
    """
    path = Path(text)
    if text.startswith("camera:"):
        name = text.removeprefix("camera:")
        return StreamSource(name, timeout_s, is_camera=True, max_pixels=max_pixels)
    if path.is_dir():
        return FolderSource(path, skip, results)
    if "://" in text:
        stream_options(text)
        return StreamSource(text, timeout_s, follow_links=follow_links, max_pixels=max_pixels)
    if not path.exists():
        raise FileError(f"There is no camera, file or folder {text}.", path=text)
    if path.is_char_device():
        return StreamSource(text, timeout_s, is_camera=True, max_pixels=max_pixels)
    return StreamSource(f"file:{text}", timeout_s, max_pixels=max_pixels)


def _camera_format() -> str:
    return {"linux": "v4l2", "darwin": "avfoundation"}.get(sys.platform, "dshow")
