"""The shapes of OpenAI's chat completions, as far as they mean something here, and what GAEA adds to them.

Every parameter of OpenAI's is known. Those that would promise what is not done (several choices, tools,
log-probabilities) are refused; those that only tune a sampler are accepted and change nothing, because replies are the
most probable ones.
An unknown name is refused: a misspelt ``disclosure`` must not be taken for none.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

DEFAULT_QUESTION = "Where is this?"


def _sayable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("text holds half a character (a lone surrogate)") from None
    return text


Text = Annotated[str, AfterValidator(_sayable)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _Lenient(BaseModel):
    """Messages come back as they were sent, with all that a client keeps in them."""

    model_config = ConfigDict(extra="ignore", strict=True)


class ImageUrl(_Lenient):
    """Where a picture is: a data URL; a web address only where the server lists its host."""

    url: Text = Field(min_length=1)
    detail: Literal["auto", "low", "high", "original"] | None = None


class TextPart(_Lenient):
    """Words."""

    type: Literal["text"]
    text: Text


class ImagePart(_Lenient):
    """A picture."""

    type: Literal["image_url"]
    image_url: ImageUrl


class RefusalPart(_Lenient):
    """Words of refusal, in a replayed answer."""

    type: Literal["refusal"]
    refusal: Text


class InstructionMessage(_Lenient):
    """Accepted, and not passed on: what this assistant is, and may say, is decided by the server."""

    role: Literal["system", "developer"]
    content: Text | list[TextPart]


class UserMessage(_Lenient):
    """A question, a photo, or both."""

    role: Literal["user"]
    content: Text | list[Annotated[TextPart | ImagePart, Field(discriminator="type")]]


class AssistantMessage(_Lenient):
    """An earlier answer, replayed."""

    role: Literal["assistant"]
    content: Text | list[Annotated[TextPart | RefusalPart, Field(discriminator="type")]] | None = None


Message = Annotated[InstructionMessage | UserMessage | AssistantMessage, Field(discriminator="role")]


class JsonSchemaFormat(_Lenient):
    """OpenAI's ``json_schema``."""

    name: str = Field(min_length=1, max_length=64)
    schema_: dict[str, JsonValue] = Field(alias="schema", default_factory=dict)
    description: str | None = None
    strict: bool | None = None


class TextFormat(_Strict):
    """Words, the default."""

    type: Literal["text"]


class ObjectFormat(_Strict):
    """The whole structured answer as JSON."""

    type: Literal["json_object"]


class SchemaFormat(_Strict):
    """The structured answer, in the client's own shape."""

    type: Literal["json_schema"]
    json_schema: JsonSchemaFormat


class StreamOptions(_Strict):
    """What a stream also tells."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Narrow(_Strict):
    """The part of the world that the answer is looked for in."""

    countries: list[str] = Field(default=[], max_length=250, description="ISO 3166 alpha-2 codes")
    regions: list[Text] = Field(default=[], max_length=100, description="Names of first-level divisions")
    box: list[float] | None = Field(None, min_length=4, max_length=4, description="south, west, north, east in degrees")
    circle: list[float] | None = Field(
        None, min_length=3, max_length=3, description="latitude, longitude, radius in km"
    )
    sources: list[Text] = Field(default=[], max_length=100, description="Names of the gallery's sources")


class Extras(_Strict):
    """What GAEA understands beyond OpenAI's parameters."""

    narrow: Narrow | None = None
    disclosure: Literal["precise", "city", "region", "country", "withheld"] | None = Field(
        None, description="How precise the answer may be; coarser than the server's own limit, never finer"
    )
    guess: bool = Field(False, description="Give the most probable point even when unsure")
    cells: int = Field(64, ge=0, le=1000, description="Most cells of the belief to list, the most probable first")
    preview: bool = Field(False, description="In a stream: send geolocation with the first chunk already")


class ChatRequest(_Strict):
    """The body of ``POST /v1/chat/completions``."""

    model: Text = Field(min_length=1, max_length=300)
    messages: list[Message] = Field(min_length=1)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: Annotated[TextFormat | ObjectFormat | SchemaFormat, Field(discriminator="type")] | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    stop: Text | list[Text] | None = None
    n: int | None = None
    gaea: Extras = Field(default_factory=Extras)
    # Refused unless they ask for nothing.
    tools: list[Any] | None = None
    tool_choice: Any = None
    functions: list[Any] | None = None
    function_call: Any = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    modalities: list[str] | None = None
    audio: Any = None
    web_search_options: Any = None
    # Accepted, and without effect: the reply is the most probable one, and nothing is stored.
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    seed: int | None = None
    user: str | None = None
    store: bool | None = None
    metadata: dict[str, Any] | None = None
    logit_bias: dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    prediction: Any = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    reasoning_effort: str | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    verbosity: str | None = None


class Usage(BaseModel):
    """Tokens, as the model's own vocabulary counts them where it is known here, else nano's."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ReplyMessage(BaseModel):
    """An answer in words, and as data."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    geolocation: dict[str, Any] | None = None


class Choice(BaseModel):
    """The one choice."""

    index: int
    message: ReplyMessage
    logprobs: None = None
    finish_reason: Literal["stop", "length"]


class ChatCompletion(BaseModel):
    """The reply to ``POST /v1/chat/completions`` without streaming."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    system_fingerprint: str


class ServedModel(BaseModel):
    """One model."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(BaseModel):
    """The reply to ``GET /v1/models``."""

    object: Literal["list"]
    data: list[ServedModel]


class Fault(BaseModel):
    """What is wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """Every refusal."""

    error: Fault


class Health(BaseModel):
    """The state of the process or of the engine."""

    status: str
