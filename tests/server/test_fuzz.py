"""Requests and pictures nobody sends on purpose: never a 500, never a crash."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")
schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from support.mutations import mutate, sample_files  # noqa: E402
from support.serving import serving  # noqa: E402

from cmudrn.server import Limits  # noqa: E402

POSITIVE, NEGATIVE = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE


@pytest.fixture(scope="module")
def address(darkening_model: Path) -> Iterator[str]:
    with serving(darkening_model, Limits(pixels=100_000, layer_pixels=100_000)) as address:
        yield address


@pytest.fixture(scope="module")
def schema(address: str) -> schemathesis.BaseSchema:
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
def test_answers_are_as_described(
    schema: schemathesis.BaseSchema, operation: str, mode: schemathesis.GenerationMode
) -> None:
    method = "POST" if operation == "/restore" else "GET"
    cases = schema[operation][method].as_strategy(generation_mode=mode)
    # That a body is a picture cannot be said in a schema, so a refusal of one is no error.
    excluded = [schemathesis.checks.CHECKS.get_one("positive_data_acceptance")]

    @given(case=cases)
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    def check(case: schemathesis.Case) -> None:
        case.call_and_validate(excluded_checks=excluded)

    check()


def test_damaged_pictures_never_break_the_server(address: str) -> None:
    rng = np.random.default_rng(5)
    files = sample_files()
    statuses = set()
    before = set(Path(tempfile.gettempdir()).iterdir())
    with httpx.Client(base_url=address) as client:
        for number in range(1000):
            data = mutate(files[number % len(files)], rng)
            statuses.add(client.post("/restore", content=data).status_code)
        assert client.get("/health").status_code == 200
    assert statuses <= {200, 413, 422}
    assert {200, 422} <= statuses
    new = set(Path(tempfile.gettempdir()).iterdir()) - before
    assert not [path for path in new if path.is_file()]
