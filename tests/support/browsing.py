"""What tests do with the page in a browser."""

from __future__ import annotations

import contextlib
import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, ConsoleMessage, Download, Locator, Page, expect

from cmudrn.image import read_picture

expect.set_options(timeout=60_000)  # a busy machine is slow

DONE = ".strip button[aria-label$=restored]"
"""Tiles of photos that are restored."""


@contextlib.contextmanager
def watched_page(browser: Browser, address: str) -> Iterator[Page]:
    """Yield the page as a person first sees it; any error or foreign request fails the test."""
    errors: list[str] = []

    def check_message(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            errors.append(message.text)

    def check_request(url: str) -> None:
        if not url.startswith((address, f"blob:{address}")):
            errors.append(f"foreign request: {url}")

    with browser.new_context(accept_downloads=True) as context:
        context.on("request", lambda request: check_request(request.url))
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", check_message)
        page.goto(address)
        page.locator("#model", has_text="parameters").wait_for()
        yield page
    assert errors == []


@contextlib.contextmanager
def serving_files(folder: Path) -> Iterator[tuple[str, http.server.HTTPServer]]:
    """Yield the address of a plain file server of this machine, and the server itself."""
    handler = functools.partial(_QuietHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server
    finally:
        server.shutdown()
        server.server_close()


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


def choose(page: Page, *paths: Path) -> None:
    """Choose photos and wait until they are restored."""
    done = page.locator(DONE).count()
    page.set_input_files("#files", list(paths))
    page.locator(DONE).nth(done + len(paths) - 1).wait_for()


def download(page: Page) -> Download:
    """Save the photo on show."""
    with page.expect_download() as caught:
        page.get_by_role("button", name="Download", exact=True).click()
    return caught.value


def brightness(locator: Locator, x: float, y: float) -> float:
    """Return the mean grey of 4 x 4 screen pixels at a place given as fractions."""
    shot = read_picture(locator.screenshot()).pixels
    row, column = int(y * shot.shape[0]), int(x * shot.shape[1])
    return float(shot[row : row + 4, column : column + 4].mean())
