"""Items and predictions as arrays: errors, hits and names, one value an item, as the contract defines them.

- *Distance*: great circle on the mean sphere; an answer that is missing in any way lies 20,015 km away and scores 0.
- *Country*: ISO codes are compared: of the country that was named, else of the point that was given; where the
  benchmark names none, the truth's is that of its point.
- *Region*: first-level divisions at both points, by the same table.
- *City*: the names agree (and the countries, where both are named), or the point lies within 25 km of the named city
  (of those of the name in the country, the nearest to the true point); a city that the gazetteer does not know is taken
  to lie at the true point.
- *S2*: whether both points lie in one cell of a level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from gaea import cells as s2
from gaea import places
from gaea.countries import codes_by_name, normalise
from gaea.eval.metrics import FARTHEST_KM
from gaea.eval.records import Item, Prediction
from gaea.gazetteer import gazetteer
from gaea.sphere import geoscore, great_circle_km

CITY_KM = 25.0
LEVELS = tuple(range(0, 21, 2))
"""S2 levels of the hierarchical accuracy: those that GeoToken's symbols reach."""

CONTRACT = (
    "great-circle km on R = 6371.0088; a threshold includes its own distance (≤); GeoScore 5000·exp(−d/1492.7), "
    "unrounded; every item counts: refused, unparsable, failed and missing answers are misses, score 0 and lie "
    "20,015 km away; abstained ones are scored by their guess, and as misses beside it; countries are compared as ISO "
    f"codes (named, else at the point), cities by name or within {CITY_KM:g} km of the named city; 95 % intervals by "
    "bootstrap over places"
)


@dataclass(frozen=True)
class Answers:
    """Items and what was made of them, in the same order.

    Attributes:
        items: What was asked.
        predictions: What was answered.
    """

    items: tuple[Item, ...]
    predictions: tuple[Prediction, ...]

    @classmethod
    def of(cls, pairs: Sequence[tuple[Item, Prediction]]) -> Answers:
        """From pairs."""
        return cls(tuple(item for item, _ in pairs), tuple(made for _, made in pairs))

    def __len__(self) -> int:
        return len(self.items)

    @property
    def places(self) -> list[str]:
        """The unit of the bootstrap, an item each."""
        return [item.place for item in self.items]

    @cached_property
    def truth(self) -> np.ndarray:
        """(n, 2) true lat, lon in degrees; NaN where only names are known."""
        return _points([item.truth.point for item in self.items])

    @cached_property
    def guess(self) -> np.ndarray:
        """(n, 2) given lat, lon in degrees; NaN where none was given."""
        return _points([made.point for made in self.predictions])

    @cached_property
    def abstained(self) -> np.ndarray:
        """(n,) bool: it would rather not have said."""
        return np.array([made.status == "abstained" for made in self.predictions], bool)

    @cached_property
    def error_km(self) -> np.ndarray:
        """(n,) distances; the farthest where nothing was answered, NaN where the truth is no point."""
        both = ~np.isnan(self.truth[:, 0]) & ~np.isnan(self.guess[:, 0])
        far = np.where(np.isnan(self.truth[:, 0]), np.nan, FARTHEST_KM)
        far[both] = great_circle_km(*self.truth[both].T, *self.guess[both].T)
        return far

    @cached_property
    def geoscore(self) -> np.ndarray:
        """(n,) GeoScores, unrounded; NaN where the truth is no point."""
        return points_of(self.error_km)

    @cached_property
    def country_hit(self) -> np.ndarray:
        """(n,) 1, 0, or NaN where the truth has no country."""
        true = [code_of(item.truth.country) for item in self.items]
        at_truth, at_guess = (_codes(each) for each in (self.truth, self.guess))
        given = [
            code_of(made.country) if made.country else at for made, at in zip(self.predictions, at_guess, strict=True)
        ]
        wanted = [code or at for code, at in zip(true, at_truth, strict=True)]
        return np.array([np.nan if not w else float(w == g) for w, g in zip(wanted, given, strict=True)])

    @cached_property
    def region_hit(self) -> np.ndarray:
        """(n,) 1, 0, or NaN where the truth lies in no region that is known."""
        true, given = (_regions(each) for each in (self.truth, self.guess))
        codes = zip(_codes(self.truth), _codes(self.guess), strict=True)
        both = zip(true, given, codes, strict=True)
        return np.array([float(t == g and a == b) if t else np.nan for t, g, (a, b) in both])

    @cached_property
    def city_hit(self) -> np.ndarray:
        """(n,) 1, 0, or NaN where the benchmark names no city."""
        hits = np.full(len(self), np.nan)
        asked = [index for index, item in enumerate(self.items) if item.truth.city]
        at = _points([_city_at(self.items[index]) for index in asked]) if asked else np.empty((0, 2))
        guess = self.guess[asked]
        near = np.zeros(len(asked), bool)
        both = ~np.isnan(at[:, 0]) & ~np.isnan(guess[:, 0])
        near[both] = great_circle_km(*at[both].T, *guess[both].T) <= CITY_KM
        for row, index in enumerate(asked):
            made, truth = self.predictions[index], self.items[index].truth
            named = bool(made.city and truth.city and _same_name(made.city, truth.city))
            elsewhere = made.country and truth.country and code_of(made.country) != code_of(truth.country)
            hits[index] = float(near[row] or (named and not elsewhere))
        return hits

    def cell_hit(self, level: int) -> np.ndarray:
        """(n,) whether both points lie in one S2 cell of a level; NaN where the truth is no point."""
        hits = np.where(np.isnan(self.truth[:, 0]), np.nan, 0.0)
        both = ~np.isnan(self.truth[:, 0]) & ~np.isnan(self.guess[:, 0])
        hits[both] = s2.from_latlon(*self.truth[both].T, level) == s2.from_latlon(*self.guess[both].T, level)
        return hits


def points_of(error_km: np.ndarray) -> np.ndarray:
    """GeoScores of distances; what was not answered scores 0, NaN stays."""
    with np.errstate(invalid="ignore"):
        return np.where(
            error_km < FARTHEST_KM, geoscore(np.nan_to_num(error_km)), np.where(np.isnan(error_km), np.nan, 0.0)
        )


@lru_cache(maxsize=4096)
def code_of(country: str | None) -> str:
    """ISO code of a name or code, '' where it is none that is known here; of ``Holy See (Vatican City State)`` both."""
    if not country:
        return ""
    known = codes_by_name()
    whole = known.get(normalise(country.replace("_", " ")))
    return whole or known.get(normalise(country.partition("(")[0]), "")


def _points(points: Sequence[tuple[float, float] | None]) -> np.ndarray:
    return np.array([(np.nan, np.nan) if each is None else each for each in points], float).reshape(-1, 2)


def _codes(points: np.ndarray) -> list[str]:
    """ISO code at each point, '' at sea and where there is none."""
    codes = np.full(len(points), "", "<U2")
    known = ~np.isnan(points[:, 0])
    if known.any():
        codes[known] = places.country_codes(*points[known].T)
    return [str(code) for code in codes]


def _regions(points: np.ndarray) -> list[str]:
    names = np.full(len(points), "", "<U64")
    known = ~np.isnan(points[:, 0])
    if known.any():
        names[known] = places.region_names(*points[known].T)
    return [str(name) for name in names]


def _city_at(item: Item) -> tuple[float, float] | None:
    """Where a named city lies; the true point where the gazetteer does not know it, and in its country."""
    found = _towns(normalise(str(item.truth.city)), code_of(item.truth.country))
    point = item.truth.point
    if not found:
        return point
    if point is None:
        return found[0]
    lat, lon = np.array(found).T
    nearest = int(np.argmin(great_circle_km(*point, lat, lon)))
    return found[nearest]


@lru_cache(maxsize=65536)
def _towns(name: str, code: str) -> tuple[tuple[float, float], ...]:
    towns = gazetteer()
    found = [index for index in towns.by_name.get(name, []) if not code or towns.country_codes[index] == code]
    return tuple((float(towns.lat[index]), float(towns.lon[index])) for index in found)


@lru_cache(maxsize=65536)
def _same_name(one: str, other: str) -> bool:
    return normalise(one.replace("_", " ")) == normalise(other.replace("_", " "))
