"""``gaea merge``: the merged model says what base and adapter said, other bases are refused, and a hub takes it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gaea import adapters, geotokens, prompts
from gaea.app import cli, merge
from gaea.engine import TransformersEngine
from gaea.errors import InputError, ModelError
from gaea.finetune import adapter_card, llava, lora
from gaea.finetune.lora import LoraRecipe

SHAPE = llava.LlavaShape(
    image_size=28,
    patch_size=14,
    vision_width=64,
    vision_layers=1,
    vision_embed_dim=16,
    width=32,
    layers=2,
    heads=2,
    mlp=48,
    vocabulary=420,
)


@pytest.fixture(scope="module", autouse=True)
def quiet() -> None:
    from transformers.utils import logging

    logging.disable_progress_bar()


def a_base(folder: Path, seed: int) -> Path:
    """A LLaVA without S2 symbols."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        ["Where is this?"],
        trainers.BpeTrainer(
            vocab_size=320, initial_alphabet=alphabet, special_tokens=list(llava.SPECIAL), show_progress=False
        ),
    )
    words = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens={"image_token": "<image>"},
    )
    words.chat_template = llava.TEMPLATE
    torch.manual_seed(seed)
    llava.build_model(words, SHAPE).save_pretrained(folder)
    llava.build_processor(words, SHAPE).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_base(tmp_path_factory.mktemp("base"), seed=0)


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter as a run leaves it, with weights that change much."""
    folder = tmp_path_factory.mktemp("adapter")
    settings = LoraRecipe(model=str(base), rank=4, precision="float32")
    student = lora.prepare(*lora.load(settings), settings)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in student.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))
    student.model.save_pretrained(folder, save_embedding_layers=False)
    student.processor.save_pretrained(folder)
    adapter_card.write(folder, adapter_card.Made(settings, student.likeness, 1, "0" * 64, 0, 1, {}))
    return folder


PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (28, 28, 3), np.uint8))


def scores(engine: TransformersEngine) -> np.ndarray:
    """Log-probabilities of the six faces."""
    prefixes = engine.scorer(prompts.locate(), engine.see(PICTURE))
    return np.asarray(prefixes(np.zeros((1, 0), np.int64)))[0, : geotokens.N_FACES]


def test_merged_says_what_base_and_adapter_said(base: Path, adapter: Path, tmp_path: Path, capsys: Any) -> None:
    assert cli.main(["merge", str(base), str(adapter), str(tmp_path / "merged")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "merged")
    together = TransformersEngine(base, adapter=adapter)
    merged = TransformersEngine(tmp_path / "merged")
    assert together.has_geotokens
    assert merged.has_geotokens
    assert not TransformersEngine(base).has_geotokens
    assert np.allclose(scores(together), scores(merged), atol=1e-3)
    assert np.ptp(scores(merged)) > 0.01
    held = {found.name for found in (tmp_path / "merged").iterdir()}
    assert {"model.safetensors", "tokenizer.json", "config.json", "README.md", "merged.json"} <= held
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_base_is_known_in_any_precision_and_no_other_is(
    base: Path, adapter: Path, tmp_path: Path, dtype: Any
) -> None:
    from transformers import AutoModelForImageTextToText

    adapters.check_base(adapter, AutoModelForImageTextToText.from_pretrained(base, dtype=dtype))
    other = a_base(tmp_path / "other", seed=1)
    with pytest.raises(ModelError, match=r"is an adapter for '.*', and this model differs: other weights in embedding"):
        adapters.check_base(adapter, AutoModelForImageTextToText.from_pretrained(other, dtype=dtype))


def test_an_adapter_for_another_base_is_refused_with_one_line(adapter: Path, tmp_path: Path, capsys: Any) -> None:
    other = a_base(tmp_path / "other", seed=1)
    PICTURE.save(tmp_path / "photo.jpg")
    for command in (
        ["merge", str(other), str(adapter), str(tmp_path / "merged")],
        [
            "ask",
            str(tmp_path / "photo.jpg"),
            "--model",
            str(other),
            "--adapter",
            str(adapter),
            "--index",
            "none",
            "--quiet",
        ],
    ):
        assert cli.main(command) == 2
        told = capsys.readouterr().err.strip().splitlines()[-1]
        assert "and this model differs: other weights in" in told
    assert not (tmp_path / "merged").exists()
    from transformers import AutoModelForImageTextToText

    nano = AutoModelForImageTextToText.from_pretrained(lora.shipped_nano())
    with pytest.raises(ModelError, match=r"hidden_size \d+, not 32"):
        adapters.check_base(adapter, nano)


def test_what_cannot_be_merged_leaves_nothing(base: Path, adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="is not empty"):
        merge.merge(str(base), str(adapter), tmp_path / "full")
    with pytest.raises(ModelError, match="there is no such folder"):
        merge.merge(str(base), str(tmp_path / "absent"), tmp_path / "merged")
    with pytest.raises(ModelError, match="not a model that can be loaded"):
        merge.merge(str(tmp_path / "absent"), str(adapter), tmp_path / "merged")
    assert [found.name for found in tmp_path.iterdir()] == ["full"]


@pytest.fixture
def hub() -> Iterator[tuple[str, list[tuple[str, str, bytes]]]]:
    """A stand-in for the hub: it takes what huggingface_hub sends, and remembers it."""
    heard: list[tuple[str, str, bytes]] = []

    class Hub(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = self.headers.get("Content-Length")
            body = self.rfile.read(int(size)) if size else self._chunks()
            heard.append(("POST", self.path, body))
            reply: dict[str, Any] = {}
            if self.path == "/api/repos/create":
                reply = {"url": "https://huggingface.co/some/where", "name": "some/where", "id": "some/where"}
            elif "preupload" in self.path:
                asked = json.loads(body)["files"]
                reply = {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked]}
            elif "commit" in self.path:
                reply = {
                    "commitUrl": "https://huggingface.co/some/where/commit/0",
                    "commitOid": "0" * 40,
                    "success": True,
                }
            self._say(reply)

        def do_GET(self) -> None:
            heard.append(("GET", self.path, b""))
            self._say({"id": "some/where", "sha": "0" * 40, "siblings": []})

        def _chunks(self) -> bytes:
            found = b""
            while size := int(self.rfile.readline().strip() or b"0", 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            return found

        def _say(self, reply: dict[str, Any]) -> None:
            body = json.dumps(reply).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", heard
    server.shutdown()
    server.server_close()


def test_push_sends_every_file_to_the_hub(adapter: Path, hub: Any, monkeypatch: Any) -> None:
    from huggingface_hub import HfApi, constants

    url, heard = hub
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    told = merge.push(adapter, "some/where", api=lambda: HfApi(endpoint=url, token="hf_test"))
    assert told.startswith("sent ")
    created = json.loads(next(body for _, path, body in heard if path == "/api/repos/create"))
    assert created.get("visibility") == "private" or created.get("private") is True
    commit = next(body for _, path, body in heard if "/commit/" in path)
    lines = [json.loads(line) for line in commit.splitlines()]
    sent = {line["value"]["path"] for line in lines if line["key"] == "file"}
    assert {"adapter_model.safetensors", "adapter_config.json", "gaea_adapter.json", "README.md"} <= sent


def test_a_dry_run_says_what_would_be_sent_and_sends_nothing(adapter: Path, tmp_path: Path) -> None:
    def no_client() -> Any:
        raise AssertionError("a client was made")

    told = merge.push(adapter, "some/where", dry_run=True, api=no_client)
    assert told.startswith("would send ")
    assert "to some/where (private)" in told
    assert "adapter_model.safetensors" in told
    with pytest.raises(InputError, match="expected NAME/REPOSITORY"):
        merge.push(adapter, "somewhere", dry_run=True)
    with pytest.raises(InputError, match="holds no safetensors"):
        merge.push(tmp_path, "some/where", dry_run=True)


def test_a_hub_that_does_not_answer_is_one_line(adapter: Path, monkeypatch: Any) -> None:
    from huggingface_hub import HfApi, constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(ModelError, match="some/where did not take"):
        merge.push(adapter, "some/where", api=lambda: HfApi(endpoint="http://127.0.0.1:9", token="hf_test"))
