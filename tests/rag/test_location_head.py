"""Projection, features, files and GeoCLIP's names; every number is held against one computed another way."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from gaea.errors import GalleryError, InputError, ModelError
from gaea.rag.geoclip import load_geoclip
from gaea.rag.location_head import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    LocationHead,
    LocationHeadConfig,
    equal_earth,
)

SMALL = LocationHeadConfig(frequencies=8, width=16, layers=2, dim=12, image_dim=6, image_width=5)


@pytest.fixture
def head():
    torch.manual_seed(0)
    return LocationHead(SMALL).eval()


def test_equal_earth_at_known_places():
    np.testing.assert_allclose(equal_earth([0.0] * 3, [180.0, -180.0, 0.0]), [[1, 0], [-1, 0], [0, 0]], atol=2e-7)
    # y of the pole is 1.3173627591574 on the unit sphere (Šavrič, Patterson & Jenny, 2019).
    np.testing.assert_allclose(equal_earth(90.0, 0.0)[1] * 180 / 66.50336, 1.3173627591574, rtol=1e-7)


@settings(max_examples=200)
@given(lat=st.floats(-88, 88), lon=st.floats(-178, 178))
def test_equal_earth_keeps_areas(lat, lon):
    """The Jacobian determinant equals the area of the sphere: cos φ, in the plane's scale."""
    h = 1e-4
    dlat = (equal_earth(lat + h, lon) - equal_earth(lat - h, lon)) / (2 * math.radians(h))
    dlon = (equal_earth(lat, lon + h) - equal_earth(lat, lon - h)) / (2 * math.radians(h))
    area = (dlon[0] * dlat[1] - dlon[1] * dlat[0]) * (180 / 66.50336) ** 2
    assert area == pytest.approx(math.cos(math.radians(lat)), rel=1e-4)


def test_places_are_unit_rows_in_the_order_given(head):
    lat, lon = np.array([0.0, 48.9, -33.9]), np.array([0.0, 2.3, 151.2])
    rows = head.encode(lat, lon)
    assert (rows.shape, rows.dtype) == ((3, 12), np.float32)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(head.encode(lat[::-1], lon[::-1])[::-1], rows, atol=1e-6)
    assert head.encode([], []).shape == (0, 12)
    assert head.encode(1.0, 2.0).shape == (1, 12)


def test_batches_do_not_change_rows(head, monkeypatch):
    rng = np.random.default_rng(0)
    lat, lon = rng.uniform(-90, 90, 20), rng.uniform(-180, 180, 20)
    whole = head.encode(lat, lon)
    monkeypatch.setattr("gaea.rag.location_head._BATCH", 7)
    np.testing.assert_allclose(head.encode(lat, lon), whole, atol=1e-6)


def test_defaults_are_geoclips():
    head = LocationHead(LocationHeadConfig())
    shapes = [tuple(layer.weight.shape) for layer in head.capsules[0].mlp if hasattr(layer, "weight")]
    assert shapes == [(1024, 512), (1024, 1024), (1024, 1024), (512, 1024)]
    spreads = [float(capsule.frequencies.std()) for capsule in head.capsules]
    np.testing.assert_allclose(spreads, [1, 16, 256], rtol=0.15)
    assert not any(name.endswith("frequencies") for name, _ in head.named_parameters())


def test_saved_and_loaded_it_is_the_same(head, tmp_path):
    again = LocationHead.load(head.save(tmp_path / "head"))
    assert again.config == head.config
    np.testing.assert_array_equal(again.encode([10.0], [20.0]), head.encode([10.0], [20.0]))
    pictures = np.eye(6)
    np.testing.assert_array_equal(again.encode_images(pictures), head.encode_images(pictures))


def test_without_a_pictures_side_embeddings_are_compared_as_they_are():
    head = LocationHead(LocationHeadConfig(frequencies=4, width=8, layers=1, dim=3, image_dim=0))
    np.testing.assert_allclose(head.encode_images([[0.0, 3.0, 4.0]]), [[0, 0.6, 0.8]], rtol=1e-6)


def test_what_is_not_usable_is_named(head, tmp_path):
    with pytest.raises(InputError, match=r"latitude 91\.0 is not usable"):
        head.encode([91.0], [0.0])
    with pytest.raises(InputError, match=r"shape \(2, 7\), this location head expects \(n, 6\)"):
        head.encode_images(np.zeros((2, 7)))
    with pytest.raises(InputError, match="every size must be at least 1"):
        LocationHeadConfig(width=0)
    with pytest.raises(ModelError, match=f"no location head in .*{CONFIG_FILE}"):
        LocationHead.load(tmp_path)
    folder = head.save(tmp_path / "head")
    (folder / WEIGHTS_FILE).write_bytes((folder / WEIGHTS_FILE).read_bytes()[:200])
    with pytest.raises(ModelError, match="cannot be read"):
        LocationHead.load(folder)
    folder = head.save(tmp_path / "head")
    described = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps(described | {"width": 32}))
    with pytest.raises(ModelError, match="weights do not fit the location head"):
        LocationHead.load(folder)
    (folder / CONFIG_FILE).write_text(json.dumps(described | {"format": 9}))
    with pytest.raises(ModelError, match="format is not 1"):
        LocationHead.load(folder)


def test_another_encoder_is_refused():
    class Stand:
        name, dim, fingerprint = "other", 6, "b" * 64

    LocationHead(SMALL).check_encoder(Stand())
    head = LocationHead(LocationHeadConfig(**{**vars(SMALL), "fingerprint": "a" * 64, "encoder": "mine"}))
    with pytest.raises(GalleryError, match="belongs to encoder mine"):
        head.check_encoder(Stand())


def geoclip_state(rng, capsules=3, frequencies=8, width=10, dim=6):
    """Random tensors under the names and in the layout of the public package."""
    state = {}
    for i in range(capsules):
        sizes = {"capsule.1": (width, 2 * frequencies), "capsule.3": (width, width), "capsule.5": (width, width)}
        state[f"LocEnc{i}.capsule.0.b"] = rng.normal(0, 16**i, (frequencies, 2))
        for name, shape in {**sizes, "head.0": (dim, width)}.items():
            state[f"LocEnc{i}.{name}.weight"] = rng.normal(0, 0.3, shape)
            state[f"LocEnc{i}.{name}.bias"] = rng.normal(0, 0.3, shape[0])
    return state


def geoclip_by_hand(state, lat, lon):
    """The published forward pass in float64: project, cos and sin, three ReLU layers, output layer, sum over scales."""
    plane, total = equal_earth(lat, lon), 0
    for i in range(3):
        phase = 2 * np.pi * plane @ state[f"LocEnc{i}.capsule.0.b"].T
        x = np.concatenate([np.cos(phase), np.sin(phase)], axis=1)
        for layer in (1, 3, 5):
            name = f"LocEnc{i}.capsule.{layer}"
            x = np.maximum(x @ state[f"{name}.weight"].T + state[f"{name}.bias"], 0)
        total = total + x @ state[f"LocEnc{i}.head.0.weight"].T + state[f"LocEnc{i}.head.0.bias"]
    return total / np.linalg.norm(total, axis=1, keepdims=True)


def write(state, file, prefix=""):
    save_file({prefix + name: torch.tensor(value, dtype=torch.float32) for name, value in state.items()}, file)
    return file


@pytest.mark.parametrize("prefix", ["", "location_encoder."])
def test_geoclips_names_load_and_compute_the_same(tmp_path, prefix):
    rng = np.random.default_rng(0)
    state = geoclip_state(rng)
    head = load_geoclip(write(state, tmp_path / "places.safetensors", prefix))
    lat, lon = rng.uniform(-80, 80, 9), rng.uniform(-170, 170, 9)
    # Frequencies of 256 cycles turn the last bit of a float32 coordinate into 1e-4 of a turn.
    np.testing.assert_allclose(head.encode(lat, lon), geoclip_by_hand(state, lat, lon), atol=2e-3)
    assert len(head.config.sigmas) == 3


def test_geoclips_pictures_side_loads(tmp_path):
    rng = np.random.default_rng(0)
    side = {"0.weight": rng.normal(size=(4, 5)), "0.bias": rng.normal(size=4)}
    side |= {"2.weight": rng.normal(size=(6, 4)), "2.bias": rng.normal(size=6)}
    places, images = (
        write(geoclip_state(rng), tmp_path / "p.safetensors"),
        write(side, tmp_path / "i.safetensors", "mlp."),
    )
    head = load_geoclip(places, images)
    pictures = rng.normal(size=(3, 5))
    expected = np.maximum(pictures @ side["0.weight"].T + side["0.bias"], 0) @ side["2.weight"].T + side["2.bias"]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(head.encode_images(pictures), expected, atol=1e-5)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"\x80\x04.")
    with pytest.raises(ModelError, match="pickles are not opened"):
        load_geoclip(tmp_path / "w.pth")
    state = geoclip_state(np.random.default_rng(0))
    del state["LocEnc1.capsule.3.bias"]
    with pytest.raises(ModelError, match=r"'LocEnc1.capsule.3.bias' is missing"):
        load_geoclip(write(state, tmp_path / "w.safetensors"))
    with pytest.raises(ModelError, match=r"'LocEnc0.capsule.0.b' is missing"):
        load_geoclip(write({"x": np.zeros(3)}, tmp_path / "x.safetensors"))
