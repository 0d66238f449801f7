"""A server, a browser and photos for the tests of the page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")
pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright
from support.serving import serving

from cmudrn.image import Picture, write_picture

# The closed network of a test machine is none of the page's business.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


# Not for the session: its event loop would be in the way of tests that run their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no chromium is installed (Debian: apt-get install chromium)")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def address(darkening_model: Path) -> Iterator[str]:
    with serving(darkening_model) as address:
        yield address


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The page as a person first sees it; any error or foreign request fails the test."""
    errors: list[str] = []
    with browser.new_context(accept_downloads=True) as context:
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "console", lambda message: errors.append(message.text) if is_policy(message) else None
        )
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((address, f"blob:{address}"))
                else errors.append(f"foreign request: {request.url}")
            ),
        )
        page.goto(address)
        page.locator("#model", has_text="parameters").wait_for()
        yield page
    assert errors == []


def is_policy(message: ConsoleMessage) -> bool:
    return "Content Security Policy" in message.text


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bright little photos by kind: jpeg, png, tiff of 16 bits, and one that is damaged."""
    folder = tmp_path_factory.mktemp("photos")
    rows = np.linspace(120, 250, 90, dtype=np.uint8)
    pixels = np.repeat(np.tile(rows[:, None, None], (1, 120, 1)), 3, axis=2)
    exif = {"exif-ifd0-Artist": "A. Photographer"}
    paths = {kind: folder / f"photo.{kind}" for kind in ("jpeg", "png", "tiff")}
    write_picture(Picture(pixels, format="jpeg", metadata=exif), paths["jpeg"])
    write_picture(Picture(pixels, format="png"), paths["png"])
    write_picture(Picture(pixels.astype(np.uint16) * 257, format="tiff"), paths["tiff"])
    paths["damaged"] = folder / "damaged.png"
    paths["damaged"].write_bytes(paths["png"].read_bytes()[:60])
    return paths
