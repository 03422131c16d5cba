"""The routes: what OpenAI's clients know, health, readiness, metrics, and the description of it all."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

import gaea
from gaea.app.serving import conversation, passing, replies, structured
from gaea.app.serving.bridge import bridged, unless_left
from gaea.app.serving.description import described
from gaea.app.serving.gate import App, Gate
from gaea.app.serving.metrics import CONTENT_TYPE_LATEST
from gaea.app.serving.openchats import Which, fingerprint, limited_by
from gaea.app.serving.problems import LEFT, ApiError, internal, invalid, told
from gaea.app.serving.schema import ChatCompletion, ChatRequest, Health, ModelList, SchemaFormat, ServedModel
from gaea.app.serving.service import Service
from gaea.assistant import Chat
from gaea.errors import GaeaError
from gaea.narrowing import Narrowing
from gaea.photo import Photo


def application(service: Service) -> App:
    """The ASGI application: routes, behind the gate, behind CORS where web pages are listed."""
    routes = FastAPI(
        title="GAEA",
        version=gaea.__version__,
        description="Ask a photo where it is, in the form of OpenAI's chat completions.",
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        lifespan=_lifespan(service),
    )
    _add_errors(routes)
    _add_states(routes, service)
    _add_models(routes, service)
    _add_chat(routes, service)
    routes.openapi = lambda: described(routes)  # type: ignore[method-assign]
    gate: App = Gate(routes, service.config.keys, service.config.limits, service.admission, service.metrics)  # type: ignore[arg-type]
    if not service.config.origins:
        return gate
    return CORSMiddleware(  # type: ignore[return-value]
        gate,  # type: ignore[arg-type]
        allow_origins=list(service.config.origins),
        allow_methods=["GET", "POST"],
        allow_headers=["authorization", "content-type"],
        expose_headers=["retry-after", "x-request-id"],
    )


def _lifespan(service: Service) -> Callable[[FastAPI], Any]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    return lifespan


def _add_errors(routes: FastAPI) -> None:
    def answer(error: ApiError) -> JSONResponse:
        return JSONResponse(error.body(), error.status, headers=error.headers())

    @routes.exception_handler(GaeaError)
    async def expected(_: Request, error: GaeaError) -> Response:
        return answer(told(error))

    @routes.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        # Not the input itself, which may be a photo; and names of a union's branches say nothing to a client.
        named = [str(part) for part in first["loc"] if isinstance(part, int) or str(part).isidentifier()]
        where = ".".join(part for part in named if part != "body")[:120]
        param = named[1][:80] if len(named) > 1 and not named[1].isdigit() else None
        return answer(invalid(f"{where or 'the body'}: {first['msg']}", param))

    @routes.exception_handler(Exception)
    async def unexpected(request: Request, _: Exception) -> Response:
        return answer(internal(request.state.request_id))  # it is raised on to the gate, which logs it

    @routes.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Response:
        fault = ApiError(error.status_code, str(error.detail))
        return JSONResponse(fault.body(), error.status_code, headers={**(error.headers or {}), **fault.headers()})


def _add_states(routes: FastAPI, service: Service) -> None:
    @routes.get("/health", summary="Whether the process is alive; needs no key", response_model=Health)
    async def health() -> Response:
        return JSONResponse({"status": "ok"})

    @routes.get("/ready", summary="Whether a question would be answered now", response_model=Health)
    async def ready() -> Response:
        service.check_ready()
        return JSONResponse({"status": "ready"})

    @routes.get("/metrics", summary="Prometheus metrics", response_class=Response)
    async def metrics() -> Response:
        return Response(service.metrics.render(), media_type=CONTENT_TYPE_LATEST)


def _add_models(routes: FastAPI, service: Service) -> None:
    began = int(time.time())

    def entry(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": began, "owned_by": "gaea"}

    @routes.get("/v1/models", summary="The models", response_model=ModelList)
    async def models() -> Response:
        service.check_ready()
        return JSONResponse({"object": "list", "data": [entry(name) for name in service.names()]})

    @routes.get("/v1/models/{model:path}", summary="One model", response_model=ServedModel)
    async def model(model: str) -> Response:
        service.check_ready()
        if model not in service.names():
            raise conversation.unknown_model(model)
        return JSONResponse(entry(model))


def _add_chat(routes: FastAPI, service: Service) -> None:
    @routes.post("/v1/chat/completions", summary="Ask a photo", response_model=ChatCompletion)
    async def chat(request: Request, body: ChatRequest) -> Response:
        service.check_ready()
        conversation.check_options(body)
        if service.passing is not None and body.model.startswith(passing.PREFIX):
            return await _passed_on(service, request, body)
        if body.model not in service.models:
            raise conversation.unknown_model(body.model)
        if isinstance(body.response_format, SchemaFormat):
            structured.check(body.response_format.json_schema.schema_)
        limits = service.config.limits
        asked = conversation.asked(body, limits).shortened(limits.asked, service.counter.count)
        jobs = await unless_left(request, _jobs(service, request, body, asked))
        await unless_left(request, request.state.ticket.turn())
        began = time.monotonic()
        events = bridged(
            service.executor,
            lambda left: replies.events(jobs(left), service.chats, service.counter),
            request.state.ticket,
        )
        with _counted(service):
            first = await unless_left(request, anext(events))
            service.metrics.located_seconds.observe(time.monotonic() - began)
            spoken = _Spoken(service, body, service.counter.prompt(asked), began)
            if body.stream:
                return StreamingResponse(spoken.stream(first, events), media_type="text/event-stream")
            return JSONResponse(await unless_left(request, spoken.whole(events)))


@contextmanager
def _counted(service: Service) -> Iterator[None]:
    """Count a reply that is stopped because its client has left."""
    try:
        yield
    except ApiError as error:
        if error.status == LEFT:
            service.metrics.cancelled.inc()
        raise


async def _jobs(
    service: Service, request: Request, body: ChatRequest, asked: conversation.Asked
) -> Callable[[Callable[[], bool]], replies.Job]:
    """What makes the job in the worker's thread, which unpacks the picture; what can be refused, is refused here."""
    wanted, limits = body.gaea, service.config.limits
    narrow = Narrowing(**{k: tuple(v) for k, v in wanted.narrow.model_dump().items() if v}) if wanted.narrow else None
    picture = await service.pictures.bytes_of(asked.picture)
    assistant = service.models[body.model]
    most = min(limits.reply, body.max_completion_tokens or body.max_tokens or limits.reply)

    def job(left: Callable[[], bool]) -> replies.Job:
        data = picture()

        def opened() -> Chat:
            photo = Photo.open(data, limits=limits.photo, name="image_url")
            return assistant.open(photo, narrow=narrow, disclosure=wanted.disclosure)

        return replies.Job(
            which=Which(
                request.state.holder, body.model, fingerprint(data), limited_by(narrow), limited_by(wanted.disclosure)
            ),
            open=opened,
            turns=asked.turns,
            question=asked.question,
            guess=wanted.guess,
            cells=wanted.cells,
            preview=wanted.preview and bool(body.stream),
            streamed=bool(body.stream) and not replies.structured(body),
            stops=conversation.stop_words(body),
            most_tokens=most,
            stopped=left,
        )

    return job


@dataclasses.dataclass(frozen=True)
class _Spoken:
    """A reply on its way out."""

    service: Service
    body: ChatRequest
    prompt_tokens: int
    began: float

    async def whole(self, events: AsyncIterator[Any]) -> dict[str, Any]:
        """The reply in one piece."""
        async for event in events:
            if isinstance(event, replies.Finished):
                return self._envelope().completion(self.body, event, self._used(event))
        raise ApiError(500, "the reply has no end", kind="server_error", code="internal")

    async def stream(self, first: Any, events: AsyncIterator[Any]) -> AsyncIterator[bytes]:
        """The reply in pieces, ended by ``[DONE]`` whatever happens."""
        envelope, body = self._envelope(), self.body
        usage = bool(body.stream_options and body.stream_options.include_usage)
        opening: dict[str, Any] = {"role": "assistant", "content": ""}
        if body.gaea.preview:
            opening["geolocation"] = first.geolocation
        finished = False
        try:
            yield replies.sse(envelope.chunk(opening, usage=usage))
            async for event in events:
                if isinstance(event, replies.Said):
                    yield replies.sse(envelope.chunk({"content": event.text}, usage=usage))
                elif isinstance(event, replies.Finished):
                    used = self._used(event)
                    if replies.structured(body):
                        said, refusal = replies.content(body, event)
                        told_ = {"content": said} if refusal is None else {"refusal": refusal}
                        yield replies.sse(envelope.chunk(told_, usage=usage))
                    yield replies.sse(envelope.chunk({"geolocation": event.geolocation}, event.reason, usage=usage))
                    if usage:
                        yield replies.sse(envelope.last(used))
            finished = True
            yield replies.DONE
        except GaeaError as error:
            finished = True
            yield replies.sse(told(error).body())
            yield replies.DONE
        finally:
            if not finished:
                self.service.metrics.cancelled.inc()
            await events.aclose()  # type: ignore[attr-defined]

    def _envelope(self) -> replies.Envelope:
        return replies.Envelope(self.body.model, self.service.fingerprint)

    def _used(self, finished: replies.Finished) -> dict[str, int]:
        reply, metrics = self.service.counter.count(finished.text), self.service.metrics
        metrics.tokens.labels("prompt").inc(self.prompt_tokens)
        metrics.tokens.labels("reply").inc(reply)
        point = "no" if finished.geolocation["point"] is None else "yes"
        metrics.answers.labels(finished.geolocation["disclosure"], point).inc()
        metrics.answer_seconds.observe(time.monotonic() - self.began)
        return replies.usage(self.prompt_tokens, reply)


async def _passed_on(service: Service, request: Request, body: ChatRequest) -> Response:
    """The bare engine's own reply."""
    name = body.model.removeprefix(passing.PREFIX)
    if service.passing is None or name not in service.models:
        raise conversation.unknown_model(body.model)
    conversation.check_amounts(body.messages, service.config.limits)
    said = await unless_left(request, _said_by_engine(service, service.passing, request, body))
    if isinstance(said, dict):
        return JSONResponse(said)
    request.state.ticket.handed_on = True
    return StreamingResponse(_until_left(said, request), media_type="text/event-stream")


async def _said_by_engine(
    service: Service, engine: passing.Passing, request: Request, body: ChatRequest
) -> dict[str, Any] | AsyncIterator[bytes]:
    await request.state.ticket.turn()
    urls = [url for message in body.messages for url in conversation.pictures(message)]
    looked = await service.pictures.checked(urls, request.state.holder)
    body = passing.pictures_as_data(body, looked.packed)
    return await (engine.stream(body, looked.rest) if body.stream else engine.complete(body, looked.rest))


async def _until_left(pieces: AsyncIterator[bytes], request: Request) -> AsyncIterator[bytes]:
    try:
        async for piece in pieces:
            yield piece
    except GaeaError as error:
        yield replies.sse(told(error).body())
        yield replies.DONE
    finally:
        request.state.ticket.leave()
        await pieces.aclose()  # type: ignore[attr-defined]
