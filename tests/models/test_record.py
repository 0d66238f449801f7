"""The record in a model file: one schema, and one sentence for every violation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cmudrn.models.record import RecordError, parse_record

GOOD: dict[str, Any] = {
    "format": 2,
    "name": "tiny",
    "network": "cmudrn",
    "tasks": ["rain", "snow"],
    "stages": 3,
    "recursions": 2,
    "elastic": True,
    "parameters": 25017,
    "licence": "MIT",
    "change_gating_db": 40,
}


def test_a_record_is_typed_and_kept_whole() -> None:
    record = parse_record(json.dumps(GOOD | {"notes": {"any": ["thing"]}}))
    assert (record.name, record.tasks, record.stages) == ("tiny", ("rain", "snow"), 3)
    assert record.change_gating_db == 40.0 and record.macs_per_pixel is None
    assert record.metadata["notes"] == {"any": ["thing"]}


def test_format_1_has_other_names() -> None:
    old = GOOD | {"format": 1, "restraint_db": 35, "text_literal": True}
    del old["change_gating_db"]
    record = parse_record(json.dumps(old))
    assert record.change_gating_db == 35.0
    assert record.metadata["relu_output"] is True and "text_literal" not in record.metadata


@pytest.mark.parametrize("text", ["", "{", "3", "[]", "null", "NaN", '"x"', "[" * 100_000])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(RecordError):
        parse_record(text)


def test_a_long_record_is_refused() -> None:
    with pytest.raises(RecordError, match="megabyte"):
        parse_record(json.dumps(GOOD | {"notes": "x" * (1 << 20)}))


WRONG: list[Any] = [None, True, -1, 0, 1.5, 1e400, 10**30, "", "x\x1b[2J", [], {}, [[]], ["a", "a"]]


@pytest.mark.parametrize("key", [key for key in GOOD if key not in ("licence", "format")])
def test_every_key_refuses_what_it_cannot_be(key: str) -> None:
    """A generator over keys and values: either the value is one that the key may have, or told."""
    taken: dict[str, list[Any]] = {
        "elastic": [True],
        "parameters": [0],
        "change_gating_db": [None, 1.5],
    }
    for value in WRONG:
        text = json.dumps(GOOD | {key: value}).replace("Infinity", "1e999")
        if any(type(value) is type(one) and value == one for one in taken.get(key, [])):
            parse_record(text)
        else:
            with pytest.raises(RecordError) as told:
                parse_record(text)
            assert len(str(told.value)) < 200 and str(told.value).isprintable()


@pytest.mark.parametrize("key", ["name", "network", "tasks", "stages", "elastic", "parameters"])
def test_what_is_needed_is_missed(key: str) -> None:
    record = dict(GOOD)
    del record[key]
    with pytest.raises(RecordError, match=f"no {key}"):
        parse_record(json.dumps(record))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"format": 3}, "format is 3"),
        ({"format": None}, "format is None"),
        ({"format": True}, "format is True"),
        ({"stages": 65}, "stages is 65"),
        ({"network": "other"}, "network"),
        ({"tasks": ["../../x"]}, "tasks"),
        ({"tasks": ["rain", "restored"]}, "different names"),
        ({"tasks": ["a"] * 9}, "tasks"),
        ({"context": {"thumbnail": 64}}, "thumbnails of 64 pixels"),
        ({"context": {"parameters": 27749}}, "thumbnails of 128 pixels"),
        ({"context": 3}, "context"),
        ({"macs_per_pixel": -1}, "macs_per_pixel"),
    ],
)
def test_a_bad_record_is_told(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        parse_record(json.dumps(GOOD | changes))
