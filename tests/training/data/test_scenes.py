"""Scenes: thumbnails equal reduced images, and patches are dehazed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from cmudrn.checkpoints.veil_estimator import open_veil_estimator
from cmudrn.config import merge, read_preset
from cmudrn.errors import CmudrnError
from cmudrn.image import Image, to_float, write_image
from cmudrn.image.resampling import SIDE, make_thumbnail
from cmudrn.models.info import VEIL_BLOCK
from cmudrn.restoration.dehazing import VeilCorrection, VeilEstimator
from cmudrn.training import fingerprints
from cmudrn.training.config import make_config
from cmudrn.training.data.clean_patches import CleanPictures
from cmudrn.training.data.scenes import (
    ScenePatches,
    Scenes,
    SceneWeather,
    Thumbnails,
    reduce_scene,
    view_thumbnails,
    view_without_veil,
)
from cmudrn.training.data.sources import make_sources
from cmudrn.training.run import start_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean")
    rows, columns = np.mgrid[0:360, 0:480].astype(np.float32)
    for number in range(2):
        channels = [rows / 500, columns / 600, (rows + columns) / (1000 + 200 * number)]
        write_image(np.stack(channels, -1), folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def clean(folder: Path) -> CleanPictures:
    return CleanPictures([folder], (1,), 64)


class Knowing(VeilEstimator):
    """A branch that always finds the same veil."""

    def estimate_veil(self, thumbnail: Image) -> VeilCorrection:
        return VeilCorrection(np.full((8, 8), 1.25, np.float32), np.full(3, 0.9, np.float32))


def test_a_scene_drawn_small_is_like_the_reduced_picture(folder: Path) -> None:
    picture = CleanPictures([folder], (1,), 64).pictures[0]
    for family in ("csd-rain", "snow", "rain-mixture"):
        weather, rng = SceneWeather(family, 0), np.random.default_rng
        shape = picture.shape[:2]
        clean = to_float(picture)
        small = weather.fall_small(reduce_scene(picture), shape, rng(1)) / 255.0
        wanted = make_thumbnail(weather.fall(clean, rng(1)))
        before = make_thumbnail(clean)
        added, expected = small - before, wanted - before
        # Specks below a pixel come out an eighth too bright.
        assert added.mean() == pytest.approx(expected.mean(), rel=0.15, abs=1e-3), family
        # The darkest place of each block is what tells a veil: falling weather must not lift it.
        blocks = (SIDE // VEIL_BLOCK, VEIL_BLOCK, SIDE // VEIL_BLOCK, VEIL_BLOCK, 3)
        dark, darkest = (x.reshape(blocks).min((1, 3)).mean() for x in (small, wanted))
        assert dark == pytest.approx(darkest, abs=0.02), family


def test_patches_and_thumbnails_are_the_same_every_time(clean: CleanPictures) -> None:
    for _ in range(2):
        patches = [
            ScenePatches(Scenes(clean, "csd-snow", 5), Knowing({}))(64, np.random.default_rng(3))
            for _ in range(2)
        ]
        thumbnails = [
            Thumbnails(Scenes(clean, "csd-snow", 5))(SIDE, np.random.default_rng(3))
            for _ in range(2)
        ]
    for one, other in (patches, thumbnails):
        assert np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])
    assert thumbnails[0][0].shape == (SIDE, SIDE, 3)


def test_a_thumbnail_differs_by_its_veil_alone(clean: CleanPictures) -> None:
    veiled, plain = Thumbnails(Scenes(clean, "csd-snow", 0))(SIDE, np.random.default_rng(0))
    assert veiled.mean() > plain.mean() + 0.02  # the scene is darker than any airlight
    for family in ("clear", "snow", "csd-rain"):
        veiled, plain = Thumbnails(Scenes(clean, family, 0))(SIDE, np.random.default_rng(0))
        assert np.array_equal(veiled, plain)


def test_a_patch_shows_what_the_branch_left(clean: CleanPictures) -> None:
    source = ScenePatches(Scenes(clean, "clear", 0), Knowing({}))
    degraded, patch = source(64, np.random.default_rng(1))
    np.testing.assert_allclose(degraded, 0.9 + (patch - 0.9) * 1.25, atol=1e-5)


def test_a_right_judgement_leaves_no_veil(clean: CleanPictures) -> None:
    class Oracle(Scenes):
        def make(self, number: int, least: int):
            scene, haze = super().make(number, least)
            assert haze is not None
            veils.append(haze)
            return scene, haze

    veils: list[object] = []

    class Told(VeilEstimator):
        def estimate_veil(self, thumbnail: Image) -> VeilCorrection:
            haze = veils[-1]
            return VeilCorrection(1 / haze.transmission, haze.airlight)  # type: ignore[attr-defined]

    scenes = Oracle(clean, "csd-snow", 0)
    scenes.weather.falling = None  # the veil alone
    degraded, patch = ScenePatches(scenes, Told({}))(64, np.random.default_rng(1))
    np.testing.assert_allclose(degraded, patch, atol=5e-3)  # 1 / t is interpolated, not t


def test_views_for_validation_have_one_size() -> None:
    picture = np.random.default_rng(0).random((150, 200, 3), dtype=np.float32)
    rng = np.random.default_rng
    for family in ("clear", "csd-snow"):
        seen, wanted = view_thumbnails(0)(picture, family, rng(1))
        assert seen.shape == wanted.shape == (SIDE, SIDE, 3)
        seen, wanted = view_without_veil(Knowing({}), 0)(picture, family, rng(1))
        assert seen.shape == wanted.shape == (128, 128, 3)


def test_an_unknown_weather_is_named() -> None:
    with pytest.raises(CmudrnError, match="no weather 'hail'"):
        SceneWeather("hail", 0)


def test_a_branch_learns_and_a_network_learns_behind_it(folder: Path, tmp_path: Path) -> None:
    small = {
        "data": {"clean": str(folder), "validation": "", "workers": 0, "batch": 2, "patch": 32},
        "training": {"steps": 2, "precision": "fp32", "validate_every": 2},
    }
    branch = tmp_path / "context"
    start_run(make_config(merge(read_preset("context"), small)), branch)
    behind = merge(read_preset("cmudrn-context"), small)
    behind = merge(behind, {"data": {"veil_estimator": str(branch / "last.safetensors")}})
    run = start_run(make_config(behind), tmp_path / "run")
    assert run.step == 2

    from cmudrn.engines import open_engine
    from cmudrn.export.export_checkpoint import export_checkpoint
    from cmudrn.export.live_engine import open_checkpoint

    model = tmp_path / "model.onnx"
    export_checkpoint(run.last, model)
    exported, live = open_engine(model, "onnx").info, open_checkpoint(run.last).info
    ours = open_veil_estimator(branch / "last.safetensors")
    assert exported.parameters == run_parameters(run) + ours.parameters
    for info in (exported, live):
        assert info.veil_weights
        assert all(np.array_equal(info.veil_weights[k], v) for k, v in ours.weights.items())
    with pytest.raises(CmudrnError, match="restores no images"):
        open_checkpoint(branch / "last.safetensors")
    with pytest.raises(CmudrnError, match="no veil estimator"):
        make_sources(
            make_config(merge(behind, {"data": {"veil_estimator": str(run.last)}})).data, 0
        )


def test_a_run_does_not_go_on_with_other_pictures(folder: Path, tmp_path: Path) -> None:
    clean = Path(shutil.copytree(folder, tmp_path / "clean"))
    small = {
        "data": {"clean": str(clean), "validation": "", "workers": 0, "batch": 2},
        "training": {"steps": 2, "precision": "fp32", "validate_every": 2},
    }
    config = make_config(merge(read_preset("context"), small))
    start_run(config, tmp_path / "run", until=1)
    before = (tmp_path / "run" / "last.safetensors").read_bytes()
    write_image(np.zeros((360, 480, 3), np.float32), clean / "2.png")
    fingerprints._fingerprint_data.cache_clear()
    with pytest.raises(CmudrnError, match="other files"):
        start_run(config, tmp_path / "run")
    assert (tmp_path / "run" / "last.safetensors").read_bytes() == before
    (clean / "2.png").unlink()
    fingerprints._fingerprint_data.cache_clear()
    assert start_run(config, tmp_path / "run").step == 2


def run_parameters(run: object) -> int:
    from cmudrn.networks.registry import count_parameters

    return count_parameters(run.network)  # type: ignore[attr-defined]


def test_another_branch_than_in_training_is_refused(folder: Path, tmp_path: Path) -> None:
    from cmudrn.export.live_engine import veil_estimator_of

    small = {
        "data": {"clean": str(folder), "validation": "", "workers": 0, "batch": 2, "patch": 32},
        "training": {"steps": 1, "precision": "fp32", "validate_every": 1},
    }
    branch = tmp_path / "context"
    start_run(make_config(merge(read_preset("context"), small)), branch)
    path = branch / "last.safetensors"
    record = {
        "training": {"config": {"data": {"veil_estimator": str(path)}}, "veil_estimator": "another"}
    }
    with pytest.raises(CmudrnError, match="is not the one that the run"):
        veil_estimator_of(record, tmp_path / "run" / "last.safetensors")
