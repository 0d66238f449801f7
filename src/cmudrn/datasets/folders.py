"""Folders of data by a name that is the same on every machine."""

from __future__ import annotations

import os
from pathlib import Path

from cmudrn.errors import InvalidSettingError

DATA_VARIABLE = "CMUDRN_DATA"
"""Environment variable that names the folder of all data sets."""
_PLACEHOLDER = f"${{{DATA_VARIABLE}}}"


def data_path(text: str) -> Path:
    """Return a path; `${CMUDRN_DATA}` at its beginning is the folder that the variable names.

    Presets and studies name their data in this way, so that a run's configuration is the same on
    every machine.

    Raises:
        InvalidSettingError: the path begins with the variable, which is not set.

    Example:
        >>> data_path("photos/clean").as_posix()
        'photos/clean'
    """
    if not text.startswith(_PLACEHOLDER):
        return Path(text)
    folder = os.environ.get(DATA_VARIABLE, "")
    if not folder:
        raise InvalidSettingError(
            f"{text} is in the folder of data sets, which the environment variable "
            f"{DATA_VARIABLE} names; it is not set.",
            setting=DATA_VARIABLE,
        )
    return Path(folder + text.removeprefix(_PLACEHOLDER))
