"""Configuration of networks and losses."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import ConfigDict, Field, model_validator

from cmudrn.config import Table

Position = Literal["in", "rb1", "rb2", "rec", "img"]
Comparator = Literal[
    "tkl", "hdcwnet", "airnet", "prenet", "prn", "tkl-narrow", "hdcwnet-narrow", "airnet-narrow"
]
"""Networks of other authors, and narrow variants of them for training on two processor cores."""
COMPARATORS: tuple[str, ...] = get_args(Comparator)


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
            head), "veil-estimator" (estimates the veil from thumbnails; its correction precedes
            another network), or one of `COMPARATORS`, which read their tasks only.
        tasks: what each branch removes, in order. A DRN and the comparators have one branch; with
            several tasks it is trained on all of them.
        features: channels of every hidden map.
        widths: "cmudrn-unet": channels of a branch's maps at 1/2, 1/4, ... of the resolution.
        stages: T, outer recursions (the paper's inter loop).
        recursions: S, inner recursions (the paper's intra loop).
        shared_recursions: "cmudrn" and "drn": every recursion has the same two residual blocks, as
            in the paper; false gives each its own.
        stage_reductions: "cmudrn": each stage works on images reduced by this integer factor, e.g.
            (4, 2, 1); empty is full resolution, as in the paper.
        relu_output: put the ReLU after the last convolution, as the paper's text says; it
            turns the network into near identity and exists to show that.
    """

    kind: Literal["cmudrn", "cmudrn-unet", "drn", "shared-trunk", "veil-estimator"] | Comparator = (
        "cmudrn"
    )
    tasks: tuple[str, ...] = ("rain", "snow")
    features: int = Field(default=16, ge=1)
    widths: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(24, 32, 48, 64), min_length=2)
    stages: int = Field(default=3, ge=1)
    recursions: int = Field(default=3, ge=1)
    shared_recursions: bool = True
    stage_reductions: tuple[Annotated[int, Field(ge=1)], ...] = ()
    cross_stitch: CrossStitchConfig = CrossStitchConfig()
    fusion: FusionConfig = FusionConfig()
    relu_output: bool = False

    @model_validator(mode="after")
    def _variants_fit(self) -> NetworkConfig:
        if not self.shared_recursions and self.kind not in ("cmudrn", "drn"):
            raise ValueError(f"a network of kind {self.kind!r} has no recursions to unshare")
        if self.stage_reductions and self.kind != "cmudrn":
            raise ValueError(f"the stages of a network of kind {self.kind!r} are not reduced")
        if self.stage_reductions and len(self.stage_reductions) != self.stages:
            raise ValueError(f"give {self.stages} stage_reductions, one for each stage")
        return self

    @property
    def has_model_file(self) -> bool:
        """Whether a model file can hold it; other networks run in torch, at their trained depth."""
        return not self.is_comparator and self.shared_recursions and not self.stage_reductions

    @property
    def is_adjustable(self) -> bool:
        """Whether a call may choose other T and S than those of the training."""
        return self.kind != "cmudrn-unet" and self.has_model_file

    @property
    def has_one_branch(self) -> bool:
        """Whether one branch is trained on all tasks."""
        return self.kind == "drn" or self.is_comparator

    @property
    def is_comparator(self) -> bool:
        """Whether it is a network of other authors."""
        return self.kind in COMPARATORS


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
        authors: the loss of a comparator's authors in place of the three supervisions, without its
            terms that need somebody's trained VGG (`networks/comparators/losses.py`): "tkl",
            "hdcwnet", "hdcwnet-slip" (with the slip of their code) or "airnet"; "" is none.
        encoder_steps: "airnet": steps at first in which only the encoder learns.
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
    authors: Literal["", "tkl", "hdcwnet", "hdcwnet-slip", "airnet"] = ""
    encoder_steps: int = Field(default=0, ge=0)
