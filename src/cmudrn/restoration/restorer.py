"""A picture of any size to its restoration, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmudrn.engines.base import Batch, Engine
from cmudrn.errors import CmudrnError
from cmudrn.image import Image, Pixels, check_array, from_float, to_batch, to_float, to_rgb
from cmudrn.models.info import ModelInfo, check_depth, receptive_field
from cmudrn.restoration.change_gating import ChangeGate
from cmudrn.restoration.dehazing import VeilCorrection, VeilEstimator
from cmudrn.restoration.tiling import Area, Tile, make_tiles

TILE_PIXELS = 640 * 640
"""Largest window that goes through the network at once, where the engine does not name its own."""

OnTile = Callable[[int, int], None]
"""Called with the number of tiles done and of all tiles; may raise to stop the work."""


@dataclass(frozen=True)
class Restoration:
    """A restored picture and what the network made of it on the way.

    Attributes:
        restored: of the input's shape and type, at the strength that was asked for.
        branches: task -> (H, W, 3) float32, each branch's own estimate, not clipped.
        removed: task, and "fused" -> (H, W, 3) float32, degraded minus that estimate at full
            strength and without change gating: positive where light was taken away, as from rain
            and snow.
    """

    restored: Pixels
    branches: Mapping[str, Image]
    removed: Mapping[str, Image]


class Restorer:
    """Restores pictures with one engine; keeps nothing between calls.

    Args:
        engine: runs the network.
        tile_pixels: largest window that goes through the network at once, a bound on memory; None
            is what the engine asks for.
        change_gating: hold back changes too faint to be weather, where the model asks for it.
    """

    def __init__(
        self, engine: Engine, *, tile_pixels: int | None = None, change_gating: bool = True
    ) -> None:
        self.engine = engine
        self.change_gating = change_gating
        self._veil_estimator = (
            VeilEstimator(self.info.veil_weights) if self.info.veil_weights else None
        )
        asked: int = getattr(engine, "tile_pixels", TILE_PIXELS)
        self.tile_pixels = tile_pixels or asked

    @property
    def info(self) -> ModelInfo:
        """What the model file says about itself."""
        return self.engine.info

    def __call__(
        self,
        array: Pixels,
        *,
        strength: float = 1.0,
        stages: int | None = None,
        recursions: int | None = None,
        lift: VeilCorrection | None = None,
        on_tile: OnTile | None = None,
    ) -> Pixels:
        """Return the restored picture, in the shape and type of array.

        Args:
            array: (H, W, 3) RGB or (H, W) grey; uint8, uint16, or float32 in [0, 1]. What floats
                have beyond that, within [-1, 2], is kept and goes around the network.
            strength: 0 returns the input exactly, 1 the network's answer (but for what change
                gating holds back), between them a mix.
            stages: T for this call; None is the model's own.
            recursions: S for this call; None is the model's own.
            lift: what takes the veil off; None is what `estimate_veil` says of this picture.
            on_tile: told of progress.

        Raises:
            CmudrnError: the array or a setting is not as described.
        """
        _check(array, strength)
        check_depth(self.info, stages, recursions)
        if strength == 0:
            return array.copy()
        restored, change_gating = np.empty_like(array), self._change_gating(array)
        for piece in self._pieces(array, False, stages, recursions, lift, on_tile):
            restored[piece.core] = _finish(piece, strength, array, change_gating)
            del piece  # or it would stay in memory beside the next one
        if change_gating:
            change_gating.apply(array, restored)
        return restored

    def layers(
        self,
        array: Pixels,
        *,
        strength: float = 1.0,
        stages: int | None = None,
        recursions: int | None = None,
        lift: VeilCorrection | None = None,
        on_tile: OnTile | None = None,
    ) -> Restoration:
        """Return the restored picture with every branch's estimate and what each removed.

        The layers take 12 bytes a pixel each. Arguments and errors are those of a plain call.
        """
        _check(array, strength)
        restored, shape = np.empty_like(array), (*array.shape[:2], 3)
        change_gating = self._change_gating(array)
        branches = {task: np.empty(shape, np.float32) for task in self.info.tasks}
        removed = {name: np.empty(shape, np.float32) for name in (*self.info.tasks, "fused")}
        for piece in self._pieces(array, True, stages, recursions, lift, on_tile):
            restored[piece.core] = _finish(piece, strength, array, change_gating)
            removed["fused"][piece.core] = piece.degraded - piece.fused
            for task, estimate in piece.branches.items():
                branches[task][piece.core] = estimate
                removed[task][piece.core] = piece.degraded - estimate
        if change_gating:
            change_gating.apply(array, restored)
        return Restoration(restored if strength else array.copy(), branches, removed)

    def estimate_veil(self, array: Pixels) -> VeilCorrection | None:
        """Return what takes the veil off a picture, or None where the model has no context branch.

        Args:
            array: as for a call.
        """
        return self._veil_estimator(array) if self._veil_estimator else None

    def tiles(
        self, height: int, width: int, stages: int | None = None, recursions: int | None = None
    ) -> list[Tile]:
        """Return the pieces in which a picture of that size goes through the network.

        Raises:
            CmudrnError: the model does not take this depth.
        """
        radius = _radius(self.info, *check_depth(self.info, stages, recursions))
        return make_tiles(height, width, radius, self.tile_pixels)

    def _change_gating(self, array: Pixels) -> ChangeGate | None:
        decibels = self.info.change_gating_db
        if not self.change_gating or decibels is None:
            return None
        height, width = array.shape[:2]
        return ChangeGate(height, width, decibels)

    def _pieces(
        self,
        array: Pixels,
        branches: bool,
        stages: int | None,
        recursions: int | None,
        lift: VeilCorrection | None,
        on_tile: OnTile | None,
    ) -> Iterator[_Piece]:
        height, width = array.shape[:2]
        tiles = self.tiles(height, width, stages, recursions)
        lift = lift or self.estimate_veil(array)
        for done, tile in enumerate(tiles, 1):
            window = to_rgb(to_float(_clipped(array[tile.window])))
            seen = lift(window, tile.window, (height, width)) if lift else window
            outputs = self.engine(
                to_batch(seen), branches=branches, stages=stages, recursions=recursions
            )
            if not np.isfinite(outputs.restored).all():
                raise CmudrnError(
                    f"The model {self.info.name} returned values that are no numbers."
                )
            yield _Piece(
                tile.core,
                window[tile.inner],
                _cut(outputs.restored, tile.inner),
                {task: _cut(batch, tile.inner) for task, batch in outputs.branches.items()},
            )
            del window, seen, outputs
            if on_tile:
                on_tile(done, len(tiles))


@dataclass(frozen=True)
class _Piece:
    core: Area
    degraded: Image
    fused: Image
    branches: Mapping[str, Image]


def _cut(batch: Batch, inner: Area) -> Image:
    rows, columns = inner
    return batch[0, :, rows, columns].transpose(1, 2, 0)


def _finish(
    piece: _Piece, strength: float, array: Pixels, change_gating: ChangeGate | None
) -> Pixels:
    """Return the piece at a strength, in the kind and type of array; tell the change gate of it."""
    mixed: NDArray[np.float32] = piece.fused
    if change_gating:
        change_gating.add(piece.core, piece.degraded, piece.fused)
    if strength < 1:
        mixed = piece.degraded + np.float32(strength) * (piece.fused - piece.degraded)
    if array.ndim == 2:
        mixed = mixed.mean(axis=2)
    finished = from_float(mixed, array.dtype)
    if array.dtype == np.float32:
        own = array[piece.core]
        finished += own - _clipped(own)
    return finished


def _clipped(array: Pixels) -> Pixels:
    """Return what the network sees of an array: floats end at black and white.

    What they have beyond goes around the network, and `_finish` adds it again.
    """
    return np.clip(array, 0, 1) if array.dtype == np.float32 else array


def _radius(info: ModelInfo, stages: int, recursions: int) -> int | None:
    if info.network == "other":
        return None
    kernel = info.metadata.get("fusion", {}).get("kernel", 3)
    return receptive_field(info.network, stages, recursions, kernel) // 2


def _check(array: Pixels, strength: float) -> None:
    if not 0 <= strength <= 1:
        raise CmudrnError(f"A strength runs from 0 to 1; it is {strength}.")
    check_array(array)
