"""Refusals: an HTTP status and one sentence, sent as application/problem+json (RFC 9457)."""

from __future__ import annotations

import http
import json
from collections.abc import Mapping

from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"

CLOSE = {"Connection": "close"}
"""Header that ends a connection, such as one that is still sending."""


class Problem(Exception):  # noqa: N818  (RFC 9457 calls it so)
    """Ends a request with a status and a sentence.

    Attributes:
        status: HTTP status code.
        detail: one sentence for a person.
        headers: sent with the answer.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


class ClientLeftError(Exception):
    """The client has closed the connection."""


def problem_response(problem: Problem) -> Response:
    """Return the answer that tells of a problem."""
    body = {
        "title": http.HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
    }
    return Response(
        json.dumps(body, ensure_ascii=False).encode(errors="replace"),
        problem.status,
        problem.headers,
        MEDIA_TYPE,
    )
