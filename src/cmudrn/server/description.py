"""What OpenAPI says about each route, beyond what its parameters say themselves."""

from __future__ import annotations

from typing import Any

from cmudrn.server.problems import MEDIA_TYPE as PROBLEM_TYPE
from cmudrn.server.processing import MEDIA_TYPES

_BINARY = {"type": "string", "format": "binary"}
_TEXT = {"type": "string"}


def _record(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


_PROBLEM = _record(
    title=_TEXT,
    status={"type": "integer"},
    detail={"type": "string", "description": "One sentence for a person."},
)


def _answer(text: str, media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {media_type: {"schema": schema}}}


def _problem(text: str) -> dict[str, Any]:
    return _answer(text, PROBLEM_TYPE, _PROBLEM)


_COMMON: dict[int | str, dict[str, Any]] = {
    403: _problem("The request comes from a page of another site."),
    421: _problem("The server does not answer to this host name."),
}

RESTORE: dict[str, Any] = {
    "response_model": None,
    "responses": {
        200: {
            "description": "The restored picture, in the format it came in, metadata kept.",
            "content": {
                **{media_type: {"schema": _BINARY} for media_type in MEDIA_TYPES.values()},
                "multipart/form-data": {"schema": {"type": "object"}},
            },
        },
        404: _problem("There is no such model."),
        408: _problem("The picture took too long to arrive."),
        413: _problem("The picture is too large."),
        422: _problem("A parameter or the picture cannot be used."),
        500: _problem("The restoration failed in a way that nobody foresaw."),
        503: _problem("All places are taken (Retry-After says for how long), or it is stopping."),
        504: _problem("The restoration took too long."),
        **_COMMON,
    },
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                "application/octet-stream": {"schema": _BINARY},
                **{media_type: {"schema": _BINARY} for media_type in MEDIA_TYPES.values()},
                "multipart/form-data": {
                    "schema": {
                        **_record(picture=_BINARY),
                        "additionalProperties": False,
                    }
                },
            },
        }
    },
}
MODELS: dict[str, Any] = {"responses": _COMMON}
HEALTH: dict[str, Any] = {"responses": _COMMON}
METRICS: dict[str, Any] = {
    "response_model": None,
    "responses": {
        200: _answer("Counts and times for Prometheus.", "text/plain", _TEXT),
        **_COMMON,
    },
}
