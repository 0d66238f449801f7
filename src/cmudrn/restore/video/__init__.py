"""A video clip restored into another: sound, subtitles and frame times stay as they are."""

from cmudrn.restore.video.encoding import CODECS, VideoFormat
from cmudrn.restore.video.raw import restore_raw
from cmudrn.restore.video.work import VideoOptions, restore_video

__all__ = ["CODECS", "VideoFormat", "VideoOptions", "restore_raw", "restore_video"]
