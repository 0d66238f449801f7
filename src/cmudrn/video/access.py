"""What FFmpeg may open: a file or a camera's answer is data, and never names another source.

A playlist, a concat script or a redirect would make FFmpeg open further files or addresses, chosen
by whoever wrote it. Every place that reads media therefore passes one of these sets of options,
which name the demuxers and protocols that it may use.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from urllib.parse import urlsplit

from cmudrn.errors import CmudrnError

FILE_DEMUXERS = (
    "mov", "matroska", "avi", "flv", "asf", "mpeg", "mpegts", "mpegvideo", "ogg", "mxf", "gif",
    "yuv4mpegpipe", "h264", "hevc", "vvc", "av1", "obu", "ivf", "m4v", "dhav", "dv", "vc1", "rm",
    "wtv", "nut", "gxf", "apng", "mjpeg",
)  # fmt: skip
"""Demuxers of single video files. Playlists, scripts and numbered images are left out."""

IMAGE_DEMUXERS = ("image2", "jpeg_pipe", "png_pipe", "webp_pipe", "bmp_pipe", "tiff_pipe")
"""Demuxers of a single image, which an address may answer with."""

STREAM_DEMUXERS = (*FILE_DEMUXERS, "mpjpeg", *IMAGE_DEMUXERS)
"""Demuxers of what an address may send by itself."""

PLAYLIST_DEMUXERS = ("hls", "dash")
"""Demuxers whose content names further addresses."""

_PROTOCOLS = {
    "http": "http,tcp,httpproxy",
    "https": "https,tls,tcp,httpproxy",
    "rtsp": "rtsp,rtp,tcp,udp",
    "rtsps": "rtsp,tls,rtp,tcp,udp",
    "rtmp": "rtmp,tcp",
    "rtmps": "rtmps,tls,tcp",
    "rtp": "rtp,udp",
    "udp": "udp",
    "tcp": "tcp",
    "srt": "srt,udp",
    "file": "file",
}

_RTSP_DEMUXERS = {"rtsp": "rtsp", "rtsps": "rtsp", "rtp": "rtp"}


class AddressRefusedError(CmudrnError):
    """An address that is not opened, or that leads to another one; trying again does not help."""


def file_options() -> dict[str, str]:
    """Return the options with which FFmpeg opens a video file and nothing else."""
    return {"format_whitelist": ",".join(FILE_DEMUXERS), "protocol_whitelist": "file"}


def stream_options(address: str, follow_links: bool = False) -> dict[str, str]:
    """Return the options with which FFmpeg opens an address and nothing else.

    Args:
        address: such as rtsp://camera/1 or file:clip.mp4.
        follow_links: also take playlists (HLS, DASH) and redirects, which name other addresses.

    Raises:
        AddressRefusedError: the address has a scheme that is not read.
    """
    scheme = address.partition(":")[0].lower()
    if scheme not in _PROTOCOLS:
        raise AddressRefusedError(
            f"{hide_password(address)} is no address that is read: its scheme is none of "
            f"{', '.join(name for name in _PROTOCOLS if name != 'file')}."
        )
    protocols, demuxers = _PROTOCOLS[scheme], list(STREAM_DEMUXERS)
    if scheme == "file":
        return file_options()
    if scheme in _RTSP_DEMUXERS:
        demuxers = [_RTSP_DEMUXERS[scheme]]
    options = {"pattern_type": "none"}  # "%d" in an address is no numbering
    if scheme in ("http", "https") and not follow_links:
        options["max_redirects"] = "0"
    if follow_links and scheme in ("http", "https"):
        demuxers += PLAYLIST_DEMUXERS
        protocols = "http,https,tls,tcp,httpproxy,crypto,data"
    return {
        **options,
        "format_whitelist": ",".join(demuxers),
        "protocol_whitelist": protocols,
    }


def follow_own_redirects(address: str, timeout_s: float) -> str:
    """Return where an http address leads by redirects within its own host and port.

    Args:
        address: http or https; another one is returned as it is.
        timeout_s: how long an answer may take.

    Raises:
        AddressRefusedError: it redirects to another host or port.
    """
    parts = urlsplit(address)
    if parts.scheme.lower() not in ("http", "https") or parts.username is not None:
        return address
    opener = urllib.request.build_opener(_SameHostOnly(address))
    try:
        with opener.open(address, timeout=timeout_s) as answer:
            return str(answer.geturl())
    except (OSError, ValueError):  # FFmpeg tells what is wrong
        return address


def hide_password(address: str) -> str:
    """Return an address as a message may name it: without name and password.

    Example:
        >>> hide_password("rtsp://user:secret@camera/1")
        'rtsp://camera/1'
    """
    address = address.removeprefix("file:")
    scheme, mark, rest = address.partition("://")
    server, slash, path = rest.partition("/")
    return scheme + mark + server.rpartition("@")[2] + slash + path if mark else address


class _SameHostOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects within one host and port."""

    def __init__(self, address: str) -> None:
        self._address = address

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        """Return the next request; another host is refused."""
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if (old.scheme, old.hostname, old.port) != (new.scheme, new.hostname, new.port):
            raise AddressRefusedError(
                f"{hide_password(self._address)} redirects to {new.scheme}://{new.hostname}, "
                "which is another host or port; it is not followed."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)
