"""Who decides how finely a place is told: the configuration, what the picture shows, and whoever asks for less."""

import itertools

import pytest

from gaea.disclosure import SCENES, Level, Policy, coarsest
from gaea.errors import InputError


def test_levels_are_ordered_from_precise_to_none():
    assert [str(level) for level in Level] == ["precise", "city", "region", "country", "withheld"]
    assert [level.rank for level in Level] == [0, 1, 2, 3, 4]
    assert coarsest(Level.CITY, Level.COUNTRY, Level.REGION) is Level.COUNTRY
    with pytest.raises(InputError, match="'street' is not known: expected precise, city, region, country, withheld"):
        Level.of("street")


@pytest.mark.parametrize(("limit", "asked"), list(itertools.product(Level, [None, *Level])))
def test_who_asks_may_lower_the_level_and_never_raise_it(limit, asked):
    for scenes in (None, frozenset(), frozenset({"home"})):
        decided = Policy(limit).decide(scenes, asked)
        without = Policy(limit).decide(scenes)
        assert decided.level.rank >= max(limit.rank, without.level.rank)
        assert decided.level == coarsest(without.level, asked or Level.PRECISE)


@pytest.mark.parametrize("scene", SCENES)
def test_private_scenes_are_told_by_the_city_at_most(scene):
    decided = Policy().decide(frozenset({scene}))
    assert (decided.level, decided.reason) == (Level.CITY, f"the picture shows: {scene}")
    assert Policy().decide(frozenset()).level is Level.PRECISE


def test_the_strictest_scene_counts():
    policy = Policy(scenes={"minors": "withheld", "person": "region"})
    assert policy.decide(frozenset({"person", "minors"})).level is Level.WITHHELD
    assert policy.decide(frozenset({"person"})).level is Level.REGION
    assert policy.decide(frozenset({"home"})).level is Level.PRECISE


def test_what_cannot_be_judged_follows_the_configuration():
    assert Policy().decide(None).level is Level.PRECISE
    assert Policy(Level.CITY).decide(None).level is Level.CITY
    decided = Policy(unjudged="country").decide(None)
    assert (decided.level, decided.reason) == (Level.COUNTRY, "configured for pictures that cannot be judged")


def test_a_policy_from_what_is_configured():
    assert Policy.of(None) == Policy()
    assert Policy.of("region").limit is Level.REGION
    mine = Policy("city", {"home": "withheld"})
    assert Policy.of(mine) is mine
    assert mine.judges
    assert not Policy("withheld").judges
    with pytest.raises(InputError, match="scene 'indoors' is not known"):
        Policy(scenes={"indoors": "city"})
