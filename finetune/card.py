"""A dataset's card: the page that a hub shows, with its header, its figures, its sources and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gaea.finetune.dataset import QUESTION_TYPES

# How the hub spells licences that are met here; all others are "other" there, and told by name in the table.
_HUB_LICENCES = {
    "odbl": "odbl",
    "odbl-1.0": "odbl",
    "cc0": "cc0-1.0",
    "cc0-1.0": "cc0-1.0",
    "cc-by-4.0": "cc-by-4.0",
    "cc-by-sa-4.0": "cc-by-sa-4.0",
    "cc-by-nc-4.0": "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0": "cc-by-nc-sa-4.0",
    "mit": "mit",
    "apache-2.0": "apache-2.0",
}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_COUNTRIES = 20


@dataclass(frozen=True)
class CardDetails:
    """What cannot be counted; each is Markdown.

    Attributes:
        name: Title.
        summary: What the dataset is for, a paragraph.
        made: How it was made: commands, seeds, versions, filters.
        faults: What is known to be wrong, and how often.
        citation: How to cite it.
    """

    name: str = "Questions about places"
    summary: str = "Questions and answers about where pictures were taken, in GAEA's format."
    made: str = ""
    faults: str = ""
    citation: str = ""


@dataclass(frozen=True)
class Split:
    """One file of the dataset.

    Attributes:
        name: ``train``, ``test`` …
        file: Where it lies, from the card's folder.
        summary: Of :mod:`gaea.finetune.statistics`.
        faulty: Rows that were left out of the summary.
    """

    name: str
    file: str
    summary: Mapping[str, Any]
    faulty: int = 0


def card(splits: Sequence[Split], details: CardDetails | None = None) -> str:
    """The card of a dataset, Markdown below a YAML header as the Hugging Face hub reads it."""
    details = details or CardDetails()
    parts = [f"---\n{_header(splits, details)}\n---\n\n# {details.name}\n\n{details.summary.strip()}\n"]
    parts += ["## Splits\n", _splits_table(splits)]
    for split in splits:
        parts += [f"## Figures: {split.name}\n", *_figures(split.summary)]
    parts += ["## Sources and licences\n", _sources_table(splits)]
    parts += ["## How it was made\n", (details.made.strip() or "Not told.") + "\n"]
    parts += ["## Known faults\n", _faults(splits, details) + "\n"]
    if details.citation.strip():
        parts += ["## Citation\n", details.citation.strip() + "\n"]
    return "\n".join(parts)


def _header(splits: Sequence[Split], details: CardDetails) -> str:
    from huggingface_hub import DatasetCardData

    questions = sum(split.summary["questions"] for split in splits)
    licences = sorted({_hub_licence(source["licence"]) for split in splits for source in split.summary["sources"]})
    data_files = [{"split": split.name, "path": split.file} for split in splits]
    header = DatasetCardData(
        pretty_name=details.name,
        language="en",
        license=licences if len(licences) > 1 else (licences or ["unknown"])[0],
        task_categories=["visual-question-answering"],
        size_categories=next((size for below, size in _SIZES if questions < below), "1M<n<10M"),
        tags=["geolocation", "gaea"],
        configs=[{"config_name": "default", "data_files": data_files}],
    )
    return header.to_yaml().strip()


def _hub_licence(licence: str) -> str:
    words = licence.strip().lower().replace(" ", "-")
    return _HUB_LICENCES.get(words, "other")


def _splits_table(splits: Sequence[Split]) -> str:
    rows = []
    for split in splits:
        told = split.summary
        places = told["coordinates"]
        rows.append(
            (split.name, split.file, told["rows"], told["questions"], told["images"], places["rows"], places["blocks"])
        )
    return _table(("split", "file", "rows", "questions", "pictures", "rows with a place", "blocks of the map"), rows)


def _figures(told: Mapping[str, Any]) -> list[str]:
    kinds = []
    for kind, rows in told["question_types"].items():
        words, most = told["answer_words"][kind], told["majority"][kind]
        always = f"{most['answer'][:60]} ({100 * most['share']:.1f} %)" if most else "none stands out"
        kinds.append((f"{kind} ({QUESTION_TYPES[kind]})", rows, words["mean"], words["median"], words["p95"], always))
    parts = [_table(("type", "rows", "words of an answer", "median", "95 %", "most frequent answer"), kinds)]
    lines = [f"Datasets: {_listed(told['datasets'], 'not told')}."]
    if told["true_false"]:
        lines.append(f"True or false: {_listed(told['true_false'])}.")
    if told["letters"]:
        lines.append(f"Right options: {_listed(told['letters'])}; options offered: {_listed(told['options'])}.")
    shares = {part: n for part, n in told["coordinates"]["rows_by_part"].items() if n}
    if shares:
        lines.append(f"Rows by the part of the world's blocks that they lie in: {_listed(shares)}.")
    lines.append(
        f"{told['distinct_questions']:,} wordings of questions; {told['questions_repeated']:,} asked again about the "
        f"same picture; {told['contradicted']:,} answers that differ from an earlier one to the same question."
    )
    countries = [(code, n) for code, n in told["countries"].items() if code != "none"]
    if countries:
        shown = _listed(dict(countries[:_COUNTRIES]))
        more = f" and {len(countries) - _COUNTRIES} more" if len(countries) > _COUNTRIES else ""
        nowhere = told["countries"].get("none", 0)
        lines.append(f"{len(countries)} countries: {shown}{more}; {nowhere:,} rows in none.")
    return [*parts, "\n".join(f"- {line}" for line in lines) + "\n"]


def _sources_table(splits: Sequence[Split]) -> str:
    rows = {}
    for split in splits:
        for source in split.summary["sources"]:
            key = source["name"], source["licence"], source["credit"]
            rows[key] = rows.get(key, 0) + source["rows"]
    if not rows:
        return "No row tells its source: find out before you publish this.\n"
    told = [(name or "not told", licence or "not told", credit, n) for (name, licence, credit), n in rows.items()]
    return _table(("source", "licence", "credit", "rows"), told)


def _faults(splits: Sequence[Split], details: CardDetails) -> str:
    lines = [f"- {split.name}: {split.faulty:,} faulty rows, not counted above." for split in splits if split.faulty]
    for split in splits:
        told = split.summary
        missing = told["rows"] - told["coordinates"]["rows"]
        if missing:
            lines.append(f"- {split.name}: {missing:,} rows have no coordinates.")
        if told["contradicted"]:
            lines.append(f"- {split.name}: {told['contradicted']:,} questions have several answers.")
    return "\n".join([*lines, details.faults.strip()]).strip() or "None are known."


def _listed(counts: Mapping[str, int], blank: str = "none") -> str:
    return ", ".join(f"{_cell(name or blank)} {n:,}" for name, n in counts.items()) or "none"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    """Text of the data is shown, not obeyed: no markup and no new column comes of it."""
    if isinstance(value, int):
        return f"{value:,}"
    text = " ".join(str(value).split())
    for mark in "\\|<>[]*_`":
        text = text.replace(mark, "\\" + mark) if mark not in "<>" else text.replace(mark, f"&{'lg'[mark > '=']}t;")
    return text
