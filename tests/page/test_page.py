"""The page in a real browser."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Literal

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Route, expect
from support.browsing import DONE, brightness, choose, download
from support.serving import serving

from cmudrn.image import read_picture


def test_one_photo_from_choice_to_file(page: Page, photos: dict[str, Path], address: str) -> None:
    choose(page, photos["jpeg"])
    saved = download(page)
    assert saved.suggested_filename == "photo.restored.jpeg"
    data = Path(saved.path()).read_bytes()
    asked = httpx.post(f"{address}/restore", content=photos["jpeg"].read_bytes(), timeout=60)
    assert data == asked.content
    assert b"A. Photographer" in read_picture(data).metadata["exif-data"]


def test_the_slider_parts_before_and_after(page: Page, photos: dict[str, Path]) -> None:
    choose(page, photos["png"])
    frame = page.locator(".frame")
    slider = page.get_by_label("Where the original ends")
    seen = {}
    for place in (0, 100):
        slider.fill(str(place))
        page.wait_for_timeout(250)
        seen[place] = brightness(frame, 0.25, 0.75)
    assert seen[100] - seen[0] == pytest.approx(0.2 * 255, abs=4)


def test_what_was_removed_is_the_third_view(page: Page, photos: dict[str, Path]) -> None:
    choose(page, photos["png"])
    page.get_by_text("Rain removed").click()
    page.wait_for_timeout(250)
    shown = brightness(page.locator(".frame"), 0.75, 0.75)
    assert shown == pytest.approx(2.5 * 0.1 * 255, abs=6)  # brightened to be seen
    expect(page.locator("#after")).to_have_attribute("alt", "Rain removed: bright where it was")


def test_a_model_without_a_calibrated_score_tells_no_weather(
    page: Page, photos: dict[str, Path]
) -> None:
    choose(page, photos["png"])
    expect(page.locator("#status")).to_have_text(re.compile(r"^photo\.png in \d+\.\d s\.$"))


def test_the_weather_score_is_told(browser: Browser, photos: dict[str, Path]) -> None:
    with serving(Path("cmudrn-25k")) as address, browser.new_context() as context:
        page = context.new_page()
        page.goto(address)
        choose(page, photos["png"])
        expect(page.locator("#status")).to_have_text(
            re.compile(r"Weather: rain \d+ %, snow \d+ %, clear \d+ %\.")
        )


def test_the_strength_is_seen_and_saved(page: Page, photos: dict[str, Path]) -> None:
    choose(page, photos["png"])
    page.get_by_label("Strength").fill("50")
    page.wait_for_timeout(250)
    original = read_picture(photos["png"].read_bytes()).pixels.astype(int)
    saved = read_picture(Path(download(page).path()).read_bytes()).pixels.astype(int)
    np.testing.assert_allclose(original - saved, 0.1 * 255, atol=1)
    row = int(0.75 * original.shape[0])
    shown = brightness(page.locator(".frame"), 0.75, 0.75)
    assert shown == pytest.approx(saved[row].mean(), abs=4)


def test_the_speed_dial_asks_for_a_shallower_network(page: Page, photos: dict[str, Path]) -> None:
    choose(page, photos["png"])
    with page.expect_request("**/restore?*") as caught:
        page.get_by_label("Thoroughness").fill("0")
        page.get_by_label("Thoroughness").dispatch_event("change")
    assert "stages=1&recursions=1" in caught.value.url
    page.locator(DONE).wait_for()


def test_several_photos_and_a_bad_one(page: Page, photos: dict[str, Path]) -> None:
    page.set_input_files("#files", [photos["jpeg"], photos["damaged"], photos["png"]])
    page.locator(DONE).nth(1).wait_for()
    expect(page.get_by_role("alert")).to_contain_text("damaged.png: ")
    expect(page.get_by_role("button", name="Download all 2")).to_be_enabled()
    with page.expect_download(lambda one: "png" in one.suggested_filename):
        page.get_by_role("button", name="Download all 2").click()


def test_every_bad_photo_keeps_its_tile_and_its_reason(
    page: Page, photos: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_bytes(b"no picture")
    bad = [tmp_path / "empty.png", tmp_path / "text.png", photos["damaged"]]
    page.set_input_files("#files", [*bad, photos["png"]])
    page.locator(DONE).wait_for()
    reasons = {}
    for path in bad:
        tile = page.get_by_role("button", name=f"{path.name}, failed")
        tile.click()
        reasons[path.name] = page.locator("#status").inner_text()
        assert tile.get_attribute("title") == reasons[path.name]
    assert reasons["empty.png"] == "empty.png: It is empty."
    assert "is not a JPEG" in reasons["text.png"]
    assert "damaged" in reasons["damaged.png"]


def test_a_tiff_is_shown_and_comes_back_as_a_tiff(page: Page, photos: dict[str, Path]) -> None:
    choose(page, photos["tiff"])
    expect(page.locator("#before")).to_have_js_property("naturalWidth", 120)
    saved = read_picture(Path(download(page).path()).read_bytes())
    assert saved.format == "tiff"
    assert saved.pixels.dtype == np.uint16


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_photos_are_dropped_and_pasted(page: Page, photos: dict[str, Path], event: str) -> None:
    data = base64.b64encode(photos["png"].read_bytes()).decode()
    page.evaluate(
        """([event, data]) => {
            const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], "given.png", { type: "image/png" }));
            document.dispatchEvent(event === "drop"
                ? new DragEvent("drop", { dataTransfer: transfer, bubbles: true })
                : new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true }));
        }""",
        [event, data],
    )
    page.locator(DONE).wait_for()
    expect(page.locator("#status")).to_contain_text("given.png")


def test_the_keyboard_does_it_all(page: Page, photos: dict[str, Path]) -> None:
    # Playwright asks Chromium for choosers without waiting for its answer. The key must not come
    # first, so it is asked for here, two answers of the browser before the key.
    page.on("filechooser", lambda _: None)
    page.keyboard.press("Tab")
    expect(page.locator("#files")).to_be_focused()
    with page.expect_file_chooser(timeout=120_000) as chooser:  # browsers start it slowly
        page.keyboard.press("Space")
    chooser.value.set_files(photos["png"])
    page.locator(DONE).wait_for()
    page.keyboard.press("Tab")
    expect(page.locator("#split")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#split")).to_have_value("51")
    page.keyboard.press("Tab")
    with page.expect_download():
        page.keyboard.press("Enter")


def test_a_lost_server_is_told(page: Page, photos: dict[str, Path]) -> None:
    page.route("**/restore?*", lambda route: route.abort())
    page.set_input_files("#files", photos["png"])
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")


def test_a_busy_server_is_waited_for(page: Page, photos: dict[str, Path]) -> None:
    answers = iter([503])

    def busy_once(route: Route) -> None:
        if next(answers, None):
            route.fulfill(status=503, headers={"Retry-After": "1"}, json={"detail": "Busy."})
        else:
            route.continue_()

    page.route("**/restore?*", busy_once)
    page.set_input_files("#files", photos["png"])
    expect(page.locator("#status")).to_contain_text("busy")
    page.locator(DONE).wait_for()


@pytest.mark.parametrize(("width", "height"), [(320, 568), (390, 844), (640, 400), (1280, 800)])
def test_nothing_is_cut_off_sideways(
    page: Page, photos: dict[str, Path], width: int, height: int
) -> None:
    # 640 x 400 is a window of 1280 x 800 at 200 % zoom.
    page.set_viewport_size({"width": width, "height": height})
    choose(page, photos["jpeg"])
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for name in ("Download", "Choose photos"):
        box = page.get_by_text(name, exact=True).bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility(
    browser: Browser, address: str, photos: dict[str, Path], scheme: Literal["light", "dark"]
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    # axe has to be injected; the policy that forbids it is tested elsewhere.
    with browser.new_context(color_scheme=scheme, bypass_csp=True) as context:
        page = context.new_page()
        page.goto(address)
        empty = axe.Axe().run(page)
        choose(page, photos["jpeg"], photos["png"])
        page.wait_for_timeout(250)
        full = axe.Axe().run(page)
    assert empty.response["passes"] and full.response["passes"]
    found = empty.response["violations"] + full.response["violations"]
    assert found == [], empty.generate_report() + full.generate_report()
