"""The words for doubt, and the order in which facts are told."""

import pytest

from gaea import places
from gaea.briefing import CANNOT_TELL, CONFIDENT, FAIRLY_SURE, UNSURE, how_sure, place_facts


@pytest.mark.parametrize(
    ("half", "most", "bits", "words"),
    [
        (20, 150, 20, CONFIDENT),
        (20, 151, 20, FAIRLY_SURE),
        (200, 3000, 9, FAIRLY_SURE),
        (201, 3000, 9, UNSURE),
        (1500, 9000, 3, UNSURE),
        (1501, 9000, 3, CANNOT_TELL),
        (20, 100, 0.99, CANNOT_TELL),
    ],
)
def test_width_becomes_words(half, most, bits, words):
    assert how_sure(half, most, bits, 1500) == words


def test_facts_of_a_place_on_land():
    facts = place_facts(places.describe(45.75, 4.85))
    told = dict(facts)
    order = "near region country sea continent capital neighbours languages driving currency climate hemisphere coast"
    assert [name for name, _ in facts] == [name for name in order.split() if name in told]
    assert (told["country"], told["continent"], told["capital"]) == ("France", "Europe", "Paris")
    assert (told["driving"], told["coast"], told["hemisphere"]) == ("right", "inland", "northern and eastern")
    assert told["near"].startswith("Lyon ")
    assert told["near"].endswith(" km")
    assert "sea" not in told
    assert all(value for _, value in facts)


def test_facts_of_a_place_at_sea():
    told = dict(place_facts(places.describe(-30.0, -120.0)))
    assert "Pacific" in told["sea"]
    assert not {"country", "driving", "coast", "near"} & set(told)
