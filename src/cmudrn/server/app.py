"""The ASGI application: routes, parameters and their description (OpenAPI)."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import mimetypes
import os
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from cmudrn.engines import open_engine
from cmudrn.errors import InvalidSettingError
from cmudrn.models import ModelInfo
from cmudrn.models.info import fixed_depth_sentence
from cmudrn.page import ASSETS, SERVED
from cmudrn.restoration import RestoreSettings
from cmudrn.restoration.dehazing import check_dehazing
from cmudrn.server import description
from cmudrn.server.answers import Readers, StreamedAnswer
from cmudrn.server.body import Intake, departure
from cmudrn.server.connections import connection_of, holding
from cmudrn.server.limits import MAX_DEPTH, Limits
from cmudrn.server.memory import give_back_memory
from cmudrn.server.metrics import MEDIA_TYPE, Metrics
from cmudrn.server.places import Places
from cmudrn.server.problems import CLOSE, ClientLeftError, Problem, problem_response
from cmudrn.server.processing import RestoreRequest
from cmudrn.server.records import Health, LimitsRecord, ModelList, ModelRecord
from cmudrn.server.security import LOCAL_HOSTS, Guard
from cmudrn.server.worker_pool import Delivery, WorkerPool
from cmudrn.version import __version__


class RestoreParameters(BaseModel):
    """The query of /restore; an unknown parameter is an error."""

    model_config = ConfigDict(extra="forbid")

    model: Annotated[str | None, Field(description="A name listed by /models.")] = None
    strength: Annotated[float, Field(ge=0, le=1, description="0 nothing, 1 all.")] = 1.0
    stages: Annotated[int | None, Field(ge=1, le=MAX_DEPTH, description="Outer loop.")] = None
    recursions: Annotated[int | None, Field(ge=1, le=MAX_DEPTH, description="Inner loop.")] = None
    dehaze: Annotated[
        bool | None,
        Field(description="Whether haze is taken off, too; if left out, where much weather falls."),
    ] = None
    view: Annotated[
        str,
        Field(
            pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$",
            description="restored is the picture; removed, or a task of the model such as rain, is "
            "a map of what was removed; all is all of them as a form.",
        ),
    ] = "restored"
    format: Annotated[
        Literal["jpeg", "png", "tiff", "webp", "avif", "bmp"] | None,
        Field(description="Of the restored picture; the input's own when left out."),
    ] = None


def create_app(
    models: Mapping[str, str | os.PathLike[str]],
    limits: Limits | None = None,
    hosts: Iterable[str] = LOCAL_HOSTS,
    token: str | None = None,
    device: str = "cpu",
) -> Guard:
    """Return the server as an ASGI application.

    Args:
        models: name -> a shipped model's name, or the path of a model file; the first is the
            default.
        limits: what requests may take.
        hosts: names that the server answers to.
        token: what requests must show, except those for /health; None for none.
        device: one of `cmudrn.engines.DEVICES`, which every worker's network runs on.

    Raises:
        CmudrnError: a model cannot be opened, or the device is not there or fails.
    """
    limits = limits or Limits()
    service = Service(models, limits, device)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.pool.start()
        flowing = asyncio.create_task(service.keep_flowing())
        yield
        service.stop()
        flowing.cancel()
        await service.pool.close()

    app = FastAPI(
        title="CMUDRN",
        version=__version__,
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
    app.add_api_route("/models", service.list_models, **description.MODELS)
    app.add_api_route("/health", service.health, **description.HEALTH)
    app.add_api_route("/metrics", service.metrics_text, **description.METRICS)
    for path, endpoint in (("/models", service.list_models), ("/health", service.health)):
        app.add_api_route(path, endpoint, methods=["HEAD"], include_in_schema=False)
    for address, file in SERVED.items():
        page = functools.partial(_page, ASSETS / file)
        app.add_api_route(
            f"/{address}",
            page,
            methods=["GET", "HEAD"],
            include_in_schema=False,
            response_model=None,
        )
    return Guard(app, hosts, 2 * limits.bytes, service.stop, token)


class Service:
    """What the routes share."""

    def __init__(
        self, models: Mapping[str, str | os.PathLike[str]], limits: Limits, device: str
    ) -> None:
        self.limits = limits
        # Opened to see that they run; the workers choose how.
        self.models = {
            name: open_engine(model, threads=1, precision="fp32", device=device).info
            for name, model in models.items()
        }
        give_back_memory()
        self.pool = WorkerPool({name: str(model) for name, model in models.items()}, limits, device)
        self.places = Places(limits.places, self._expected_seconds)
        self.intake = Intake(limits)
        self.readers = Readers(limits)
        self.metrics = Metrics(self.pool, self._waiting)
        self._stopping = False
        self._under_way: set[asyncio.Task[Any]] = set()

    def _waiting(self) -> int:
        return self.places.taken - self.pool.running

    def _expected_seconds(self) -> float:
        return self.pool.mean_seconds * self.places.taken / self.limits.workers

    def stop(self) -> None:
        """Answer the restorations under way, and those that may still come, with 503."""
        self._stopping = True
        for task in self._under_way:
            task.cancel()

    async def keep_flowing(self) -> None:
        """Now and then end the client that reads most slowly, while it keeps others waiting."""
        while True:
            await asyncio.sleep(1.0)
            if self.places.are_full or self.pool.is_blocked:
                self.readers.end_slowest()

    async def restore(
        self, request: Request, parameters: Annotated[RestoreParameters, Query()]
    ) -> Response:
        """Remove rain and snow from a picture."""
        try:
            with self._stoppable():
                answer = await self._answer(request, self._make_request(parameters))
        except Problem as problem:
            self.metrics.answers.labels(problem.status).inc()
            raise
        except ClientLeftError:
            self.metrics.departures.inc()
            return Response(status_code=499)  # nobody reads it
        head = answer.delivery.head
        self.metrics.answers.labels(200).inc()
        self.metrics.seconds.observe(head.seconds)
        self.metrics.pixels.inc(head.pixels)
        return answer

    @contextlib.contextmanager
    def _stoppable(self) -> Iterator[None]:
        """End a block of this request when the server stops.

        Raises:
            Problem: the server is stopping.
        """
        task = asyncio.current_task()
        assert task is not None
        stopping = Problem(503, "The server is stopping.", CLOSE)
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

    def _make_request(self, parameters: RestoreParameters) -> RestoreRequest:
        settings = RestoreSettings(
            parameters.strength,
            parameters.stages,
            parameters.recursions,
            dehazing=parameters.dehaze,
        )
        model = parameters.model or next(iter(self.models))
        return RestoreRequest(model, settings, parameters.view, parameters.format)

    async def _answer(self, request: Request, wanted: RestoreRequest) -> StreamedAnswer:
        """Return an answer that holds its place until it is sent.

        Raises:
            Problem: the request is refused, or takes too long.
            ClientLeftError: nobody waits any more.
        """
        _check_request(wanted, self.models)
        self.places.check()
        with contextlib.ExitStack() as held:
            try:
                async with asyncio.timeout(self.limits.seconds):
                    body = await self.intake.read(request)
                    held.callback(body.release)
                    held.enter_context(self.places.hold())
                    held.enter_context(holding(connection_of(request.scope)))
                    delivery = await _unless(departure(request), self.pool.answer(wanted, body))
            except TimeoutError as error:
                detail = "Restoring this picture took longer than the server allows."
                raise Problem(504, detail, CLOSE) from error
            held.callback(delivery.close)
            return StreamedAnswer(delivery, self.readers, held.pop_all())

    async def list_models(self) -> ModelList:
        """List the models and the limits of a request."""
        return ModelList(
            default=next(iter(self.models)),
            models=[ModelRecord.of(name, info) for name, info in self.models.items()],
            limits=LimitsRecord.of(self.limits),
        )

    async def health(self) -> Health:
        """Say that the server is up, and how busy it is."""
        return Health(
            status="ok",
            version=__version__,
            running=self.pool.running,
            waiting=self._waiting(),
            receiving=self.intake.receiving,
        )

    async def metrics_text(self) -> Response:
        """Return counts and times for Prometheus."""
        return Response(self.metrics.text(), headers={"Content-Type": MEDIA_TYPE})


async def _unless(departure: Awaitable[None], work: Awaitable[Delivery]) -> Delivery:
    """Return what comes of the work, which ends when the client leaves.

    Raises:
        ClientLeftError: it left.
    """
    job, watch = asyncio.ensure_future(work), asyncio.ensure_future(departure)
    try:
        await asyncio.wait({job, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not job.done():
            raise ClientLeftError
        return job.result()
    finally:
        watch.cancel()
        if not job.done():
            job.cancel()
            with contextlib.suppress(asyncio.CancelledError, Problem):
                (await job).close()


def _check_request(request: RestoreRequest, models: Mapping[str, ModelInfo]) -> None:
    """Refuse what the served models cannot do, before a picture is read.

    Raises:
        Problem: there is no such model, or it has no such view.
    """
    if request.model not in models:
        known = ", ".join(models)
        raise Problem(404, f"There is no model {request.model!r} here; there are: {known}.")
    info = models[request.model]
    views = ("restored", "removed", "all", *info.tasks)
    if request.view not in views:
        raise Problem(
            422, f"The model {info.name} has no view {request.view!r}; it has {', '.join(views)}."
        )
    chosen = request.settings.stages or request.settings.recursions
    if not info.adjustable and chosen:
        raise Problem(422, fixed_depth_sentence(info))
    if request.settings.dehazing:
        try:
            check_dehazing(info)
        except InvalidSettingError as error:
            raise Problem(422, str(error)) from error


async def _page(file: Path) -> Response:
    media_type = mimetypes.guess_type(file.name)[0]
    headers = {"Cache-Control": "no-cache"}
    return Response(file.read_bytes(), headers=headers, media_type=media_type)


async def _on_problem(_request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    return problem_response(problem)


async def _on_http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentences = {
        404: "There is nothing at this address.",
        405: "This address does not take this method.",
    }
    detail = sentences.get(error.status_code, f"{error.detail}.")
    return problem_response(Problem(error.status_code, detail, error.headers))


async def _on_error(_request: Request, _error: Exception) -> Response:
    """Answer what nobody foresaw; the server's log gets the details."""
    return problem_response(Problem(500, "The server failed; its log says why."))


async def _on_invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = first["loc"][-1]
    if first["type"] == "extra_forbidden":
        detail = f"There is no parameter {name!r}."
    else:
        message = first["msg"].replace("Input should be", "has to be")
        detail = f"The parameter {name!r} {message}."
    return problem_response(Problem(422, detail))
