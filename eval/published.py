"""Figures that papers published, as they stand there: to be shown beside measured ones, and never among them.

They were made under other conventions (distance formula, thresholds, what counts as an answer), on other hardware, and
often on test sets of other sizes; a difference to a measured figure is no result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

MARK = "published"
"""How every such row is labelled."""

AT_KM = ("within_1_km", "within_25_km", "within_200_km", "within_750_km", "within_2500_km")


@dataclass(frozen=True)
class Row:
    """One published result.

    Attributes:
        benchmark: Name here.
        system: As the paper calls it.
        scores: In percent, or GeoScore; by the names that :mod:`gaea.eval.scoring` uses, or types of question.
        source: Paper.
    """

    benchmark: str
    system: str
    scores: Mapping[str, float]
    source: str

    @property
    def label(self) -> str:
        """The system, marked."""
        return f"{self.system} ({MARK}: {self.source})"


def rows(benchmark: str | None = None) -> tuple[Row, ...]:
    """All rows, or those of one benchmark."""
    return tuple(row for row in _rows() if benchmark in (None, row.benchmark))


def table() -> list[str]:
    """All rows as lines of text."""
    lines = []
    for row in rows():
        scores = ", ".join(f"{name} {value:g}" for name, value in row.scores.items())
        lines.append(f"  {row.benchmark:<14}{row.system}: {scores} ({row.source})")
    return lines


_GAEA = "arXiv 2503.16423"
_GEOTOKEN = "arXiv 2511.01082"
_LOCDIFF = "arXiv 2503.18142"
_RANKER = "GeoRanker, NeurIPS 2025"
_IMG2LOC = "Img2Loc, SIGIR 2024"
_G3 = "G3, NeurIPS 2024"

_DISTANCES: tuple[tuple[str, str, tuple[float | None, ...], str], ...] = (
    ("im2gps", "GAEA-7B", (None, 43.0, 57.4, 77.2, 89.5), _GAEA),
    ("im2gps3k", "GAEA-7B", (None, 36.9, 56.0, 73.2, 86.7), _GAEA),
    ("gws15k", "GAEA-7B", (None, 3.7, 16.7, 43.3, 73.5), _GAEA),
    ("im2gps3k", "Img2Loc (GPT-4V)", (17.1, 45.1, 57.9, 72.9, 84.7), _IMG2LOC),
    ("im2gps3k", "Img2Loc (LLaVA)", (8.0, 23.4, 29.9, 40.1, 51.1), _IMG2LOC),
    ("im2gps3k", "G3", (16.7, 40.9, 55.6, 71.2, 84.7), _G3),
    ("im2gps3k", "GeoToken, no language model", (16.8, 39.6, 53.8, 70.8, 85.0), _GEOTOKEN),
    ("yfcc4k", "GeoToken, no language model", (24.3, 35.3, 46.6, 64.2, 78.6), _GEOTOKEN),
    ("im2gps3k", "GeoToken, selection from a pool", (18.8, 45.0, 59.3, 75.2, 87.7), _GEOTOKEN),
    ("yfcc4k", "GeoToken, selection from a pool", (24.7, 37.7, 50.3, 67.0, 80.5), _GEOTOKEN),
    ("im2gps3k", "GeoToken, free generation", (19.0, 46.0, 60.1, 76.6, 88.8), _GEOTOKEN),
    ("yfcc4k", "GeoToken, free generation", (25.4, 38.5, 51.4, 68.0, 81.0), _GEOTOKEN),
    ("im2gps3k", "LocDiffusion", (10.9, 34.0, 53.3, 72.5, 85.2), _LOCDIFF),
    ("im2gps3k", "LocDiff-H", (15.3, 36.5, 56.4, 75.2, 87.4), _LOCDIFF),
    ("gws15k", "LocDiffusion", (2.1, 12.4, 33.7, 67.0, 85.0), _LOCDIFF),
    ("im2gps3k", "GeoRanker", (18.8, 45.1, 61.5, 76.3, 89.3), _RANKER),
    ("yfcc4k", "GeoRanker", (32.9, 43.5, 54.3, 69.8, 82.5), _RANKER),
    ("im2gps3k", "GeoCLIP", (14.1, 34.5, 50.7, 69.7, 83.8), "GeoCLIP, NeurIPS 2023"),
    ("im2gps3k", "PIGEOTTO", (11.3, 36.7, 53.8, 72.4, 85.3), "PIGEON, CVPR 2024"),
    ("im2gps3k", "GeoSearch + GeoRanker", (23.6, 55.1, 67.1, 79.8, 89.6), "2026"),
    ("osv5m", "GeoCLIP with semivariogram negatives", (None, 21.5, 52.1, 72.1, None), "arXiv 2509.21573"),
)
_TYPES = ("long", "short", "choice", "true_false", "mean of types")
_BENCH: tuple[tuple[str, tuple[float, ...]], ...] = (
    ("GAEA-7B", (64.4, 52.6, 72.7, 78.5, 67.5)),
    ("GPT-4o", (66.3, 49.5, 59.4, 69.6, 60.3)),
    ("Gemini-2.0-Flash", (58.3, 34.7, 57.2, 56.7, 50.5)),
    ("LLaVA-OneVision-7B", (54.1, 31.5, 58.0, 56.4, 49.3)),
    ("InternVL2-8B", (54.5, 31.0, 55.7, 56.8, 48.6)),
    ("Qwen2.5-VL-7B", (57.0, 29.9, 48.1, 59.4, 47.1)),
    ("LLaVA-NeXT-Mistral", (48.0, 23.2, 29.2, 56.7, 37.7)),
)
_OTHER: tuple[tuple[str, str, Mapping[str, float], str], ...] = (
    ("cityguessr", "GAEA-7B", {"city": 51.9, "country": 78.3}, _GAEA),
    ("geode", "GAEA-7B", {"city": 6.4, "country": 51.7}, _GAEA),
    ("dollarstreet", "GAEA-7B", {"country": 63.6}, _GAEA),
    ("osv5m", "PLONK", {"geoscore": 3767.0}, "PLONK, CVPR 2025"),
    ("osv5m", "Chipoint v1", {"geoscore": 4174.0}, "2026"),
)


def _rows() -> Iterator[Row]:
    for benchmark, system, shares, source in _DISTANCES:
        known = {name: share for name, share in zip(AT_KM, shares, strict=True) if share is not None}
        yield Row(benchmark, system, known, source)
    for system, marks in _BENCH:
        yield Row("gaea-bench", system, dict(zip(_TYPES, marks, strict=True)), _GAEA)
    for benchmark, system, scores, source in _OTHER:
        yield Row(benchmark, system, scores, source)
