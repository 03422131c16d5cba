"""The whole path with real parts that know nothing: a tiny LLaVA and a tiny encoder, both with random weights."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from PIL import Image

from gaea.answer import schema
from gaea.app import cli


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers.utils import logging

    from gaea.finetune import llava

    logging.disable_progress_bar()
    torch.manual_seed(0)
    shape = llava.LlavaShape(
        image_size=32,
        vision_width=64,
        vision_layers=1,
        vision_embed_dim=16,
        width=32,
        layers=1,
        heads=2,
        mlp=64,
        vocabulary=420,
    )
    tokenizer = llava.train_tokenizer(["where is this", "I cannot tell"], shape.vocabulary)
    folder = tmp_path_factory.mktemp("models") / "tiny-llava"
    llava.save(llava.build_model(tokenizer, shape), llava.build_processor(tokenizer, shape), folder)
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import open_clip
    import torch
    from safetensors.torch import save_file

    from gaea.rag.encoder import CONFIG_FILE, WEIGHTS_FILE

    torch.manual_seed(0)
    shape = {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
        "text_cfg": {"context_length": 16, "vocab_size": 512, "width": 32, "heads": 2, "layers": 1},
    }
    look = {"mean": [0.3, 0.3, 0.3], "std": [0.2, 0.2, 0.2], "interpolation": "bicubic"}
    folder = tmp_path_factory.mktemp("encoders") / "tiny-clip"
    folder.mkdir()
    (folder / CONFIG_FILE).write_text(json.dumps({"model_cfg": shape, "preprocess_cfg": look}))
    save_file({k: v.contiguous() for k, v in open_clip.CLIP(**shape).state_dict().items()}, folder / WEIGHTS_FILE)
    return folder


@pytest.fixture(scope="module")
def index(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from gaea.rag.encoder import OpenClipEncoder
    from gaea.rag.gallery import Gallery, GalleryMeta

    rng = np.random.default_rng(0)
    eye = OpenClipEncoder(encoder)
    rows = eye.encode(list(rng.integers(0, 255, (40, 64, 64, 3), dtype=np.uint8)))
    meta = GalleryMeta(eye.name, eye.fingerprint, eye.dim, source="noise", credit="nobody")
    folder = tmp_path_factory.mktemp("index")
    places = rng.uniform(-60, 60, 40), rng.uniform(-180, 180, 40)
    Gallery.from_embeddings(rows, *places, meta=meta, width_km=100).write(folder / "gallery.parquet")
    return folder


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.linear_gradient("L").resize((64, 64)).convert("RGB").save(path)
    return path


def refused(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> str:
    assert cli.main([str(argument) for argument in argv]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("gaea: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_any_model_with_any_index_answers(model, encoder, index, photo, tmp_path, capsys) -> None:
    parts = ["--model", model, "--encoder", encoder, "--index", index, "--store", "memory"]
    files = ["--html", tmp_path / "a.html", "--geojson", tmp_path / "a.geojson"]
    argv = ["ask", photo, "Where is this?", "Are you sure?", "--guess", "--json", *parts, *files]
    assert cli.main([str(argument) for argument in argv]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    first, second = (json.loads(line) for line in captured.out.splitlines())
    for answer in (first, second):
        jsonschema.validate(answer, schema())
        assert answer["point"] is not None
        assert answer["provenance"]["model"] == str(model)
    assert first["point"] == second["point"]
    assert {"recall", "tokens"} <= set(first["timings"])
    assert not {"recall", "tokens"} & set(second["timings"]), "the second question reuses what was seen"
    roles = {item["properties"]["role"] for item in json.loads((tmp_path / "a.geojson").read_text())["features"]}
    assert {"answer", "region"} <= roles


def test_a_model_that_knows_nothing_gives_no_point(model, photo, capsys) -> None:
    assert cli.main(["ask", str(photo), "--model", str(model), "--index", "none"]) == 0
    assert "none: cannot tell; --guess gives the most probable one" in capsys.readouterr().out


def test_an_index_of_another_encoder_is_one_line(model, encoder, photo, tmp_path, capsys) -> None:
    from gaea.rag.gallery import Gallery, GalleryMeta

    rows = np.random.default_rng(0).normal(size=(5, 16))
    meta = GalleryMeta(encoder="another", fingerprint="0" * 64, dim=16)
    Gallery.from_embeddings(rows, np.zeros(5), np.zeros(5), meta=meta).write(tmp_path / "gallery.parquet")
    line = refused(capsys, "ask", photo, "--model", model, "--encoder", encoder, "--index", tmp_path)
    assert "index belongs to encoder another" in line


def test_an_unknown_adapter_is_one_line(model, photo, capsys) -> None:
    line = refused(capsys, "ask", photo, "--model", model, "--index", "none", "--adapter", "no-such-adapter")
    assert "no-such-adapter" in line


@pytest.mark.parametrize("device", ["toaster", "cuda:99"])
def test_a_device_that_is_not_there_is_one_line(device, model, photo, capsys) -> None:
    assert device in refused(capsys, "ask", photo, "--model", model, "--index", "none", "--device", device)


@pytest.mark.parametrize("kept", [0, 2000])
def test_damaged_weights_are_one_line(kept, model, photo, tmp_path, capsys) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in model.iterdir():
        (broken / file.name).write_bytes(file.read_bytes()[: kept if file.suffix == ".safetensors" else None])
    assert "broken" in refused(capsys, "ask", photo, "--model", broken, "--index", "none")
