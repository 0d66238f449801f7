"""`cmudrn sheet`: the content of the figure, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from support.trees import make_csd, save, scene
from typer.testing import CliRunner

from cmudrn.cli import app
from cmudrn.datasets import open_dataset
from cmudrn.engines import open_engine
from cmudrn.errors import CmudrnError
from cmudrn.evaluation.comparison_figure import make_row
from cmudrn.evaluation.metrics import psnr_rgb
from cmudrn.restoration import Restorer

RUNNER = CliRunner()


@pytest.fixture
def csd(tmp_path: Path) -> Path:
    return make_csd(tmp_path / "CSD", train=4, test=2)


def test_a_row_holds_every_picture_and_its_score(csd: Path, darkening_model: Path) -> None:
    pair = open_dataset(f"csd:{csd}@test")[0]
    restorers = {"dark": Restorer(open_engine(darkening_model, precision="fp32"))}
    cells = make_row(pair.degraded, restorers, pair.clean)
    assert [cell.title.split("\n")[0] for cell in cells] == [
        "degraded", "clean", "restored", "removed", "rain branch", "snow branch"
    ]  # fmt: skip
    assert f"{psnr_rgb(pair.degraded, pair.clean):.2f} dB" in cells[0].title
    bright = pair.degraded > 0.4
    np.testing.assert_allclose(cells[3].image[bright], 0.7, atol=0.005)  # 0.2 less, on mid grey
    np.testing.assert_allclose(cells[4].image[bright], pair.degraded[bright] - 0.1, atol=0.005)


def test_a_crop_shows_less_and_keeps_the_score(csd: Path, identity_model: Path) -> None:
    pair = open_dataset(f"csd:{csd}@test")[0]
    restorers = {"same": Restorer(open_engine(identity_model, precision="fp32"))}
    whole = make_row(pair.degraded, restorers, pair.clean)
    part = make_row(pair.degraded, restorers, pair.clean, (slice(8, 24), slice(4, 36)))
    for all_of_it, window in zip(whole, part, strict=True):
        assert window.title == all_of_it.title
        np.testing.assert_array_equal(window.image, all_of_it.image[8:24, 4:36])


def test_photographs_without_truth_stand_beside_what_several_models_made(
    csd: Path, identity_model: Path, darkening_model: Path, tmp_path: Path
) -> None:
    photo = open_dataset(f"csd:{csd}@test")[0].degraded
    models = {"same": identity_model, "dark": darkening_model}
    cells = make_row(
        photo, {n: Restorer(open_engine(m, precision="fp32")) for n, m in models.items()}
    )
    assert [cell.title for cell in cells] == [
        "degraded", "same: restored", "same: removed", "dark: restored", "dark: removed"
    ]  # fmt: skip
    path, named = tmp_path / "sheet.png", [f"{n}={m}" for n, m in models.items()]
    command = ["sheet", *named, str(path), "--photos", str(csd / "Test" / "Snow")]
    RUNNER.invoke(app, [*command, "--data", f"csd:{csd}@train"], catch_exceptions=False)
    assert Pillow.open(path).size[0] == round(2.6 * 150) * 6  # pairs have their truth, too
    with pytest.raises(CmudrnError, match="Say what to show"):
        RUNNER.invoke(app, ["sheet", *named, str(path)], catch_exceptions=False)
    with pytest.raises(CmudrnError, match="no pictures in nowhere"):
        command = ["sheet", *named, str(path), "--photos", "nowhere"]
        RUNNER.invoke(app, command, catch_exceptions=False)


def test_the_file_has_a_row_for_each_picture(
    csd: Path, identity_model: Path, tmp_path: Path
) -> None:
    sizes = []
    for names in ("3", "3,1"):
        path = tmp_path / f"sheet{len(names)}.png"
        arguments = ["sheet", str(identity_model), str(path), "--data", f"csd:{csd}@train"]
        result = RUNNER.invoke(app, [*arguments, "--pictures", names])
        assert result.exit_code == 0, result.output
        sizes.append(Pillow.open(path).size)
    assert sizes[0][0] == sizes[1][0] and sizes[1][1] == pytest.approx(2 * sizes[0][1], abs=2)


def test_two_models_of_one_name_are_refused(
    csd: Path, identity_model: Path, darkening_model: Path, tmp_path: Path
) -> None:
    for models in ([f"A={identity_model}", f"A={darkening_model}"], [str(identity_model)] * 2):
        command = ["sheet", *models, str(tmp_path / "a.png"), "--data", f"csd:{csd}@test"]
        with pytest.raises(CmudrnError, match="2 models would be called"):
            RUNNER.invoke(app, command, catch_exceptions=False)
    assert not (tmp_path / "a.png").exists()


def test_a_sheet_replaces_a_file_only_when_asked_and_never_a_photograph(
    identity_model: Path, tmp_path: Path
) -> None:
    photos = [tmp_path / "a.png", tmp_path / "b.png"]
    for photo in photos:
        save(scene(1), photo)
    before, sheet = photos[1].read_bytes(), tmp_path / "sheet.png"
    sheet.write_text("something else")

    def draw(output: Path, *options: str) -> None:
        command = ["sheet", str(identity_model), str(output), "--photos", str(photos[0])]
        command += ["--photos", str(photos[1]), *options]
        RUNNER.invoke(app, command, catch_exceptions=False)

    for options in ((), ("--overwrite",)):
        with pytest.raises(CmudrnError, match=r"b.png would overwrite itself"):
            draw(photos[1], *options)
    assert photos[1].read_bytes() == before
    with pytest.raises(CmudrnError, match=r"sheet.png exists already"):
        draw(sheet)
    assert sheet.read_text() == "something else"
    draw(sheet, "--overwrite")
    assert Pillow.open(sheet).format == "PNG"


@pytest.mark.parametrize("name", ["p$_$", "50$ and $x", r"\$a^$"])
def test_dollar_signs_in_names_are_no_formulas(
    identity_model: Path, tmp_path: Path, name: str
) -> None:
    for side in ("input", "target"):
        save(scene(1), tmp_path / "pairs" / side / f"{name}.png")
    sheet, pairs = tmp_path / "sheet.png", f"folder:{tmp_path / 'pairs'}"
    command = ["sheet", f"{name}={identity_model}", f"b={identity_model}", str(sheet)]
    RUNNER.invoke(app, [*command, "--data", pairs], catch_exceptions=False)
    assert sheet.exists()


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("a.gif", [], "A sheet is a .png, .pdf, .svg file"),
        ("a.png", ["--pictures", "99"], "has no picture '99'"),
        ("a.png", ["--crop", "1,2"], "LEFT,TOP,WIDTH,HEIGHT"),
        ("a.png", ["--crop", "60,0,10,10"], "lies outside 1: 64 x 48"),
        ("a.png", ["--crop", "6,0,0,10"], "at least 1"),
    ],
)
def test_what_cannot_be_drawn_says_why_and_leaves_no_file(
    csd: Path, identity_model: Path, tmp_path: Path, name: str, options: list[str], sentence: str
) -> None:
    arguments = ["sheet", str(identity_model), str(tmp_path / name), "--data", f"csd:{csd}@test"]
    with pytest.raises(CmudrnError, match=sentence):
        RUNNER.invoke(app, [*arguments, *options], catch_exceptions=False)
    assert not (tmp_path / name).exists()
