"""Presets: TOML in, one strict, frozen `Config` out.

A preset names only what differs from the defaults below, or from the preset it `extends`. An
unknown key is an error that names its nearest match.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cmudrn.errors import CmudrnError

PRESETS = Path(__file__).parent / "presets"

Position = Literal["in", "rb1", "rb2", "rec", "img"]


class Table(BaseModel):
    """A table of a preset: frozen, and strict about unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CrossStitchConfig(Table):
    """How branches share features (paper, Eq. 1).

    Attributes:
        kind: "fixed" (the paper), "learned" (Misra et al.: one matrix a channel), "off".
        a: weight of a branch's own features, 0 to 1; the start value of a learned stitch.
        positions: after conv_in, after each residual block, after the recursions, on the images.
    """

    kind: Literal["fixed", "learned", "off"] = "fixed"
    a: float = Field(default=0.5, ge=0, le=1)
    positions: tuple[Position, ...] = ("in", "rb1", "rb2")


class FusionConfig(Table):
    """The head that merges the branches' estimates (paper, Eq. 10 and Sec. VI).

    Attributes:
        kernel: side of its three convolutions; the paper does not say, 3 is the default.
        skip: add the mean of the estimates to the head's output; not in the paper.
    """

    kernel: Literal[1, 3] = 3
    skip: bool = False


class NetworkConfig(Table):
    """One network.

    Attributes:
        kind: "cmudrn", "cmudrn-unet" (over several scales), "drn" (one branch, no fusion),
            "shared-trunk" (hard sharing: one trunk, one output convolution a task, the same fusion
            head), or "context" (takes the veil off thumbnails; it goes before another network).
        tasks: what each branch removes, in order. A DRN has one branch; with several tasks it is
            trained on all of them.
        features: channels of every hidden map.
        widths: "cmudrn-unet": channels of a branch's maps at 1/2, 1/4, ... of the resolution.
        stages: T, outer recursions (the paper's inter loop).
        recursions: S, inner recursions (the paper's intra loop).
        text_literal: put the ReLU after the last convolution, as the paper's text says; it
            turns the network into near identity and exists to show that.
    """

    kind: Literal["cmudrn", "cmudrn-unet", "drn", "shared-trunk", "context"] = "cmudrn"
    tasks: tuple[str, ...] = ("rain", "snow")
    features: int = Field(default=16, ge=1)
    widths: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(24, 32, 48, 64), min_length=2)
    stages: int = Field(default=3, ge=1)
    recursions: int = Field(default=3, ge=1)
    cross_stitch: CrossStitchConfig = CrossStitchConfig()
    fusion: FusionConfig = FusionConfig()
    text_literal: bool = False


class TermConfig(Table):
    """One supervision: weight * (ssim * (1 - SSIM) + pixel * distance).

    Attributes:
        weight: 0 switches the supervision off.
        ssim: weight of 1 - SSIM.
        pixel: weight of the pixel distance.
        distance: "frobenius"; "charbonnier" (a smooth L1, always a mean); or "psnr", the
            decibels lost against a perfect picture, over 100: a decibel counts as much on a
            picture that was almost clean as on one that was buried in snow.
        floor_db: PSNR of the "psnr" distance above which a decibel more counts little.
        squared: squared Frobenius norm (paper, Eqs. 4 and 8) or not (Eq. 6).
        reduction: norm of the whole picture ("sum", as printed) or per value ("mean").
    """

    weight: float = Field(default=1.0, ge=0)
    ssim: float = Field(default=1.0, ge=0)
    pixel: float = Field(default=1.0, ge=0)
    distance: Literal["frobenius", "charbonnier", "psnr"] = "frobenius"
    floor_db: float = Field(default=35, gt=0)
    squared: bool = True
    reduction: Literal["sum", "mean"] = "sum"


class LossConfig(Table):
    """Local, recurrence and global supervision (paper, Eqs. 4 to 8).

    The defaults are the faithful reading of the paper.

    Attributes:
        local: on each branch's last estimate, for pictures of its own task.
        recurrence: on every stage of each branch, likewise.
        global_: on the fused output, for every picture (`global` in TOML).
        stage_weights: of the recurrence term: "uniform" (paper) or "linear" (DRN: 0.1 t).
        ssim_padding: "valid" (scikit-image's crop) or "zero" (the DRN authors').
        untouched: weight of squared errors at pixels that the weather left alone ("psnr" only).
        opening_floor_db: floor of the "psnr" distances at the first step, from where it moves to
            `floor_db`; 0 leaves it at `floor_db`.
        opening_steps: steps that the floor takes to get there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    local: TermConfig = TermConfig()
    recurrence: TermConfig = TermConfig()
    global_: TermConfig = Field(default=TermConfig(squared=False), alias="global")
    stage_weights: Literal["uniform", "linear"] = "uniform"
    ssim_padding: Literal["valid", "zero"] = "valid"
    untouched: float = Field(default=1.0, ge=1)
    opening_floor_db: float = Field(default=0.0, ge=0)
    opening_steps: int = Field(default=0, ge=0)


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
        clean: folder of clean pictures for the weather sources.
        also_clean: more such folders; a patch comes from each folder equally often, and is treated
            as `train/wide.py` says.
        camera: share of the patches, weather and all, that a camera's faults are laid over
            (`train/camera.py`); only with `also_clean`.
        validation: folder of clean pictures that choose between models; "" is none.
        patch: side of a patch, pixels.
        batch: patches a step, over all processes.
        reductions: clean pictures are used at these integer reductions (2 halves each side).
        sharpen: greatest strength of the unsharp mask given to a clean patch; drawn from 0 up.
        grain: greatest standard deviation of the noise given to a clean patch, in [0, 1] units;
            drawn from 0 up. The patch keeps it: grain is not to be taken for rain.
        structures: share of the clean patches with something built drawn over them: bars, window
            frames, bricks, letters, which are not to be taken for streaks and flakes.
        sources: the mixture.
        view: "patches", or "thumbnails" of whole scenes with and without their veil, whose size
            is not `patch` but that of a context branch.
        context: checkpoint of a context branch; the network sees patches of scenes without the
            veil that the branch finds over them.
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
    sources: dict[str, SourceConfig] = {}
    view: Literal["patches", "thumbnails"] = "patches"
    context: str | None = None
    passes: Literal["joint", "alternate"] = "joint"
    workers: int = Field(default=1, ge=0)


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
        ema: decay of the running mean of the weights that is validated and exported; 0 is none.
        precision: "bf16" autocast, "fp32", or "auto": bf16 where the processor computes it.
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


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return base with change laid over it, table by table."""
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def read_preset(name: str, extended_by: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a preset's table, its `extends` chain merged in.

    Args:
        name: a shipped preset's name, or the path of a .toml file.
        extended_by: presets that are being read and extend this one.

    Raises:
        CmudrnError: there is no such preset, it is not TOML, or it extends itself or no preset.
    """
    if name in extended_by:
        raise CmudrnError(f"The preset {name!r} extends itself.")
    table = read_toml(name, PRESETS, "preset")
    parent = table.pop("extends", "")
    if not isinstance(parent, str):
        raise CmudrnError(f"The preset {name!r} extends {parent!r}, which is not a preset's name.")
    table.setdefault("name", Path(name).stem)
    return merge(read_preset(parent, (*extended_by, name)), table) if parent else table


def read_toml(name: str, folder: Path, kind: str) -> dict[str, Any]:
    """Return the table of a shipped TOML file, or of one given by its path.

    Args:
        name: of a file in the folder, without its suffix, or the path of a .toml file.
        folder: where the shipped files are.
        kind: what to call such a file in an error.

    Raises:
        CmudrnError: there is no such file, or it is not TOML.
    """
    path = Path(name) if name.endswith(".toml") else folder / f"{name}.toml"
    if not path.is_file():
        known = sorted(entry.stem for entry in folder.glob("*.toml"))
        raise CmudrnError(f"There is no {kind} {name!r}; there are {', '.join(known)}.")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CmudrnError(f"The {kind} {path} is not valid TOML: {error}.") from error


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """Return `["network.stages=3"]` as `{"network": {"stages": 3}}`; values are TOML.

    Raises:
        CmudrnError: a setting is not KEY=VALUE.
    """
    table: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key.strip():
            raise CmudrnError(f"A setting is written KEY=VALUE, not {setting!r}.")
        try:
            parsed = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            parsed = value  # a bare word is a string
        nested: Any = parsed
        for part in reversed(key.strip().split(".")):
            nested = {part: nested}
        table = merge(table, nested)
    return table


def make_config(table: Mapping[str, Any]) -> Config:
    """Return the table as a checked, frozen `Config`.

    Raises:
        CmudrnError: a key is unknown or a value does not fit; the sentence names it.
    """
    try:
        return Config.model_validate(table)
    except ValidationError as error:
        raise CmudrnError(_explain(error)) from error


def load_config(name: str, settings: Iterable[str] = ()) -> Config:
    """Return a preset with `KEY=VALUE` settings laid over it.

    Raises:
        CmudrnError: the preset or a setting is wrong.
    """
    return make_config(merge(read_preset(name), parse_settings(settings)))


def config_json(config: BaseModel) -> str:
    """Return the fully merged configuration as JSON with sorted keys."""
    return json.dumps(config.model_dump(mode="json", by_alias=True), indent=2, sort_keys=True)


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] != "extra_forbidden":
        return f"The setting {where} is wrong: {first['msg']}."
    known = _known_keys(Config, first["loc"][:-1])
    near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1, cutoff=0)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return f"There is no setting {where!r}{hint}"


def _known_keys(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    for part in path:
        fields = {f.alias or name: f for name, f in model.model_fields.items()}
        inner = fields[str(part)].annotation if str(part) in fields else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
        elif part != path[-1]:
            model = SourceConfig  # the only table of tables is data.sources
    return [f.alias or name for name, f in model.model_fields.items()]
