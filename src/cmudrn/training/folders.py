"""Whether the folders that a configuration names hold images."""

from __future__ import annotations

from cmudrn.datasets.folders import data_path
from cmudrn.errors import FileError, InvalidSettingError
from cmudrn.training.config import DataConfig
from cmudrn.training.data.clean_patches import list_pictures


def check_folders(config: DataConfig) -> None:
    """Refuse folders without images, naming the setting.

    Raises:
        InvalidSettingError: there are no images in one that is used.
    """
    used = {"validation": config.validation}
    if any(source.weather for source in config.sources.values()):
        used["clean"] = config.clean
    for setting, folder in sorted(used.items()):
        if not folder:
            continue
        path = data_path(folder)
        try:
            list_pictures(path)
        except FileError as error:
            raise InvalidSettingError(
                f"There are no images in {path}, which data.{setting} names.",
                setting=f"data.{setting}",
                value=folder,
            ) from error
