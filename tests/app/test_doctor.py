"""The doctor reports what is there and what is not, and falls ill from neither."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from gaea.app import cli, doctor
from gaea.rag.gallery import Gallery, GalleryMeta


def safetensors(data: bytes = bytes(8), promised: int = 8) -> bytes:
    header = json.dumps({"weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, promised]}}).encode()
    return struct.pack("<Q", len(header)) + header + data


@pytest.fixture
def nano(tmp_path: Path) -> Path:
    for folder in ("clip", "llava", "gallery"):
        (tmp_path / folder).mkdir()
    (tmp_path / "clip" / "open_clip_model.safetensors").write_bytes(safetensors())
    (tmp_path / "llava" / "model.safetensors").write_bytes(safetensors())
    rows = np.random.default_rng(0).normal(size=(7, 4))
    meta = GalleryMeta(encoder="tiny", fingerprint="0" * 64, dim=4)
    Gallery.from_embeddings(rows, np.zeros(7), np.zeros(7), meta=meta).write(tmp_path / "gallery" / "gallery.parquet")
    return tmp_path


def shipped(nano: Path) -> dict[str, doctor.Check]:
    return {check.name: check for check in doctor.examine(nano) if check.group == "shipped"}


def test_whole_files_are_named_with_size_and_hash(nano: Path) -> None:
    found = shipped(nano)
    assert {check.status for check in found.values()} == {doctor.OK}
    assert "sha256" in found["shipped model"].found
    assert found["shipped gallery"].found.startswith("7 rows, ")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "is not there"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (safetensors(promised=9), "is cut short"),
        (safetensors()[:20], "is damaged"),
        (b"", "is damaged"),
        (bytes(8) + b"not json", "is damaged"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(nano: Path, data: bytes | None, words: str) -> None:
    path = nano / "llava" / "model.safetensors"
    path.unlink() if data is None else path.write_bytes(data)
    check = shipped(nano)["shipped model"]
    assert check.status == doctor.MISSING
    assert words in check.found


def test_every_requirement_and_extra_is_looked_at(nano: Path) -> None:
    checks = doctor.examine(nano)
    packages = {check.name: check for check in checks if check.group == "packages"}
    assert {"Python", "gaea", "torch", "transformers", "open_clip_torch", "chromadb"} <= set(packages)
    assert packages["numpy"].found.startswith(metadata.version("numpy"))
    extras = {check.name for check in checks if check.group == "extras"}
    assert extras == set(metadata.metadata(doctor.DISTRIBUTION).get_all("Provides-Extra") or [])


def test_what_is_missing_comes_with_its_command(nano: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = {"basemap-data", "pyarrow"}
    version = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name in absent else version(name))
    checks = {(check.group, check.name): check for check in doctor.examine(nano)}
    assert checks["extras", "app"].advice == "pip install 'gaea-geo[app]'"
    assert checks["extras", "app"].status == doctor.NOTE
    assert checks["packages", "pyarrow"].status == doctor.MISSING
    assert checks["packages", "pyarrow"].advice.startswith("pip install 'pyarrow>=")


def test_an_extra_names_what_it_lacks_and_what_that_is_for(nano: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = doctor._version

    def app(changed: dict[str, str | None]) -> doctor.Check:
        monkeypatch.setattr(doctor, "_version", lambda name: changed[name] if name in changed else version(name))
        return next(check for check in doctor.examine(nano) if (check.group, check.name) == ("extras", "app"))

    lacking = app({"gradio": None})
    assert lacking.found == "without gradio (gaea chat, gaea locate --review)"
    assert (lacking.status, lacking.advice) == (doctor.NOTE, "pip install 'gaea-geo[app]'")
    old = app({"gradio": "5.0"})
    assert old.found.startswith("gradio 5.0, tried with ")
    assert (old.status, old.advice) == (doctor.NOTE, "pip install 'gaea-geo[app]'")
    assert app({}).status == doctor.OK


def test_every_extra_says_what_it_is_for() -> None:
    assert set(doctor._provided_extras()) == set(doctor._PURPOSES)


def test_a_version_out_of_range_is_a_note(nano: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: "0.0.1" if name == "pillow" else version(name))
    check = next(check for check in doctor.examine(nano) if check.name == "pillow")
    assert (check.status, check.found[:16]) == (doctor.NOTE, "0.0.1, tried wit")


def test_the_status_tells_whether_it_works(nano: Path, monkeypatch, capsys) -> None:
    checks = [doctor.Check("packages", "Python", "3.11.7")]
    monkeypatch.setattr(doctor, "examine", lambda: checks)
    assert cli.main(["doctor"]) == 0
    assert "GAEA works here." in capsys.readouterr().out
    checks.append(doctor.Check("shipped", "shipped model", "is not there", doctor.MISSING, "reinstall"))
    assert cli.main(["doctor"]) == 1
    assert "✗ shipped model" in capsys.readouterr().out
    assert cli.main(["doctor", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["works"] is False
    assert report["checks"][1] == {
        "group": "shipped",
        "name": "shipped model",
        "found": "is not there",
        "status": "missing",
        "advice": "reinstall",
    }


def test_the_cached_index_is_found(nano: Path, tmp_path_factory, monkeypatch) -> None:
    cache = tmp_path_factory.mktemp("indexes")
    monkeypatch.setenv("GAEA_CACHE", str(cache))
    check = next(check for check in doctor.examine(nano) if check.group == "index")
    assert (check.status, check.found) == (doctor.NOTE, f"none in {cache}")
    (cache / "chroma-0123").mkdir()
    (cache / "chroma-0123" / "data.bin").write_bytes(bytes(3_000_000))
    (cache / "chroma-4567.building").mkdir()
    check = next(check for check in doctor.examine(nano) if check.group == "index")
    assert (check.status, check.found) == (doctor.OK, f"1 in {cache}, 3 MB")


def test_no_framework_but_torch_is_loaded() -> None:
    program = (
        "import sys; from gaea.app import doctor; doctor.examine()\n"
        "print([m for m in ('transformers', 'open_clip', 'chromadb', 'torchvision', 'peft') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
