"""Refusals in OpenAI's form: ``{"error": {"message", "type", "param", "code"}}``, with the status that clients expect.

What a client may be told is decided here: addresses of the engine, names of folders and traces stay inside.
"""

from __future__ import annotations

import math
from typing import Any

from gaea.connection import BUSY, NoReplyError
from gaea.errors import GaeaError, InputError, ModelError, PhotoError

RETRY_S = 5.0
LEFT = 499
"""The status, which nobody reads, of requests whose client has left; nginx's."""
GONE = "the model server does not answer; it is looked after: try again"


class ApiError(GaeaError):
    """A refusal that a client sees.

    Attributes:
        status: HTTP status.
        kind: OpenAI's ``type``.
        param: Which part of the request it is about, or None.
        code: A word that programs can test, or None.
        retry_s: When to come back, for 429 and 503; else None.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        retry_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.kind, self.param, self.code, self.retry_s = status, kind, param, code, retry_s

    def body(self) -> dict[str, Any]:
        """The JSON of it."""
        return {"error": {"message": str(self), "type": self.kind, "param": self.param, "code": self.code}}

    def headers(self) -> dict[str, str]:
        """What goes with it: when to come back, and how to authenticate."""
        told = {} if self.retry_s is None else {"Retry-After": str(max(1, math.ceil(self.retry_s)))}
        return told | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})


def invalid(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """A request that has to be changed."""
    return ApiError(400, message, param=param, code=code)


def unavailable(message: str, retry_s: float = RETRY_S) -> ApiError:
    """The engine is down, or not up yet."""
    return ApiError(503, message, kind="server_error", code="engine_unavailable", retry_s=retry_s)


def internal(request_id: str) -> ApiError:
    """Something nobody expected; what it was stands in the log, under the same name."""
    return ApiError(500, f"the server failed at this request ({request_id})", kind="server_error", code="internal")


def told(error: GaeaError) -> ApiError:
    """An expected failure as a client is told it."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, InputError):
        about = ("messages", "invalid_image") if isinstance(error, PhotoError) else (None, None)
        return invalid(str(error), *about)
    if isinstance(error, NoReplyError) and error.status not in BUSY and error.status < 500:
        return refused_by_engine(str(error))
    if isinstance(error, ModelError):
        return unavailable(GONE)
    return ApiError(500, "the server is not set up for this", kind="server_error", code="misconfigured")


def refused_by_engine(reason: str) -> ApiError:
    """What an engine refused: too long a conversation is the client's to mend, the rest is not."""
    if any(word in reason for word in ("context length", "maximum", "too long")):
        return invalid("the conversation is longer than the model reads", "messages", "context_length_exceeded")
    return ApiError(502, "the model server refused this request", kind="server_error", code="engine_refused")
