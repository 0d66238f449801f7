"""A video clip restored into another: sound, subtitles and frame times stay as they are."""

from cmudrn.video.encode import CODECS, VideoFormat
from cmudrn.video.raw_frames import restore_raw
from cmudrn.video.restore_clip import VideoOptions, restore_video

__all__ = ["CODECS", "VideoFormat", "VideoOptions", "restore_raw", "restore_video"]
