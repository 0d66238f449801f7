"""The errors that users meet: each message is one clear sentence, each class says what kind it is.

    CmudrnError
    |-- ImageFileError             a file that cannot be read or written as an image
    |   |-- UnsupportedImageError  a whole file of a kind that is not restored
    |   |-- DamagedImageError      a file that is cut short or malformed
    |   `-- LimitExceededError     larger than a limit; carries the limit and the value
    |-- ImageValueError            an array that is no image
    |-- DeviceError                a graphics card that is not there, or fails
    |-- InvalidSettingError        a parameter out of range; carries its name and value
    |-- ModelFileError             a model file that is missing, damaged, or of another kind
    |-- TargetError                a result that cannot be written, or would cost a file
    `-- MissingExtraError          a package that is not installed; carries the extra's name

Callers decide on the class and its attributes, never on the sentence. The library speaks of
parameters; only the command line speaks of its options.
"""

from __future__ import annotations

import os


class CmudrnError(Exception):
    """What went wrong, as one sentence for a person: the command line prints it and nothing else.

    Raise a subclass for anything a user can cause: a bad file, an unknown name, a full disk.
    Anything else that escapes is a defect of this program.
    """


class FileError(CmudrnError):
    """Something wrong with one file.

    Attributes:
        path: the file, or what the caller called it; None where it has no name.
    """

    def __init__(self, sentence: str, *, path: str | os.PathLike[str] | None = None) -> None:
        super().__init__(sentence)
        self.path = path


class ImageFileError(FileError):
    """A file that cannot be read or written as an image."""


class UnsupportedImageError(ImageFileError):
    """A whole file, of a kind that is not restored."""


class DamagedImageError(ImageFileError):
    """A file that is cut short or malformed."""


class DeviceError(CmudrnError):
    """A device that the engine does not have here, or that fails.

    Attributes:
        device: its name, such as "cuda".
    """

    def __init__(self, sentence: str, *, device: str) -> None:
        super().__init__(sentence)
        self.device = device


class LimitExceededError(ImageFileError):
    """A file that is larger than a limit.

    Attributes:
        limit_name: the parameter that sets the limit, such as "max_pixels".
        limit: its value.
        value: what the file has.
    """

    def __init__(
        self,
        sentence: str,
        *,
        limit_name: str = "",
        limit: int = 0,
        value: int = 0,
        path: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(sentence, path=path)
        self.limit_name, self.limit, self.value = limit_name, limit, value


class ImageValueError(CmudrnError):
    """An array that is no image: another type, shape or range of values."""


class InvalidSettingError(CmudrnError):
    """A parameter that is out of range or of the wrong type.

    Attributes:
        setting: the parameter's name.
        value: what it was given.
    """

    def __init__(self, sentence: str, *, setting: str = "", value: object = None) -> None:
        super().__init__(sentence)
        self.setting, self.value = setting, value


class ModelFileError(FileError):
    """A model file that is missing, damaged, hostile, or of another kind."""


class TargetError(FileError):
    """A result that cannot be written, or that would cost the user a file.

    Attributes:
        exists: whether the target is there already and `overwrite` would replace it.
        busy: whether another process is making it.
        misnamed: whether its name is none for what goes there, wherever that would be.
    """

    def __init__(
        self,
        sentence: str,
        *,
        path: str | os.PathLike[str] | None = None,
        exists: bool = False,
        busy: bool = False,
        misnamed: bool = False,
    ) -> None:
        super().__init__(sentence, path=path)
        self.exists, self.busy, self.misnamed = exists, busy, misnamed


class MissingExtraError(CmudrnError):
    """A package that is not installed.

    Args:
        what: what needs it, the beginning of the sentence, such as "Video".
        extra: the extra that brings it, such as "video".

    Attributes:
        extra: likewise.
    """

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra {extra}: pip install '.[{extra}]' in a checkout.")
        self._what, self.extra = what, extra

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        return type(self), (self._what, self.extra)
