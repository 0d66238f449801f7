"""A video clip restored into another: sound, subtitles and frame times stay as they are."""

from cmudrn.video.decode import VideoFileError, is_video
from cmudrn.video.encode import CODECS, VideoFormat, check_codec
from cmudrn.video.limits import ClipLimits
from cmudrn.video.raw_frames import restore_raw
from cmudrn.video.restore_clip import restore_clip
from cmudrn.video.settings import ClipResult, ClipSettings

__all__ = [
    "CODECS",
    "ClipLimits",
    "ClipResult",
    "ClipSettings",
    "VideoFileError",
    "VideoFormat",
    "check_codec",
    "is_video",
    "restore_clip",
    "restore_raw",
]
