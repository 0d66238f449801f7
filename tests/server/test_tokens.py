"""A server with a token answers only those who show it."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")

from support.serving import serving

from cmudrn.errors import CmudrnError
from cmudrn.image import Picture, encode_picture
from cmudrn.server.tokens import is_allowed, read_token

TOKEN = "correct horse battery"
PNG = encode_picture(Picture(np.full((12, 16, 3), 99, np.uint8), format="png"))


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.fixture(scope="module")
def client(darkening_model: Path) -> Iterator[httpx.Client]:
    with (
        serving(darkening_model, token=TOKEN) as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        yield client


@pytest.mark.parametrize("path", ["/", "/app.js", "/models", "/metrics", "/openapi.json", "/none"])
def test_nothing_but_the_health_is_told_without_the_token(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 401 and answer.headers["www-authenticate"].startswith("Basic ")
    assert answer.json()["detail"] == "This server needs its token."
    assert client.get("/health").status_code == 200


def test_no_picture_is_restored_without_the_token(client: httpx.Client) -> None:
    assert client.post("/restore", content=PNG).status_code == 401
    shown = {"Authorization": f"Bearer {TOKEN}"}
    assert client.post("/restore", content=PNG, headers=shown).status_code == 200


@pytest.mark.parametrize(
    ("authorization", "allowed"),
    [
        (f"Bearer {TOKEN}", True),
        (f"bearer {TOKEN}", True),
        (basic(f"anybody:{TOKEN}"), True),
        (basic(f":{TOKEN}"), True),
        ("", False),
        (TOKEN, False),
        ("Bearer ", False),
        (f"Bearer {TOKEN}x", False),
        (f"Bearer {TOKEN[:-1]}", False),
        (f"Digest {TOKEN}", False),
        (basic(TOKEN), False),
        (basic(f"{TOKEN}:wrong"), False),
        ("Basic äöü", False),
        ("Basic !!!", False),
        ("Basic " + base64.b64encode(b"\xff:\xfe").decode(), False),
    ],
)
def test_what_counts_as_the_token(authorization: str, allowed: bool) -> None:
    assert is_allowed(TOKEN, "/restore", authorization) is allowed


@pytest.mark.parametrize("text", ["", "short", "x" * 1001, "two lines of text\nand more", "ä" * 20])
def test_a_file_without_a_token_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "token"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises(CmudrnError, match="does not hold a token"):
        read_token(path)


def test_a_token_is_read(tmp_path: Path) -> None:
    path = tmp_path / "token"
    with pytest.raises(CmudrnError, match="Cannot read the token"):
        read_token(path)
    path.write_text(TOKEN + "\n")
    path.chmod(0o600)
    assert read_token(path) == TOKEN


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
def test_a_token_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    path.chmod(0o644)
    with pytest.raises(CmudrnError, match="other users may read it"):
        read_token(path)
