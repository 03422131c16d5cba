"""The OpenAPI description: FastAPI's, with what it cannot know of streams, refusals, keys and the structured answer."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from gaea.app.serving.gate import CHAT, OPEN
from gaea.app.serving.geolocation import described as described_geolocation
from gaea.app.serving.schema import ErrorBody

_REFUSALS = {
    "400": "The request cannot be answered as it is",
    "401": "No valid API key",
    "403": "Without keys, only local names are answered to",
    "404": "No such model or page",
    "405": "Not with this method",
    "408": "The body did not arrive in time",
    "413": "The body is too large",
    "429": "Too many wait: come back after the time in Retry-After",
    "500": "The server failed",
    "502": "The model server refused",
    "503": "The model is being loaded or started again: come back after the time in Retry-After",
}
_OF_CHAT = ("400", "404", "408", "413", "429", "502")

EXAMPLE_PICTURE = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAMCAIAAADkharWAAAAGElEQVR42mM8sSqPgRTAxEAiGNUwUjQAAGkyAfjzcY04AAAAAElFTkSu"
    "QmCC"
)


def described(routes: FastAPI) -> dict[str, Any]:
    """The document; made once and kept."""
    if routes.openapi_schema is not None:
        return routes.openapi_schema
    document = get_openapi(
        title=routes.title, version=routes.version, description=routes.description, routes=routes.routes
    )
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    fault = ErrorBody.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= {**fault.pop("$defs", {}), "ErrorBody": fault}
    _add_geolocation(schemas)
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, methods in document["paths"].items():
        for operation in methods.values():
            _add_refusals(path, operation)
            if path != OPEN:
                operation["security"] = [{"key": []}]
    _add_stream(document["paths"][CHAT]["post"])
    document["paths"]["/metrics"]["get"]["responses"]["200"]["content"] = {"text/plain": {"schema": {"type": "string"}}}
    routes.openapi_schema = document
    return document


def _add_geolocation(schemas: dict[str, Any]) -> None:
    """The structured answer, its parts as components of their own."""
    answer = described_geolocation()
    parts = answer.pop("$defs")
    schemas |= {f"Gaea_{name}": part for name, part in parts.items()} | {"Geolocation": answer}
    moved = json.loads(json.dumps(schemas).replace("#/$defs/", "#/components/schemas/Gaea_"))
    schemas.update(moved)
    schemas["ReplyMessage"]["properties"]["geolocation"] = {"$ref": "#/components/schemas/Geolocation"}


def _add_refusals(path: str, operation: dict[str, Any]) -> None:
    operation["responses"].pop("422", None)
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}}
    for status, meaning in _REFUSALS.items():
        if status in _OF_CHAT and path != CHAT and not (status == "404" and "{model}" in path):
            continue
        if path == OPEN and status not in ("403", "405"):
            continue
        operation["responses"][status] = {"description": meaning, "content": content}


def _add_stream(chat: dict[str, Any]) -> None:
    chat["responses"]["200"]["content"]["text/event-stream"] = {
        "schema": {
            "type": "object",
            "description": "Each event; the last one's data is [DONE]",
            "required": ["data"],
            "properties": {"data": {"type": "string", "description": "A chat.completion.chunk, or an error, as JSON"}},
        },
    }
    picture = {"type": "image_url", "image_url": {"url": EXAMPLE_PICTURE}}
    asked = [{"role": "user", "content": [{"type": "text", "text": "Where is this?"}, picture]}]
    content = chat["requestBody"]["content"]["application/json"]
    content["examples"] = {
        "words": {"value": {"model": "gaea-nano", "messages": asked}},
        "narrowed": {
            "value": {
                "model": "gaea-nano",
                "messages": asked,
                "gaea": {"narrow": {"countries": ["TD"]}, "disclosure": "country"},
            }
        },
    }
