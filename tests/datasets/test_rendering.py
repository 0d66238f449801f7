"""`cmudrn weather` writes the same bytes for any number of workers and interruptions."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support.streaks import make_database

from cmudrn.datasets import open_dataset
from cmudrn.datasets.doctor import examine
from cmudrn.datasets.rendering import Rendering, kinds, render_folder
from cmudrn.errors import CmudrnError, MissingExtraError
from cmudrn.image import Picture, read_image, read_picture, write_picture
from cmudrn.weather.presets import WEATHERS
from cmudrn.weather.snow import Flakes, Snow


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    folder = tmp_path / "clean"
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.jpg", "deep/c.png", "d.tif", "e.png", "f.png"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 200, (6, 8, 3), np.uint8)
        write_picture(Picture(np.kron(coarse, np.ones((9, 11, 1), np.uint8))), path)
    return folder


def digest(folder: Path) -> dict[str, str]:
    files = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("run."))
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.parametrize(
    ("kind", "preset"), [("rain", "csd-rain"), ("snow", "csd-snow"), ("haze", "haze")]
)
def test_one_worker_or_four_write_the_same_bytes(
    clean: Path, tmp_path: Path, kind: str, preset: str
) -> None:
    one, four = (Rendering(clean, tmp_path / n, kind, preset, seed=7) for n in ("one", "four"))
    assert render_folder(one) == 6
    assert render_folder(four, workers=4) == 6
    assert digest(one.target) == digest(four.target)
    other = Rendering(clean, tmp_path / "other", kind, preset, seed=8)
    render_folder(other)
    assert digest(other.target) != digest(one.target)


def test_a_killed_run_goes_on_to_the_same_bytes(clean: Path, tmp_path: Path) -> None:
    whole = Rendering(clean, tmp_path / "whole", "snow", "snow", frames=40)
    render_folder(whole)
    target = tmp_path / "killed"
    command = [sys.executable, "-m", "cmudrn", "weather", "snow", str(clean), str(target)]
    command += ["--preset", "snow", "--frames", "40"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not (target / "records.snow" / "2.json").exists():
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (target / "weather.snow.jsonl").exists()
    made = render_folder(Rendering(clean, target, "snow", "snow", frames=40))
    assert made < 6
    assert digest(target) == digest(whole.target)


def test_the_tree_is_csds(clean: Path, tmp_path: Path) -> None:
    made = Rendering(clean, tmp_path / "csd", "snow", "csd-snow")
    render_folder(made)
    names = sorted(f"{n}.tif" for n in range(1, 7))
    for folder in ("Gt", "Snow", "Mask", "Transmission"):
        assert sorted(p.name for p in (made.target / folder).iterdir()) == names
    records = [json.loads(x) for x in (made.target / "weather.snow.jsonl").read_text().splitlines()]
    assert [r["source"] for r in records] == sorted(
        ["a.png", "b.jpg", "d.tif", "deep/c.png", "e.png", "f.png"]
    )
    first = records[0]
    gt, snow, mask = (read_image(made.target / f / "1.tif") for f in ("Gt", "Snow", "Mask"))
    t = read_picture(made.target / "Transmission" / "1.tif").pixels[..., None] / np.float32(65535)
    expected = t * (gt * (1 - mask) + first["light"] * mask) + (1 - t) * np.array(first["airlight"])
    assert np.abs(expected - snow).max() < 2.5 / 255
    assert np.array_equal(gt, read_image(clean / "a.png"))


def test_severity_zero_is_the_clean_picture(clean: Path, tmp_path: Path) -> None:
    made = Rendering(clean, tmp_path / "out", "rain", "csd-rain", severity=0)
    render_folder(made)
    for number in range(1, 7):
        gt, rain = (read_image(made.target / f / f"{number}.tif") for f in ("Gt", "Rain"))
        assert np.array_equal(gt, rain)


def test_other_settings_or_a_full_folder_are_refused(clean: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    render_folder(Rendering(clean, target, "rain", "light-rain"))
    before = digest(target)
    with pytest.raises(CmudrnError, match="other settings"):
        render_folder(Rendering(clean, target, "rain", "light-rain", seed=1))
    assert digest(target) == before
    with pytest.raises(CmudrnError, match="is not empty"):
        render_folder(Rendering(target / "Gt", clean, "rain", "light-rain"))
    with pytest.raises(CmudrnError, match="no rain preset 'csd-snow'"):
        render_folder(Rendering(clean, tmp_path / "x", "rain", "csd-snow"))
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("change", ["added", "removed", "replaced", "same size"])
def test_a_run_does_not_go_on_with_other_pictures(clean: Path, tmp_path: Path, change: str) -> None:
    made = Rendering(clean, tmp_path / "out", "rain", "light-rain")
    render_folder(made)
    (made.target / "records.rain" / "5.json").unlink()  # one is still to be made
    before = digest(made.target)
    match change:
        case "added":
            shutil.copy(clean / "a.png", clean / "0.png")
        case "removed":
            (clean / "a.png").unlink()
        case "replaced":
            shutil.copy(clean / "d.tif", clean / "a.png")
        case "same size":
            pixels = bytearray((clean / "d.tif").read_bytes())
            pixels[len(pixels) // 2] ^= 1
            (clean / "d.tif").write_bytes(pixels)
    with pytest.raises(CmudrnError, match=r"not begun with the images that .*clean holds now"):
        render_folder(made)
    assert digest(made.target) == before


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("folder", ["Gt", "Snow", "Mask", "Transmission"])
def test_a_missing_result_is_rendered_again(
    clean: Path, tmp_path: Path, folder: str, frames: int
) -> None:
    made = Rendering(clean, tmp_path / "out", "snow", "csd-snow", frames=frames)
    render_folder(made)
    before = digest(made.target)
    (made.target / folder / ("2.tif" if frames == 1 else "2/0002.tif")).unlink()
    assert render_folder(made) == 1
    assert digest(made.target) == before
    assert render_folder(made) == 0


def test_bad_pictures_are_all_named_before_anything_is_written(clean: Path, tmp_path: Path) -> None:
    made = Rendering(clean, tmp_path / "out", "rain", "light-rain")
    for name in ("._a.png", ".hidden/x.png", "deep/bad.png", "z.jpg"):
        (clean / name).parent.mkdir(exist_ok=True)
        (clean / name).write_text("no picture")
    with pytest.raises(CmudrnError, match=r"deep/bad.png is not .*; .*/z.jpg is not .*picture\.$"):
        render_folder(made)
    assert not made.target.exists()
    (clean / "deep" / "bad.png").unlink()
    (clean / "z.jpg").unlink()
    assert render_folder(made) == 6  # what is hidden does not count


def test_a_target_inside_the_source_is_refused(clean: Path) -> None:
    for target in (clean, clean / "out", clean / "deep" / ".." / "out"):
        with pytest.raises(CmudrnError, match=r"lies in .*clean, whose images"):
            render_folder(Rendering(clean, target, "rain", "light-rain"))
    assert not (clean / "out").exists()


def test_rain_and_snow_of_the_same_images_share_a_folder(clean: Path, tmp_path: Path) -> None:
    alone = [Rendering(clean, tmp_path / kind, kind, f"light-{kind}") for kind in ("rain", "snow")]
    both = [Rendering(clean, tmp_path / "both", kind, f"light-{kind}") for kind in ("rain", "snow")]
    for rendering in (*alone, *both):
        assert render_folder(rendering) == 6
    apart = digest(alone[0].target) | digest(alone[1].target)
    assert digest(both[0].target) == apart
    (clean / "a.png").unlink()
    with pytest.raises(CmudrnError, match="not begun with the images that"):
        render_folder(both[1])


def test_the_doctor_knows_a_rendering_and_one_that_is_not_finished(
    clean: Path, tmp_path: Path
) -> None:
    for kind in ("rain", "snow"):
        render_folder(Rendering(clean, tmp_path / "tree" / "Train", kind, f"csd-{kind}", seed=3))
    report = examine([f"{name}:{tmp_path / 'tree'}@train" for name in ("csd", "rain-csd")])
    snow, rain = report.datasets
    assert snow.rendered == f"csd-snow, severity 3, seed 3, over 6 images of {clean}"
    assert rain.rendered is not None and rain.rendered.startswith("csd-rain, severity 3")
    assert snow.licence == "that of the clean images" and not snow.problems
    for folder in ("Gt", "Snow"):
        (tmp_path / "tree" / "Train" / folder / "6.tif").unlink()
    (tmp_path / "tree" / "Train" / "Rain" / "6.tif").unlink()
    (health,) = examine([f"csd:{tmp_path / 'tree'}@train"]).datasets
    assert "rendering that is not finished (1 to do)" in " ".join(health.problems)


def test_a_weather_of_any_name_is_rendered_and_read(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hail(Snow):
        kind = "hail"

    monkeypatch.setitem(WEATHERS, "big", Hail(layers=(Flakes((300, 1500), (2, 6), (0.3, 0.9)),)))
    assert kinds()["hail"] == "big"
    made = Rendering(clean, tmp_path / "out", "hail", "big")
    assert render_folder(made) == 6
    pairs = open_dataset(f"folder:{made.target / 'Hail'},{made.target / 'Gt'}")
    assert len(pairs) == 6 and not np.array_equal(pairs[0].degraded, pairs[0].clean)


def test_published_rain_without_scipy_names_the_extra(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "scipy.ndimage", None)
    assert render_folder(Rendering(clean, tmp_path / "out", "rain", "light-rain")) == 6
    published = Rendering(clean, tmp_path / "other", "rain", "csd-rain", screens=clean)
    with pytest.raises(MissingExtraError, match="streaks needs the extra evaluate"):
        render_folder(published)
    assert not published.target.exists()


def test_published_screens(clean: Path, tmp_path: Path) -> None:
    screens = tmp_path / "screens"
    screens.mkdir()
    screen = np.zeros((63, 90), np.uint8)
    screen[20:60, 50:53] = 180
    write_picture(Picture(screen), screens / "1-6.png")
    made = Rendering(clean, tmp_path / "out", "rain", "published", screens=screens)
    assert render_folder(made) == 6
    assert '"1-6.png"' in (made.target / "weather.rain.jsonl").read_text()
    with pytest.raises(CmudrnError, match="neither rain screens named like"):
        render_folder(Rendering(clean, tmp_path / "y", "rain", "published", screens=clean))
    assert not (tmp_path / "y").exists()


def test_the_streak_database_renders_the_same_with_two_workers(clean: Path, tmp_path: Path) -> None:
    database = make_database(tmp_path / "rainstreakdb")
    one, two = (Rendering(clean, tmp_path / n, "rain", "published", screens=database) for n in "ab")
    assert render_folder(one) == 6
    assert render_folder(two, workers=2) == 6
    assert digest(one.target) == digest(two.target)
    gt, rain = (read_image(one.target / f / "1.tif") for f in ("Gt", "Rain"))
    assert (rain >= gt).all() and (rain > gt).any()
    broken = make_database(tmp_path / "broken")
    (broken / "env_light_database" / "txt" / "normalized_env_max.txt").unlink()
    with pytest.raises(CmudrnError, match="table of brightness"):
        render_folder(Rendering(clean, tmp_path / "c", "rain", "published", screens=broken))
    assert not (tmp_path / "c").exists()
