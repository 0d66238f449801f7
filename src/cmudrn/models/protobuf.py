"""A reader of the Protocol Buffers wire format that hostile files cannot stop or exhaust.

Nothing is copied: a field's bytes are a view of the message. One budget of fields covers a whole
file, so that the time of reading one is bounded, whatever it holds.
"""

from __future__ import annotations

from collections.abc import Iterator

MAX_FIELDS = 2_000_000
"""Fields and packed numbers of one file; about two seconds of reading."""

_MASK = (1 << 64) - 1

Value = int | memoryview
"""A field's value: a whole number, or the bytes of a message, a string or a float."""


class WireError(ValueError):
    """The bytes are not the message that they should be; says what is wrong, without the file."""


class WireReader:
    """Reads the messages of one file.

    Args:
        max_fields: how many fields and packed numbers may be read in all.
    """

    def __init__(self, max_fields: int = MAX_FIELDS) -> None:
        self._left = max_fields

    def fields(self, data: memoryview) -> Iterator[tuple[int, Value]]:
        """Yield each field's number and value in the order of the message.

        Raises:
            WireError: the message is cut short, malformed, or past the budget.
        """
        position = 0
        while position < len(data):
            self._spend()
            key, position = _varint(data, position)
            size = 0
            match key & 7:
                case 0:
                    value, position = _varint(data, position)
                    yield key >> 3, value
                    continue
                case 1:
                    size = 8
                case 2:
                    size, position = _varint(data, position)
                case 5:
                    size = 4
                case kind:
                    raise WireError(f"it holds a field of unknown kind {kind}")
            if size > len(data) - position:
                raise WireError("it ends too early")
            yield key >> 3, data[position : position + size]
            position += size

    def numbers(self, value: Value) -> list[int]:
        """Return a repeated field of whole numbers: one number, or several packed.

        Raises:
            WireError: as `fields`.
        """
        if isinstance(value, int):
            return [signed(value)]
        numbers, position = [], 0
        while position < len(value):
            self._spend()
            number, position = _varint(value, position)
            numbers.append(signed(number))
        return numbers

    def _spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise WireError("it has too many parts")


def signed(number: int) -> int:
    """Return the int64 that an unsigned varint stands for."""
    return number - (1 << 64) if number >> 63 else number


def message(value: Value) -> memoryview:
    """Return a field's bytes.

    Raises:
        WireError: it holds a number.
    """
    if isinstance(value, int):
        raise WireError("it holds a number where data should be")
    return value


def whole(value: Value) -> int:
    """Return a field's number as int64.

    Raises:
        WireError: it holds bytes.
    """
    if not isinstance(value, int):
        raise WireError("it holds data where a number should be")
    return signed(value)


def text(value: Value) -> str:
    """Return a field's bytes as UTF-8.

    Raises:
        WireError: it holds a number, or other bytes.
    """
    try:
        return bytes(message(value)).decode("utf-8")
    except UnicodeDecodeError as error:
        raise WireError("it holds text that is not UTF-8") from error


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    """Return a number and the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise WireError("it ends too early")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _MASK, position
    raise WireError("it holds a number that is too long")
