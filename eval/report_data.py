"""What a report is made from: runs, their scores, what judges said, how they differ, and what was published elsewhere.

Runs of one benchmark, version and data stand in one section; of different ones never in one table. Everything that a
page shows is in :meth:`Section.to_dict`, which is the JSON report.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gaea.errors import InputError
from gaea.eval.comparing import compare
from gaea.eval.runs import HEADER, Run, read_run
from gaea.eval.score_command import SCORES
from gaea.eval.scoring import score
from gaea.eval.verdicts import VERDICTS, Verdict, read_verdicts

_PARTS = {"locate": ": places", "ask": ": questions"}
JUDGED, LEXICALLY = "judged.json", "lexical.json"


@dataclass(frozen=True)
class Examined:
    """One system on one benchmark.

    Attributes:
        run: Its run.
        scores: Under the contract.
        judged: Summary of a judge that is a model; {} where there was none.
        lexical: Summary of the lexical judge, kept apart; {} where it was not asked.
        verdicts: All marks.
        label: What tables call it, where its own name is another run's too.
    """

    run: Run
    scores: Mapping[str, Any]
    judged: Mapping[str, Any] = field(default_factory=dict)
    lexical: Mapping[str, Any] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()
    label: str = ""

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.label or self.run.header.system


@dataclass(frozen=True)
class Section:
    """All runs of one benchmark; the first is what the report is about, the others are beside it.

    Attributes:
        examined: Systems, in the order given.
        comparisons: The first against each other one.
        published: Rows of papers, never measured here.
    """

    examined: tuple[Examined, ...]
    comparisons: tuple[Mapping[str, Any], ...] = ()
    published: tuple[Mapping[str, Any], ...] = ()

    @property
    def first(self) -> Examined:
        """The system that the report is about."""
        return self.examined[0]

    @property
    def benchmark(self) -> str:
        """Its name."""
        return self.first.run.header.benchmark

    @property
    def title(self) -> str:
        """The benchmark, and what of it was asked where that is a part."""
        part = _PARTS.get(str(self.first.run.header.settings.get("only", "")), "")
        return f"{self.benchmark[:1].upper()}{self.benchmark[1:]}{part}"

    def to_dict(self) -> dict[str, Any]:
        """Everything, JSON-ready."""
        header = self.first.run.header
        return {
            "benchmark": header.benchmark,
            "title": self.title,
            "version": header.version,
            "data_sha256": header.data_sha256,
            "systems": [
                {"name": each.name, "scores": each.scores, "judged": each.judged, "lexical": each.lexical}
                for each in self.examined
            ],
            "comparisons": list(self.comparisons),
            "published": list(self.published),
        }


def sections(folders: Iterable[Path], *, seed: int = 0, compared: bool = True) -> list[Section]:
    """Read runs, score what was not scored yet, and put them together by benchmark.

    Args:
        folders: Of runs, or above runs.
        seed: Of the bootstrap.
        compared: Whether the first of each benchmark is compared with the others.

    Raises:
        InputError: There is no run in a folder.
    """
    held: dict[tuple[str, ...], list[Examined]] = {}
    for folder in dict.fromkeys(each for given in folders for each in runs_in(given)):
        made = examined(folder, seed=seed)
        header = made.run.header
        part = str(header.settings.get("only", ""))
        held.setdefault((header.benchmark, header.version, header.data_sha256, part), []).append(made)
    return [_section(each, seed if compared else None) for each in held.values()]


def runs_in(folder: Path) -> list[Path]:
    """The folder itself if it holds a run, else the runs in it and one level below, by name.

    Raises:
        InputError: There is none.
    """
    if (folder / HEADER).is_file():
        return [folder]
    found = sorted({path.parent for depth in ("*", "*/*") for path in folder.glob(f"{depth}/{HEADER}")})
    if not found:
        raise InputError(f"{folder} holds no run, nor does a folder in it: make one with `python -m gaea.eval run`")
    return found


def examined(folder: Path, *, seed: int = 0) -> Examined:
    """One run with its scores and marks; scores that are older than its predictions are made anew.

    Raises:
        InputError: It holds no run, or nothing can be scored.
    """
    run = read_run(folder)
    return Examined(
        run,
        score(run, seed=seed) if _stale(folder) else _json(folder / SCORES),
        _json(folder / JUDGED),
        _json(folder / LEXICALLY),
        read_verdicts(folder / VERDICTS),
    )


def _section(found: Sequence[Examined], seed: int | None) -> Section:
    first, *others = found = _told_apart(found)
    told: list[Mapping[str, Any]] = []
    for each in others if seed is not None else ():
        made = compare(first.run, each.run, (first.verdicts, each.verdicts), seed=seed)
        told.append(made | {"one": first.name, "other": each.name})
    return Section(tuple(found), tuple(told), _published(first.run.header.benchmark))


def _told_apart(found: Sequence[Examined]) -> list[Examined]:
    """Systems of the same name are called by their folder, too."""
    names = [each.name for each in found]
    return [
        dataclasses.replace(each, label=f"{each.name} ({each.run.folder.name})" if names.count(each.name) > 1 else "")
        for each in found
    ]


def _published(benchmark: str) -> tuple[Mapping[str, Any], ...]:
    """What papers published of a benchmark, each row with its source."""
    from gaea.eval.published import rows

    return tuple({"system": row.system, "scores": dict(row.scores), "source": row.source} for row in rows(benchmark))


def _stale(folder: Path) -> bool:
    scores, predictions = folder / SCORES, folder / "predictions.jsonl"
    return not scores.is_file() or scores.stat().st_mtime < predictions.stat().st_mtime


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}; make it again") from error
    return held if isinstance(held, dict) else {}
