"""Presets and settings."""

import pytest

from cmudrn.config import PRESETS, merge, parse_settings
from cmudrn.errors import CmudrnError
from cmudrn.training.config import Config, load_config

NAMES = sorted(path.stem for path in PRESETS.glob("*.toml"))


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_is_whole(name: str) -> None:
    config = load_config(name)
    assert config.name == name
    tasks = {source.task for source in config.data.sources.values()}
    assert set(config.network.tasks) <= tasks or tasks == {"all"}


def test_the_faithful_preset_is_the_paper() -> None:
    config = load_config("cmudrn-paper")
    assert config.network.stages == config.network.recursions == 3
    assert config.network.cross_stitch.a == 0.5 and not config.network.fusion.skip
    assert config.loss.local.squared and config.loss.recurrence.squared
    assert not config.loss.global_.squared and config.loss.global_.reduction == "sum"


def test_settings_are_laid_over_the_preset() -> None:
    config = load_config("cmudrn", ["network.stages=5", "loss.global.ssim=0.5", "name=mine"])
    assert (config.network.stages, config.loss.global_.ssim, config.name) == (5, 0.5, "mine")


def test_a_preset_file_extends_another(tmp_path) -> None:
    path = tmp_path / "deep.toml"
    path.write_text('extends = "drn-rain"\n[network]\nstages = 6\n')
    config = load_config(str(path))
    assert (config.name, config.network.kind, config.network.stages) == ("deep", "drn", 6)


def test_a_preset_that_extends_itself_or_no_preset_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, parent in (("a", '"b.toml"'), ("b", '"./a.toml"'), ("c", '["a.toml"]'), ("d", "0")):
        (tmp_path / f"{name}.toml").write_text(f"extends = {parent}\n")
    with pytest.raises(CmudrnError, match=r"The preset '.*a.toml' extends itself"):
        load_config("./a.toml")
    for name, parent in (("c", r"\['a.toml'\]"), ("d", "0")):
        with pytest.raises(CmudrnError, match=f"extends {parent}, which is not a preset's name"):
            load_config(f"{name}.toml")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["network.stage=3"], "did you mean 'stages'"),
        (["trainin.steps=3"], "did you mean 'training'"),
        (["data.sources.clear.wether='x'"], "did you mean 'weather'"),
        (["network.stages=0"], "network.stages"),
        (["network.kind=drm"], "network.kind"),
        (["stages"], "KEY=VALUE"),
        (["training.elastic.stages=[3, 1]"], "training.elastic.stages"),
        (["training.elastic.recursions=[0, 1]"], "the smallest, at least 1"),
        (["data.sources.rain.dataset='csd:x'"], "exactly one"),
        (["data.reductions=[1, 0]"], "data.reductions.1"),
        (["data.reductions=[]"], "data.reductions"),
    ],
)
def test_a_wrong_setting_is_one_clear_sentence(settings: list[str], sentence: str) -> None:
    with pytest.raises(CmudrnError, match=sentence) as caught:
        load_config("cmudrn", settings)
    assert "\n" not in str(caught.value)


def test_a_setting_puts_a_dataset_in_the_place_of_a_weather() -> None:
    settings = ["data.sources.snow.weather=", "data.sources.snow.dataset=csd:CSD@train"]
    source = load_config("cmudrn-paper", settings).data.sources["snow"]
    assert source.weather is None and source.dataset == "csd:CSD@train"


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(CmudrnError, match="cmudrn-paper"):
        load_config("nothing")


def test_merging_keeps_what_is_not_changed() -> None:
    assert merge({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}) == {"a": {"b": 1, "c": 3}}
    assert parse_settings(["a.b=1", "a.c='x'"]) == {"a": {"b": 1, "c": "x"}}


def test_a_configuration_cannot_be_changed() -> None:
    config = Config(name="x")
    with pytest.raises(ValueError, match="frozen"):
        config.name = "y"
