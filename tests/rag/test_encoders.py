"""Specs of encoders through open_clip's own loading code; weights are random, and sizes are real where marked slow."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gaea.errors import GaeaError, InputError, ModelError
from gaea.rag import encoders
from gaea.rag.encoder import CONFIG_FILE, WEIGHTS_FILE, Encoder, OpenClipEncoder
from gaea.rag.encoders import EncoderIdentity, fastest_precision, load_encoder
from gaea.rag.gallery import Gallery

NANO = Path(encoders.__file__).parents[1] / "gaea" / "nano"
SMALL = {
    # The published configurations' shape (patches, pooling, activation), with few and narrow layers.
    "ViT-S-32-of-the-tests": {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 32},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    },
    "SigLIP-S-16-of-the-tests": {
        "embed_dim": 192,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 224,
            "timm_model_name": "vit_tiny_patch16_224",
            "timm_model_pretrained": False,
            "timm_pool": "avg",
            "timm_proj": "none",
        },
        "text_cfg": {
            "context_length": 16,
            "vocab_size": 64,
            "hf_tokenizer_name": "absent/tokenizer",
            "width": 32,
            "heads": 2,
            "layers": 1,
            "no_causal_mask": True,
            "proj_bias": True,
            "pool_type": "last",
        },
    },
}


@pytest.fixture(scope="module", autouse=True)
def small_models(tmp_path_factory):
    """Register small configurations, for this module only."""
    import open_clip
    from open_clip import factory

    paths, configs = list(factory._MODEL_CONFIG_PATHS), dict(factory._MODEL_CONFIGS)
    folder = tmp_path_factory.mktemp("configs")
    for name, config in SMALL.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    yield
    factory._MODEL_CONFIG_PATHS[:] = paths
    factory._MODEL_CONFIGS.clear()
    factory._MODEL_CONFIGS.update(configs)


def save_random(model_name, file, seed=0):
    """Random weights in the shape of a named model; returns the model itself, with what the file holds."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    model = open_clip.create_model(model_name, pretrained_image=False, pretrained_text=False).half().float().eval()
    save_file({name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}, file)
    return model


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    file = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save_random("ViT-S-32-of-the-tests", file)
    return file


def photos(n=3):
    rng = np.random.default_rng(0)
    # Smooth pictures of odd shapes: noise would hide what cropping and resizing do.
    return [
        Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(
            (300, 200 + 40 * i), Image.Resampling.BICUBIC
        )
        for i in range(n)
    ]


def test_nano_is_the_encoder_of_the_shipped_gallery():
    encoder = load_encoder("nano")
    Gallery.read(NANO / "gallery" / "gallery.parquet").check_encoder(encoder)
    assert isinstance(encoder, Encoder)
    assert (encoder.name, encoder.spec, encoder.precision) == ("nano", "nano", "fp32")
    np.testing.assert_array_equal(encoder.encode(photos()), OpenClipEncoder(NANO / "clip").encode(photos()))


def test_nano_lies_where_the_caller_says_and_folders_load_by_path(tmp_path):
    copy = shutil.copytree(NANO / "clip", tmp_path / "copy")
    told, by_path, by_text = load_encoder("nano", nano=copy), load_encoder(copy), load_encoder(str(copy))
    assert told.fingerprint == by_path.fingerprint == by_text.fingerprint
    assert (told.name, by_path.name, by_text.spec) == ("nano", "copy", str(copy))


def test_a_name_with_a_file_equals_open_clip_itself(tmp_path):
    import torch
    from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD, image_transform

    model = save_random("ViT-S-32-of-the-tests", tmp_path / "w.safetensors")
    encoder = load_encoder(f"ViT-S-32-of-the-tests@{tmp_path / 'w.safetensors'}")
    transform = image_transform(64, is_train=False, mean=OPENAI_DATASET_MEAN, std=OPENAI_DATASET_STD)
    with torch.inference_mode():
        expected = model.encode_image(torch.stack([transform(photo) for photo in photos()]), normalize=True).numpy()
    np.testing.assert_allclose(encoder.encode(photos()), expected, atol=1e-5)
    assert encoder.spec.startswith("ViT-S-32-of-the-tests@")


def test_a_siglip_shaped_model_loads_and_says_what_its_tokenizer_lacks(tmp_path):
    save_random("SigLIP-S-16-of-the-tests", tmp_path / "w.safetensors")
    encoder = load_encoder(f"SigLIP-S-16-of-the-tests@{tmp_path / 'w.safetensors'}")
    rows = encoder.encode(photos())
    assert rows.shape == (3, 192)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    with pytest.raises(ModelError, match="has no usable tokenizer"):
        encoder.encode_text(["a road"])


@pytest.mark.parametrize(
    ("model", "mean", "mode"),
    [("ViT-B-32", 0.48145466, "shortest"), ("ViT-L-14", 0.48145466, "shortest"), ("ViT-B-16-SigLIP", 0.5, "squash")],
)
def test_files_are_preprocessed_for_as_the_published_weights(model, mean, mode):
    from gaea.rag.encoder import _as_published

    told = _as_published(model, "my/own.safetensors")
    assert (told["image_mean"][0], told["image_resize_mode"]) == (mean, mode)


def test_tags_bring_their_activation():
    from gaea.rag.encoder import _as_published

    assert _as_published("ViT-B-32", "openai") == {"force_quick_gelu": True}
    assert _as_published("ViT-B-32", "laion2b_s34b_b79k") == {"force_quick_gelu": False}
    assert _as_published("hf-hub:owner/model", None) == {}


def hub_cache(root, repository, files):
    """What the hub client leaves behind after a download."""
    kept = root / f"models--{repository.replace('/', '--')}"
    snapshot = kept / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("0" * 40)
    for name, source in files.items():
        shutil.copy(source, snapshot / name)
    return snapshot


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_hub_models_come_from_the_cache(cache):
    clip = NANO / "clip"
    hub_cache(cache, "owner/model", {name: clip / name for name in (CONFIG_FILE, WEIGHTS_FILE)})
    encoder = load_encoder("hf-hub:owner/model")
    assert (encoder.name, encoder.spec) == ("owner/model", "hf-hub:owner/model")
    assert encoder.fingerprint == load_encoder("nano").fingerprint


def test_a_hub_model_of_pickles_is_refused(cache, tmp_path):
    (tmp_path / "pickle").write_bytes(b"\x80\x04.")
    files = {CONFIG_FILE: NANO / "clip" / CONFIG_FILE, "open_clip_pytorch_model.bin": tmp_path / "pickle"}
    hub_cache(cache, "owner/pickled", files)
    with pytest.raises(ModelError, match=f"holds no {WEIGHTS_FILE}"):
        load_encoder("hf-hub:owner/pickled")
    # A tag whose repository is cached with nothing but a pickle, which open_clip itself would open.
    hub_cache(cache, "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", {"open_clip_pytorch_model.bin": tmp_path / "pickle"})
    with pytest.raises(ModelError, match="ViT-B-32/laion2b_s34b_b79k has no safetensors within reach"):
        load_encoder("ViT-B-32/laion2b_s34b_b79k")


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("ViT-B-32", "ViT-B-32 needs pretrained weights"),
        ("ViT-B-32/laion9b", "'laion9b' is no .safetensors file and no tag"),
        ("ViT-Z/openai", "'ViT-Z' is neither a folder nor an open_clip model name"),
        ("ViT-B-32@weights.pt", "may be a pickle"),
        ("ViT-B-32@absent.safetensors", "there is no .safetensors file at absent.safetensors"),
        ("ViT-B-32@", "there is no .safetensors file"),
        ("hf-hub:owner/absent", "hf-hub:owner/absent cannot be fetched"),
        ("./absent", f"holds no {CONFIG_FILE}"),
    ],
)
def test_what_does_not_load_is_one_clear_line(spec, told, cache):
    with pytest.raises(ModelError, match=told) as caught:
        load_encoder(spec)
    assert "\n" not in str(caught.value)


def test_pickles_by_extension_are_refused_even_if_they_exist(tmp_path):
    for suffix in (".pt", ".bin", ".pth", ".ckpt"):
        (tmp_path / f"w{suffix}").write_bytes(b"\x80\x04.")
        with pytest.raises(ModelError, match="convert the weights to safetensors"):
            load_encoder(f"ViT-B-32@{tmp_path / f'w{suffix}'}")


def test_identity_says_what_differs(weights, tmp_path):
    one = load_encoder(f"ViT-S-32-of-the-tests@{weights}")
    ours = EncoderIdentity.of(one)
    assert EncoderIdentity.from_json(json.loads(json.dumps(ours.to_json())) | {"later": 1}) == ours
    save_random("ViT-S-32-of-the-tests", tmp_path / "other.safetensors", seed=1)
    other = EncoderIdentity.of(load_encoder(f"ViT-S-32-of-the-tests@{tmp_path / 'other.safetensors'}"))
    assert ours.preprocess_sha256 == other.preprocess_sha256
    assert [told.split(" ")[0] for told in ours.differences(other)] == ["weights"]
    low = EncoderIdentity.of(load_encoder(f"ViT-S-32-of-the-tests@{weights}", precision="bf16"))
    assert (low.precision, ours.differences(low)) == ("bf16", ())
    with pytest.raises(ModelError, match="record of an encoder is incomplete"):
        EncoderIdentity.from_json({"name": "x"})


def test_identity_tells_preprocessing_from_weights(tmp_path):
    changed = shutil.copytree(NANO / "clip", tmp_path / "changed")
    config = json.loads((changed / CONFIG_FILE).read_text())
    config["preprocess_cfg"]["mean"] = [0.5, 0.5, 0.5]
    (changed / CONFIG_FILE).write_text(json.dumps(config))
    ours, theirs = (EncoderIdentity.of(load_encoder(spec)) for spec in ("nano", changed))
    assert ours.weights_sha256 == theirs.weights_sha256
    assert not ours.same_space(theirs)
    assert [told.split(" ")[0] for told in ours.differences(theirs)] == ["preprocessing"]


def test_auto_precision_follows_the_processor(monkeypatch, weights):
    import torch

    able = {"avx512_bf16": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert fastest_precision("cpu") == "bf16"
    assert load_encoder(f"ViT-S-32-of-the-tests@{weights}", precision="auto").precision == "bf16"
    able["avx512_bf16"] = False
    assert fastest_precision("cpu") == "fp32"
    able["amx_bf16"] = True
    assert fastest_precision("cpu") == "bf16"
    assert fastest_precision("mps") == "fp32"
    with pytest.raises(InputError, match="precision 'int4'"):
        load_encoder(f"ViT-S-32-of-the-tests@{weights}", precision="int4")


def test_nano_in_bf16_points_the_same_way():
    full, low = load_encoder("nano"), load_encoder("nano", precision="bf16")
    cosine = (full.encode(photos(8)) * low.encode(photos(8))).sum(1)
    assert cosine.min() > 0.99


def test_every_refusal_is_a_gaea_error():
    assert issubclass(ModelError, GaeaError)


@pytest.mark.parametrize("model", ["ViT-S-32-of-the-tests", "SigLIP-S-16-of-the-tests"])
def test_an_index_is_built_and_asked_with_a_file_of_weights(model, tmp_path, capsys):
    from gaea.rag.__main__ import main

    file, pictures = tmp_path / "weights.safetensors", tmp_path / "pictures"
    save_random(model, file)
    pictures.mkdir()
    for number, photo in enumerate(photos()):
        photo.save(pictures / f"{number}.png")
    places = "".join(f"{number}.png,{40 + number}.0,{7 + number}.0\n" for number in range(3))
    (pictures / "metadata.csv").write_text("file_name,lat,lon\n" + places)
    index = ["--encoder", f"{model}@{file}", "--licence", "public domain"]
    assert main(["build", str(tmp_path / "index"), str(pictures), *index]) == 0
    capsys.readouterr()
    # The index knows its encoder: none is named, and the picture itself comes first.
    assert main(["query", str(tmp_path / "index"), str(pictures / "1.png"), "-k", "1", "--store", "memory"]) == 0
    told = capsys.readouterr().out
    assert "41.0" in told
    assert "42.0" not in told
    save_random(model, file, seed=1)
    assert main(["query", str(tmp_path / "index"), str(pictures / "1.png"), "--store", "memory"]) == 2
    assert "weights" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("model", "dim"), [("ViT-B-32", 512), ("ViT-B-16-SigLIP", 768), ("ViT-L-14", 768)])
def test_full_size_models_with_random_weights(model, dim, tmp_path):
    import open_clip
    import torch

    file = tmp_path / "random.safetensors"
    reference = save_random(model, file)
    published = open_clip.get_pretrained_cfg(model, open_clip.list_pretrained_tags_by_model(model)[0])
    transform = open_clip.transform.image_transform(
        224, is_train=False, **{key: published[key] for key in ("mean", "std", "interpolation", "resize_mode")}
    )
    with torch.inference_mode():
        expected = reference.encode_image(torch.stack([transform(p) for p in photos()]), normalize=True).numpy()
    del reference
    encoder = load_encoder(f"{model}@{file}")
    assert encoder.dim == dim
    np.testing.assert_allclose(encoder.encode(photos()), expected, atol=1e-5)
    low = load_encoder(f"{model}@{file}", precision="bf16")
    assert low.fingerprint == encoder.fingerprint
    assert (low.encode(photos()) * expected).sum(1).min() > 0.99
