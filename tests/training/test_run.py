"""How runs start and resume: a wrong request gives one sentence and changes no file."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support.trees import save, scene

from cmudrn.config import merge
from cmudrn.errors import CmudrnError
from cmudrn.training.config import Config, make_config
from cmudrn.training.loop import Run
from cmudrn.training.run import start_run

SMALL = {
    "name": "small",
    "network": {"features": 4, "stages": 1, "recursions": 1},
    "data": {"patch": 16, "batch": 2, "workers": 0, "reductions": [1]},
    "training": {"steps": 4, "validate_every": 2, "precision": "fp32"},
}


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    for number in range(2):
        save(scene(number, (48, 64)), tmp_path / "clean" / f"{number}.png")
    return tmp_path / "clean"


def config(clean: Path, **change: object) -> Config:
    sources = {
        task: {"weather": f"csd-{task}", "task": task, "weight": 1} for task in ("rain", "snow")
    }
    data = {"data": {"clean": str(clean), "sources": sources}}
    return make_config(merge(merge(SMALL, data), change))


def train(settings: Config, folder: Path, **options: Any) -> Run:
    return start_run(settings, folder, threads=1, report=lambda _: None, **options)


def test_a_run_goes_on_with_the_weights_it_began_with_and_no_others(
    clean: Path, tmp_path: Path
) -> None:
    settings = config(clean)
    ours, theirs = (
        train(config(clean, training={"seed": seed}), tmp_path / f"{seed}").last for seed in (1, 2)
    )
    whole = train(settings, tmp_path / "whole", init_from=ours)
    train(settings, tmp_path / "run", init_from=ours, until=2)
    before = (tmp_path / "run" / "last.safetensors").read_bytes()
    with pytest.raises(CmudrnError, match="did not begin with the weights of"):
        train(settings, tmp_path / "run", init_from=theirs)
    assert (tmp_path / "run" / "last.safetensors").read_bytes() == before
    rest = train(settings, tmp_path / "run", init_from=ours)
    first, second = (load_file(run.last) for run in (whole, rest))
    assert all((first[name] == second[name]).all() for name in first)
    assert train(settings, tmp_path / "run").step == 4  # it knows what it began with


@pytest.mark.parametrize("setting", ["clean", "validation"])
def test_a_folder_without_pictures_is_named_with_its_setting(
    clean: Path, tmp_path: Path, setting: str
) -> None:
    settings = config(clean, data={setting: "nowhere"})
    sentence = rf"^There are no images in nowhere, which data\.{setting} names\.$"
    with pytest.raises(CmudrnError, match=sentence):
        train(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_weights_come_too_late_for_a_run_that_began_without(clean: Path, tmp_path: Path) -> None:
    other = train(config(clean, training={"seed": 1}), tmp_path / "other").last
    train(config(clean), tmp_path / "run", until=2)
    with pytest.raises(CmudrnError, match="did not begin with the weights of"):
        train(config(clean), tmp_path / "run", init_from=other)


def test_a_run_that_does_not_know_its_first_weights_goes_on(clean: Path, tmp_path: Path) -> None:
    other = train(config(clean, training={"seed": 1}), tmp_path / "other").last
    last = train(config(clean), tmp_path / "run", init_from=other, until=2).last
    with safe_open(last, "pt") as file:
        about = file.metadata()["cmudrn"]
    forgotten = about.replace("began_with_sha256", "another key")  # as older versions wrote it
    assert forgotten != about
    save_file(load_file(last), last, {"cmudrn": forgotten})
    assert train(config(clean), tmp_path / "run", init_from=other).step == 4


def test_first_weights_of_another_network_leave_no_folder(clean: Path, tmp_path: Path) -> None:
    other = train(config(clean, network={"features": 5}), tmp_path / "other").last
    with pytest.raises(CmudrnError, match="holds another network"):
        train(config(clean), tmp_path / "run", init_from=other)
    assert not (tmp_path / "run").exists()


def test_validation_pictures_that_are_too_small_are_refused(clean: Path, tmp_path: Path) -> None:
    validation = tmp_path / "validation"
    save(scene(8, (160, 128)), validation / "1.png")
    settings = config(clean, data={"validation": str(validation)})
    assert train(settings, tmp_path / "run").record["validation"]
    save(scene(9, (127, 160)), validation / "2.png")
    with pytest.raises(CmudrnError, match=r"2.png has 160 x 127 pixels, .* looks at 128 x 128"):
        train(settings, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_pairs_that_are_smaller_than_a_patch_are_refused(clean: Path, tmp_path: Path) -> None:
    for side in ("input", "target"):
        save(scene(1), tmp_path / "pairs" / side / "1.png")
        save(scene(2, (20, 15)), tmp_path / "pairs" / side / "2.png")
    source = {"dataset": f"folder:{tmp_path / 'pairs'}", "weather": None}
    settings = config(clean, data={"sources": {"rain": source}})
    with pytest.raises(CmudrnError, match=r"2.png has 15 x 20 pixels.* 'rain'.* 16 x 16"):
        train(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    one_task = {"kind": "drn", "tasks": ["snow"]}  # never draws from that source
    train(config(clean, data={"sources": {"rain": source}}, network=one_task), tmp_path / "run")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unknown_weather_leaves_no_folder(clean: Path, tmp_path: Path, workers: int) -> None:
    sources = {"rain": {"weather": "bogus"}}
    settings = config(clean, data={"workers": workers, "sources": sources})
    with pytest.raises(CmudrnError, match=r"^There is no weather 'bogus'; there are [^\n]*$"):
        train(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_tasks_without_a_source_leave_no_folder(clean: Path, tmp_path: Path) -> None:
    for passes, tasks in (("joint", ["fog"]), ("alternate", ["rain", "fog"])):
        settings = config(clean, network={"tasks": tasks}, data={"passes": passes, "workers": 1})
        with pytest.raises(CmudrnError, match=r"^No source of training data is for fog.$"):
            train(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_a_process_that_prepares_patches_says_is_one_sentence(
    clean: Path, tmp_path: Path
) -> None:
    def draw(size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        if torch.utils.data.get_worker_info():
            raise CmudrnError("The picture 7.png is damaged.")
        return (np.zeros((size, size, 3), np.float32),) * 2

    settings = config(clean, data={"workers": 1})
    with pytest.raises(CmudrnError, match=r"^The picture 7.png is damaged\.$"):
        train(settings, tmp_path / "run", sources=dict.fromkeys(settings.data.sources, draw))


def test_a_run_in_a_file_s_place_is_refused(clean: Path, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    for folder in (tmp_path / "run", tmp_path / "run" / "below"):
        with pytest.raises(CmudrnError, match=r"^No run can be kept in "):
            train(config(clean), folder)
    assert (tmp_path / "run").read_text() == "mine"


def test_a_full_disk_is_one_sentence_and_the_run_goes_on_after_it(
    clean: Path, tmp_path: Path
) -> None:
    settings = config(clean)
    whole = train(settings, tmp_path / "whole")
    last = train(settings, tmp_path / "run", until=2).last
    before = last.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(CmudrnError, match=r"^The run cannot be kept in [^\n]*unharmed\.$"):
            train(settings, tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert last.read_bytes() == before
    rest = train(settings, tmp_path / "run")
    first, second = (load_file(run.last) for run in (whole, rest))
    assert all((first[name] == second[name]).all() for name in first)
