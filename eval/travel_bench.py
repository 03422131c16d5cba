"""Travel: photographs from the ground with titles and descriptions, for which nano's world is another one.

Nothing of the collection is kept here: questions are made from its ``metadata.jsonl`` when it is opened. Some of its
descriptions are filler text; a description is a reference only where it names something of its title or place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gaea.countries import normalise
from gaea.errors import InputError
from gaea.eval.benchmark import Benchmark, Faults, benchmark, picture_in
from gaea.eval.layouts import WHERE
from gaea.eval.questions import Places, lettered
from gaea.eval.records import GroundTruth, Item
from gaea.eval.tables import note_contradictions, point
from gaea.eval.worlds import same_place

VERSION = "1"
FOLDER = "photos/travel_photos"
OBTAIN = "https://github.com/funwebdev-3rd-ed/case-travel, as an ImageFolder with metadata.jsonl"
ORDINARY = frozenset(("from", "inside", "interior", "house", "outside", "view", "with"))
"""Words of titles that a description may have by chance; shorter ones are not looked at."""


def open_travel(root: Path) -> Benchmark:
    """One item that wants the place and up to five questions a photograph.

    Args:
        root: The folder with ``metadata.jsonl``, or the data folder above it.

    Raises:
        InputError: It is not there or cannot be read.
    """
    folder = root if (root / "metadata.jsonl").is_file() else root / FOLDER
    faults = Faults()
    try:
        lines = (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines if line.strip()]
    except (OSError, ValueError) as error:
        raise InputError(f"travel: {folder}/metadata.jsonl cannot be read ({error}): {OBTAIN}") from error
    usable = [row for row in rows if _usable(row, faults)]
    if not usable:
        raise InputError(f"travel: {folder}/metadata.jsonl has no photograph with a place: {OBTAIN}")
    groups = _groups(usable)
    known = Places({row["file_name"]: (float(row["latitude"]), float(row["longitude"])) for row in usable})
    items: list[Item] = []
    for row, group in zip(usable, groups, strict=True):
        if not (folder / row["file_name"]).is_file():
            faults.note("pictures that are missing", row["file_name"])
        located = _located(row, known, group)
        items += [located, *_asked(row, usable, located, faults)]
    note_contradictions([item for item in items if item.kind == "locate"], faults)
    return benchmark("travel", VERSION, items, faults=faults, root=folder, picture=picture_in(folder))


def _usable(row: Mapping[str, Any], faults: Faults) -> bool:
    if not isinstance(row, dict) or not row.get("file_name"):
        faults.note("rows left out without a file name", str(row)[:60])
        return False
    _, wrong = point(str(row.get("latitude", "")), str(row.get("longitude", "")))
    if wrong:
        faults.note(f"rows left out for {wrong}", row["file_name"])
    return not wrong


def _groups(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The place of each: within 25 km, or of the same title."""
    lat, lon = (np.array([float(row[key]) for row in rows]) for key in ("latitude", "longitude"))
    # What the pictures look like is left aside: hashes of names are as far apart as chance has them.
    hashes = [int.from_bytes(hashlib.sha256(row["file_name"].encode()).digest()[:8], "big") for row in rows]
    return [str(each) for each in same_place(lat, lon, [str(row.get("title", "")) for row in rows], hashes)]


def _located(row: Mapping[str, Any], known: Places, group: str) -> Item:
    key = row["file_name"]
    more = {"country": row["country_iso2"]} if row.get("country_iso2") else {}
    return Item(
        Path(key).stem,
        "travel",
        "locate",
        key,
        "Where is this?",
        truth=known.truth(key, **more),
        place=group,
        split="test",
    )


def _asked(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], located: Item, faults: Faults) -> list[Item]:
    """Location, what is shown (open, and of four), whether it is that, and a description."""
    rng = np.random.default_rng(list(row["file_name"].encode()))
    truth, title = located.truth, str(row.get("title") or "").strip()
    where = ", ".join(name for name in (truth.city, dict(fact[:2] for fact in truth.facts).get("country")) if name)
    asked = [_question(located, "location", WHERE, where)]
    if not title:
        faults.note("photographs without a title", located.id)
        return asked
    asked.append(_question(located, "short", "Which place, building or landmark is this?", title))
    others = [str(o["title"]) for o in rows if o.get("title") and o.get("country_iso2") != row.get("country_iso2")]
    if len(wrong := list(dict.fromkeys(str(o) for o in rng.permutation(others) if o != title))[:3]) == 3:
        options = [str(o) for o in rng.permutation([title, *wrong])]
        question = f"Which of these does the picture show? {lettered(options)}"
        asked.append(_question(located, "choice", question, "ABCD"[options.index(title)], options))
        true = bool(rng.random() < 0.5)
        statement = f"True or false: the picture shows {title if true else wrong[0]}."
        asked.append(_question(located, "true_false", statement, "true" if true else "false"))
    told = str(row.get("description") or "").strip()
    if _speaks_of(told, title, where):
        asked.append(_question(located, "long", "Describe what the picture shows, and where it is.", told))
    else:
        faults.note("descriptions that say nothing of their photograph, not asked for", located.id)
    return asked


def _speaks_of(told: str, title: str, where: str) -> bool:
    words = set(normalise(told).split())
    names = {word for word in normalise(f"{title} {where}").split() if len(word) > 3 and word not in ORDINARY}
    return bool(words & names)


def _question(like: Item, kind: str, question: str, answer: str, choices: Sequence[str] = ()) -> Item:
    told = like.truth
    truth = GroundTruth(told.lat, told.lon, told.country, told.region, told.city, answer, tuple(choices), told.facts)
    return Item(
        f"{like.id}/{kind}",
        "travel",
        "ask",
        like.image,
        question,
        kind,  # type: ignore[arg-type] # one of the five
        truth,
        like.strata,
        like.place,
        like.split,
    )
