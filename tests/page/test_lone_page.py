"""The page without a server: the browser restores."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PilImage
from PIL import PngImagePlugin
from playwright.sync_api import Browser, Page, expect
from support.browsing import DONE, choose, download, serving_files, watched_page

import cmudrn
from cmudrn.errors import TargetError
from cmudrn.image import Picture, encode_picture, read_picture
from cmudrn.image.resampling import make_thumbnail
from cmudrn.page import build_page
from cmudrn.restoration.dehazing import VeilEstimator
from cmudrn.restoration.tiling import make_tiles
from cmudrn.weather.presets import WEATHERS

SAMPLE = Path(__file__).parents[2] / "samples" / "rain.jpg"
ROOM = 1
"""Of 255: how far the browser's result may be from the command's."""


def crop(height: int, width: int) -> NDArray[np.uint8]:
    """Return a part of a rainy photograph."""
    pixels: NDArray[np.uint8] = read_picture(SAMPLE.read_bytes()).pixels[300:, 100:]
    return np.ascontiguousarray(pixels[:height, :width])


def save_png(pixels: NDArray[np.uint8], path: Path) -> Path:
    path.write_bytes(encode_picture(Picture(pixels), "png"))
    return path


def shown(page: Page) -> NDArray[np.uint8]:
    """Return the pixels of the restored image that the page shows."""
    expect(page.locator("#after")).to_have_js_property("complete", True)
    data: dict[str, Any] = page.evaluate(
        """() => {
            const image = document.getElementById("after");
            const [width, height] = [image.naturalWidth, image.naturalHeight];
            const context = new OffscreenCanvas(width, height).getContext("2d");
            context.drawImage(image, 0, 0);
            return { width, height, data: [...context.getImageData(0, 0, width, height).data] };
        }"""
    )
    pixels = np.array(data["data"], np.uint8).reshape(data["height"], data["width"], 4)
    return pixels[..., :3]


def difference(pixels: NDArray[Any], expected: NDArray[Any]) -> int:
    return int(np.abs(pixels.astype(int) - expected.astype(int)).max())


def test_a_png_comes_back_as_the_command_restores_it(lone_page: Page, tmp_path: Path) -> None:
    pixels = crop(150, 203)  # its sides are multiples of nothing
    choose(lone_page, save_png(pixels, tmp_path / "photo.png"))
    saved = download(lone_page)
    assert saved.suggested_filename == "photo.restored.png"
    restored = read_picture(Path(saved.path()).read_bytes()).pixels
    assert difference(restored, cmudrn.load("cmudrn", precision="fp32")(pixels)) <= ROOM
    assert difference(restored, pixels) > 20


def veiled_snow() -> NDArray[np.uint8]:
    clean = read_picture(SAMPLE.with_name("snow.jpg").read_bytes()).pixels[300:450, 100:303]
    scene = (clean / np.float32(255)).astype(np.float32)
    veiled = WEATHERS["csd-snow"](scene, np.random.default_rng(1)).degraded
    return np.rint(255 * veiled).astype(np.uint8)


def test_a_veil_is_taken_off_as_the_command_does(lone_page: Page, tmp_path: Path) -> None:
    pixels = veiled_snow()
    restorer = cmudrn.load("cmudrn", precision="fp32")
    correction = restorer.estimate_veil(pixels)
    assert correction is not None and correction.gain.max() > 1.2
    choose(lone_page, save_png(pixels, tmp_path / "photo.png"))
    haze = lone_page.get_by_label("Haze")
    for choice, dehaze in (("", None), ("true", True), ("false", False)):
        haze.select_option(choice)
        lone_page.locator(DONE).wait_for()
        restored = read_picture(Path(download(lone_page).path()).read_bytes()).pixels
        assert difference(restored, restorer(pixels, dehaze=dehaze)) <= ROOM
    assert difference(restorer(pixels), restorer(pixels, dehaze=True)) == 0
    assert difference(restorer(pixels), restorer(pixels, dehaze=False)) > 20


def test_no_more_of_a_veil_is_taken_off_than_can_lie_over_black(
    lone_page: Page, tmp_path: Path
) -> None:
    pixels = veiled_snow()
    for top in (10, 45, 80, 115):  # sixteen yellow things
        for left in (10, 58, 106, 154):
            pixels[top : top + 4, left : left + 16] = (200, 200, 20)
    restorer = cmudrn.load("cmudrn", precision="fp32")
    thumbnail = make_thumbnail(pixels)
    estimate = VeilEstimator(restorer.info.veil_weights).estimate_both_ways(thumbnail)
    assert not estimate.clear and estimate.bounded(thumbnail) is not estimate
    choose(lone_page, save_png(pixels, tmp_path / "photo.png"))
    lone_page.get_by_label("Haze").select_option("true")
    lone_page.locator(DONE).wait_for()
    restored = read_picture(Path(download(lone_page).path()).read_bytes()).pixels
    assert difference(restored, restorer(pixels, dehaze=True)) <= ROOM


def test_a_jpeg_keeps_its_metadata_byte_by_byte(lone_page: Page, tmp_path: Path) -> None:
    exif, profile = PilImage.Exif(), b"not checked by anybody" * 4000
    exif[0x0112], exif[0x013B] = 6, "A. Photographer"
    buffer = io.BytesIO()
    PilImage.fromarray(crop(120, 160)).save(
        buffer, "jpeg", exif=exif, icc_profile=profile, comment=b"mine", quality=95, subsampling=0
    )
    path = tmp_path / "photo.jpg"
    path.write_bytes(buffer.getvalue())
    choose(lone_page, path)
    upright = read_picture(path.read_bytes()).pixels
    assert (
        difference(shown(lone_page), cmudrn.load("cmudrn", precision="fp32")(upright)) <= ROOM + 1
    )  # two decoders
    saved = PilImage.open(download(lone_page).path())
    original = PilImage.open(path)
    assert saved.size == original.size
    for key in ("exif", "icc_profile", "comment"):
        assert saved.info[key] == original.info[key], key


def test_photos_of_every_orientation(dark_page: Page, tmp_path: Path) -> None:
    rows, columns = np.mgrid[120:240:40j, 0:1:56j]
    pixels = np.stack([rows, rows - 40 * columns, rows], axis=-1).astype(np.uint8)
    paths = []
    for orientation in range(1, 9):
        exif = PilImage.Exif()
        exif[0x0112] = orientation
        paths.append(tmp_path / f"{orientation}.jpg")
        PilImage.fromarray(pixels).save(paths[-1], exif=exif, quality=100, subsampling=0)
    choose(dark_page, *paths)
    for path in paths:
        dark_page.get_by_role("button", name=f"{path.name}, restored").click()
        saved = read_picture(Path(download(dark_page).path()).read_bytes())
        original = read_picture(path.read_bytes())
        assert saved.orientation == original.orientation
        assert difference(saved.pixels, original.pixels - 51) <= 3, path.name


def test_tiles_are_those_of_the_command(lone_page: Page) -> None:
    cases = [
        (height, width, radius, alignment, most)
        for height, width in ((1080, 1920), (3000, 4000), (37, 5000), (801, 640))
        for radius, alignment in ((163, 16), (45, 1), (22, 8))
        for most in (400_000, 2_800_000)
    ]
    found = lone_page.evaluate(
        """async (cases) => {
            const { makeTiles } = await import("./tiles.js");
            return cases.map(([height, width, radius, alignment, most]) =>
                makeTiles(height, width, { radius, alignment }, most).map(({ rows, columns }) =>
                    [rows, columns].flatMap((one) => [one.first, one.last, one.start, one.stop])));
        }""",
        cases,
    )
    for case, tiles in zip(cases, found, strict=True):
        height, width, radius, alignment, most = case
        expected = [
            [
                bound
                for window, core, padding in zip(tile.window, tile.core, tile.padding, strict=True)
                for bound in (window.start, window.stop + padding, core.start, core.stop)
            ]
            for tile in make_tiles(height, width, radius, most, alignment)
        ]
        assert tiles == expected, case


def test_strength_and_removed_layers(dark_page: Page, tmp_path: Path) -> None:
    pixels = np.full((60, 90, 3), 200, np.uint8)
    choose(dark_page, save_png(pixels, tmp_path / "photo.png"))
    dark_page.get_by_label("Strength").fill("50")
    saved = read_picture(Path(download(dark_page).path()).read_bytes()).pixels
    assert difference(saved, pixels - 26) <= ROOM
    for layer, removed in (("What was removed", 51), ("Rain removed", 26), ("Snow removed", 77)):
        dark_page.get_by_text(layer).click()
        expect(dark_page.locator("#after")).to_have_attribute(
            "alt", f"{layer}: bright where it was"
        )
        assert difference(shown(dark_page), np.full_like(pixels, removed)) <= 2, layer


def bad_files() -> Iterator[tuple[str, bytes, str]]:
    """Yield the name, the bytes and the sentence of files that the page does not restore."""
    pixels = np.full((40, 40, 3), 200, np.uint8)
    png = encode_picture(Picture(pixels), "png")
    cmyk = io.BytesIO()
    PilImage.new("CMYK", (20, 20)).save(cmyk, "jpeg")
    frames = [PilImage.new("RGB", (20, 20), (shade, 0, 0)) for shade in (0, 255)]
    animations = {kind: io.BytesIO() for kind in ("webp", "png")}
    for kind, buffer in animations.items():
        frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    yield "empty.jpg", b"", "It is empty."
    yield "text.png", b"no picture", "It is not a JPEG, PNG, WebP, AVIF or BMP."
    yield "cut.png", png[:60], "It is damaged or too large."
    yield "scan.tif", encode_picture(Picture(pixels), "tiff"), "This browser cannot read TIFF."
    yield "print.jpg", cmyk.getvalue(), "It is a CMYK JPEG; this page restores RGB and grey photos."
    yield "moves.webp", animations["webp"].getvalue(), "It is a WebP animation, not a photo."
    yield "moves.png", animations["png"].getvalue(), "It is a PNG animation, not a photo."


def test_every_bad_file_keeps_its_tile_and_its_reason(dark_page: Page, tmp_path: Path) -> None:
    good = save_png(np.full((40, 40, 3), 200, np.uint8), tmp_path / "good.png")
    files = list(bad_files())
    for name, data, _ in files:
        (tmp_path / name).write_bytes(data)
    dark_page.set_input_files("#files", [*(tmp_path / name for name, _, _ in files), good])
    dark_page.locator(DONE).wait_for()
    for name, _, sentence in files:
        tile = dark_page.get_by_role("button", name=f"{name}, failed")
        tile.click()
        assert tile.get_attribute("title") == f"{name}: {sentence}"
        assert dark_page.locator("#status").inner_text() == f"{name}: {sentence}"


def test_other_kinds_are_saved_as_png(dark_page: Page, tmp_path: Path) -> None:
    pixels = np.full((40, 40, 3), 200, np.uint8)
    path = tmp_path / "photo.webp"
    path.write_bytes(encode_picture(Picture(pixels), "webp"))
    choose(dark_page, path)
    expect(dark_page.locator("#notes")).to_contain_text("saved as a PNG without its metadata")
    saved = download(dark_page)
    assert saved.suggested_filename == "photo.restored.png"
    assert difference(read_picture(Path(saved.path()).read_bytes()).pixels, pixels - 51) <= ROOM


def test_a_png_keeps_its_texts_and_colours(dark_page: Page, tmp_path: Path) -> None:
    image = PilImage.fromarray(np.full((40, 40, 3), 200, np.uint8))
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Author", "A. Photographer")
    path = tmp_path / "photo.png"
    image.save(path, pnginfo=texts, icc_profile=b"not checked by anybody", dpi=(300, 300))
    choose(dark_page, path)
    saved = PilImage.open(download(dark_page).path())
    original = PilImage.open(path)
    for key in ("Author", "icc_profile", "dpi"):
        assert saved.info[key] == original.info[key], key


def test_a_photo_can_be_stopped(lone_page: Page, tmp_path: Path) -> None:
    pixels = np.tile(crop(400, 400), (2, 2, 1))
    lone_page.set_input_files("#files", save_png(pixels, tmp_path / "large.png"))
    lone_page.evaluate(
        """new Promise((resolve) => {
            const bar = document.getElementById("progress");
            const told = () => bar.value > 0 && resolve();
            new MutationObserver(told).observe(bar, { attributes: true });
            told();
        })"""
    )
    lone_page.get_by_role("button", name="Stop").click()
    expect(lone_page.locator("#status")).to_have_text("Stopped.")
    small = save_png(np.full((40, 40, 3), 200, np.uint8), tmp_path / "small.png")
    choose(lone_page, small)
    lone_page.get_by_role("button", name="small.png, restored").click()
    lone_page.locator("#model-choice").select_option("darkening")  # restores everything again
    expect(lone_page.locator("#notes")).to_have_text(
        "100% of the picture was changed strongly; compare the result with the original."
    )
    after = np.full((40, 40, 3), 149)
    assert difference(shown(lone_page), after) <= ROOM


def test_it_works_without_a_network(
    browser: Browser, darkening_model: Path, tmp_path: Path
) -> None:
    build_page(tmp_path / "site", [darkening_model])
    photo = save_png(np.full((40, 40, 3), 200, np.uint8), tmp_path / "photo.png")
    with (
        serving_files(tmp_path / "site") as (address, server),
        watched_page(browser, address) as page,
    ):
        expect(page.locator("#offline")).to_have_text("Works without a network from now on.")
        server.shutdown()
        server.server_close()
        page.reload()
        choose(page, photo)
        policy = page.evaluate(
            "fetch('tile_worker.js').then((a) => a.headers.get('Content-Security-Policy'))"
        )
        assert "default-src 'none'" in policy
        restored = read_picture(Path(download(page).path()).read_bytes()).pixels
    assert difference(restored, np.full((40, 40, 3), 149)) <= ROOM


def test_white_and_black_stay_as_in_the_command(
    browser: Browser, darkening_model: Path, tmp_path: Path
) -> None:
    pixels = np.tile(np.arange(0, 256, 2, dtype=np.uint8)[None, :, None], (300, 1, 3))
    pixels[40:90, 20:70], pixels[100:150, 30:80], pixels[260:] = 255, 0, (250, 255, 246)
    build_page(tmp_path / "site", [darkening_model])
    photo = save_png(pixels, tmp_path / "photo.png")
    with (
        serving_files(tmp_path / "site") as (address, _),
        watched_page(browser, address) as page,
    ):
        choose(page, photo)
        restored = read_picture(Path(download(page).path()).read_bytes()).pixels
    expected = cmudrn.load(darkening_model, precision="fp32")(pixels)
    assert difference(restored, expected) <= ROOM
    assert (restored[58:72, 38:52] == 255).all() and (restored[150:250, 60:70] < 120).all()


def test_photos_are_shared_with_it(lone_page: Page) -> None:
    expect(lone_page.locator("#offline")).to_have_text("Works without a network from now on.")
    lone_page.evaluate(
        """navigator.serviceWorker.controller !== null || new Promise((resolve) =>
            navigator.serviceWorker.addEventListener("controllerchange", () => resolve(true)))"""
    )
    address = lone_page.evaluate(
        """async () => {
            const canvas = new OffscreenCanvas(40, 30);
            canvas.getContext("2d").fillRect(0, 0, 20, 30);
            const blob = await canvas.convertToBlob();
            const form = new FormData();
            for (const name of ["one.png", "ünï two.png"]) {
                form.append("photos", new File([blob], name, { type: "image/png" }));
            }
            return (await fetch("share", { method: "POST", body: form })).url;
        }"""
    )
    assert address.endswith("/?shared")
    lone_page.goto(address)
    lone_page.locator(DONE).nth(1).wait_for()
    for name in ("one.png", "ünï two.png"):
        expect(lone_page.get_by_role("button", name=f"{name}, restored")).to_be_visible()
    lone_page.reload()  # they are taken once
    lone_page.locator("#model", has_text="parameters").wait_for()
    expect(lone_page.locator("#strip li")).to_have_count(0)


def test_models_are_chosen_with_a_line_on_each(lone_page: Page) -> None:
    assert "rain and snow" in lone_page.evaluate(
        "document.getElementById('model-line').textContent"
    )
    assert lone_page.locator("#model-choice option").all_inner_texts() == ["cmudrn", "darkening"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility(
    browser: Browser,
    dark_site: str,
    photos: dict[str, Path],
    scheme: Literal["light", "dark"],
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    # axe has to be injected; the policy that forbids it is tested elsewhere.
    with browser.new_context(
        color_scheme=scheme,
        bypass_csp=True,
        service_workers="block",
    ) as context:
        page = context.new_page()
        page.goto(dark_site)
        page.locator("#model", has_text="parameters").wait_for()
        empty = axe.Axe().run(page)
        choose(page, photos["jpeg"])
        full = axe.Axe().run(page)
        page.set_viewport_size({"width": 320, "height": 568})
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
    assert empty.response["passes"] and full.response["passes"]
    found = empty.response["violations"] + full.response["violations"]
    assert found == [], empty.generate_report() + full.generate_report()


def test_a_build_is_reproducible_and_costs_no_file(tmp_path: Path) -> None:
    sizes = build_page(tmp_path / "one", ["cmudrn"])
    build_page(tmp_path / "two", ["cmudrn"])
    for name in sizes:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    with pytest.raises(TargetError, match="exists already"):
        build_page(tmp_path / "one", ["cmudrn"])
    build_page(tmp_path / "one", ["cmudrn"], overwrite=True)
