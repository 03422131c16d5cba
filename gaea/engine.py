"""What speaks: a vision-language model behind one small protocol, here in this process, in `gaea.endpoint` at a server.

An engine looks at a picture once (:meth:`Engine.see`) and keeps what it saw; every later question reuses it. It talks,
in pieces or at once (:meth:`Engine.stream`, :meth:`Engine.complete`), and where its vocabulary has the S2 tokens, says
how probable each next S2 symbol is (:meth:`Engine.scorer`), which :mod:`gaea.decoding` turns into a belief. No size of
model is known here: nano and a 7 B model from a hub go through the same lines.

Engines may be used from several threads at once. The model of this process answers them one after the other, under a
lock that a whole reply holds: some models keep what they know of a picture's positions between two tokens. A server
does better, which is what servers are for.
"""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from gaea import adapters, geotokens
from gaea.concluding import Concluding
from gaea.decoding import NextToken
from gaea.errors import MissingDependencyError, ModelError, first_line
from gaea.prompts import Message, with_system
from gaea.speech import Speech, Unrepeated, Words
from gaea.streaming import POLL_S, Growing, Listener, in_thread
from gaea.treecache import TreeScorer

SPOKEN_FILE = "spoken.json"
MAX_NEW_TOKENS = 160


@dataclasses.dataclass(frozen=True, eq=False)
class Sight:
    """A picture as an engine holds it; opaque to everyone else."""

    image: Image.Image
    kept: dict[str, Any]


class Engine(Protocol):
    """Anything that can look at a picture and talk about it."""

    name: str
    has_geotokens: bool

    def see(self, image: Image.Image) -> Sight:
        """Look once; the result serves every later question."""

    def stream(
        self,
        messages: Sequence[Message],
        sight: Sight,
        *,
        max_new_tokens: int = MAX_NEW_TOKENS,
        stopped: Callable[[], bool] | None = None,
    ) -> Iterator[str]:
        """The model's reply to a conversation about the picture, greedy, in pieces as it is made.

        Args:
            messages: The conversation.
            sight: The picture.
            max_new_tokens: Longest reply.
            stopped: Asked from other threads as well, often; true ends the reply early. So does closing the iterator.

        Yields:
            Pieces of text, none empty, that add up to what :meth:`complete` returns.

        Raises:
            ModelError: The model cannot be reached or cannot take this input.
        """
        ...

    def complete(self, messages: Sequence[Message], sight: Sight, *, max_new_tokens: int = MAX_NEW_TOKENS) -> str:
        """The whole reply at once.

        Raises:
            ModelError: The model cannot be reached or cannot take this input.
        """

    def scorer(self, messages: Sequence[Message], sight: Sight) -> NextToken:
        """How probable each next S2 symbol is, after the conversation and a prefix of symbols.

        Raises:
            ModelError: The vocabulary has no S2 tokens.
        """


class TransformersEngine:
    """Any LLaVA-class model that transformers loads, in this process.

    Args:
        model: A folder or a hub name.
        adapter: A PEFT adapter (folder or hub name) put on top, or None.
        device: Torch device.
        quantize: ``4bit`` or ``8bit`` (bitsandbytes), or None.
        system: Whether the system message is sent; nano was trained without one.

    Raises:
        ModelError: Not found, damaged, or the adapter belongs to another model.
        MissingDependencyError: ``quantize`` without bitsandbytes.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        adapter: str | Path | None = None,
        device: str = "cpu",
        quantize: str | None = None,
        system: bool = True,
        name: str | None = None,
    ) -> None:
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self.name = name or str(model)
        self._system = system
        self._torch = torch
        self._lock = threading.RLock()  # the model, its processor, and what they keep between two calls
        options: dict[str, Any] = {"dtype": torch.float32 if device == "cpu" else torch.bfloat16}
        if quantize:
            options |= {"quantization_config": _quantization(quantize), "device_map": device}
        try:
            self._processor = AutoProcessor.from_pretrained(model, trust_remote_code=False)
            loaded = AutoModelForImageTextToText.from_pretrained(model, trust_remote_code=False, **options)
        except _loading_errors() as error:
            raise ModelError(f"'{model}' is not a model that can be loaded here: {first_line(error)}") from error
        if not quantize:
            loaded = loaded.to(device)
        self._core = loaded.model
        self._model = loaded if adapter is None else adapters.fit(loaded, self._processor, adapter)
        self._model.eval()
        self._seen = _remember_features(self._core)
        tokenizer = self._processor.tokenizer
        ids = tokenizer.convert_tokens_to_ids(list(geotokens.all_symbols()))
        unknown = tokenizer.unk_token_id
        self.has_geotokens = all(i is not None and i != unknown for i in ids)
        self._symbol_ids = ids
        self._spoken = None if adapter else _spoken(Path(model))  # an adapter has words of its own
        self._words = list(range(len(tokenizer))) if adapter and adapters.concludes(adapter) else []

    def see(self, image: Image.Image) -> Sight:
        """Prepare the picture; its features are computed with the first question and kept."""
        return Sight(image, {})

    def stream(
        self,
        messages: Sequence[Message],
        sight: Sight,
        *,
        max_new_tokens: int = MAX_NEW_TOKENS,
        stopped: Callable[[], bool] | None = None,
    ) -> Iterator[str]:
        """See :meth:`Engine.stream`; waiting for the model to be free ends early, too."""

        def make(listener: Listener) -> None:
            while not self._lock.acquire(timeout=POLL_S):
                if listener.enough():
                    return
            try:
                if not listener.enough():
                    self._speak(messages, sight, max_new_tokens, listener.put, listener.enough)
            finally:
                self._lock.release()

        return in_thread(make, stopped)

    def complete(self, messages: Sequence[Message], sight: Sight, *, max_new_tokens: int = MAX_NEW_TOKENS) -> str:
        """See :meth:`Engine.complete`."""
        said: list[str] = []
        with self._lock:
            self._speak(messages, sight, max_new_tokens, said.append, lambda: False)
        return "".join(said)

    def _speak(
        self,
        messages: Sequence[Message],
        sight: Sight,
        max_new_tokens: int,
        put: Callable[[str], None],
        enough: Callable[[], bool],
    ) -> None:
        """Generate greedily, and hand over what is new in the decoded text after every token."""
        from transformers import StoppingCriteria
        from transformers.generation import BaseStreamer

        torch, tokenizer = self._torch, self._processor.tokenizer
        inputs = self._inputs(messages, sight)
        prompt = inputs["input_ids"].shape[1]
        reply: list[int] = []
        text = Growing(by_words=bool(getattr(tokenizer, "clean_up_tokenization_spaces", False)))
        told = Unrepeated(put) if self._spoken else None

        def grown(*, done: bool = False) -> None:
            # Decoded from its beginning each time: a token means nothing without the ones before it.
            (told or put)(text.grown(tokenizer.decode(reply, skip_special_tokens=True), done=done))
            if told and done:
                told.end()

        class Told(BaseStreamer):  # type: ignore[misc]
            begun = False  # the first thing handed over is the prompt

            def put(self, value: Any) -> None:
                if self.begun:
                    reply.extend(value.reshape(-1).tolist())
                    grown()
                self.begun = True

            def end(self) -> None:
                grown(done=True)

        class Enough(StoppingCriteria):  # type: ignore[misc]
            def __call__(self, input_ids: Any, *_: Any, **__: Any) -> Any:
                return torch.full((len(input_ids),), enough(), dtype=torch.bool, device=input_ids.device)

        options: dict[str, Any] = {"max_new_tokens": max_new_tokens, "do_sample": False}
        held = self._held(messages)
        if held is not None:
            options["prefix_allowed_tokens_fn"] = lambda _, ids: held.allowed(ids[prompt:].tolist())
        with torch.inference_mode():
            self._model.generate(**inputs, **options, streamer=Told(), stopping_criteria=[Enough()])

    def _held(self, messages: Sequence[Message]) -> Speech | Concluding | None:
        """What a reply is held to; nothing, but for a model or an adapter that was taught to speak so."""
        tokenizer = self._processor.tokenizer

        def tokenize(text: str) -> list[int]:
            return list(tokenizer(text, add_special_tokens=False)["input_ids"])

        if self._spoken:
            return Speech.about(messages, self._spoken, tokenize, tokenizer.eos_token_id)
        if self._words:
            return Concluding.about(messages, tokenize, tokenizer.decode, self._words, tokenizer.eos_token_id)
        return None

    def scorer(self, messages: Sequence[Message], sight: Sight) -> NextToken:
        """Scores S2 symbols; the prompt and every symbol are read once, whatever the order of the paths."""
        if not self.has_geotokens:
            raise ModelError(f"{self.name} has no S2 tokens in its vocabulary: it can talk, but not point")
        with self._lock:
            return TreeScorer(self._model_alone, self._core, self._opened(messages, sight), self._symbol_ids)

    def _model_alone(self, **inputs: Any) -> Any:
        with self._lock:
            return self._model(**inputs)

    def _opened(self, messages: Sequence[Message], sight: Sight) -> Any:
        """Inputs in which the reply is begun with the mark that S2 symbols follow."""
        torch, inputs = self._torch, self._inputs(messages, sight)
        opened = torch.full((1, 1), self._symbol_ids[22], device=inputs["input_ids"].device)
        inputs["input_ids"] = torch.cat([inputs["input_ids"], opened], 1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        for kind in {"mm_token_type_ids", "token_type_ids"} & set(inputs):  # Qwen-like models: 0 is text
            inputs[kind] = torch.cat([inputs[kind], torch.zeros_like(inputs[kind][:, :1])], 1)
        return inputs

    def _inputs(self, messages: Sequence[Message], sight: Sight) -> Any:
        whole = with_system(messages) if self._system else list(messages)
        text = self._processor.apply_chat_template(whole, add_generation_prompt=True, tokenize=False)
        inputs = self._processor(text=text, images=[sight.image], return_tensors="pt", add_special_tokens=False)
        inputs = inputs.to(next(self._core.parameters()).device)
        # The same tensors every time: the features that were computed from them are found again.
        for key in [k for k in inputs if k.startswith(("pixel", "image_grid", "image_sizes"))]:
            inputs[key] = sight.kept.setdefault(key, inputs[key])
        return inputs


def _spoken(folder: Path) -> Words | None:
    """The words that a model trained here may always say; None for any other model."""
    listed = folder / SPOKEN_FILE
    if not listed.is_file():
        return None
    try:
        return Words.read(json.loads(listed.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ModelError(f"{listed} is not a list of words of speech: {error}") from error


def _loading_errors() -> tuple[type[Exception], ...]:
    """What transformers, torch and safetensors raise for a model that is missing, damaged or of another shape."""
    from safetensors import SafetensorError

    return (OSError, ValueError, KeyError, RuntimeError, SafetensorError)


def _quantization(bits: str) -> Any:
    from importlib.util import find_spec

    from transformers import BitsAndBytesConfig

    if find_spec("bitsandbytes") is None:
        raise MissingDependencyError("--quantize needs bitsandbytes: pip install 'gaea-geo[quantize]'")
    # Patterns from the start of a full name: "vision_tower" alone would not be found in "model.vision_tower".
    kept = [rf"(.*\.)?{name}" for name in ("vision_tower", "visual", "multi_modal_projector", "lm_head")]
    if bits == "4bit":
        return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", llm_int8_skip_modules=kept)
    if bits == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=kept)
    raise ModelError(f"--quantize {bits}: expected 4bit or 8bit")


def _remember_features(core: Any) -> Any:
    """Keep the picture's features for as long as its pixels live, so that later questions skip the tower."""
    from torch.utils.weak import WeakTensorKeyDictionary

    seen = WeakTensorKeyDictionary()
    compute = core.get_image_features

    def get_image_features(pixel_values: Any, *args: Any, **options: Any) -> Any:
        if pixel_values not in seen:
            seen[pixel_values] = compute(pixel_values, *args, **options)
        return seen[pixel_values]

    core.get_image_features = get_image_features
    return seen
