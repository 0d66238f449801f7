"""A GStreamer element that removes rain and snow from raw frames.

    GST_PLUGIN_PATH=integrations/gstreamer gst-launch-1.0 filesrc location=rain.mp4 ! decodebin \
        ! videoconvert ! cmudrn strength=0.9 ! videoconvert ! autovideosink

GStreamer's Python loader (Debian: gstreamer1.0-python3-plugin-loader, python3-gst-1.0) reads this
file; the package cmudrn has to be installed for the Python that it runs.
"""
# ruff: noqa: E402  (gi wants versions before its imports)

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstBase", "1.0")
gi.require_version("GstVideo", "1.0")

import numpy as np
from gi.repository import GObject, Gst, GstBase, GstVideo

import cmudrn
from cmudrn.restoration import RestoreSettings, Sequence, restore_image

Gst.init_python()
CAPS = Gst.Caps.from_string(
    "video/x-raw, format=RGB, width=[1, 8192], height=[1, 8192], framerate=[0/1, 240/1]"
)


class Cmudrn(GstBase.BaseTransform):
    """Restores each frame in its buffer; score and veil are smoothed over the frames."""

    __gstmetadata__ = (
        "CMUDRN",
        "Filter/Effect/Video",
        "Removes rain and snow",
        "The CMUDRN founders",
    )
    __gsttemplates__ = (
        Gst.PadTemplate.new("sink", Gst.PadDirection.SINK, Gst.PadPresence.ALWAYS, CAPS),
        Gst.PadTemplate.new("src", Gst.PadDirection.SRC, Gst.PadPresence.ALWAYS, CAPS),
    )
    model = GObject.Property(type=str, default="cmudrn", nick="A shipped model, or an ONNX file")
    engine = GObject.Property(type=str, default="auto", nick="auto, native, onnx or openvino")
    strength = GObject.Property(type=float, default=1.0, minimum=0.0, maximum=1.0)

    def __init__(self):
        super().__init__()
        self._video = GstVideo.VideoInfo()
        self._restorer = None

    def do_set_caps(self, caps, _):
        """Take the size of the frames, and open the model."""
        self._video = GstVideo.VideoInfo.new_from_caps(caps)
        self._sequence = Sequence()
        if self._restorer is None:
            try:
                self._restorer = cmudrn.load(self.model, engine=self.engine)
            except cmudrn.CmudrnError as error:
                Gst.error(str(error))
                return False
        return True

    def do_transform_ip(self, buffer):
        """Restore one frame."""
        height, width, stride = self._video.height, self._video.width, self._video.stride[0]
        with buffer.map(Gst.MapFlags.READ | Gst.MapFlags.WRITE) as mapped:
            rows = np.ndarray((height, stride), np.uint8, mapped.data)
            pixels = rows[:, : 3 * width].reshape(height, width, 3)
            settings = RestoreSettings(self.strength)
            done = restore_image(self._restorer, pixels, settings, sequence=self._sequence)
            rows[:, : 3 * width] = done.pixels.reshape(height, 3 * width)
        return Gst.FlowReturn.OK


GObject.type_register(Cmudrn)
__gstelementfactory__ = ("cmudrn", Gst.Rank.NONE, Cmudrn)
