"""Whether neighbours are read: they are told rightly, not at all, or wrongly, and the picture says nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gaea import geotokens, prompts
from gaea.errors import InputError
from gaea.eval import pointed
from gaea.sphere import great_circle_km


class Pointer:
    """Follows the first row that it is told, nine times in ten; or never reads any."""

    def __init__(self, reads: bool) -> None:
        self.reads = reads

    def see(self, image: Any) -> Any:
        return SimpleNamespace(image=image)

    def scorer(self, messages: Any, sight: Any) -> Any:
        rows = geotokens.from_text(messages[-1]["content"][-1]["text"])
        first = rows[0] if rows and self.reads else ()

        def score(prefixes: Any) -> Any:
            told = np.full((len(prefixes), geotokens.VOCAB_SIZES[prefixes.shape[1]]), 1.0)
            for at, prefix in enumerate(prefixes.tolist()):
                if first and tuple(prefix) == first[: len(prefix)]:
                    told[at, first[len(prefix)]] = 9.0 * (told.shape[1] - 1)
            return np.log(told / told.sum(1, keepdims=True))

        return score


def test_rows_lie_around_the_place_most_similar_first() -> None:
    rows = pointed.around(61.0, 179.9, np.random.default_rng(3))
    assert len(rows) == prompts.NEIGHBOURS
    assert max(float(great_circle_km(row.lat, row.lon, 61.0, 179.9)) for row in rows) <= pointed.AROUND_KM
    alike = [row.similarity for row in rows]
    assert alike == sorted(alike, reverse=True)


def test_who_reads_follows_what_is_told_and_who_does_not_is_found_out() -> None:
    reader, deaf = (pointed.examine(Pointer(reads), 60, seed=1) for reads in (True, False))  # type: ignore[arg-type]
    assert reader["near"]["near_truth"][0] > 0.9
    assert reader["few"]["near_truth"][0] > 0.9
    assert reader["elsewhere"]["near_told"][0] > 0.9
    assert reader["elsewhere"]["near_truth"][0] == 0.0
    assert reader["near"]["surprise_bits"][0] < 8 < reader["none"]["surprise_bits"][0]
    assert reader["elsewhere"]["surprise_bits"][0] > 14.6
    assert deaf["near"]["near_truth"][0] < 0.2
    assert deaf["near"]["surprise_bits"] == deaf["none"]["surprise_bits"]
    assert deaf["none"]["surprise_bits"][0] == pytest.approx(np.log2(6 * 16**3), abs=1e-3)
    assert "near_told" not in deaf["none"]


def test_a_single_place_has_no_other_to_be_told() -> None:
    with pytest.raises(InputError, match="none of 1 places"):
        pointed.examine(Pointer(True), 1)  # type: ignore[arg-type]
