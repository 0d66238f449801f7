"""The doctor finds wrong files, repeated scenes and leaks, also in real data."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from support.trees import make_csd, save, scene

from cmudrn.datasets import open_dataset
from cmudrn.datasets.doctor import examine
from cmudrn.errors import CmudrnError
from cmudrn.image import read_image


def test_a_sound_tree_is_sound(tmp_path: Path) -> None:
    csd = make_csd(tmp_path / "CSD", train=4, test=2)
    report = examine([f"csd:{csd}@train", f"csd:{csd}@test"])
    train = report.datasets[0]
    assert report.sound and not report.leaks
    assert train.pairs == 4 and train.sizes == {"64 x 48": 4} and train.formats == {".tif": 8}
    assert len(train.repeated) == 2  # two pictures of each scene
    pairs = [
        (read_image(csd / f"Train/Snow/{n}.tif"), read_image(csd / f"Train/Gt/{n}.tif"))
        for n in range(1, 5)
    ]
    psnr = np.mean([10 * np.log10(1 / np.mean((a - b) ** 2)) for a, b in pairs])
    assert train.input_psnr_db == pytest.approx(psnr, abs=0.001)


def test_the_fingerprint_is_of_the_bytes_and_names(tmp_path: Path) -> None:
    prints = []
    for name in ("first", "second"):
        make_csd(tmp_path / name, train=2, test=1)
        prints.append(examine([f"csd:{tmp_path / name}@train"]).datasets[0].fingerprint)
    assert prints[0] == prints[1]
    with (tmp_path / "second" / "Train" / "Snow" / "1.tif").open("ab") as file:
        file.write(b"\0")
    assert examine([f"csd:{tmp_path / 'second'}@train"]).datasets[0].fingerprint != prints[0]


def test_every_kind_of_wrong_file_is_told_at_once(tmp_path: Path) -> None:
    train = make_csd(tmp_path, train=10, test=1) / "Train"
    whole = (train / "Snow" / "1.tif").read_bytes()
    (train / "Snow" / "1.tif").write_bytes(whole[: len(whole) // 2])
    (train / "Gt" / "3.tif").unlink()
    save(scene(4, (40, 64)), train / "Snow" / "5.tif")
    (train / "Snow" / "7.tif").write_bytes((train / "Gt" / "7.tif").read_bytes())
    report = examine([f"csd:{tmp_path}@train"])
    text = " ".join(report.datasets[0].problems)
    assert not report.sound
    assert "that cannot be read (Snow/1.tif)" in text
    assert "without a clean picture (Snow/3.tif)" in text
    assert "of another size than the clean picture (Snow/5.tif)" in text
    assert "that show no weather at all (Snow/7.tif)" in text


def test_a_picture_of_a_format_that_is_not_read_is_a_wrong_file(tmp_path: Path) -> None:
    for side in ("input", "target"):
        for number in (1, 2, 3):
            save(scene(number) // (2 if side == "input" else 1), tmp_path / side / f"{number}.png")
    for path in (tmp_path / "input" / "2.png", tmp_path / "target" / "3.png"):
        Pillow.open(path).save(path, format="ppm")
    (health,) = examine([f"folder:{tmp_path}"]).datasets
    assert health.problems == ["2 files that cannot be read (input/2.png, target/3.png)"]
    with pytest.raises(CmudrnError, match="2 files that cannot be read"):
        open_dataset(f"folder:{tmp_path}")


def test_an_empty_folder_is_not_sound(tmp_path: Path) -> None:
    assert not examine([f"folder:{tmp_path}"]).sound


def test_rain100l_and_rain100h_share_their_targets(shared_data: Path) -> None:
    light, heavy = (shared_data / "paired" / f"rain100{k}_40" for k in "lh")
    report = examine([f"rain100:{light}", f"rain100:{heavy}"])
    assert not report.sound
    shared = {Path(same.first).name for same in report.leaks[0].pictures}
    assert len(shared) == 40
    assert not report.datasets[0].problems


def test_a_berkeley_photo_among_training_pictures_leaks(shared_data: Path, tmp_path: Path) -> None:
    light = shared_data / "paired" / "rain100l_40"
    for path in sorted((shared_data / "clean" / "val").glob("*"))[:6]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with Pillow.open(light / "target" / "010.png") as photo:
        hidden = photo.resize((360, 240)).transpose(Pillow.Transpose.FLIP_LEFT_RIGHT)
        hidden.convert("RGB").save(tmp_path / "holiday.jpg", quality=60)
    report = examine([f"folder:{tmp_path}", f"rain100:{light}"])
    (leak,) = report.leaks
    assert [(Path(s.first).name, Path(s.second).name) for s in leak.pictures] == [
        ("holiday.jpg", "010.png")
    ]
    assert leak.pictures[0].how == "mirrored"


def test_a_name_that_is_no_text_is_examined(tmp_path: Path) -> None:
    picture = save(scene(1), tmp_path / "good" / "a.png")
    try:
        picture.rename(picture.with_name(os.fsdecode(b"\xff\xfe.png")))
    except OSError:
        pytest.skip("this file system takes only text as names")
    assert examine([f"folder:{picture.parent}"]).datasets[0].pairs == 1
