"""A server, a browser and photos for the tests of the page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")
pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import Browser, Page, sync_playwright
from support.browsing import serving_files, watched_page
from support.exif import exif_of
from support.serving import serving

from cmudrn.image import Picture, write_picture
from cmudrn.page import build_page

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
    with watched_page(browser, address) as page:
        yield page


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, darkening_model: Path) -> Iterator[str]:
    """A page without a server of ours: the default model, and one that darkens."""
    folder = tmp_path_factory.mktemp("site")
    build_page(folder, ["cmudrn", darkening_model])
    with serving_files(folder) as (address, _):
        yield address


@pytest.fixture(scope="session")
def dark_site(tmp_path_factory: pytest.TempPathFactory, darkening_model: Path) -> Iterator[str]:
    """Likewise with nothing but the model that darkens."""
    folder = tmp_path_factory.mktemp("dark_site")
    build_page(folder, [darkening_model])
    with serving_files(folder) as (address, _):
        yield address


@pytest.fixture
def lone_page(browser: Browser, site: str) -> Iterator[Page]:
    """The page without a server as a person first sees it; likewise watched."""
    with watched_page(browser, site) as page:
        yield page


@pytest.fixture
def dark_page(browser: Browser, dark_site: str) -> Iterator[Page]:
    """Likewise of the model that darkens."""
    with watched_page(browser, dark_site) as page:
        yield page


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bright little photos by kind: jpeg, png, tiff of 16 bits, and one that is damaged."""
    folder = tmp_path_factory.mktemp("photos")
    rows = np.linspace(120, 250, 90, dtype=np.uint8)
    pixels = np.repeat(np.tile(rows[:, None, None], (1, 120, 1)), 3, axis=2)
    exif = {"exif-data": exif_of("A. Photographer")}
    paths = {kind: folder / f"photo.{kind}" for kind in ("jpeg", "png", "tiff")}
    write_picture(Picture(pixels, format="jpeg", metadata=exif), paths["jpeg"])
    write_picture(Picture(pixels, format="png"), paths["png"])
    write_picture(Picture(pixels.astype(np.uint16) * 257, format="tiff"), paths["tiff"])
    paths["damaged"] = folder / "damaged.png"
    paths["damaged"].write_bytes(paths["png"].read_bytes()[:60])
    return paths
