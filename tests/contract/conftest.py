"""Servers that speak OpenAI's protocol on this machine: a small one over transformers, and vLLM where there is one."""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import io
import json
import re
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gaea import geotokens
from gaea.app import vllm
from gaea.app.assemble import NANO
from gaea.engine import SPOKEN_FILE, TransformersEngine
from gaea.vllm_layout import lay_out


class ModelServer(HTTPServer):
    """A model as vLLM serves it, one request at a time, and every text read anew from its beginning."""

    def __init__(self, engine: TransformersEngine) -> None:
        self.engine = engine
        self.pictures: dict[str, Image.Image] = {}
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def respond(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        tokenizer = self.engine._processor.tokenizer
        if path == "/tokenize":
            ids = tokenizer(body["prompt"], add_special_tokens=body["add_special_tokens"])["input_ids"]
            return {"tokens": ids, "token_strs": tokenizer.convert_ids_to_tokens(ids)}
        out = self._generate(body)
        text = tokenizer.decode(out.sequences[0, out.prompt :], skip_special_tokens=True)
        if body.get("stream"):
            return {"stream": re.findall(r"\s*\S+\s*", text)}
        choice: dict[str, Any] = {"message": {"role": "assistant", "content": text}}
        if body.get("logprobs"):
            logits = out.logits[0][0].float().log_softmax(-1)
            drawn = int(out.sequences[0, out.prompt])
            top = [{"token": f"token_id:{i}", "logprob": float(logits[i])} for i in {*body["logprob_token_ids"], drawn}]
            choice["logprobs"] = {"content": [{"token": text, "top_logprobs": top}]}
        return {"choices": [choice]}

    def _generate(self, body: dict[str, Any]) -> Any:
        messages, pictures = [], []
        for message in body["messages"]:
            parts = message["content"]
            parts = [{"type": "text", "text": parts}] if isinstance(parts, str) else parts
            for part in parts:
                if part["type"] == "image_url":
                    if part["image_url"]:
                        data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
                        self.pictures[part["uuid"]] = Image.open(io.BytesIO(data))
                    pictures.append(self.pictures[part["uuid"]])
            shown = [{"type": "image"} if part["type"] == "image_url" else part for part in parts]
            messages.append({"role": message["role"], "content": shown})
        processor, model = self.engine._processor, self.engine._model
        text = processor.apply_chat_template(
            messages,
            add_generation_prompt=body.get("add_generation_prompt", True),
            continue_final_message=body.get("continue_final_message", False),
            tokenize=False,
        )
        inputs = processor(text=text, images=pictures, return_tensors="pt", add_special_tokens=False)
        options = {"do_sample": False, "output_logits": True, "return_dict_in_generate": True}
        if biased := body.get("logit_bias"):
            options["suppress_tokens"] = [int(token) for token, bias in biased.items() if bias <= -100]
        out = model.generate(**inputs, max_new_tokens=body["max_tokens"], **options)
        out.prompt = inputs["input_ids"].shape[1]
        return out


class _Handler(BaseHTTPRequestHandler):
    server: ModelServer

    def _answer(self, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self._answer({"data": [{"id": "gaea-nano"}]})

    def _stream(self, pieces: list[str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # who asked had enough
            for piece in pieces:
                choice = {"index": 0, "delta": {"content": piece}, "finish_reason": None}
                self.wfile.write(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n")
                self.wfile.flush()
            ending = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
            self.wfile.write(b"data: " + json.dumps(ending).encode() + b"\n\ndata: [DONE]\n\n")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = self.server.respond(self.path, body)
        self._stream(said["stream"]) if "stream" in said else self._answer(said)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def talking_nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nano without the list of words that holds its speech in process: no server knows that list."""
    folder = tmp_path_factory.mktemp("models") / "nano"
    shutil.copytree(NANO / "llava", folder, ignore=shutil.ignore_patterns(SPOKEN_FILE))
    return folder


@pytest.fixture(scope="session")
def in_process(talking_nano: Path) -> TransformersEngine:
    """It speaks without S2 symbols, as an endpoint asks a server to."""
    engine = TransformersEngine(talking_nano, system=False, name="gaea-nano")
    symbols = engine._processor.tokenizer.convert_tokens_to_ids(list(geotokens.all_symbols()))
    engine._model.generation_config.suppress_tokens = symbols
    return engine


@pytest.fixture(scope="session")
def model_server(in_process: TransformersEngine) -> Iterator[str]:
    """The same weights behind HTTP."""
    server = ModelServer(in_process)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.url
    server.shutdown()
    thread.join()
    server.server_close()


def random_adapter(model: Path, into: Path) -> Path:
    """A LoRA on every matrix of the language model, random, and large enough to be heard."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText

    torch.manual_seed(0)
    base = AutoModelForImageTextToText.from_pretrained(model, dtype=torch.float32)
    matrices = "q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj"
    config = LoraConfig(
        r=8, lora_alpha=16, target_modules=rf".*language_model.*\.({matrices})", init_lora_weights=False
    )
    wrapped = get_peft_model(base, config)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.mul_(0.2)
    wrapped.save_pretrained(into)
    return into


@pytest.fixture(scope="session")
def adapter(talking_nano: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_adapter(talking_nano, tmp_path_factory.mktemp("adapters") / "geo")


@pytest.fixture(scope="session")
def needs_vllm() -> None:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed here: pip install 'gaea-geo[serve-cpu]'")


@pytest.fixture(scope="session")
def vllm_url(needs_vllm: None, adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Nano and a LoRA module in a real vLLM, on the CPU; started once for all tests that need it."""
    folder = tmp_path_factory.mktemp("vllm")
    config = vllm.VllmConfig(
        model=lay_out(NANO / "llava", folder / "nano"),
        name="gaea-nano",
        adapters={"geo": adapter},
        port=vllm.free_port(),
        dtype="float32",
        context=1024,
        compiled=False,
    )
    with vllm.running(config, log=folder / "vllm.log") as url:
        yield url
