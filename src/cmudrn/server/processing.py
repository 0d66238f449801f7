"""One request's work on a thread: the bytes of a picture to the bytes of an answer."""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np

from cmudrn.engines import Engine, open_engine
from cmudrn.errors import CmudrnError
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
from cmudrn.server.problems import Problem
from cmudrn.server.queue import Ticket

MEDIA_TYPES = {
    "jpeg": "image/jpeg",
    "png": "image/png",
    "tiff": "image/tiff",
    "webp": "image/webp",
    "bmp": "image/bmp",
}
"""Format -> media type."""


@dataclass(frozen=True)
class Order:
    """What a client asked for.

    Attributes:
        model: name of a served model.
        strength: 0 (nothing) to 1 (all).
        stages: T; None is the model's own.
        recursions: S; None is the model's own.
        view: "restored", "removed", a task of the model, or "all".
        format: of the restored picture; None is that of the input.
    """

    model: str
    strength: float = 1.0
    stages: int | None = None
    recursions: int | None = None
    view: str = "restored"
    format: str | None = None


@dataclass(frozen=True)
class Answer:
    """What the client gets.

    Attributes:
        body: the bytes of the answer.
        media_type: what they are.
        notes: sentences about what the picture lost on the way.
        pixels: width times height.
        seconds: the work took.
    """

    body: bytes
    media_type: str
    notes: tuple[str, ...]
    pixels: int
    seconds: float


class Models:
    """The served models; every thread has its own engine for each.

    Args:
        models: name -> a shipped model's name, or the path of a model file.
        threads: processor threads of each engine.

    Raises:
        CmudrnError: a model cannot be opened.
    """

    def __init__(self, models: Mapping[str, str | os.PathLike[str]], threads: int) -> None:
        self._sources = dict(models)
        self._threads = threads
        self._local = threading.local()
        self.info = {name: self._open(name).info for name in models}

    def _open(self, name: str) -> Engine:
        return open_engine(self._sources[name], threads=self._threads)

    def restorer(self, name: str) -> Restorer:
        """Return this thread's own restorer of a served model."""
        restorers: dict[str, Restorer] = self._local.__dict__.setdefault("restorers", {})
        if name not in restorers:
            restorers[name] = Restorer(self._open(name))
        return restorers[name]


def check_order(order: Order, models: Mapping[str, ModelInfo]) -> None:
    """Refuse what the served models cannot do, before a picture is read.

    Raises:
        Problem: there is no such model, or it has no such view.
    """
    if order.model not in models:
        known = ", ".join(models)
        raise Problem(404, f"There is no model {order.model!r} here; there are: {known}.")
    info = models[order.model]
    views = ("restored", "removed", "all", *info.tasks)
    if order.view not in views:
        raise Problem(
            422, f"The model {info.name} has no view {order.view!r}; it has {', '.join(views)}."
        )
    if not info.adjustable and (order.stages or order.recursions):
        raise Problem(422, f"The model {info.name} does not let stages or recursions be chosen.")


def process_request(
    data: bytes, order: Order, restorer: Restorer, limits: Limits, ticket: Ticket
) -> Answer:
    """Return the answer to one order.

    Raises:
        Problem: the picture cannot be read, is too large, or cannot be written as asked.
        ClientLeft: nobody waits any more.
    """
    started = time.perf_counter()
    layered = order.view != "restored"
    try:
        picture = read_picture(
            data, max_pixels=limits.layer_pixels if layered else limits.pixels, max_bytes=len(data)
        )
        ticket.check()
        body, media_type = _views(picture, order, restorer, ticket)
    except CmudrnError as error:
        sentence = str(error).replace(" (--max-pixels)", "")
        raise Problem(413 if "more than the limit" in sentence else 422, sentence) from error
    notes = picture.notes + unsupported_features(picture, order.format or picture.format)
    height, width = picture.pixels.shape[:2]
    seconds = time.perf_counter() - started
    return Answer(body, media_type, notes, width * height, seconds)


def _views(picture: Picture, order: Order, restorer: Restorer, ticket: Ticket) -> tuple[bytes, str]:
    everything = order.view == "all"
    settings = RestoreSettings(
        strength=order.strength,
        stages=order.stages,
        recursions=order.recursions,
        layers=order.view != "restored",
        score=everything and is_scorable(restorer.info),
    )
    done = restore_image(restorer, picture.pixels, settings, on_tile=ticket.check)
    if order.view == "restored":
        return _encode(replace(picture, pixels=done.pixels), order.format)
    if everything:
        return _form(picture, done, order)
    residual = done.residuals["fused" if order.view == "removed" else order.view]
    return _encode(change_map(residual), "png")


def change_map(residual: Image) -> Picture:
    """Return an 8-bit picture whose brightness says how much changed, black where nothing did."""
    return Picture(from_float(np.abs(residual), np.uint8))


def _encode(picture: Picture, format: str | None, quality: int | None = None) -> tuple[bytes, str]:
    chosen = format or picture.format
    return encode_picture(picture, chosen, quality=quality), MEDIA_TYPES[chosen]


def _form(picture: Picture, done: RestoredImage, order: Order) -> tuple[bytes, str]:
    """Return everything as a form, which a browser takes apart with `response.formData()`."""
    restored = replace(picture, pixels=done.pixels)
    parts = {"restored": _encode(restored, order.format)}
    for name, residual in done.residuals.items():
        parts["removed" if name == "fused" else name] = _encode(change_map(residual), "jpeg", 90)
    notes = picture.notes + unsupported_features(picture, order.format or picture.format)
    report = {"notes": notes, "weather": asdict(done.weather) if done.weather else None}
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
