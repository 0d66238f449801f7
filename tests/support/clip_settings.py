"""Clips restored with settings of both kinds."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import cmudrn
from cmudrn.restoration import Restorer, RestoreSettings
from cmudrn.video import ClipResult, ClipSettings, restore_clip
from cmudrn.video.restore_clip import OnFrame

RESTORE = {field.name for field in fields(RestoreSettings)}


def restore(
    model: Path | Restorer,
    source: Path,
    target: Path,
    on_frame: OnFrame | None = None,
    **settings: Any,
) -> ClipResult:
    """Restore a clip; settings are those of `RestoreSettings` and `ClipSettings` alike."""
    own = {key: settings.pop(key) for key in list(settings) if key in RESTORE}
    restorer = model if isinstance(model, Restorer) else cmudrn.load(model, threads=1)
    asked = ClipSettings(RestoreSettings(**own), **settings)
    return restore_clip(restorer, source, target, asked, on_frame)
