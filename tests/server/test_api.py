"""The answers of the API, from a real server."""

from __future__ import annotations

import contextlib
import io
import json
import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")

from support.exif import exif_of
from support.serving import files_in, serving

import cmudrn
from cmudrn.image import Picture, encode_picture, read_picture
from cmudrn.server import Limits

LIMITS = Limits(bytes=2_000_000, pixels=200_000, layer_pixels=100_000, workers=2, waiting=4)


def client_of(address: str) -> httpx.Client:
    return httpx.Client(base_url=address, timeout=60)


@pytest.fixture(scope="module")
def client(darkening_model: Path) -> Iterator[httpx.Client]:
    with (
        serving(darkening_model, LIMITS) as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        yield client


def make_picture(file_format: str = "png", dtype: type = np.uint8, size: int = 48) -> Picture:
    rng = np.random.default_rng(3)
    top = np.iinfo(dtype).max
    pixels = rng.integers(top // 2, top, (size, size + 16, 3), dtype=dtype)
    return Picture(pixels, format=file_format)


def as_file(picture: Picture) -> bytes:
    return encode_picture(picture, quality=95 if picture.format == "jpeg" else None)


@pytest.mark.usefixtures("processors_choice")
@pytest.mark.parametrize("file_format", ["png", "tiff", "webp", "avif", "bmp"])
def test_the_answer_equals_the_restorer(
    client: httpx.Client, darkening_model: Path, file_format: str
) -> None:
    picture = make_picture(file_format)
    answer = client.post("/restore", content=as_file(picture))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == f"image/{file_format}"
    expected = cmudrn.load(darkening_model)(picture.pixels)
    np.testing.assert_array_equal(read_picture(answer.content).pixels, expected)


def test_sixteen_bits_and_metadata_survive(client: httpx.Client) -> None:
    metadata = {"exif-data": exif_of("someone"), "xmp-data": b"<x:xmpmeta/>"}
    picture = replace(make_picture("png", np.uint16), metadata=metadata)
    restored = read_picture(client.post("/restore", content=as_file(picture)).content)
    assert restored.pixels.dtype == np.uint16
    assert restored.metadata["exif-data"] == exif_of("someone")
    assert restored.metadata["xmp-data"] == b"<x:xmpmeta/>"


def test_a_jpeg_comes_back_as_a_jpeg(client: httpx.Client) -> None:
    answer = client.post("/restore", content=as_file(make_picture("jpeg")))
    assert answer.headers["content-type"] == "image/jpeg"
    assert read_picture(answer.content).format == "jpeg"


def test_a_form_is_the_same_as_a_raw_body(client: httpx.Client) -> None:
    data = as_file(make_picture())
    form = client.post("/restore", files={"picture": ("ä.png", data, "image/png")})
    assert form.status_code == 200
    assert form.content == client.post("/restore", content=data).content


def test_strength_zero_returns_the_pixels(client: httpx.Client) -> None:
    picture = make_picture()
    answer = client.post("/restore", params={"strength": 0}, content=as_file(picture))
    np.testing.assert_array_equal(read_picture(answer.content).pixels, picture.pixels)


def test_another_format_is_made_and_its_loss_told(client: httpx.Client) -> None:
    data = as_file(make_picture("png", np.uint16))
    answer = client.post("/restore", params={"format": "webp"}, content=data)
    assert answer.headers["content-type"] == "image/webp"
    assert "8 bits" in answer.headers["cmudrn-notes"]


@pytest.mark.parametrize(("view", "change"), [("removed", 0.2), ("rain", 0.1), ("snow", 0.3)])
def test_maps_show_what_was_removed(client: httpx.Client, view: str, change: float) -> None:
    answer = client.post("/restore", params={"view": view}, content=as_file(make_picture()))
    seen = read_picture(answer.content).pixels / 255
    # Every stage of the snow branch darkens the input anew, so its map is its bias.
    assert np.median(seen) == pytest.approx(change, abs=0.006)


def test_all_views_come_as_one_form(client: httpx.Client) -> None:
    data = as_file(make_picture())
    answer = client.post("/restore", params={"view": "all"}, content=data)
    boundary = answer.headers["content-type"].partition("boundary=")[2]
    names = re.findall(rb'name="(\w+)"; filename', answer.content)
    assert names == [b"restored", b"rain", b"snow", b"removed", b"report"]
    first = answer.content.split(f"--{boundary}".encode())[1].partition(b"\r\n\r\n")[2][:-2]
    assert first == client.post("/restore", content=data).content
    report = json.loads(answer.content.rpartition(b"\r\n\r\n")[2].partition(b"\r\n")[0])
    note = "100% of the picture was changed strongly; compare the result with the original."
    assert report == {"notes": [note], "weather": None, "changed": 1.0}  # no score: not calibrated


def test_a_calibrated_model_tells_the_weather() -> None:
    with serving(Path("cmudrn-25k")) as address:
        answer = httpx.post(
            f"{address}/restore?view=all", content=as_file(make_picture()), timeout=60
        )
    report = json.loads(answer.content.rpartition(b"\r\n\r\n")[2].partition(b"\r\n")[0])
    assert set(report["weather"]) == {"rain", "snow", "clear"}
    assert sum(report["weather"].values()) == pytest.approx(1)


def test_models_and_limits_are_listed(client: httpx.Client) -> None:
    record = client.get("/models").json()
    assert record["default"] == "tiny"
    assert record["models"][0]["tasks"] == ["rain", "snow"]
    assert len(record["models"][0]["sha256"]) == 64
    assert record["limits"]["pixels"] == LIMITS.pixels


def test_metrics_are_prometheus_text(client: httpx.Client) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    def count() -> float:
        text = client.get("/metrics").text
        families = {family.name: family for family in text_string_to_metric_families(text)}
        samples = families["cmudrn_restore_requests"].samples
        return sum(s.value for s in samples if s.labels.get("status") == "200")

    before = count()
    client.post("/restore", content=as_file(make_picture()))
    assert count() == before + 1


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ({"strength": "2"}, 422, "strength"),
        ({"strength": "nan"}, 422, "strength"),
        ({"stages": "0"}, 422, "stages"),
        ({"stages": "1000000000"}, 422, "stages"),
        ({"strengh": "0.5"}, 422, "no parameter 'strengh'"),
        ({"model": "none"}, 404, "no model 'none'"),
        ({"view": "hail"}, 422, "view"),
        ({"dehaze": "true"}, 422, "no veil estimator"),
        ({"url": "http://127.0.0.1/x.png"}, 422, "no parameter 'url'"),
    ],
)
def test_bad_parameters_get_one_sentence(
    client: httpx.Client, query: dict[str, str], status: int, words: str
) -> None:
    answer = client.post("/restore", params=query, content=as_file(make_picture()))
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    detail = answer.json()["detail"]
    assert words in detail and detail.endswith(".") and "\n" not in detail


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 422),
        (b"hello", 422),
        (b"http://127.0.0.1/picture.jpg", 422),
        (as_file(make_picture())[:500], 422),
        (bytes(2_000_001), 413),
        (as_file(make_picture(size=480)), 413),
    ],
)
def test_bad_pictures_get_one_sentence(client: httpx.Client, data: bytes, status: int) -> None:
    answer = client.post("/restore", content=data)
    assert answer.status_code == status
    assert answer.json()["detail"].endswith(".")
    assert "--max" not in answer.text


def test_a_body_without_a_length_is_cut_off_at_the_limit(client: httpx.Client) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 100 * LIMITS.bytes:
            sent += 65536
            yield bytes(65536)

    try:
        status = client.post("/restore", content=endless()).status_code
    except httpx.TransportError:  # the server may close while the client still sends
        status = 413
    assert status == 413
    assert sent < 20 * LIMITS.bytes


def test_forms_without_exactly_one_file_are_refused(client: httpx.Client) -> None:
    two = [("a", ("a.png", b"1")), ("b", ("b.png", b"2"))]
    assert client.post("/restore", files=two).status_code == 422
    files = {"picture": ("a.png", as_file(make_picture()))}
    assert client.post("/restore", files=files, data={"strength": "1"}).status_code == 422
    broken = client.post(
        "/restore", content=b"x", headers={"Content-Type": "multipart/form-data; boundary=b"}
    )
    assert broken.status_code == 422


@pytest.mark.parametrize("charset", ["undefined", "punycode", "idna", "base64", "none"])
def test_forms_of_any_charset_get_one_sentence(client: httpx.Client, charset: str) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="\xff\xfe"; filename="\xff.png"\r\n\r\n'
        b"x\r\n--b--\r\n"
    )
    kind = f"multipart/form-data; boundary=b; charset={charset}"
    answer = client.post("/restore", content=body, headers={b"Content-Type": kind.encode()})
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"].endswith(".")


def test_what_nobody_foresaw_is_a_problem_too(
    darkening_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr("cmudrn.server.worker_pool.WorkerPool.answer", fail)
    with serving(darkening_model, LIMITS) as address:
        answer = httpx.post(f"{address}/restore", content=b"x", timeout=60)
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text


@pytest.mark.parametrize("path", ["/", "/health", "/models", "/app.js"])
def test_heads_are_answered(client: httpx.Client, path: str) -> None:
    answer, whole = client.head(path), client.get(path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == whole.headers["content-type"]


@pytest.mark.parametrize("ranges", ["bytes=abc", "bytes=99999999-", "bytes=5-2"])
def test_a_range_of_a_page_is_not_kept_to(client: httpx.Client, ranges: str) -> None:
    answer = client.get("/", headers={"Range": ranges})
    assert (answer.status_code, answer.content) == (200, client.get("/").content)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "", "[::1", "a@b:1", "a@localhost", "localhost/a"],
)
def test_other_host_names_are_refused(client: httpx.Client, host: str) -> None:
    answer = client.get("/models", headers={"Host": host})
    assert answer.status_code == 421 or (host == "" and answer.status_code == 400)


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:80", "LOCALHOST"])
def test_own_host_names_are_served(client: httpx.Client, host: str) -> None:
    assert client.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])  # same: another port, here
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_pages_of_other_sites_are_refused(client: httpx.Client, site: str, method: str) -> None:
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}
    path = "/restore" if method == "POST" else "/models"
    assert client.request(method, path, headers=headers).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1.evil.example:8000"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "http://localhost:1"},
        {"Host": "localhost:80", "Origin": "http://localhost:8080"},
        {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors", "Origin": "http://127.0.0.1:1"},
    ],
)
def test_forms_of_other_sites_are_refused(client: httpx.Client, headers: dict[str, str]) -> None:
    files = {"picture": as_file(make_picture())}
    assert client.post("/restore", files=files, headers=headers).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Origin": "https://a.example"},
        {"Host": "127.0.0.1:8000", "Origin": "http://127.0.0.1:8000"},
        {"Host": "localhost", "Origin": "https://LOCALHOST:8443"},
        {"Host": "[::1]:80", "Origin": "http://[::1]"},
        {"Host": "[::1]:443", "Origin": "https://[::1]"},
    ],
)
def test_the_own_page_is_served_whatever_stands_before_it(
    client: httpx.Client, headers: dict[str, str]
) -> None:
    data = as_file(make_picture())
    assert client.post("/restore", content=data, headers=headers).status_code == 200


def test_links_of_other_sites_are_followed(client: httpx.Client) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/", headers=headers).status_code == 200
    assert client.head("/", headers=headers).status_code == client.head("/").status_code


@pytest.mark.parametrize("path", ["/", "/app.js", "/style.css", "/models", "/nothing", "/restore"])
def test_every_answer_has_strict_headers(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers


def test_the_default_binding_is_this_machine_only() -> None:
    import inspect

    from cmudrn.cli.serve import serve

    assert inspect.signature(serve).parameters["host"].default == "127.0.0.1"


def test_a_slow_sender_is_cut_off(darkening_model: Path) -> None:
    def slowly() -> Iterator[bytes]:
        yield b"\x89PNG"
        time.sleep(1.0)
        yield b"\r\n"

    with serving(darkening_model, replace(LIMITS, upload_seconds=0.3)) as address:
        with contextlib.suppress(httpx.TransportError):
            assert httpx.post(f"{address}/restore", content=slowly(), timeout=60).status_code == 408
        assert httpx.get(f"{address}/health", timeout=60).json()["receiving"] == 0


def test_nothing_stays_on_disk(
    darkening_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with (
        serving(darkening_model, LIMITS) as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        big = io.BytesIO(as_file(make_picture("bmp", size=300)))
        assert client.post("/restore", files={"picture": ("a.bmp", big)}).status_code == 200
        bad = client.post("/restore", files={"picture": ("a.bmp", b"BM" + bytes(1_900_000))})
        assert bad.status_code == 422
    assert files_in(tmp_path) == []
