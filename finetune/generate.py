"""Make a dataset of questions: points on the land of the whole Earth, and points among the things of OSM extracts.

Items go to ``train.jsonl``, ``validation.jsonl`` and ``test.jsonl`` by the block of their place
(``gaea.finetune.splits``); a point whose picture or surroundings touch a block of another part is passed over, and no
thing or town of another part is named. Every item is checked (``gaea.finetune.solving``) before it is written, and
repetitions, exact and near, are dropped and counted. One seed gives one dataset. Nothing is kept in memory but hashes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gaea.errors import GaeaError, InputError, first_line
from gaea.finetune import portraits, reasoning
from gaea.finetune.clues import Clues, read_clues
from gaea.finetune.customs import describe
from gaea.finetune.dataset import Kind, rows_of
from gaea.finetune.geography import Geographer
from gaea.finetune.osm import RADIUS_KM, SUFFIXES, Extract, read_extract
from gaea.finetune.phrasings import ASKED
from gaea.finetune.pictures import picture_name
from gaea.finetune.questions import Item, example_of_item
from gaea.finetune.rowlayout import LINES
from gaea.finetune.sieve import Sieve
from gaea.finetune.splits import Part, footprint_parts
from gaea.finetune.surroundings import Surveyor
from gaea.finetune.wording import Deck
from gaea.places import PlaceFacts, country_codes
from gaea.sphere import destination

Progress = Callable[..., Iterable[Any]]


@dataclasses.dataclass(frozen=True)
class GenerateConfig:
    """What to make.

    Attributes:
        extracts: Folder of OSM extracts, or one of them; None makes none of OpenStreetMap.
        clues: ``geoguessr_clues.json``; None leaves the hearsay out.
        world_points: How many points on land, drawn evenly over its area.
        osm_points: How many points among named things, shared out by their number.
        jitter_km: How far, at most, such a point is from the thing it was drawn by.
        width_km: Range of the ground widths of pictures, drawn evenly in the logarithm.
        with_picture: Share of the questions about a point of the world that rest on its picture; the others give
            coordinates as well, as do all about things on the map, which no such picture shows.
        seed: Of everything.
    """

    extracts: Path | None = None
    clues: Path | None = None
    world_points: int = 10_000
    osm_points: int = 3_500
    jitter_km: float = 0.4
    width_km: tuple[float, float] = (60.0, 200.0)
    with_picture: float = 0.8
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be made."""
        if min(self.world_points, self.osm_points) < 0 or not 0 <= self.with_picture <= 1:
            raise InputError("expected numbers of points of at least 0 and a share of pictures between 0 and 1")
        if not 0 < self.width_km[0] <= self.width_km[1]:
            raise InputError(f"expected a range of widths in km, not {self.width_km}")


def generate(config: GenerateConfig, out: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Write the dataset and its statistics into a folder.

    Args:
        config: What to make.
        out: Folder; ``train.jsonl``, ``validation.jsonl``, ``test.jsonl`` and ``generation.json`` appear there when
            all is done.
        progress: A wrapper of iterables such as tqdm's.

    Returns:
        What ``generation.json`` holds.

    Raises:
        InputError: An extract or the clues cannot be read.
        GaeaError: The folder cannot be written to.
    """
    began = time.monotonic()
    sieve = Sieve()
    clues: Clues = read_clues(config.clues) if config.clues else {}
    try:
        out.mkdir(parents=True, exist_ok=True)
        with _Files(out) as files:
            for item in _all_items(config, clues, sieve.counted, progress):
                part = sieve.part_for(item)
                if part is not None:
                    dataset = "OpenStreetMap" if item.params.get("from") == "osm" else "Natural Earth"
                    files.write(part, item, dataset)
        told = {
            "config": {k: str(v) if isinstance(v, Path) else v for k, v in dataclasses.asdict(config).items()},
            "seconds": round(time.monotonic() - began, 1),
            **sieve.summary(),
        }
        (out / "generation.json").write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", "utf-8")
    except OSError as error:
        raise GaeaError(f"'{out}' cannot be written: {first_line(error)}") from error
    return told


# ── items ───────────────────────────────────────────────────────────────────


def _all_items(
    config: GenerateConfig, clues: Clues, counted: Counter[str], progress: Progress | None
) -> Iterator[Item]:
    rng = np.random.default_rng(config.seed)
    deck = Deck(rng)
    show = progress or (lambda points, **_: points)
    for lat, lon, width in show(list(_world_points(config, rng, counted)), desc="world"):
        picture = picture_name(lat, lon, width)
        for item in _world_items(describe(lat, lon), picture, config, clues, rng, deck):
            yield dataclasses.replace(item, image=picture)  # GAEA's rows have a picture, whatever is asked
    if config.extracts is None:
        return
    extracts = [read_extract(path) for path in extract_files(config.extracts)]
    named = [sum(bool(thing.name) for thing in extract.objects) for extract in extracts]
    for extract, share in zip(extracts, named, strict=True):
        points = round(config.osm_points * share / max(sum(named), 1))
        surveyor = Surveyor(extract, rng, deck)
        for lat, lon, width in show(_osm_points(extract, points, config, rng, counted), desc=extract.name):
            picture = picture_name(lat, lon, width)
            for item in _osm_items(describe(lat, lon), surveyor, rng):
                yield dataclasses.replace(item, image=picture, params={**item.params, "from": "osm"})


def _world_items(  # noqa: PLR0917 - one call
    place: PlaceFacts, picture: str, config: GenerateConfig, clues: Clues, rng: np.random.Generator, deck: Deck
) -> Iterator[Item]:
    geographer = Geographer(rng, deck)
    skills = [list(ASKED)[i] for i in rng.permutation(len(ASKED))]

    def image() -> str:
        return picture if rng.random() < config.with_picture else ""

    made = [reasoning.city_and_country(place, rng, image()), reasoning.coordinates(place, rng, image())]
    made += [portraits.portrait(place, rng, clues, image()), reasoning.from_clues(place, rng)]
    made += [geographer.short(place, skill, image()) for skill in skills[:4]]
    made += [geographer.choice(place, skill, image()) for skill in skills[4:8]]
    made += [geographer.true_false(place, skill, image()) for skill in skills[8:11]]
    made += [geographer.nearest_town(place, form, image()) for form in ("choice", "direction")]
    yield from (item for item in made if item is not None)


def _osm_items(place: PlaceFacts, surveyor: Surveyor, rng: np.random.Generator) -> Iterator[Item]:
    around = surveyor.around(place)
    made = [
        *surveyor.items(place, around),
        portraits.surroundings(place, around, rng),
        portraits.described(place, around, rng),
        reasoning.coordinates(place, rng),
        reasoning.city_and_country(place, rng),
    ]
    yield from (item for item in made if item is not None)


# ── points ──────────────────────────────────────────────────────────────────


def _world_points(
    config: GenerateConfig, rng: np.random.Generator, counted: Counter[str]
) -> Iterator[tuple[float, float, float]]:
    """Latitude, longitude and picture width of points on land, even over its area; Antarctica has no customs to ask."""
    left = config.world_points
    while left:
        lat = np.round(np.degrees(np.arcsin(rng.uniform(-1, 1, 2048))), 4)
        lon = np.round(rng.uniform(-180, 180, 2048), 4)
        width = np.exp(rng.uniform(*np.log(config.width_km), 2048))
        codes = country_codes(lat, lon, shore=False)
        for i in np.flatnonzero((codes != "") & (codes != "AQ")):
            point = float(lat[i]), float(lon[i]), round(float(width[i]), 1)
            if len(footprint_parts(point[0], point[1], point[2] / 2)) > 1:
                counted["points whose picture touches another part"] += 1
                continue
            yield point
            left -= 1
            if not left:
                return


def _osm_points(
    extract: Extract, count: int, config: GenerateConfig, rng: np.random.Generator, counted: Counter[str]
) -> list[tuple[float, float, float]]:
    """Points near named things, each drawn at most once a round, and the width of their picture."""
    named = [thing for thing in extract.objects if thing.name]
    order = np.concatenate([rng.permutation(len(named)) for _ in range(-(-count // max(len(named), 1)))] or [[]])
    width, found = round(config.width_km[0], 1), []
    for i in order[:count].astype(int):
        away, turn = config.jitter_km * np.sqrt(rng.random()), 360 * rng.random()
        lat, lon = (round(float(v), 4) for v in destination(named[i].lat, named[i].lon, turn, away))
        if len(footprint_parts(lat, lon, max(width / 2, RADIUS_KM))) > 1:
            counted["points whose picture touches another part"] += 1
        else:
            found.append((lat, lon, width))
    return found


def extract_files(folder: Path) -> list[Path]:
    """The extracts of a folder, by name; or the one file that is named.

    Raises:
        InputError: There are none.
    """
    if folder.is_file() and folder.name.endswith(SUFFIXES):
        return [folder]
    files = sorted(path for path in folder.glob("*") if path.name.endswith(SUFFIXES)) if folder.is_dir() else []
    if not files:
        raise InputError(f"'{folder}' holds no OSM extracts: expected files ending in {', '.join(SUFFIXES)}")
    return files


class _Files:
    """One file a part; they appear together, when all is written."""

    def __init__(self, out: Path) -> None:
        self._paths = {part: out / f"{part.name.lower()}.jsonl" for part in Part}

    def __enter__(self) -> _Files:
        self._stack = contextlib.ExitStack()
        self._files = {
            part: self._stack.enter_context(path.with_suffix(".part").open("w", encoding="utf-8"))
            for part, path in self._paths.items()
        }
        return self

    def write(self, part: Part, item: Item, dataset: str) -> None:
        """One line. What is held out has the form of GAEA's benchmark."""
        kind = Kind.TRAIN if part is Part.TRAIN else Kind.BENCHMARK
        for row in rows_of(example_of_item(item, dataset), kind):
            self._files[part].write(LINES.text(row) + "\n")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stack.close()
        for path in self._paths.values():
            part = path.with_suffix(".part")
            if kind is None:
                part.replace(path)
            else:
                part.unlink(missing_ok=True)


def sample(paths: Sequence[Path], count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows drawn evenly from files of JSON lines, in one pass (reservoir sampling), to be read by a person."""
    rng = np.random.default_rng(seed)
    kept: list[str] = []
    seen = 0
    for path in paths:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                seen += 1
                if len(kept) < count:
                    kept.append(line)
                elif (seat := int(rng.integers(seen))) < count:
                    kept[seat] = line
    return [json.loads(line) for line in kept]
