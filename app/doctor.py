"""``gaea doctor``: what is installed, where it runs, what is shipped, what is missing and how to get it.

Everything is found out without loading a model, and a package that is missing or broken becomes a line of the report
rather than a failure of it.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import importlib
import json
import os
import platform
import shutil
import struct
from importlib import metadata
from pathlib import Path
from typing import Any

import gaea
from gaea.app import terminal

DISTRIBUTION = "gaea-geo"
OK, NOTE, MISSING = "ok", "note", "missing"

_NANO_FILES = (
    ("shipped encoder", "clip/open_clip_model.safetensors"),
    ("shipped model", "llava/model.safetensors"),
    ("shipped gallery", "gallery/gallery.parquet"),
)
_PURPOSES = {
    "app": "gaea chat, gaea locate --review",
    "serve": "gaea serve, --engine URL",
    "serve-cpu": "gaea serve --engine vllm without a GPU",
    "quantize": "--quantize",
    "train": "python -m gaea.finetune",
    "index": "galleries of Hugging Face datasets, duplicates",
    "compiled": "faster searches of one photo with a GeoToken network",
    "ray": "gaea index build --engine ray",
    "milvus": "--store milvus",
    "osm": "OpenStreetMap's attributes",
    "dev": "tests",
}
"""What extras are for."""

_LFS = b"version https://git-lfs"


@dataclasses.dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        group: Heading it stands under.
        name: What was looked at.
        found: What was found, in words.
        status: ``ok``, ``note`` (worth knowing) or ``missing`` (GAEA does not work without it).
        advice: What to do about it.
    """

    group: str
    name: str
    found: str
    status: str = OK
    advice: str = ""


def run(args: argparse.Namespace) -> int:
    """Print the report; status 1 when something that is needed is missing."""
    checks = examine()
    works = all(check.status != MISSING for check in checks)
    if args.json:
        report = {"works": works, "checks": [dataclasses.asdict(check) for check in checks]}
        terminal.write(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        terminal.write(_text(checks, works=works))
    return 0 if works else 1


def examine(nano: Path | None = None) -> list[Check]:
    """Look at everything.

    Args:
        nano: Folder of the shipped models; the installed one if left out.
    """
    folder = nano or Path(gaea.__file__).parent / "nano"
    return [*_packages(), *_device(), *_shipped(folder), *_cache(), *_extras()]


def _packages() -> list[Check]:
    own = (Check("packages", "Python", platform.python_version()), Check("packages", "gaea", gaea.__version__))
    return [*own, *(_package(requirement) for requirement in _requirements(None))]


def _package(requirement: Any) -> Check:
    version = _version(requirement.name)
    mend = f"pip install '{requirement.name}{requirement.specifier}'"
    if version is None:
        return Check("packages", requirement.name, "not installed", MISSING, mend)
    if not requirement.specifier.contains(version, prereleases=True):
        return Check("packages", requirement.name, f"{version}, tried with {requirement.specifier}", NOTE, mend)
    return Check("packages", requirement.name, version)


def _device() -> list[Check]:
    """Where models run. The one place that imports torch."""
    memory = Check("device", "memory", _gib(_memory_bytes()))
    try:
        import torch

        if torch.cuda.is_available():
            card = torch.cuda.get_device_properties(0)
            found = f"cuda: {card.name}, {_gib(card.total_memory)}"
            return [Check("device", "computes on", found), memory]
        threads = f"cpu, {torch.get_num_threads()} threads of {os.cpu_count()} cores"
        if torch.backends.mps.is_available():
            return [Check("device", "computes on", f"{threads}; Apple's mps with --device mps"), memory]
    # A torch that is installed but broken fails in many ways; all of them belong into the report.
    except Exception as error:
        return [Check("device", "computes on", f"torch does not start: {_first_line(error)}", MISSING), memory]
    if torch.version.cuda is None and shutil.which("nvidia-smi"):
        advice = "there is an NVIDIA driver, but this torch is a CPU build: install torch's CUDA build to use it"
        return [Check("device", "computes on", threads, NOTE, advice), memory]
    return [Check("device", "computes on", threads), memory]


def _shipped(folder: Path) -> list[Check]:
    checks = []
    for name, file in _NANO_FILES:
        path = folder / file
        fault = _fault(path)
        if fault:
            advice = f"reinstall {DISTRIBUTION}, or choose others with --model and --index"
            checks.append(Check("shipped", name, f"{file} {fault}", MISSING, advice))
            continue
        with path.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        rows = f"{_rows(path):,} rows, " if path.suffix == ".parquet" else ""
        checks.append(Check("shipped", name, f"{rows}{path.stat().st_size / 1e6:.1f} MB, sha256 {digest[:16]}"))
    return checks


def _cache() -> list[Check]:
    try:
        folder: Path = importlib.import_module("gaea.app.assemble").cache_folder()
    # Without its packages the rest of GAEA does not import; the packages have said so above.
    except Exception as error:
        return [Check("index", "cached index", f"not known: {_first_line(error)}", NOTE)]
    found = sorted(path for path in folder.glob("chroma-*") if path.is_dir() and not path.suffix)
    if not found:
        return [Check("index", "cached index", f"none in {folder}", NOTE, "the first question builds it, once")]
    size = sum(file.stat().st_size for path in found for file in path.rglob("*") if file.is_file())
    return [Check("index", "cached index", f"{len(found)} in {folder}, {size / 1e6:.0f} MB")]


def _extras() -> list[Check]:
    checks = []
    for extra in _provided_extras():
        versions = [(r, _version(r.name)) for r in _requirements(extra)]
        missing = [r.name for r, version in versions if version is None]
        other = [
            f"{r.name} {version}, tried with {r.specifier}"
            for r, version in versions
            if version is not None and not r.specifier.contains(version, prereleases=True)
        ]
        parts = [f"without {', '.join(missing)}"] if missing else []
        found = "; ".join([*parts, *other]) or "installed"
        if extra in _PURPOSES:
            found += f" ({_PURPOSES[extra]})"
        advice = f"pip install '{DISTRIBUTION}[{extra}]'" if missing or other else ""
        checks.append(Check("extras", extra, found, NOTE if advice else OK, advice))
    return checks


def _requirements(extra: str | None) -> list[Any]:
    """What this distribution asks for on this machine: of the core, or only of one extra."""
    from packaging.requirements import Requirement

    try:
        listed = [Requirement(text) for text in metadata.requires(DISTRIBUTION) or []]
    except metadata.PackageNotFoundError:
        return []

    def wanted(requirement: Requirement) -> bool:
        core = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if extra is None:
            return core
        return not core and requirement.marker is not None and requirement.marker.evaluate({"extra": extra})

    return [requirement for requirement in listed if wanted(requirement)]


def _provided_extras() -> list[str]:
    try:
        return metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:
        return []


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _fault(path: Path) -> str:
    """Why a shipped file cannot be used, or nothing; a weight file that was cut short is told by its header."""
    if not path.is_file():
        return "is not there"
    with path.open("rb") as file:
        start = file.read(len(_LFS))
        if start == _LFS:
            return "is a Git LFS pointer, not the file (run: git lfs pull)"
        if path.suffix != ".safetensors":
            return ""
        file.seek(0)
        try:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, 100_000_000)))
            end = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
        except (struct.error, ValueError, KeyError, TypeError, AttributeError):
            return "is damaged"
    return "" if path.stat().st_size == 8 + length + end else "is cut short"


def _rows(path: Path) -> int:
    try:
        import pyarrow.parquet as pq

        return int(pq.ParquetFile(path).metadata.num_rows)
    except (ImportError, OSError, ValueError):
        return 0


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size else "not known"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]


def _text(checks: list[Check], *, works: bool) -> str:
    lines, group = [], ""
    width = max(len(check.name) for check in checks)
    for check in checks:
        if check.group != group:
            lines += ["", check.group] if group else [check.group]
            group = check.group
        mark = {OK: " ", NOTE: "·", MISSING: "✗"}[check.status]
        lines.append(f" {mark} {check.name:<{width}}  {check.found}")
        if check.advice:
            lines.append(f"   {'':<{width}}  → {check.advice}")
    return "\n".join([*lines, "", "GAEA works here." if works else "GAEA does not work here yet: see ✗ above."])
