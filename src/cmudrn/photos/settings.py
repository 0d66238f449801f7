"""What a caller may ask of a photo, and what it gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cmudrn.image import MAX_BYTES, MAX_PIXELS
from cmudrn.photos.provenance import Provenance
from cmudrn.restoration import RestoreSettings
from cmudrn.restoration.weather_classifier import WeatherScore


@dataclass(frozen=True)
class PhotoSettings:
    """How a photo is restored and written.

    Attributes:
        restore: how its pixels are restored.
        format: of the result, one of `cmudrn.image.FORMATS`; None is the one that the target's
            name says, or else the source's own.
        quality: 1 to 100 for JPEG, WebP and AVIF; see `encode_picture`.
        subsampling: of JPEG's colours, "444", "420" or "auto"; see `encode_picture`.
        side_by_side: put the source at the left of the result.
        overwrite: replace files that are there.
        max_pixels: largest width times height that is read.
        max_bytes: largest file that is read.
        provenance: mark the result as enhanced and write a record beside it; None does neither.

    Example:
        >>> PhotoSettings(RestoreSettings(strength=0.5), format="png").restore.strength
        0.5
    """

    restore: RestoreSettings = field(default_factory=RestoreSettings)
    format: str | None = None
    quality: int | None = None
    subsampling: str = "auto"
    side_by_side: bool = False
    overwrite: bool = False
    max_pixels: int = MAX_PIXELS
    max_bytes: int = MAX_BYTES
    provenance: Provenance | None = None


@dataclass(frozen=True)
class RestoredBytes:
    """A restored photo as the bytes of a file.

    Attributes:
        data: the file.
        notes: sentences about what could not be kept of the source, and of much change.
        weather: the weather score; None unless it was asked for.
        passed: whether the gate left the photo as it is.
        changed: share of the pixels that were changed strongly.
    """

    data: bytes
    notes: tuple[str, ...] = ()
    weather: WeatherScore | None = None
    passed: bool = False
    changed: float = 0.0


@dataclass(frozen=True)
class PhotoResult:
    """What was done with a photo.

    Attributes:
        source: the file that was read.
        target: the file that was written.
        width: of the source, upright, pixels.
        height: likewise.
        model: the model's name.
        seconds: the work took.
        layers: task, and "fused" -> the file that shows what was removed.
        weather: the weather score; None unless it was asked for.
        passed: whether the gate left the photo as it is; the target then has the source's bytes,
            unless another encoding was asked for.
        notes: sentences about what could not be kept of the source, and of much change.
        changed: share of the pixels that were changed strongly.
    """

    source: Path
    target: Path
    width: int
    height: int
    model: str
    seconds: float
    layers: Mapping[str, Path] = field(default_factory=dict)
    weather: WeatherScore | None = None
    passed: bool = False
    notes: tuple[str, ...] = ()
    changed: float = 0.0

    def to_json(self) -> dict[str, object]:
        """Return the result as JSON objects; the weather stands there only if it was asked for."""
        scored: dict[str, object] = {}
        if self.weather is not None:
            scores = {name: round(value, 4) for name, value in asdict(self.weather).items()}
            scored = {"weather": scores, "passed": self.passed}
        return {
            "input": str(self.source),
            "output": str(self.target),
            "ok": True,
            "width": self.width,
            "height": self.height,
            "model": self.model,
            "seconds": round(self.seconds, 3),
            "layers": {name: str(path) for name, path in self.layers.items()},
            **scored,
            "changed": round(self.changed, 4),
            "notes": list(self.notes),
        }
