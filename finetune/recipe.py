"""Recipes: a frozen dataclass is the schema, a YAML file overrides it, and the resolved result is kept with the run."""

from __future__ import annotations

import dataclasses
import difflib
import json
import typing
from pathlib import Path
from typing import Any, TypeVar

from gaea.errors import InputError

Config = TypeVar("Config")


def load(path: str | Path, schema: type[Config]) -> Config:
    """Read a YAML recipe into ``schema``.

    Args:
        path: A file, or the name of a recipe that ships with the package (``nano``, ``tiny``).
        schema: A dataclass whose fields, nested dataclasses included, are the allowed keys.

    Raises:
        InputError: The file is missing, is not a mapping, or has an unknown key (the nearest valid one is named).
    """
    import yaml

    found = Path(path)
    if not found.suffix:
        found = Path(__file__).parent / "recipes" / f"{path}.yaml"
    if not found.is_file():
        known = sorted(p.stem for p in (Path(__file__).parent / "recipes").glob("*.yaml"))
        raise InputError(f"no recipe at {path}: give a YAML file or one of {', '.join(known)}")
    try:
        values = yaml.safe_load(found.read_text()) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{found.name} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise InputError(f"{found.name} holds a {type(values).__name__}: a recipe is a mapping of settings")
    return build(schema, values, where=found.name)


def build(schema: type[Config], values: dict[str, Any], *, where: str) -> Config:
    """Fill ``schema`` from a mapping, refusing what it does not know.

    Raises:
        InputError: Unknown key, or a value that does not fit its field.
    """
    fields = {f.name: f for f in dataclasses.fields(schema)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(schema)
    filled: dict[str, Any] = {}
    for key, value in values.items():
        if key not in fields:
            near = difflib.get_close_matches(key, fields, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(fields)}"
            raise InputError(f"{where}: unknown key '{key}'; {hint}")
        kind = hints[key]
        if dataclasses.is_dataclass(kind) and isinstance(value, dict):
            filled[key] = build(kind, value, where=f"{where}: {key}")  # type: ignore[arg-type]
        elif not _fits(value, kind):
            raise InputError(f"{where}: {key} is {value!r}, expected {_name(kind)}")
        else:
            filled[key] = tuple(value) if isinstance(value, list) else value
    return schema(**filled)


def _fits(value: Any, kind: Any) -> bool:
    if typing.get_origin(kind) is tuple:
        kinds = typing.get_args(kind)
        return isinstance(value, list) and len(value) == len(kinds) and all(map(_fits, value, kinds))
    if isinstance(value, bool):  # which Python counts among the integers
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _name(kind: Any) -> str:
    if dataclasses.is_dataclass(kind):
        return "a mapping of settings"
    if typing.get_origin(kind) is tuple:
        return f"a list of {len(typing.get_args(kind))}"
    return getattr(kind, "__name__", None) or str(kind)


def save(config: Any, path: Path) -> None:
    """Write the resolved settings as JSON, beside whatever they produced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text(config))


def text(config: Any) -> str:
    """Settings as JSON."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"
