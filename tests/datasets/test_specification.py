"""Datasets by specification: layouts, parts, and errors that name every wrong file."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from support.trees import make_csd, save, scene, snowy

from cmudrn.datasets import Dataset, FileDataset, PairFiles, has_degraded, open_dataset
from cmudrn.datasets.doctor import examine
from cmudrn.datasets.files import list_pictures
from cmudrn.errors import CmudrnError
from cmudrn.files import natural_order
from cmudrn.weather import WEATHERS


def files_of(dataset: Dataset) -> Sequence[PairFiles]:
    """Return the files of a dataset that lies in files."""
    assert isinstance(dataset, FileDataset)
    return dataset.files


@pytest.fixture
def csd(tmp_path: Path) -> Path:
    return make_csd(tmp_path / "CSD")


def test_csd_pairs_snow_with_gt_in_the_order_of_numbers(csd: Path) -> None:
    train = open_dataset(f"csd:{csd}@train")
    assert train.names == [str(n) for n in range(1, 11)]  # 10 comes after 9
    pair = train[4]
    assert pair.clean.dtype == np.float32
    np.testing.assert_array_equal(np.rint(pair.clean * 255), scene(2))
    np.testing.assert_array_equal(np.rint(pair.degraded * 255), snowy(scene(2), 5))


def test_csd_without_a_part_is_both_parts_under_their_names(csd: Path) -> None:
    names = open_dataset(f"csd:{csd}").names
    assert len(names) == 12
    assert names[0] == "Train/1" and names[-1] == "Test/2"


def test_forks_of_csd_name_their_parts_otherwise(csd: Path) -> None:
    (csd / "Train").rename(csd / "train2500")
    (csd / "Test").rename(csd / "test2000")
    assert len(open_dataset(f"csd:{csd}@train")) == 10
    assert len(open_dataset(f"csd:{csd}@test")) == 2


def test_the_rain_half_may_lie_in_the_same_tree(csd: Path) -> None:
    shutil.copytree(csd / "Train" / "Snow", csd / "Train" / "Rain")
    rain, snow = open_dataset(f"rain-csd:{csd}@train"), open_dataset(f"csd:{csd}@train")
    assert rain.names == snow.names
    assert {pair.degraded.parent.name for pair in files_of(rain)} == {"Rain"}
    with pytest.raises(CmudrnError, match="more than one way"):
        open_dataset(f"folder:{csd}/Train")


def test_the_papers_split_is_seventy_percent_by_order(csd: Path) -> None:
    assert open_dataset(f"csd:{csd}@paper-train").names == [str(n) for n in range(1, 8)]
    assert open_dataset(f"csd:{csd}@paper-test").names == ["8", "9", "10"]


def test_no_scene_is_on_both_sides_of_the_split_by_scene(tmp_path: Path) -> None:
    csd = make_csd(tmp_path, train=20, test=4)
    sides = [open_dataset(f"csd:{csd}@scene-{side}") for side in ("train", "test")]
    pictures = [{pair.clean.read_bytes() for pair in files_of(side)} for side in sides]
    assert not pictures[0] & pictures[1]
    assert len(pictures[0]) == 9 and len(pictures[1]) == 3  # every fifth of 12 scenes, from 0
    assert sorted(sides[0].names + sides[1].names) == sorted(open_dataset(f"csd:{csd}").names)


def test_validation_is_carved_from_train_by_scene(csd: Path) -> None:
    fit, held = (open_dataset(f"csd:{csd}@train/{side}").names for side in ("fit", "val"))
    assert held == ["1", "2"]  # both pictures of scene 0
    assert fit == [str(n) for n in range(3, 11)]


def test_a_list_of_names_is_a_part(csd: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("Train/3\nTest/1\n")
    assert open_dataset(f"csd:{csd}@{listed}").names == ["Train/3", "Test/1"]
    listed.write_text("Train/3\nTrain/300\n")
    with pytest.raises(CmudrnError, match="1 pairs that are not there: Train/300"):
        open_dataset(f"csd:{csd}@{listed}")


def rain100_modern(root: Path) -> None:
    for n in (1, 2, 10):
        save(scene(n), root / "target" / f"{n:03}.png")
        save(snowy(scene(n), n), root / "input" / f"{n:03}.png")


def rain100_flat(root: Path) -> None:
    for n in (1, 2, 10):
        save(scene(n), root / f"norain-{n:03}.png")
        save(snowy(scene(n), n), root / f"rain-{n:03}.png")


def rain100_rainy_below(root: Path) -> None:
    for n in (1, 2, 10):
        save(scene(n), root / f"norain-{n:03}.png")
        save(snowy(scene(n), n), root / "rainy" / f"rain-{n:03}.png")


def rain100_first(root: Path) -> None:
    for n in (1, 2, 10):
        save(scene(n), root / "norain" / f"norain-{n}.png")
        save(snowy(scene(n), n), root / "rain" / "X2" / f"norain-{n}x2.png")


@pytest.mark.parametrize("make", [rain100_modern, rain100_flat, rain100_rainy_below, rain100_first])
def test_every_naming_of_rain100_gives_the_same_pairs(make, tmp_path: Path) -> None:
    make(tmp_path)
    dataset = open_dataset(f"rain100:{tmp_path}")
    assert len(dataset) == 3
    for n, index in ((1, 0), (2, 1), (10, 2)):
        np.testing.assert_array_equal(np.rint(dataset[index].clean * 255), scene(n))
        np.testing.assert_array_equal(np.rint(dataset[index].degraded * 255), snowy(scene(n), n))


def test_snow100k_is_found_where_its_archive_unpacks(tmp_path: Path) -> None:
    deep = tmp_path / "media" / "jdway" / "GameSSD" / "overlapping" / "test" / "Snow100K-L"
    for folder in (deep, tmp_path / "all"):
        for side in ("gt", "synthetic", "mask"):
            save(scene(1), folder / side / "beautiful_smile_00001.jpg")
    assert (
        files_of(open_dataset(f"snow100k:{tmp_path}@test-l"))[0].degraded.parent
        == deep / "synthetic"
    )
    assert open_dataset(f"snow100k:{tmp_path}@train").names == ["beautiful_smile_00001"]
    with pytest.raises(CmudrnError, match="there is no folder Snow100K-S in it"):
        open_dataset(f"snow100k:{tmp_path}@test-s")


RAIN1400 = {
    "testing/rainy_image/1_1.png": 10,
    "testing/rainy_image/1_2.png": 20,
    "testing/rainy_image/2_1.png": 30,
    "testing/ground_truth/1.png": 1,
    "testing/ground_truth/2.png": 2,
}
SPA = {"rain/000.png": 10, "rain/001.png": 20, "gt/000gt.png": 1, "gt/001gt.png": 2}
GT_RAIN = {
    "GT-RAIN_test/Brook/Brook-R-000.png": 10,
    "GT-RAIN_test/Brook/Brook-R-001.png": 20,
    "GT-RAIN_test/Brook/Brook-C-000.png": 1,
    "GT-RAIN_test/X-R/X-R-R-7.png": 30,
    "GT-RAIN_test/X-R/X-R-C-000.png": 2,
}


@pytest.mark.parametrize(
    ("kind", "files", "pairs"),
    [
        ("rain1400", RAIN1400, [(10, 1), (20, 1), (30, 2)]),
        ("spa", SPA, [(10, 1), (20, 2)]),
        ("gt-rain", GT_RAIN, [(10, 1), (20, 1), (30, 2)]),
    ],
)
def test_several_degraded_pictures_may_share_a_clean_one(
    kind: str, files: dict[str, int], pairs: list[tuple[int, int]], tmp_path: Path
) -> None:
    for name, value in files.items():
        save(np.full((8, 9, 3), value, np.uint8), tmp_path / name)
    parts = [""] if kind == "spa" else ["", "@test"]
    for part in parts:
        dataset = open_dataset(f"{kind}:{tmp_path}{part}")
        found = [dataset[i] for i in range(len(dataset))]
        values = [tuple(round(float(p.mean()) * 255) for p in (x.degraded, x.clean)) for x in found]
        assert values == pairs
    (tmp_path / next(name for name, value in files.items() if value == 2)).unlink()
    with pytest.raises(CmudrnError, match="without a clean picture"):
        open_dataset(f"{kind}:{tmp_path}")


def test_srrs_pairs_tif_with_jpg(tmp_path: Path) -> None:
    save(scene(1), tmp_path / "Gt" / "13005.jpg")
    save(snowy(scene(1), 1), tmp_path / "Syn" / "13005.tif")
    assert open_dataset(f"srrs:{tmp_path}").names == ["13005"]


def test_two_folders_are_matched_by_name_whatever_their_suffix(tmp_path: Path) -> None:
    save(scene(1), tmp_path / "good" / "a" / "x.png")
    save(scene(2), tmp_path / "good" / "b" / "x.png")
    save(snowy(scene(1), 1), tmp_path / "bad" / "a" / "x.bmp")
    save(snowy(scene(2), 2), tmp_path / "bad" / "b" / "x.bmp")
    dataset = open_dataset(f"folder:{tmp_path}/bad,{tmp_path}/good")
    assert dataset.names == ["a/x", "b/x"]
    np.testing.assert_array_equal(np.rint(dataset[1].clean * 255), scene(2))


def test_weather_on_the_fly_depends_on_seed_and_place_only(tmp_path: Path) -> None:
    for n in range(2):
        save(scene(n), tmp_path / f"{n}.png")
    text = f"folder:{tmp_path}"
    assert not has_degraded(text)
    first, again, other = (open_dataset(text, weather="snow", seed=s) for s in (1, 1, 2))
    again[0]
    np.testing.assert_array_equal(first[1].degraded, again[1].degraded)
    assert (first[1].degraded != other[1].degraded).any()
    rendered = WEATHERS["snow"](first[1].clean, np.random.default_rng([1, 1])).degraded
    assert np.abs(first[1].degraded - rendered).max() <= 0.5 / 255 + 1e-6
    assert (open_dataset(text, weather="clear")[0].degraded == first[0].clean).all()


def test_one_error_names_every_wrong_file(csd: Path) -> None:
    train = csd / "Train"
    (train / "Gt" / "3.tif").unlink()
    (train / "Snow" / "5.tif").unlink()
    (train / "Snow" / "7.tif").write_bytes(b"no picture")
    save(scene(1, (48, 60)), train / "Snow" / "9.tif")
    with pytest.raises(CmudrnError) as error:
        open_dataset(f"csd:{csd}@train")
    text = str(error.value)
    assert "1 file without a clean picture (Snow/3.tif)" in text
    assert "1 file without a degraded picture (Gt/5.tif)" in text
    assert "1 file that cannot be read (Snow/7.tif)" in text
    assert "1 file of another size than the clean picture (Snow/9.tif)" in text


def test_a_name_with_two_suffixes_is_named(tmp_path: Path) -> None:
    for suffix in ("png", "bmp"):
        save(scene(1), tmp_path / "input" / f"1.{suffix}")
    save(scene(1), tmp_path / "target" / "1.png")
    with pytest.raises(CmudrnError, match="1 file of a name that is there twice"):
        open_dataset(f"folder:{tmp_path}")


def test_two_clean_pictures_of_one_name_are_named(tmp_path: Path) -> None:
    for number, name in enumerate(("1.png", "1.tif", "deep/1.png", "2.png")):
        save(scene(number), tmp_path / name)
    with pytest.raises(CmudrnError, match=r"1 file of a name that is there twice \(.*/1.tif\)"):
        open_dataset(f"folder:{tmp_path}")
    assert not examine([f"folder:{tmp_path}"]).sound
    (tmp_path / "1.tif").unlink()
    assert open_dataset(f"folder:{tmp_path}").names == ["1", "2", "deep/1"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("CSD", "is written KIND:PATH"),
        ("cds:here", "did you mean 'csd'"),
        ("csd:nowhere", "no folder nowhere"),
        ("csd:{}@tarin", "has no part 'tarin'; it has train, test"),
        ("folder:{},nowhere", "no folder nowhere"),
        ("csd:{}@missing.txt", "list missing.txt cannot be read"),
        ("folder:{}/Train/Gt@train", "has no part 'train'; it has none"),
    ],
)
def test_what_cannot_be_opened_says_why(csd: Path, text: str, sentence: str) -> None:
    with pytest.raises(CmudrnError, match=sentence):
        open_dataset(text.format(csd))


def test_a_folder_whose_name_has_an_at_sign_is_a_folder(tmp_path: Path) -> None:
    save(scene(1), tmp_path / "mine@train" / "1.png")
    assert open_dataset(f"folder:{tmp_path}/mine@train").names == ["1"]


def test_hidden_files_are_no_pictures(tmp_path: Path) -> None:
    for name in ("2.png", "10.png", ".3.png", ".hidden/4.png"):
        save(scene(1), tmp_path / name)
    assert [path.name for path in list_pictures(tmp_path)] == ["2.png", "10.png"]
    assert sorted(["a10b2", "a9", "a10b10"], key=natural_order) == ["a9", "a10b2", "a10b10"]
