"""Photographs: which files, one photo restored, how a result came about."""

from cmudrn.photos.planning import Job, Plan, plan_jobs, refuse_clashes, without_existing
from cmudrn.photos.provenance import Provenance
from cmudrn.photos.restore_photo import restore_bytes, restore_photo, result_paths
from cmudrn.photos.settings import PhotoResult, PhotoSettings, RestoredBytes

__all__ = [
    "Job",
    "PhotoResult",
    "PhotoSettings",
    "Plan",
    "Provenance",
    "RestoredBytes",
    "plan_jobs",
    "refuse_clashes",
    "restore_bytes",
    "restore_photo",
    "result_paths",
    "without_existing",
]
