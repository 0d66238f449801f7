"""Damaged requests and images: never a 500, never a crash."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")
pytest.importorskip("schemathesis", reason="schemathesis is not installed")

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.schemas import BaseSchema
from support.mutations import mutate, sample_files
from support.serving import files_in, serving

from cmudrn.server import Limits

POSITIVE, NEGATIVE = GenerationMode.POSITIVE, GenerationMode.NEGATIVE


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The temporary folder of the server and its workers, which no other program shares."""
    folder = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        patch.setattr(tempfile, "tempdir", None)
        yield folder


@pytest.fixture(scope="module")
def address(temporary: Path, darkening_model: Path) -> Iterator[str]:
    assert tempfile.gettempdir() == str(temporary)
    with serving(darkening_model, Limits(pixels=100_000, layer_pixels=100_000)) as address:
        yield address


@pytest.fixture(scope="module")
def schema(address: str) -> BaseSchema:
    return schemathesis.openapi.from_url(f"{address}/openapi.json")


@pytest.mark.parametrize(
    ("operation", "mode"),
    [
        ("/restore", POSITIVE),
        ("/restore", NEGATIVE),  # the others have no parameter to get wrong
        ("/models", POSITIVE),
        ("/health", POSITIVE),
        ("/metrics", POSITIVE),
    ],
)
def test_answers_are_as_described(schema: BaseSchema, operation: str, mode: GenerationMode) -> None:
    method = "POST" if operation == "/restore" else "GET"
    cases = schema[operation][method].as_strategy(generation_mode=mode)
    # That a body is a picture cannot be said in a schema, so a refusal of one is no error.
    excluded: list[Any] = [schemathesis.checks.CHECKS.get_one("positive_data_acceptance")]

    @given(case=cases)
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    def check(case: Case[Any]) -> None:
        case.call_and_validate(excluded_checks=excluded)

    check()


def test_damaged_pictures_never_break_the_server(address: str, temporary: Path) -> None:
    rng = np.random.default_rng(5)
    files = sample_files()
    statuses = set()
    with httpx.Client(base_url=address, timeout=60) as client:
        for number in range(1000):
            data = mutate(files[number % len(files)], rng)
            statuses.add(client.post("/restore", content=data).status_code)
        assert client.get("/health").status_code == 200
    assert statuses <= {200, 413, 422}
    assert {200, 422} <= statuses
    assert files_in(temporary) == []
