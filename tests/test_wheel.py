"""What is built is what is here: the wheel holds every file, and works in an environment that never saw this folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
ROOMS: dict[str, str] = SETUPTOOLS["package-dir"]
SHIPPED = (ROOT / "gaea" / "nano" / "llava" / "model.safetensors").is_file()

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this copy is not a clone")]


def run(*command: str | Path, cwd: Path) -> str:
    """Output of a process that knows nothing of this folder."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def kept_files() -> list[Path]:
    """Files of the repository, as git would take them, relative to its root."""
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    return [Path(name) for name in listed.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built from a source distribution, built from a clean copy."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for file in kept_files():
        if file.parts[0] in {*ROOMS.values()} or len(file.parts) == 1:
            (source / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / file, source / file)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", built, source, cwd=built)
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def fresh(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs' folder of a new environment: this wheel, with the dependencies of the running one."""
    home = tmp_path_factory.mktemp("fresh")
    builder = venv.EnvBuilder(symlinks=os.name != "nt")
    builder.create(home)
    programs = Path(builder.ensure_directories(home).bin_path)
    python = programs / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    run(*pip, "install", "--no-deps", "--no-index", "--quiet", wheel, cwd=home)
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).strip())
    # Folders added by a .pth file come last, and .pth files in them are not read: the editable install stays behind.
    shared = dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
    (site / "dependencies.pth").write_text("\n".join(shared) + "\n", encoding="utf-8")
    return programs


def test_the_wheel_holds_every_file(wheel: Path) -> None:
    expected = {
        "/".join([*package.split("."), *file.relative_to(folder).parts])
        for package, folder in ROOMS.items()
        for file in kept_files()
        if file.is_relative_to(folder)
    }
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        sizes = {item.filename: item.file_size for item in archive.infolist()}
    assert expected - names == set(), "left out of the wheel"
    assert names - expected == set(), "in the wheel, and not kept by git"
    assert sizes["gaea/answer.schema.json"] > 0
    assert "gaea/py.typed" in names
    assert any(name.startswith("gaea/atlas/") and name.endswith(".npz") for name in names)


def test_every_listed_package_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        folders = {name.rpartition("/")[0].replace("/", ".") for name in archive.namelist()}
    assert set(SETUPTOOLS["packages"]) <= folders


def test_it_imports_from_its_own_place(fresh: Path, tmp_path: Path) -> None:
    program = """
import importlib, json, pkgutil
from importlib import metadata
import gaea
from gaea import answer, places
modules = []
for room in ("gaea", "gaea.locate", "gaea.rag", "gaea.finetune", "gaea.app", "gaea.eval"):
    package = importlib.import_module(room)
    for found in pkgutil.iter_modules(package.__path__):
        if found.name != "__main__":
            modules.append(importlib.import_module(f"{room}.{found.name}").__file__ or "")
print(json.dumps({
    "file": gaea.__file__,
    "modules": [module for module in modules if module],
    "version": metadata.version("gaea-geo"),
    "schema": answer.schema()["title"] is not None,
    "country": places.describe(48.8584, 2.2945).country,
}))
"""
    told: dict[str, Any] = json.loads(run(fresh / "python", "-c", program, cwd=tmp_path))
    home = fresh.parent.resolve()
    assert Path(told["file"]).resolve().is_relative_to(home)
    assert all(Path(module).resolve().is_relative_to(home) for module in told["modules"])
    assert len(told["modules"]) > 40
    assert told["country"] == "France"


def test_its_command_starts(fresh: Path, tmp_path: Path) -> None:
    assert run(fresh / "gaea", "--version", cwd=tmp_path).startswith("gaea ")
    assert "PHOTO" in run(fresh / "gaea", "ask", "--help", cwd=tmp_path)


@pytest.mark.skipif(not SHIPPED, reason="the nano models are not in this copy")
def test_its_command_answers(fresh: Path, tmp_path: Path) -> None:
    Image.linear_gradient("L").resize((64, 64)).convert("RGB").save(tmp_path / "small.png")
    answer = json.loads(run(fresh / "gaea", "ask", "small.png", "--json", cwd=tmp_path))
    assert answer["text"]
    assert answer["provenance"]["model"] == "gaea-nano"
    assert "GAEA works here." in run(fresh / "gaea", "doctor", cwd=tmp_path)
