"""One request's work: the bytes of a picture to the bytes of an answer."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np

from cmudrn.engines import open_engine
from cmudrn.engines.base import StreamingEngine
from cmudrn.errors import LimitExceededError
from cmudrn.image import (
    Image,
    Picture,
    encode_picture,
    from_float,
    read_picture,
    unsupported_features,
)
from cmudrn.models import ModelInfo
from cmudrn.restoration import RestoredImage, Restorer, RestoreSettings, restore_image
from cmudrn.restoration.weather_classifier import is_scorable
from cmudrn.server.limits import Limits

MEDIA_TYPES = {
    "jpeg": "image/jpeg",
    "png": "image/png",
    "tiff": "image/tiff",
    "webp": "image/webp",
    "avif": "image/avif",
    "bmp": "image/bmp",
}
"""Format -> media type."""

PIXEL_BYTES = 4
"""Of a pixel, on average: RGB and alpha of 8 bits. Images of more bits may have fewer pixels."""

STREAM_COLUMNS = 1536
"""Widest strip of a large image: 80 MB less than the engine's own choice, a tenth slower."""

STREAM_BYTES = 110_000_000
"""A large image takes this on its way through the network, beside itself and its result."""

STREAM_MAP_BYTES = 12_000_000
"""And this more for each map of what changed."""

WINDOW_BYTES = 150
"""Of a pixel of a small image, which goes through the network at once."""

WEBP_BYTES = 50
"""Of a pixel, in the encoders of WebP and AVIF."""

PICTURE_NAME = "The picture"
"""What messages call a picture that came over the network."""


@dataclass(frozen=True)
class RestoreRequest:
    """What a client asked for.

    Attributes:
        model: name of a served model.
        settings: how the picture is restored; `layers` and `score` follow from the view.
        view: "restored", "removed", a task of the model, or "all".
        format: of the restored picture; None is that of the input.
    """

    model: str
    settings: RestoreSettings = RestoreSettings()  # noqa: RUF009  (frozen)
    view: str = "restored"
    format: str | None = None

    def to_json(self) -> bytes:
        """Return the request as JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, text: bytes) -> RestoreRequest:
        """Return the request that `to_json` wrote."""
        record = json.loads(text)
        return cls(**record | {"settings": RestoreSettings(**record["settings"])})


@dataclass(frozen=True)
class RestoreAnswer:
    """What the client gets.

    Attributes:
        body: the bytes of the answer.
        media_type: what they are.
        notes: sentences about what the picture lost on the way, and of much change.
        pixels: width times height.
        seconds: the work took.
        changed: share of the pixels that were changed strongly.
    """

    body: bytes
    media_type: str
    notes: tuple[str, ...]
    pixels: int
    seconds: float
    changed: float


class Models:
    """The served models, each opened once, when it is first asked for.

    Args:
        models: name -> a shipped model's name, or the path of a model file.
        threads: processor threads of each engine.
        device: one of `cmudrn.engines.DEVICES`.
    """

    def __init__(
        self, models: Mapping[str, str | os.PathLike[str]], threads: int, device: str = "cpu"
    ) -> None:
        self._sources = dict(models)
        self._threads, self._device = threads, device
        self._restorers: dict[str, Restorer] = {}

    def restorer(self, name: str) -> Restorer:
        """Return the restorer of a served model.

        Raises:
            ModelFileError: the model cannot be opened.
            DeviceError: the device is not there, or fails.
        """
        if name not in self._restorers:
            engine = open_engine(self._sources[name], threads=self._threads, device=self._device)
            rows_from = engine.stream_pixels if isinstance(engine, StreamingEngine) else None
            self._restorers[name] = Restorer(
                engine, tile_pixels=rows_from, stream_columns=STREAM_COLUMNS
            )
        return self._restorers[name]


def _read(
    data: bytes,
    request: RestoreRequest,
    info: ModelInfo,
    limits: Limits,
    on_need: Callable[[int], None],
) -> Picture:
    def on_size(width: int, height: int, pixel_bytes: int) -> None:
        on_need(needed_bytes(width * height, pixel_bytes, len(data), request, info))

    return read_picture(
        data,
        max_pixels=limits.pixels if request.view == "restored" else limits.layer_pixels,
        max_bytes=limits.bytes,
        max_memory=PIXEL_BYTES * limits.pixels,
        name=PICTURE_NAME,
        on_size=on_size,
    )


def needed_bytes(
    pixels: int, pixel_bytes: int, file_bytes: int, request: RestoreRequest, info: ModelInfo
) -> int:
    """Return about how much memory a request takes at the most, bytes.

    `benchmarks/server_memory.py` measures it.

    Args:
        pixels: width times height.
        pixel_bytes: of a decoded pixel.
        file_bytes: of the file, which is kept until it is decoded.
        request: what is wanted.
        info: of the model.
    """
    whole = pixels * pixel_bytes
    maps = len(map_names(info, request.view))
    passage = min(pixels * WINDOW_BYTES, STREAM_BYTES + maps * STREAM_MAP_BYTES)
    scores = 2 * (len(info.tasks) + 1) if request.view == "all" else 0
    restoring = 2 * whole + pixels * (3 * maps + scores) + passage
    if request.settings.strength == 0 and not maps:
        restoring = 2 * whole
    coder = {"webp": pixels * WEBP_BYTES, "avif": pixels * WEBP_BYTES}
    encoding = whole + coder.get(request.format or "", 2 * whole)
    return max(file_bytes + whole, restoring, encoding)


def process_request(
    take: Callable[[], bytes],
    request: RestoreRequest,
    restorer: Restorer,
    limits: Limits,
    on_tile: Callable[[int, int], None],
    on_need: Callable[[int], None] = lambda _: None,
) -> RestoreAnswer:
    """Return the answer to one request.

    Args:
        take: returns a picture file, which is dropped as soon as it is decoded; called once.
        request: what is wanted of it.
        restorer: of the model that the request names.
        limits: what the picture may take.
        on_tile: told of progress; may raise to stop the work.
        on_need: told how much memory the work will take, in bytes, before any pixel is decoded;
            may wait until there is as much, or raise.

    Raises:
        LimitExceededError: the picture is too large.
        CmudrnError: it cannot be read, or cannot be written as asked.
    """
    started = time.perf_counter()
    layered = request.view != "restored"
    picture = _read(take(), request, restorer.info, limits, on_need)
    height, width = picture.pixels.shape[:2]
    _check_encoder(picture, request, limits)
    scored = request.view == "all" and is_scorable(restorer.info)
    settings = replace(request.settings, layers=False, score=scored)
    maps = ChangeMaps((height, width), restorer.info, request.view)
    done = restore_image(
        restorer,
        picture.pixels,
        settings,
        on_tile=on_tile,
        on_residuals=maps.add if layered else None,
    )
    lost = unsupported_features(picture, request.format or picture.format)
    notes = (*done.notes, *picture.notes, *lost)
    # The pixels that came are let go of before an encoder makes copies of the others.
    picture = replace(picture, pixels=done.pixels)
    body, media_type = _make_view(picture, done, request, notes, maps)
    seconds = time.perf_counter() - started
    return RestoreAnswer(body, media_type, notes, width * height, seconds, done.changed)


def _check_encoder(picture: Picture, request: RestoreRequest, limits: Limits) -> None:
    """Refuse to write a large WebP or AVIF: their encoders take many times the image's memory.

    Raises:
        LimitExceededError: it is too large.
    """
    pixels = picture.pixels.shape[0] * picture.pixels.shape[1]
    name = {"webp": "A WebP", "avif": "An AVIF"}.get(request.format or picture.format)
    if name and pixels > limits.webp_pixels:
        raise LimitExceededError(
            f"{name} image of {pixels:,} pixels is not written, as the limit is "
            f"{limits.webp_pixels:,}; ask for another format.",
            limit_name="webp_pixels",
            limit=limits.webp_pixels,
            value=pixels,
        )


def map_names(info: ModelInfo, view: str) -> tuple[str, ...]:
    """Return what a view has maps of: tasks of the model, and "removed" for all of them."""
    return {"restored": (), "all": (*info.tasks, "removed")}.get(view, (view,))


class ChangeMaps:
    """8-bit images whose brightness says how much changed, black where nothing did.

    Args:
        shape: (H, W) of the image.
        info: of the model.
        view: what is asked for; "restored" has no map.
    """

    def __init__(self, shape: tuple[int, int], info: ModelInfo, view: str) -> None:
        names = map_names(info, view)
        self._maps = {name: np.empty((*shape, 3), np.uint8) for name in names}

    def add(self, area: tuple[slice, slice], residuals: Mapping[str, Image]) -> None:
        """Draw a piece: rows and columns, and task or "fused" -> (h, w, 3)."""
        for name, pixels in self._maps.items():
            residual = residuals["fused" if name == "removed" else name]
            pixels[area] = from_float(np.abs(residual), np.uint8)

    def pop(self) -> tuple[str, Picture]:
        """Return one of them, by its name in an answer, and keep it no longer."""
        name = next(iter(self._maps))
        return name, Picture(self._maps.pop(name))

    def __len__(self) -> int:
        return len(self._maps)


def _make_view(
    restored: Picture,
    done: RestoredImage,
    request: RestoreRequest,
    notes: tuple[str, ...],
    maps: ChangeMaps,
) -> tuple[bytes, str]:
    if request.view == "restored":
        return _encode(restored, request.format)
    if request.view == "all":
        return _make_form(restored, done, request, notes, maps)
    return _encode(maps.pop()[1], "png")


def _encode(
    picture: Picture, file_format: str | None, quality: int | None = None
) -> tuple[bytes, str]:
    chosen = file_format or picture.format
    return encode_picture(picture, chosen, quality=quality), MEDIA_TYPES[chosen]


def _make_form(
    restored: Picture,
    done: RestoredImage,
    request: RestoreRequest,
    notes: tuple[str, ...],
    maps: ChangeMaps,
) -> tuple[bytes, str]:
    """Return everything as a form, which a browser takes apart with `response.formData()`."""
    parts = {"restored": _encode(restored, request.format)}
    while maps:
        name, picture = maps.pop()
        parts[name] = _encode(picture, "jpeg", 90)
    weather = asdict(done.weather) if done.weather else None
    report = {"notes": notes, "weather": weather, "changed": round(done.changed, 4)}
    parts["report"] = json.dumps(report).encode(), "application/json"
    boundary = secrets.token_hex(16)
    body = b"".join(_part(boundary, name, *part) for name, part in parts.items())
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def _part(boundary: str, name: str, data: bytes, media_type: str) -> bytes:
    head = (
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="{name}"; filename="{name}"\r\n'
        f"Content-Type: {media_type}\r\n\r\n"
    )
    return head.encode() + data + b"\r\n"
