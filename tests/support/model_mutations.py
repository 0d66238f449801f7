"""Damage to model files, in bytes and in structure."""

from __future__ import annotations

import numpy as np

from cmudrn.models.protobuf import WireReader

# Which fields of which ONNX message are messages themselves.
_MESSAGES = {
    "model": {7: "graph", 8: "operator set", 14: "entry"},
    "graph": {1: "node", 5: "tensor", 11: "input", 12: "input"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph"},
    "input": {2: "type"},
    "type": {1: "tensor type"},
    "tensor type": {2: "shape"},
    "shape": {1: "side"},
}
_NUMBERS = [0, 1, 2, 3, 7, 64, 65, 255, 1 << 16, 1 << 31, (1 << 31) - 1, 1 << 62, (1 << 64) - 1]
_RECORD_PARTS = [b'"stages"', b'"recursions"', b'"tasks"', b'"format"', b"3", b"true", b'"rain"']
_RECORD_VALUES = [
    b"0",
    b"-1",
    b"1e999",
    b"[]",
    b"{}",
    b"null",
    b'""',
    b"65",
    b'"\\u001b[2J"',
    b"[[",
]


def mutate_model(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a model file with one to three changes to its structure, its record or its bytes."""
    for _ in range(int(rng.integers(1, 4))):
        match int(rng.integers(10)):
            case 0:
                data = _bytes(data, rng)
            case 1:
                data = _record(data, rng)
            case _:
                try:
                    data = _structure(memoryview(data), "model", rng)
                except ValueError:  # an earlier change broke it
                    data = _bytes(data, rng)
    return data


def _bytes(data: bytes, rng: np.random.Generator) -> bytes:
    damaged = bytearray(data)
    start, stop = sorted(int(i) for i in rng.integers(0, len(damaged) + 1, 2))
    match int(rng.integers(4)):
        case 0:
            del damaged[stop:]
        case 1:
            del damaged[start:stop]
        case 2:
            damaged[start:start] = damaged[start:stop][:4096]
        case _:
            for _ in range(int(rng.integers(1, 9))):
                if damaged:
                    damaged[int(rng.integers(len(damaged)))] = int(rng.integers(256))
    return bytes(damaged)


def _record(data: bytes, rng: np.random.Generator) -> bytes:
    """Change the record's text; its length stays, so that the file around it does too."""
    part = _RECORD_PARTS[int(rng.integers(len(_RECORD_PARTS)))]
    value = _RECORD_VALUES[int(rng.integers(len(_RECORD_VALUES)))]
    at = data.rfind(part)
    if at < 0:
        return data
    if part.startswith(b'"') and b":" in data[at : at + len(part) + 2]:
        at += len(part) + 2
    return data[:at] + value[: len(data) - at] + data[at + len(value) :]


def _structure(data: memoryview, kind: str, rng: np.random.Generator) -> bytes:
    """Change one field of a message, or of a message inside it; lengths are made right again."""
    fields = list(WireReader().fields(data))
    if not fields:
        return bytes(data)
    chosen = int(rng.integers(len(fields)))
    number, value = fields[chosen]
    inner = _MESSAGES.get(kind, {}).get(number)
    encoded = [_field(*field) for field in fields]
    if inner and isinstance(value, memoryview) and rng.random() < 0.85:
        encoded[chosen] = _field(number, _structure(value, inner, rng))
        return b"".join(encoded)
    match int(rng.integers(5)):
        case 0:
            del encoded[chosen]
        case 1:
            encoded.insert(int(rng.integers(len(encoded))), encoded[chosen])
        case 2:
            other = int(rng.integers(1, 26))
            encoded[chosen] = _field(other, value)
        case 3:
            other = int(rng.integers(len(fields)))
            encoded[chosen] = _field(number, fields[other][1])
        case _:
            encoded[chosen] = _field(number, _value(value, rng))
    return b"".join(encoded)


def _value(value: int | memoryview, rng: np.random.Generator) -> int | bytes:
    if isinstance(value, int):
        return _NUMBERS[int(rng.integers(len(_NUMBERS)))]
    damaged = bytearray(value)
    match int(rng.integers(3)):
        case 0:
            return bytes(damaged[: int(rng.integers(len(damaged) + 1))])
        case 1:
            return bytes(damaged) + bytes(damaged)
        case _:
            for _ in range(4 if damaged else 0):
                damaged[int(rng.integers(len(damaged)))] = int(rng.integers(256))
            return bytes(damaged)


def _field(number: int, value: int | bytes | memoryview) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + bytes(value)


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
