"""What is calibrated and examined on is drawn in one way: one view of every block before any gives a second."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from gaea.errors import GaeaError
from gaea.eval.blocks import even_crops
from gaea.finetune import calibrate_command
from gaea.finetune.__main__ import main
from gaea.finetune.blocks import draw_even
from gaea.finetune.crops import CropConfig
from gaea.finetune.imagery import open_imagery
from gaea.finetune.splits import Part, block_address, parts

SMALL = CropConfig(size=16, width_km=(60.0, 120.0))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    path = tmp_path_factory.mktemp("world") / "noise.png"
    noise = np.random.default_rng(0).integers(0, 255, (512, 1024, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def test_crops_and_cases_are_the_same_views(world):
    imagery = open_imagery(world)
    crops = draw_even(imagery, Part.VALIDATION, 60, SMALL, np.random.default_rng(3))
    cases = even_crops(imagery, Part.VALIDATION, 60, SMALL, np.random.default_rng(3))
    assert np.allclose(crops.lat, [case.lat for case in cases])
    assert np.allclose(crops.lon, [case.lon for case in cases])
    assert all((np.asarray(c.image) == p).all() for c, p in zip(cases, crops.images_NHWC, strict=True))
    address = list(zip(*(a.tolist() for a in block_address(crops.lat, crops.lon)), strict=True))
    assert max(Counter(address).values()) == 1
    assert all(parts()[row, column] == Part.VALIDATION for row, column in address)


def test_the_command_calibrates_what_is_shipped(world, tmp_path, capsys):
    pytest.importorskip("open_clip")
    out = tmp_path / "made"
    views = ["--count", "24", "--width-km", "100", "150"]
    assert main(["calibrate", "--imagery", str(world), "--out", str(out), *views]) == 0
    told = capsys.readouterr().out
    trust = calibrate_command.Calibration.load(out / "calibration.json")
    assert f'"out": "{out}/calibration.json"' in told
    assert trust.region_mass[1] >= trust.region_mass[0]
    assert '"n": 12' in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--count", "4"], "too few"),
        (["--data", "nowhere"], "bluemarble.mbtiles"),
        (["--imagery", "nowhere.png"], "nowhere.png"),
        (["--risk", "2"], "share"),
    ],
)
def test_what_cannot_be_calibrated_is_told_in_one_line(arguments, said, capsys):
    assert main(["calibrate", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("gaea: ")
    assert said in error
    assert error.count("\n") == 1


def test_a_model_without_s2_symbols_is_refused(world, tmp_path, monkeypatch):
    class Silent:
        has_geotokens = False

        def __init__(self, *args, **options):
            pass

    monkeypatch.setattr("gaea.engine.TransformersEngine", Silent)
    with pytest.raises(GaeaError, match="no S2 symbols"):
        main_raises(["calibrate", "--imagery", str(world), "--out", str(tmp_path)])


def main_raises(arguments):
    """The command without its edge."""
    import argparse

    parser = argparse.ArgumentParser()
    calibrate_command.declare(parser.add_subparsers(dest="command"))
    calibrate_command.run(parser.parse_args(arguments), print)
