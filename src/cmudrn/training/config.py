"""Configuration of a training run: data, schedule, and with them the network and its loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from cmudrn.config import Table, merge, parse_settings, read_preset, validate, with_present_names
from cmudrn.networks.config import LossConfig, NetworkConfig


class SourceConfig(Table):
    """One ingredient of the training mixture: exactly one of `weather` and `dataset`.

    Attributes:
        weather: name of a weather family laid over clean patches; "clear" leaves them clean.
        dataset: specification of a dataset of pairs, e.g. "csd:PATH@train"; "" is none, as for
            weather, so that a setting can put the one in the other's place.
        task: branch that these pictures supervise; "all" supervises every branch.
        weight: relative share of the patches.
    """

    weather: str | None = None
    dataset: str | None = None
    task: str
    weight: float = Field(gt=0)

    @field_validator("weather", "dataset")
    @classmethod
    def _empty_is_none(cls, value: str | None) -> str | None:
        return value or None

    @model_validator(mode="after")
    def _one_origin(self) -> SourceConfig:
        if (self.weather is None) == (self.dataset is None):
            raise ValueError("give exactly one of weather and dataset")
        return self


class DataConfig(Table):
    """What a training step sees.

    Attributes:
        clean: folder of clean images for the weather sources. It may begin with `${CMUDRN_DATA}`,
            the folder that the environment variable names (`cmudrn.datasets.folders`).
        also_clean: more such folders; a patch comes from each folder equally often, and is treated
            as `training/data/wide_patches.py` says.
        camera: share of the patches, weather and all, that a camera's faults are laid over
            (`training/data/camera.py`); only with `also_clean`.
        validation: folder of clean images that choose between models, likewise; "" is none.
        patch: side of a patch, pixels.
        batch: patches a step, over all processes.
        reductions: clean pictures are used at these integer reductions (2 halves each side).
        sharpen: greatest strength of the unsharp mask given to a clean patch; drawn from 0 up.
        grain: greatest standard deviation of the noise given to a clean patch, in [0, 1] units;
            drawn from 0 up. The patch keeps it: grain is not to be taken for rain.
        structures: share of the clean patches with something built drawn over them: bars, window
            frames, bricks, letters, which are not to be taken for streaks and flakes.
        paving: share of the clean patches with stones, kerbs or road markings drawn over them.
        eaves: share of the clean patches with the edge of a roof drawn over them.
        overexposed: share of the clean patches brightened 1.2 to 3 times and clipped; only with
            `also_clean`. White sky between leaves is not to be taken for snow.
        sources: the mixture.
        view: "patches", or "thumbnails" of whole scenes with and without their veil, whose size
            is not `patch` but the input size of a veil estimator.
        mist: share of the thumbnails of weathers without a veil that get a mist of their own, which
            is kept: mist without snowfall belongs to the scene.
        veil_estimator: checkpoint of a veil estimator; the network sees patches of scenes after
            the estimator's correction.
        passes: "joint" mixes all sources in a step; "alternate" gives each task its own step.
        workers: processes that prepare patches, for each training process.
    """

    clean: str | None = None
    also_clean: tuple[str, ...] = ()
    camera: float = Field(default=0.0, ge=0, le=1)
    validation: str | None = None
    patch: int = Field(default=64, ge=16)
    batch: int = Field(default=16, ge=1)
    reductions: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(1, 2), min_length=1)
    sharpen: float = Field(default=0.0, ge=0)
    grain: float = Field(default=0.0, ge=0)
    structures: float = Field(default=0.0, ge=0, le=1)
    paving: float = Field(default=0.0, ge=0, le=1)
    eaves: float = Field(default=0.0, ge=0, le=1)
    overexposed: float = Field(default=0.0, ge=0, le=0.8)
    sources: dict[str, SourceConfig] = Field(default_factory=dict)
    view: Literal["patches", "thumbnails"] = "patches"
    mist: float = Field(default=0.0, ge=0, le=1)
    veil_estimator: str | None = None
    passes: Literal["joint", "alternate"] = "joint"
    workers: int = Field(default=1, ge=0)

    @model_validator(mode="after")
    def _overexposed_fits(self) -> DataConfig:
        if self.overexposed and not self.also_clean:
            raise ValueError("overexposed needs also_clean")
        return self


class ElasticConfig(Table):
    """Depths drawn anew for every step, so that one set of weights serves them all.

    Attributes:
        stages: smallest and largest T; None trains the network's own T only.
        recursions: smallest and largest S; None trains the network's own S only.
        full: share of the steps that use the network's own T and S all the same.
    """

    stages: tuple[int, int] | None = None
    recursions: tuple[int, int] | None = None
    full: float = Field(default=0.0, ge=0, le=1)

    @field_validator("stages", "recursions")
    @classmethod
    def _from_one_up(cls, span: tuple[int, int] | None) -> tuple[int, int] | None:
        if span is not None and not 1 <= span[0] <= span[1]:
            raise ValueError("give the smallest, at least 1, and then the largest")
        return span


class TrainingConfig(Table):
    """How long and how fast to learn.

    Attributes:
        steps: optimiser steps.
        optimiser: "adam" (the paper's), or "soap", which is much faster here.
        learning_rate: at the end of the warm-up.
        schedule: "cosine" or "linear" down to `final_rate`, "constant", or "halve" at 30, 50 and
            80 % of the steps (the DRN authors').
        final_rate: share of the learning rate that is left at the end of a cosine or line.
        warmup: steps of linear warm-up.
        clip: largest gradient norm; 0 does not clip.
        ema: decay of the exponential moving average of the weights, which is validated and
            exported; 0 is none.
        precision: "bf16" autocast, "fp32", or "auto": bf16 where the processor computes it, else
            fp32 with the native engine's convolutions, where it was built (`networks.winograd`).
        checkpoint_stages: recompute each stage in the backward pass to save memory (T = 7).
        elastic: depths drawn for every step.
        seed: of the weights and of every patch.
        validate_every: steps between validations and checkpoints.
    """

    steps: int = Field(default=20_000, ge=1)
    optimiser: Literal["adam", "soap"] = "adam"
    learning_rate: float = Field(default=1e-3, gt=0)
    schedule: Literal["cosine", "linear", "constant", "halve"] = "cosine"
    final_rate: float = Field(default=0.01, ge=0, le=1)
    warmup: int = Field(default=200, ge=0)
    clip: float = Field(default=1.0, ge=0)
    ema: float = Field(default=0.999, ge=0, lt=1)
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    checkpoint_stages: bool = False
    elastic: ElasticConfig = ElasticConfig()
    seed: int = Field(default=0, ge=0)
    validate_every: int = Field(default=500, ge=1)


class Config(Table):
    """A whole preset: what is trained, on what, towards what, how."""

    name: str
    licence: str = "MIT"
    network: NetworkConfig = NetworkConfig()
    loss: LossConfig = LossConfig()
    data: DataConfig = DataConfig()
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _depth_fits(self) -> Config:
        elastic = self.training.elastic
        if not self.network.is_adjustable and (elastic.stages or elastic.recursions):
            raise ValueError("training.elastic needs a network whose depth can be chosen")
        return self

    def without_folders(self) -> Config:
        """Return the configuration without the names of its folders and files.

        Two runs that differ only in these are comparable: the fingerprint of the data tells
        whether the files are the same.
        """
        sources = {
            name: source.model_copy(update={"dataset": ""}) if source.dataset else source
            for name, source in self.data.sources.items()
        }
        estimator = self.data.veil_estimator and "a veil estimator"
        names = {
            "clean": None,
            "also_clean": (),
            "validation": None,
            "veil_estimator": estimator,
            "sources": sources,
        }
        return self.model_copy(update={"data": self.data.model_copy(update=names)})


def make_config(table: Mapping[str, Any]) -> Config:
    """Return a table as a checked, frozen `Config`.

    Raises:
        InvalidSettingError: a key is unknown or a value does not fit; the sentence names it.
    """
    return validate(Config, table)


def recorded_config(table: Mapping[str, Any]) -> Config:
    """Return the configuration that a run recorded, also where an older version wrote it.

    Raises:
        InvalidSettingError: this version has no such setting.
    """
    return make_config(with_present_names(table))


def load_config(name: str, settings: Iterable[str] = ()) -> Config:
    """Return a preset with `KEY=VALUE` settings laid over it.

    Raises:
        CmudrnError: the preset or a setting is wrong.
    """
    return make_config(merge(read_preset(name), parse_settings(settings)))
