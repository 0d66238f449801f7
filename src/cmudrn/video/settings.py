"""What a caller may ask of a restored clip, and what it gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cmudrn.restoration import RestoreSettings
from cmudrn.video.encode import VideoFormat
from cmudrn.video.limits import ClipLimits


@dataclass(frozen=True)
class ClipSettings:
    """How a clip is restored and written.

    Attributes:
        restore: how each frame is restored; `layers` also writes what each branch and the fusion
            removed, as clips of their own, `score` each frame's weather score beside the result,
            and `gate` leaves frames as they are where the running mean of the scores says clear.
        side_by_side: put the source at the left of the result.
        overwrite: replace files that are there.
        temporal: fuse each frame with the two before and the two after it, where they show the
            same; see `cmudrn.restoration.temporal_fusion`.
        format: codec, quality and pixel format of the result.
        limits: clips that exceed them are refused.
    """

    restore: RestoreSettings = field(default_factory=RestoreSettings)
    side_by_side: bool = False
    overwrite: bool = False
    temporal: bool = True
    format: VideoFormat = field(default_factory=VideoFormat)
    limits: ClipLimits = field(default_factory=ClipLimits)

    def fuses(self, width: int, height: int) -> bool:
        """Return whether frames of a size are fused over time."""
        return self.temporal and self.limits.holds_window(width, height)


@dataclass(frozen=True)
class ClipResult:
    """A restored clip and what is known about it.

    Attributes:
        source: the clip.
        target: its restoration.
        width: of a frame of the clip, pixels.
        height: likewise.
        frames: how many were restored.
        resumed_at: how many of them an earlier run that was stopped had finished.
        passed: how many the gate left as they were.
        model: name of the model.
        seconds: how long it took.
        layers: task, and "fused" -> clip of what was removed; empty unless asked for.
        scores: the file of each frame's weather score; None unless asked for.
        notes: one sentence for each thing that was left out or changed.
    """

    source: Path
    target: Path
    width: int
    height: int
    frames: int
    resumed_at: int
    passed: int
    model: str
    seconds: float
    layers: Mapping[str, Path] = field(default_factory=dict)
    scores: Path | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return the result as a record of plain values."""
        return {
            "input": str(self.source),
            "output": str(self.target),
            "ok": True,
            "width": self.width,
            "height": self.height,
            "frames": self.frames,
            "resumed_at": self.resumed_at,
            "passed": self.passed,
            "model": self.model,
            "seconds": round(self.seconds, 3),
            "layers": {name: str(path) for name, path in self.layers.items()},
            "notes": list(self.notes),
        }


def layer_path(target: Path, name: str) -> Path:
    """Return where the clip of a layer goes."""
    return target.with_name(f"{target.stem}.removed-{name}{target.suffix}")


def scores_path(target: Path) -> Path:
    """Return where the weather scores of a clip go."""
    # With its suffix: clips of one name in other containers keep their own.
    return target.with_name(f"{target.name}.weather.csv")
