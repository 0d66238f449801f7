"""CMUDRN removes rain and snow from photographs, video and camera streams.

Example:
    >>> import cmudrn, numpy
    >>> restorer = cmudrn.load("cmudrn", threads=1)
    >>> image = numpy.zeros((40, 60, 3), numpy.uint8)  # (H, W, 3) RGB or (H, W) grey
    >>> restored = restorer(image)
    >>> restored.shape, restored.dtype
    ((40, 60, 3), dtype('uint8'))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from cmudrn.errors import CmudrnError
from cmudrn.version import __version__

if TYPE_CHECKING:
    import os

    from cmudrn.image import read_image, write_image
    from cmudrn.photos import PhotoResult, PhotoSettings
    from cmudrn.restoration import RestoredImage, Restorer, RestoreSettings, restore_image
    from cmudrn.video import ClipResult

_PLACES = {
    "PhotoResult": "cmudrn.photos",
    "PhotoSettings": "cmudrn.photos",
    "RestoreSettings": "cmudrn.restoration",
    "RestoredImage": "cmudrn.restoration",
    "Restorer": "cmudrn.restoration",
    "read_image": "cmudrn.image",
    "restore_image": "cmudrn.restoration",
    "write_image": "cmudrn.image",
}
"""Name -> where it is defined. `import cmudrn` stays fast: NumPy comes with the first use."""


def load(
    model: str | os.PathLike[str] = "cmudrn",
    *,
    engine: str = "auto",
    threads: int | None = None,
    precision: str = "auto",
    device: str = "cpu",
    change_gating: bool = True,
) -> Restorer:
    """Return a model that restores images.

    Args:
        model: a shipped model's name, or the path of an ONNX file.
        engine: "auto" takes the fastest that can run the model.
        threads: processor threads of a call; None is one for every core this process may use.
        precision: "fp32", "bf16", or "auto": bfloat16 where it is faster and as good.
        device: "cpu", the name of a graphics card's interface, such as "cuda", or "auto": a card
            if one works.
        change_gating: hold back changes too faint to be weather, where the model asks for it.

    Raises:
        ModelFileError: there is no such model, or the file is damaged.
        InvalidSettingError: there is no such engine, precision or device, or the model is neither
            a name nor a path.
        DeviceError: the device is not there, or fails.

    Example:
        >>> load("cmudrn", threads=1).info.tasks
        ('rain', 'snow')
    """
    from cmudrn.engines import open_engine
    from cmudrn.restoration import Restorer

    opened = open_engine(model, engine, threads, precision, device)
    return Restorer(opened, change_gating=change_gating)


def restore_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    restorer: Restorer | None = None,
    **settings: Any,
) -> PhotoResult | ClipResult:
    """Restore a photo or a clip into a file. Metadata is kept; of a clip also sound and subtitles.

    Args:
        source: a JPEG, PNG, TIFF, WebP, AVIF, BMP or still GIF image, or a video clip.
        target: where the result goes; its suffix says which format. It is written whole or not at
            all.
        restorer: from `load`; None is the default model. Give one where many files are restored.
        settings: any of `RestoreSettings` (such as strength) and of `PhotoSettings` (such as
            quality and overwrite), or of `cmudrn.video.ClipSettings` for a clip.

    Raises:
        InvalidSettingError: there is no such setting, or its value is none.
        ImageFileError: the source cannot be read.
        TargetError: the target exists already and overwrite is off, its suffix is not a known
            one, or it cannot be written.
        MissingExtraError: the source is a clip and the extra video is not installed.

    Example:
        >>> import cmudrn, tempfile, pathlib, numpy
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> cmudrn.write_image(numpy.zeros((40, 60, 3), numpy.uint8), folder / "photo.png")
        >>> done = restore_file(folder / "photo.png", folder / "clean.jpg", strength=0.8)
        >>> done.width, done.height, done.target.name
        (60, 40, 'clean.jpg')
    """
    from pathlib import Path

    from cmudrn.errors import MissingExtraError
    from cmudrn.files import file_kind
    from cmudrn.photos import PhotoSettings, restore_photo
    from cmudrn.restoration.settings import compose

    source, target = Path(source), Path(target)
    if file_kind(source) != "clip":
        photo = compose(PhotoSettings, settings)
        return restore_photo(restorer or load(), source, target, photo)
    try:
        from cmudrn.video import ClipSettings, restore_clip
    except ImportError as error:
        raise MissingExtraError(f"{source} is video, which", "video") from error
    clip = compose(ClipSettings, settings)
    return restore_clip(restorer or load(), source, target, clip)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)


__all__ = [
    "CmudrnError",
    "PhotoResult",
    "PhotoSettings",
    "RestoreSettings",
    "RestoredImage",
    "Restorer",
    "__version__",
    "load",
    "read_image",
    "restore_file",
    "restore_image",
    "write_image",
]
