"""The ASGI application: routes, parameters and their description (OpenAPI)."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import mimetypes
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

import cmudrn
from cmudrn.models import ModelInfo, shipped_models
from cmudrn.server import description
from cmudrn.server.body import departure, read_body
from cmudrn.server.limits import MAX_DEPTH, Limits
from cmudrn.server.metrics import MEDIA_TYPE, Metrics
from cmudrn.server.problems import Problem, problem_response
from cmudrn.server.processing import Answer, Models, Order, check_order, process_request
from cmudrn.server.queue import ClientLeft, Queue
from cmudrn.server.security import Guard

PAGE = Path(__file__).parent / "page"
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


class RestoreParameters(BaseModel):
    """The query of /restore; an unknown parameter is an error."""

    model_config = ConfigDict(extra="forbid")

    model: Annotated[str | None, Field(description="A name listed by /models.")] = None
    strength: Annotated[float, Field(ge=0, le=1, description="0 nothing, 1 all.")] = 1.0
    stages: Annotated[int | None, Field(ge=1, le=MAX_DEPTH, description="Outer loop.")] = None
    recursions: Annotated[int | None, Field(ge=1, le=MAX_DEPTH, description="Inner loop.")] = None
    view: Annotated[
        Literal["restored", "removed", "rain", "snow", "all"],
        Field(description="The picture, a map of what was removed, or all of them as a form."),
    ] = "restored"
    format: Annotated[
        Literal["jpeg", "png", "tiff", "webp", "bmp"] | None,
        Field(description="Of the restored picture; the input's own when left out."),
    ] = None


def create_app(
    models: Mapping[str, str | os.PathLike[str]],
    limits: Limits | None = None,
    hosts: Iterable[str] = LOCAL_HOSTS,
) -> Guard:
    """Return the server as an ASGI application.

    Args:
        models: name -> a shipped model's name, or the path of a model file; the first is the
            default.
        limits: what requests may take.
        hosts: names that the server answers to.

    Raises:
        CmudrnError: a model cannot be opened.
    """
    limits = limits or Limits()
    service = Service(models, limits)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.stop()
        service.queue.close()

    app = FastAPI(
        title="CMUDRN",
        version=cmudrn.__version__,
        description="Removes rain and snow from pictures. Nothing is stored or sent elsewhere.",
        docs_url=None,  # it would load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_error)
    app.add_api_route("/restore", service.restore, methods=["POST"], **description.RESTORE)
    app.add_api_route("/models", service.models_list, **description.MODELS)
    app.add_api_route("/health", service.health, **description.HEALTH)
    app.add_api_route("/metrics", service.metrics_text, **description.METRICS)
    for path, endpoint in (("/models", service.models_list), ("/health", service.health)):
        app.add_api_route(path, endpoint, methods=["HEAD"], include_in_schema=False)
    for file in ("index.html", "app.js", "style.css", "icon.svg"):
        route = "/" if file == "index.html" else f"/{file}"
        page = functools.partial(_page, PAGE / file)
        app.add_api_route(
            route, page, methods=["GET", "HEAD"], include_in_schema=False, response_model=None
        )
    return Guard(app, hosts, drain_bytes=2 * limits.bytes, on_stop=service.stop)


class Service:
    """What the routes share."""

    def __init__(self, models: Mapping[str, str | os.PathLike[str]], limits: Limits) -> None:
        self.limits = limits
        self.models = Models(models, limits.engine_threads)
        self.queue = Queue(limits)
        self.metrics = Metrics(self.queue)
        self._stopping = False
        self._under_way: set[asyncio.Task[Any]] = set()

    def stop(self) -> None:
        """Answer the restorations under way, and those that may still come, with 503."""
        self._stopping = True
        for task in self._under_way:
            task.cancel()

    async def restore(
        self, request: Request, parameters: Annotated[RestoreParameters, Query()]
    ) -> Response:
        """Remove rain and snow from a picture."""
        try:
            with self._stoppable():
                order = _order(parameters, next(iter(self.models.info)))
                answer = await self._answer(request, order)
        except Problem as problem:
            self.metrics.answers.labels(problem.status).inc()
            raise
        except ClientLeft:
            self.metrics.departures.inc()
            return Response(status_code=499)  # nobody reads it
        self.metrics.answers.labels(200).inc()
        self.metrics.seconds.observe(answer.seconds)
        self.metrics.pixels.inc(answer.pixels)
        return Response(answer.body, headers=_headers(answer), media_type=answer.media_type)

    @contextlib.contextmanager
    def _stoppable(self) -> Iterator[None]:
        """End a block of this request when the server stops.

        Raises:
            Problem: the server is stopping.
        """
        task = asyncio.current_task()
        assert task is not None
        stopping = Problem(503, "The server is stopping.", {"Connection": "close"})
        if self._stopping:
            raise stopping
        self._under_way.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            task.uncancel()
            raise stopping from None
        finally:
            self._under_way.discard(task)

    async def _answer(self, request: Request, order: Order) -> Answer:
        check_order(order, self.models.info)
        with self.queue.place():
            data = await read_body(request, self.limits)
            return await self.queue.run(
                lambda ticket: process_request(
                    data, order, self.models.restorer(order.model), self.limits, ticket
                ),
                departure(request),
            )

    async def models_list(self) -> dict[str, Any]:
        """List the models and the limits of a request."""
        names = list(self.models.info)
        return {
            "default": names[0],
            "models": [_model_record(name, info) for name, info in self.models.info.items()],
            "limits": {
                "bytes": self.limits.bytes,
                "pixels": self.limits.pixels,
                "layer_pixels": self.limits.layer_pixels,
                "seconds": self.limits.seconds,
                "depth": MAX_DEPTH,
            },
        }

    async def health(self) -> dict[str, Any]:
        """Say that the server is up, and how busy it is."""
        return {
            "status": "ok",
            "version": cmudrn.__version__,
            "running": self.queue.running,
            "waiting": self.queue.waiting,
        }

    async def metrics_text(self) -> Response:
        """Return counts and times for Prometheus."""
        return Response(self.metrics.text(), headers={"Content-Type": MEDIA_TYPE})


def _order(parameters: RestoreParameters, default: str) -> Order:
    return Order(**parameters.model_dump() | {"model": parameters.model or default})


def _headers(answer: Answer) -> dict[str, str]:
    headers = {"Server-Timing": f"restore;dur={1000 * answer.seconds:.0f}"}
    if answer.notes:
        headers["Cmudrn-Notes"] = " ".join(answer.notes).encode("ascii", "replace").decode()
    return headers


def _model_record(name: str, info: ModelInfo) -> dict[str, Any]:
    shipped = shipped_models().get(name)
    return {
        "name": name,
        "network": info.network,
        "tasks": list(info.tasks),
        "stages": info.stages,
        "recursions": info.recursions,
        "adjustable": info.adjustable,
        "parameters": info.parameters,
        "sha256": info.sha256,
        "description": shipped.description if shipped else "",
        "trained_on": shipped.trained_on if shipped else "",
        "licence": shipped.licence if shipped else str(info.metadata.get("licence", "")),
    }


async def _page(file: Path) -> Response:
    media_type = mimetypes.guess_type(file.name)[0]
    headers = {"Cache-Control": "no-cache"}
    return Response(file.read_bytes(), headers=headers, media_type=media_type)


async def _on_problem(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    return problem_response(problem)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentences = {
        404: "There is nothing at this address.",
        405: "This address does not take this method.",
    }
    detail = sentences.get(error.status_code, f"{error.detail}.")
    return problem_response(Problem(error.status_code, detail, error.headers))


async def _on_error(request: Request, error: Exception) -> Response:
    """Answer what nobody foresaw; the server's log gets the details."""
    return problem_response(Problem(500, "The server failed; its log says why."))


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = first["loc"][-1]
    if first["type"] == "extra_forbidden":
        detail = f"There is no parameter {name!r}."
    else:
        message = first["msg"].replace("Input should be", "has to be")
        detail = f"The parameter {name!r} {message}."
    return problem_response(Problem(422, detail))
