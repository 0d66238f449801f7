"""The restore core: an image of any size to its restoration, in bounded memory.

Photographs, clips, raw frames, streams, the server, batches and the Python interface all call
`restore_image`. Its pieces, benchmarks and the check of an export run the network alone
(`cmudrn.restoration.pieces`), and nothing else calls an engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cmudrn.engines.base import Engine, StreamingEngine
from cmudrn.image import Pixels, check_array, put_pixels
from cmudrn.models.info import ModelInfo, check_depth
from cmudrn.restoration.change_gating import ChangeGate
from cmudrn.restoration.changed import MUCH_WEATHER, share_changed
from cmudrn.restoration.dehazing import VeilCorrection, VeilEstimator, check_dehazing
from cmudrn.restoration.layers import Layers, OnResiduals
from cmudrn.restoration.pieces import Passage, Piece, clipped, steps
from cmudrn.restoration.pil_images import is_pil_image, restore_pil_image
from cmudrn.restoration.range_ends import hold_range_ends
from cmudrn.restoration.settings import RestoredImage, RestoreSettings, Sequence
from cmudrn.restoration.tiling import Tile, make_strips, make_tiles
from cmudrn.restoration.weather_classifier import check_scorable, score_weather

OnTile = Callable[[int, int], None]
"""Called with the number of tiles done and of all tiles; may raise to stop the work."""

AnyImage = TypeVar("AnyImage")
"""An array or a PIL image; what goes in comes back."""

PLAIN = RestoreSettings()
"""Full strength at the model's own depth, nothing but the restored image."""


def restore_image(
    restorer: Restorer,
    image: Pixels,
    settings: RestoreSettings = PLAIN,
    *,
    sequence: Sequence | None = None,
    on_tile: OnTile | None = None,
    on_residuals: OnResiduals | None = None,
) -> RestoredImage:
    """Restore one image.

    Memory is bounded by the image, its result and one tile. Layers take 12 bytes a pixel each; a
    weather score takes 2 for each branch and the fused result while it is made.

    Args:
        restorer: the model and how it is run.
        image: (H, W, 3) RGB or (H, W) grey; uint8, uint16, or float32 in [0, 1]. What floats have
            beyond that, within [-1, 2], is kept and goes around the network.
        settings: what is wanted.
        sequence: what lasts from frame to frame, where the image is a frame of a clip or stream;
            the gate then decides by the running mean of the scores, and the veil is smoothed.
        on_tile: told of progress.
        on_residuals: told of the residuals of each piece, each pixel once, in place of
            `settings.layers`: the result then has no layers, and no memory is taken for them.

    Raises:
        ImageValueError: the image is not as described.
        InvalidSettingError: the model does not take this depth, or has no veil estimator to dehaze.
        ModelFileError: the model gives no weather score, or returned values that are no numbers.
    """
    check_array(image)
    if settings.scored:
        check_scorable(restorer.info)
    settings = restorer.choose_depth(image, settings)
    check_depth(restorer.info, settings.stages, settings.recursions)
    layers = Layers(image.shape[:2], restorer.info.tasks, settings, on_residuals)
    if settings.strength == 0 and not layers.are_wanted:
        return RestoredImage(image.copy())
    veil = _find_veil(restorer, image, settings, sequence)
    asked = sequence is not None or bool(settings.dehazing)
    needs_hazy = veil is not None and (settings.scored or not asked)
    passes, means = _Passes(on_tile, 1 + needs_hazy), None
    if needs_hazy:  # without dehazing, for which the score was calibrated
        hazy, means = _restore_hazy(restorer, image, settings, passes)
        if not asked and share_changed(image, hazy) < MUCH_WEATHER:
            veil = None  # the scene's own
        del hazy
    restored = _run_tiles(restorer, image, settings, veil, layers, passes)
    made = RestoredImage(restored, layers.branches, layers.residuals)
    if sequence is None:
        dehazed = veil is not None and settings.strength > 0
        made = replace(made, dehazed=dehazed, changed=share_changed(image, restored))
    if not settings.scored:
        return made
    weather = score_weather(restorer.info, image, layers.means if means is None else means)
    decisive = weather if sequence is None else sequence.smooth_score(weather)
    if settings.gate and decisive.passes:
        return RestoredImage(image, made.branches, made.residuals, weather, passed=True)
    return replace(made, weather=weather)


def _find_veil(
    restorer: Restorer, image: Pixels, settings: RestoreSettings, sequence: Sequence | None
) -> VeilCorrection | None:
    """Return what takes the veil off an image, or None where there is none or it is to stay.

    Unless the caller decided, a dense veil is taken for that of the weather where the network finds
    much weather behind it; all other haze is the scene's own.
    """
    may_be_wanted = settings.dehazing or (settings.dehazing is None and sequence is None)
    veil = restorer.estimate_veil(image) if may_be_wanted else None
    if settings.dehazing and veil is None:
        check_dehazing(restorer.info)
    if sequence is not None:
        veil = sequence.smooth_veil(veil)
    if veil is None or veil.clear or not (settings.dehazing or veil.dense):
        return None
    return veil


def _restore_hazy(
    restorer: Restorer, image: Pixels, settings: RestoreSettings, on_tile: OnTile
) -> tuple[Pixels, Mapping[str, NDArray[np.float16]]]:
    """Return an image restored without dehazing, and what its weather score is made of."""
    plain = replace(settings, strength=1.0, layers=False)
    layers = Layers(image.shape[:2], restorer.info.tasks, plain)
    return _run_tiles(restorer, image, plain, None, layers, on_tile), layers.means


class _Passes:
    """Tells of progress where an image goes through the network several times."""

    def __init__(self, on_tile: OnTile | None, count: int) -> None:
        self._on_tile, self._count = on_tile, count
        self._before = 0

    def __call__(self, done: int, tiles: int) -> None:
        if self._on_tile:
            self._on_tile(self._before + done, self._count * tiles)
        if done == tiles:
            self._before += tiles


class Restorer:
    """A model, an engine that runs it, and how; keeps nothing of an image between calls.

    It can be pickled and copied: the copy opens the model again.

    Args:
        engine: runs the network.
        tile_pixels: largest window that goes through the network at once, a bound on memory; None
            is what the engine asks for.
        stream_columns: widest strip of an image that goes through it in rows, likewise.
        change_gating: hold back changes too faint to be weather, where the model asks for it, and
            changes of even white and black areas.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        tile_pixels: int | None = None,
        stream_columns: int | None = None,
        change_gating: bool = True,
    ) -> None:
        self.engine = engine
        self.change_gating = change_gating
        self._veil_estimator = (
            VeilEstimator(self.info.veil_weights) if self.info.veil_weights else None
        )
        self.tile_pixels = tile_pixels or engine.tile_pixels
        self._stream_columns = stream_columns

    @property
    def info(self) -> ModelInfo:
        """What the model file says about itself."""
        return self.engine.info

    def __call__(
        self,
        image: AnyImage,
        *,
        strength: float = 1.0,
        stages: int | None = None,
        recursions: int | None = None,
        dehaze: bool | None = None,
        on_tile: OnTile | None = None,
    ) -> AnyImage:
        """Return the restored image, in the shape and type of the input.

        Args:
            image: an array as for `restore_image`, or a PIL image of the mode L, RGB, I;16, LA or
                RGBA, which is given back as one.
            strength: see `RestoreSettings`.
            stages: see `RestoreSettings`.
            recursions: see `RestoreSettings`.
            dehaze: see `RestoreSettings.dehazing`.
            on_tile: told of progress.

        Raises:
            CmudrnError: as `restore_image`.
        """
        settings = RestoreSettings(strength, stages, recursions, dehazing=dehaze)

        def restore(pixels: Pixels) -> Pixels:
            return restore_image(self, pixels, settings, on_tile=on_tile).pixels

        if is_pil_image(image):
            pil_image: AnyImage = restore_pil_image(image, restore)
            return pil_image
        return restore(image)  # type: ignore[return-value, arg-type]

    def choose_depth(
        self,
        image: Pixels,  # noqa: ARG002  (a time budget asks for its size)
        settings: RestoreSettings,
    ) -> RestoreSettings:
        """Return the settings for an image: here as they are; a time budget chooses the depth."""
        return settings

    def estimate_veil(self, image: Pixels) -> VeilCorrection | None:
        """Return what takes the veil off a picture, or None where the model has no context branch.

        Args:
            image: as for `restore_image`.
        """
        return self._veil_estimator(image) if self._veil_estimator else None

    def tiles(
        self, height: int, width: int, stages: int | None = None, recursions: int | None = None
    ) -> list[Tile]:
        """Return the pieces in which a picture of that size goes through the network.

        Raises:
            CmudrnError: the model does not take this depth.
        """
        radius = self.info.receptive_radius(stages, recursions)
        streaming = self.streaming_engine(height, width)
        if streaming:
            columns = self._stream_columns or streaming.stream_columns
            return make_strips(height, width, radius, columns, self.info.alignment)
        return make_tiles(height, width, radius, self.tile_pixels, self.info.alignment)

    def streaming_engine(self, height: int, width: int) -> StreamingEngine | None:
        """Return the engine where a picture of that size goes through it in rows, or None.

        It does where it is larger than a call of the engine should be, unless the caller set
        tiles for which rows are not worth it.
        """
        engine = self.engine
        if not isinstance(engine, StreamingEngine):
            return None
        if self.tile_pixels < min(engine.tile_pixels, engine.stream_pixels):
            return None
        return engine if height * width > self.tile_pixels else None

    def make_change_gate(self, image: Pixels) -> ChangeGate | None:
        """Return a change gate for an image, or None where the model or the caller wants none."""
        decibels = self.info.change_gating_db
        if not self.change_gating or decibels is None:
            return None
        height, width = image.shape[:2]
        return ChangeGate(height, width, decibels)


def _run_tiles(
    restorer: Restorer,
    image: Pixels,
    settings: RestoreSettings,
    correction: VeilCorrection | None,
    layers: Layers,
    on_tile: OnTile | None,
) -> Pixels:
    """Return the restored image; what its layers are goes to `layers`."""
    restored, gate = np.empty_like(image), restorer.make_change_gate(image)
    for piece in _pieces(restorer, image, settings, layers.are_wanted, correction, on_tile):
        if gate:
            gate.add(piece.core, piece.source, piece.fused)
        _finish(piece, settings.strength, restored[piece.core])
        layers.add(piece)
        del piece  # or it would stay in memory beside the next one
    if gate:
        gate.apply(image, restored)
    if restorer.change_gating:
        hold_range_ends(image, restored)
    return restored if settings.strength else image.copy()


def _pieces(
    restorer: Restorer,
    image: Pixels,
    settings: RestoreSettings,
    layered: bool,
    correction: VeilCorrection | None,
    on_tile: OnTile | None,
) -> Iterator[Piece]:
    """Yield the image piece by piece after the network."""
    height, width = image.shape[:2]
    passage = Passage(image, correction, layered, settings.stages, settings.recursions)
    tiles = restorer.tiles(height, width, settings.stages, settings.recursions)
    engine = restorer.streaming_engine(height, width)
    pieces: Iterator[Piece | None] = (passage.whole(restorer.engine, tile) for tile in tiles)
    count = len(tiles)
    if engine:
        pieces = (piece for tile in tiles for piece in passage.in_rows(engine, tile))
        count = sum(steps(tile) for tile in tiles)
    for done, piece in enumerate(pieces, 1):
        if piece:
            yield piece
        del piece  # or it would stay in memory beside the next one
        if on_tile:
            on_tile(done, count)


def _finish(piece: Piece, strength: float, finished: Pixels) -> None:
    """Write the piece at a strength, in the kind and type of the image."""
    mixed: NDArray[np.float32] = piece.fused
    if strength < 1:
        mixed = piece.degraded + np.float32(strength) * (piece.fused - piece.degraded)
    if finished.ndim == 2:
        mixed = mixed.mean(axis=2)
    if finished.dtype == np.float32:
        np.clip(mixed, np.float32(0), np.float32(1), out=finished)
        finished += piece.source - clipped(piece.source)
    else:
        put_pixels(mixed, finished)
