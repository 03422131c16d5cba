"""One contract for encoders, held by a tiny random open_clip model that never sees a network."""

import json
import logging

import numpy as np
import pytest
from PIL import Image

from gaea.errors import InputError, ModelError
from gaea.rag.encoder import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    Encoder,
    OpenClipEncoder,
    TwoStepEncoder,
    folder_fingerprint,
)

CONFIG = {
    "model_cfg": {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    },
    "preprocess_cfg": {"mean": [0.3, 0.3, 0.3], "std": [0.2, 0.2, 0.2], "interpolation": "bicubic"},
}


def write_model(folder, seed=0):
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder.mkdir()
    (folder / CONFIG_FILE).write_text(json.dumps(CONFIG))
    torch.manual_seed(seed)
    model = open_clip.CLIP(**CONFIG["model_cfg"])
    save_file({name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}, folder / WEIGHTS_FILE)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def encoder(folder):
    return OpenClipEncoder(folder)


def make_pictures(n=5, size=64):
    return list(np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8))


def test_keeps_the_contract(encoder):
    assert isinstance(encoder, Encoder)
    assert (encoder.name, encoder.dim, len(encoder.fingerprint)) == ("tiny", 32, 64)


def test_rows_are_unit_float32(encoder):
    rows = encoder.encode(make_pictures())
    assert rows.shape == (5, 32)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)


def test_nothing_in_nothing_out(encoder):
    assert encoder.encode([]).shape == (0, 32)
    assert encoder.encode_text([]).shape == (0, 32)


def test_pil_and_array_and_mode_agree(encoder):
    array = make_pictures(1)[0]
    picture = Image.fromarray(array)
    rows = encoder.encode([array, picture, picture.convert("RGBA")])
    np.testing.assert_allclose(rows[1:], rows[[0, 0]], atol=1e-6)


def test_batches_do_not_change_rows(folder, encoder):
    pictures = make_pictures(7)
    small = OpenClipEncoder(folder, batch_size=2)
    np.testing.assert_allclose(small.encode(pictures), encoder.encode(pictures), atol=1e-5)


def test_two_steps_are_one(folder, encoder):
    """The first step may be done elsewhere, picture by picture, as threads do that decode ahead."""
    pictures = make_pictures(7)
    small = OpenClipEncoder(folder, batch_size=3)
    assert isinstance(small, TwoStepEncoder)
    ready = [small.preprocess(picture) for picture in pictures]
    np.testing.assert_array_equal(small.encode_preprocessed(ready), small.encode(pictures))
    assert small.encode_preprocessed([]).shape == (0, 32)


def test_any_size_and_shape_of_picture(encoder):
    assert encoder.encode([Image.new("L", (300, 20), 90), Image.new("P", (1, 1))]).shape == (2, 32)


def test_equals_open_clip_itself(folder, encoder):
    import open_clip
    import torch

    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    picture = Image.fromarray(make_pictures(1, size=90)[0])
    with torch.inference_mode():
        expected = model.eval().encode_image(transform(picture)[None], normalize=True).numpy()
    np.testing.assert_allclose(encoder.encode([picture]), expected, atol=1e-5)


def test_text_lands_in_the_same_space(encoder):
    rows = encoder.encode_text(["a coast from orbit", "a desert", "a desert"])
    assert rows.shape == (3, 32)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(rows[1], rows[2])
    assert not np.allclose(rows[0], rows[1])


def test_bf16_points_the_same_way_and_keeps_the_fingerprint(folder, encoder):
    low = OpenClipEncoder(folder, precision="bf16")
    pictures = make_pictures(4)
    assert low.fingerprint == encoder.fingerprint
    assert ((low.encode(pictures) * encoder.encode(pictures)).sum(axis=1) > 0.999).all()


def test_fingerprint_knows_weights_and_preprocessing(folder, encoder, tmp_path):
    assert folder_fingerprint(folder) == encoder.fingerprint
    other = write_model(tmp_path / "other", seed=1)
    assert folder_fingerprint(other) != encoder.fingerprint
    same = write_model(tmp_path / "same")
    assert folder_fingerprint(same) == encoder.fingerprint
    changed = json.loads((same / CONFIG_FILE).read_text())
    changed["preprocess_cfg"]["mean"] = [0.5, 0.5, 0.5]
    (same / CONFIG_FILE).write_text(json.dumps(changed))
    assert folder_fingerprint(same) != encoder.fingerprint


def test_loading_sets_up_no_logging(folder):
    before = list(logging.getLogger().handlers)
    OpenClipEncoder(folder)
    assert logging.getLogger().handlers == before


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8), "a path"]
)
def test_what_is_no_picture_is_named(encoder, image):
    with pytest.raises(InputError, match=r"image 1: expected \(height, width, 3\) uint8"):
        encoder.encode([*make_pictures(1), image])


def test_unknown_models_are_one_clear_line(tmp_path, folder):
    with pytest.raises(ModelError, match="'ViT-Z-99' is neither a folder nor an open_clip model name"):
        OpenClipEncoder("ViT-Z-99", "openai")
    with pytest.raises(ModelError, match="ViT-B-32 needs pretrained weights: one of openai"):
        OpenClipEncoder("ViT-B-32")
    with pytest.raises(ModelError, match=r"'laion9b' is no .safetensors file and no tag of ViT-B-32"):
        OpenClipEncoder("ViT-B-32", "laion9b")
    with pytest.raises(ModelError, match=f"holds no {CONFIG_FILE}"):
        OpenClipEncoder(tmp_path)
    with pytest.raises(ModelError, match=f"holds no {CONFIG_FILE}"):
        OpenClipEncoder(tmp_path / "absent")
    with pytest.raises(InputError, match="precision 'int4' is not one of fp32, bf16"):
        OpenClipEncoder(folder, precision="int4")


def test_damaged_files_are_one_clear_line(tmp_path):
    model = write_model(tmp_path / "model")
    weights = (model / WEIGHTS_FILE).read_bytes()
    (model / WEIGHTS_FILE).write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ModelError, match="encoder model does not load: ") as caught:
        OpenClipEncoder(model)
    assert "\n" not in str(caught.value)
    (model / CONFIG_FILE).write_text("{not json")
    with pytest.raises(ModelError, match="is not an open_clip configuration"):
        OpenClipEncoder(model)


def test_importing_loads_no_framework():
    import subprocess
    import sys

    code = (
        "import sys, gaea.rag.encoder, gaea.rag.gallery, gaea.rag.store; "
        "print([m for m in ('torch', 'open_clip', 'chromadb', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
