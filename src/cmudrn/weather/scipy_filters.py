"""SciPy's image filters, imported when first used: only published rain needs them."""

from __future__ import annotations

from typing import Any

from cmudrn.errors import MissingExtraError


def ndimage() -> Any:
    """Return `scipy.ndimage`.

    Raises:
        MissingExtraError: SciPy is not installed.
    """
    try:
        import scipy.ndimage  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("Rain of published screens and streaks", "evaluate") from error
    return scipy.ndimage
