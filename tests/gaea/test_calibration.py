"""Trust survives a round trip, and a damaged file is named."""

import json

import pytest

from gaea.calibration import Calibration
from gaea.conformal import Promise, Risk
from gaea.errors import GalleryError
from gaea.locate.neighbours import NeighbourConfig

FITTED = Calibration(
    neighbours=NeighbourConfig(k=12, temperature=0.03, similarity_slopes=(1.0, -2.0), similarity_range=(0.1, 0.9)),
    token_temperature=1.4,
    weights=(0.75, 0.25),
    temperature=1.2,
    region_mass=(0.61, 0.95),
    strange=2.5,
    abstain_radius_km=900.0,
    other_weights={"geotoken": 0.4},
    promise=Promise(Risk(0.2, 1000.0, 0.95), 900.0, 0.5, 0.125, 160),
)


@pytest.mark.parametrize("calibration", [Calibration(), FITTED])
def test_round_trip(calibration, tmp_path):
    calibration.save(tmp_path / "calibration.json")
    assert Calibration.load(tmp_path / "calibration.json") == calibration


def test_a_file_without_a_promise_is_read(tmp_path):
    FITTED.save(tmp_path / "calibration.json")
    values = json.loads((tmp_path / "calibration.json").read_text())
    del values["promise"], values["other_weights"], values["text_weight"]
    (tmp_path / "calibration.json").write_text(json.dumps(values))
    old = Calibration.load(tmp_path / "calibration.json")
    assert old.promise is None
    assert old.abstain_radius_km == 900.0


def test_all_locators_are_pooled_with_their_weights():
    assert FITTED.pool.weights == {"neighbours": 0.75, "tokens": 0.25, "text": 1.0, "geotoken": 0.4}
    assert FITTED.pool.temperature == 1.2


def changed(**changes):
    return json.dumps(json.loads(json.dumps({"neighbours": {}, "temperature": 1.0})) | changes)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{half",
        "[]",
        "3",
        "null",
        "{}",
        changed(colour="red"),
        changed(neighbours=[]),
        changed(neighbours={"k": 0}),
        changed(neighbours={"stars": 3}),
        changed(promise=3),
        changed(promise={"threshold": 1.0}),
        changed(promise={"risk": {"share": 2.0}, "threshold": 1, "answered": 1, "wrong": 0, "places": 1}),
        b"\xff\xfe\x00",
    ],
)
def test_a_damaged_file_is_one_line(content, tmp_path):
    path = tmp_path / "calibration.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(GalleryError, match=r"calibration\.json is not a calibration this version reads") as caught:
        Calibration.load(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(GalleryError, match=r"absent\.json"):
        Calibration.load(tmp_path / "absent.json")
