"""Beliefs: how sure one is of a place, as a probability distribution over the Earth.

A :class:`Belief` has an even density on each cell of a cell set, and an even density on the rest of the Earth
(*elsewhere*). All locators answer with one, so that :func:`fuse` can pool and :func:`calibrate` can temper any of them,
and everything downstream reads nothing else. Densities, not cell probabilities, are pooled and tempered: a fine and a
coarse cell are then comparable, and how a belief happens to be cut into cells does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from gaea import cells as s2
from gaea import cellsets, sphere
from gaea.errors import InputError
from gaea.hilbert import MAX_LEVEL, CellArray
from gaea.quadrature import Loss, least_loss_point, mass_within, quadrature, radius_of_mass
from gaea.region import Region
from gaea.sphere import EARTH_AREA_KM2, FloatArray

_NO_AREA_KM2 = 1e-9 * EARTH_AREA_KM2  # what rounding leaves when cells cover the whole Earth
ANSWERED: Loss = "near"
"""The loss by which answers point (docs/decisions/0012-places-the-gallery-lacks.md)."""

_NO_MASS = 1e-12  # what rounding leaves when probabilities add up to one


@dataclass(frozen=True, eq=False)
class Belief:
    """A probability distribution over the Earth, even within each cell and even over the rest.

    Attributes:
        cells: Cell set (disjoint S2 ids, ascending), uint64 ``(n,)``; may be empty.
        log_prob: Natural logarithm of the probability of each cell, float64 ``(n,)``; −inf where there is none. What is
            missing to a sum of 1 lies elsewhere.

    Raises:
        InputError: The cells are no cell set, or the probabilities are no part of a distribution.
    """

    cells: CellArray
    log_prob: FloatArray

    def __post_init__(self) -> None:
        cells = cellsets.checked(self.cells)
        log_prob = np.array(self.log_prob, np.float64).reshape(-1)
        if log_prob.shape != cells.shape:
            raise InputError(f"a belief needs one log-probability per cell, not {log_prob.size} for {cells.size} cells")
        if not cellsets.is_disjoint(cells):
            raise InputError("cells of a belief must be ascending and disjoint: Belief.from_weights makes them so")
        if not np.exp(np.minimum(log_prob, 1.0)).sum() <= 1 + 1e-6:  # NaN fails too
            raise InputError("the probabilities of a belief must be numbers with a sum of at most 1")
        for name, array in (("cells", cells.copy()), ("log_prob", log_prob)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        if self.elsewhere > 1e-6 and self._rest_area_km2 == 0:
            raise InputError(f"the cells cover the Earth, so none is left for the mass {self.elsewhere:.3g} elsewhere")

    @classmethod
    def uniform(cls) -> Belief:
        """Know nothing: even density over the six faces."""
        return cls(s2.FACES, np.full(6, -np.log(6.0)))

    @classmethod
    def from_weights(
        cls,
        cells: npt.ArrayLike,
        weights: npt.ArrayLike,
        elsewhere: float = 0.0,
        *,
        nested: Literal["mixture", "remainder"] = "mixture",
    ) -> Belief:
        """Build a belief from any cells and weights.

        Args:
            cells: S2 ids in any order, ``(n,)``. Weights of a cell given twice are added.
            weights: Non-negative, ``(n,)``, of any sum: together they make up ``1 - elsewhere``.
            elsewhere: Probability of lying in none of the cells, 0 to 1; dropped if the cells cover the Earth.
            nested: What the weight of a cell means that holds others of the list. ``mixture``: the weight is spread
                evenly over the whole cell, and adds to those of the cells inside (a sum of votes). ``remainder``: it
                belongs to what the cells inside leave of it (a search tree with unexplored branches); where they leave
                nothing, it is spread as under ``mixture``.

        Raises:
            InputError: A cell, weight or ``elsewhere`` is not usable, or all weights are zero.
        """
        array, weight = cellsets.checked(cells), np.asarray(weights, np.float64).reshape(-1)
        if weight.shape != array.shape or not np.all((weight >= 0) & np.isfinite(weight)):
            raise InputError(f"{array.size} cells need as many weights, finite and not negative, not {weight.size}")
        if not 0 <= elsewhere <= 1 or nested not in ("mixture", "remainder"):
            raise InputError(f"elsewhere={elsewhere}, nested={nested!r}: expected 0 to 1 and 'mixture' or 'remainder'")
        if not array.size:
            return cls(array, weight)
        if not weight.sum() > 0 and elsewhere < 1:
            raise InputError(f"the weights of all {array.size} cells are zero: a belief needs some mass")
        ids, index = np.unique(array, return_inverse=True)
        mass = np.bincount(index, weight).astype(np.float64)
        if not cellsets.is_disjoint(ids):
            ids, mass = _flatten(ids, mass, nested)
        if elsewhere == 0:  # otherwise zero says more than not being listed
            ids, mass = ids[mass > 0], mass[mass > 0]
        log_mass = _log(mass)
        if mass.sum() > 0:
            listed = 1.0 if EARTH_AREA_KM2 - s2.area_km2(ids).sum() <= _NO_AREA_KM2 else 1.0 - elsewhere
            log_mass = log_mass - np.log(mass.sum()) + _log(np.float64(listed))
        return cls(ids, log_mass)

    # ---- what it says

    @cached_property
    def elsewhere(self) -> float:
        """Probability of lying in none of the cells, spread evenly over the rest of the Earth; below 1e-12 it is 0."""
        rest = 1.0 - float(np.exp(self.log_prob).sum())
        return rest if rest > _NO_MASS else 0.0

    @cached_property
    def areas_km2(self) -> FloatArray:
        """Area of each cell, km², ``(n,)``."""
        return s2.area_km2(self.cells)

    @cached_property
    def _rest_area_km2(self) -> float:
        rest = EARTH_AREA_KM2 - float(self.areas_km2.sum())
        return rest if rest > _NO_AREA_KM2 else 0.0

    @cached_property
    def _rest_density(self) -> float:
        return self.elsewhere / self._rest_area_km2 if self._rest_area_km2 > 0 else 0.0

    @cached_property
    def _log_densities(self) -> FloatArray:
        return np.asarray(self.log_prob - np.log(self.areas_km2))

    def log_density(self, lat_deg: npt.ArrayLike, lon_deg: npt.ArrayLike) -> FloatArray:
        """Give the natural logarithm of the density per km² at points in degrees, of their broadcast shape.

        Raises:
            InputError: A coordinate is out of range.
        """
        index = cellsets.index_of(self.cells, s2.from_latlon(lat_deg, lon_deg))
        return np.append(self._log_densities, _log(np.float64(self._rest_density)))[index]

    def discrete_entropy(self) -> float:
        """Shannon entropy in bits of the outcomes cell 1, …, cell n, elsewhere; finer cells give more."""
        prob = np.append(np.exp(self.log_prob), self.elsewhere)
        prob = prob[prob > 0]
        return float(-(prob * np.log2(prob)).sum()) + 0.0

    def information_gain(self) -> float:
        """Bits gained over knowing nothing: the Kullback-Leibler divergence from the uniform Earth, 0 to about 62."""
        prob = np.append(np.exp(self.log_prob), self.elsewhere)
        log_density = np.append(self._log_densities, _log(np.float64(self._rest_density)))
        some = prob > 0
        nats = float((prob[some] * (log_density[some] + np.log(EARTH_AREA_KM2))).sum())
        return max(float(nats / np.log(2.0)), 0.0)  # rounding may leave the uniform Earth just below

    def entropy(self) -> float:
        """Differential entropy in bits per km²: 2**entropy km² is how large an even area would be as uncertain.

        28.9 for the uniform Earth, 0 for an even square kilometre, negative below. Cutting cells does not change it.
        """
        return float(np.log2(EARTH_AREA_KM2)) - self.information_gain()

    # ---- the same in other cells

    def at_level(self, level: int, *, split: bool = False) -> Belief:
        """Aggregate cells finer than a level to that level.

        Args:
            level: 0 to 30.
            split: Also divide coarser cells to that level, by area. Otherwise they stay.

        Returns:
            A belief of the same listed mass. A parent that was listed in part holds the mass of that part, evenly. Only
            if the parents cover the Earth do they also take the mass elsewhere, each for what was not listed of it.

        Raises:
            InputError: There is no such level, or splitting would make more than four million cells.
        """
        if not 0 <= level <= MAX_LEVEL:
            raise InputError(f"level {level} does not exist: S2 cells have levels 0 to {MAX_LEVEL}")
        if not self.cells.size:
            return self
        merged = self.cells.copy()
        fine = s2.level(merged) > level
        merged[fine] = s2.parent(merged[fine], level)
        first = np.flatnonzero(np.append(True, merged[1:] != merged[:-1]))
        cells, log_prob = merged[first], np.logaddexp.reduceat(self.log_prob, first)
        areas = s2.area_km2(cells)
        if self._rest_density > 0 and EARTH_AREA_KM2 - areas.sum() <= _NO_AREA_KM2:  # elsewhere is no place any more
            unlisted = np.maximum(areas - np.add.reduceat(self.areas_km2, first), 0.0)
            log_prob = np.logaddexp(log_prob, _log(self.elsewhere * unlisted / unlisted.sum()))
        if split:
            cells, origin = cellsets.split(cells, level)
            areas = s2.area_km2(cells)
            log_prob = (log_prob - np.log(np.bincount(origin, areas)))[origin] + np.log(areas)
        return Belief(cells, log_prob)

    def restrict(self, cells: npt.ArrayLike) -> Belief:
        """Condition on lying inside some cells (any, in any order), such as those of a country.

        Raises:
            InputError: The cells are not S2 ids, or the belief has no mass in them.
        """
        inside = cellsets.union(cells)
        pieces, held = cellsets.overlay([self.cells, inside])
        pieces, held = pieces[held[1] >= 0], held[:, held[1] >= 0]
        log_mass = np.append(self._log_densities, _log(np.float64(self._rest_density)))[held[0]]
        log_mass = log_mass + np.log(s2.area_km2(pieces))
        some = log_mass > -np.inf
        if not some.any():
            raise InputError(f"the belief holds no mass inside the {inside.size} cells that it was restricted to")
        return _normalised(pieces[some], log_mass[some], -np.inf)

    def mass_in(self, cells: npt.ArrayLike) -> float:
        """Give the probability of lying inside some cells (any, in any order).

        Raises:
            InputError: The cells are not S2 ids.
        """
        pieces, held = cellsets.overlay([self.cells, cellsets.union(cells)])
        pieces, held = pieces[held[1] >= 0], held[:, held[1] >= 0]
        density = np.append(np.exp(self._log_densities), self._rest_density)[held[0]]
        return float(np.clip((density * s2.area_km2(pieces)).sum(), 0.0, 1.0))

    # ---- areas and points

    def region(self, mass: float) -> Region:
        """Give the credible region: the smallest set of cells, densest first, that holds at least ``mass``.

        Cells are taken whole. When all of them together hold less than ``mass``, part of *elsewhere* would be needed
        and no part of it is better than another: the region is then the whole Earth (``Region.is_whole_earth``).

        Args:
            mass: Probability to hold, above 0 and up to 1.

        Raises:
            InputError: ``mass`` is out of range.
        """
        if not 0 < mass <= 1:
            raise InputError(f"a region's mass of {mass} is not usable: expected above 0 and up to 1")
        order = np.argsort(-self._log_densities, kind="stable")
        held = np.cumsum(np.exp(self.log_prob[order]))
        if not held.size or held[-1] < mass - 1e-9:
            return Region(s2.FACES, 1.0, EARTH_AREA_KM2)
        count = min(int(np.searchsorted(held, mass - 1e-12)) + 1, held.size)
        taken = order[:count]
        return Region(
            cellsets.union(self.cells[taken]), min(float(held[count - 1]), 1.0), float(self.areas_km2[taken].sum())
        )

    def probability_of(self, lat_deg: float, lon_deg: float, radius_km: float) -> float:
        """Give the probability of lying within a distance in km of one point, to about 0.001.

        Raises:
            InputError: A coordinate is out of range or the radius negative.
        """
        if not radius_km >= 0:
            raise InputError(f"radius_km {radius_km} is not usable: expected 0 or more")
        sphere.validate_latlon(lat_deg, lon_deg)
        even, net = self._above_even()
        listed = mass_within(self.cells, net, lat_deg=lat_deg, lon_deg=lon_deg, radius_km=radius_km)
        return float(np.clip(listed + even * sphere.cap_area_km2(radius_km), 0.0, 1.0))

    def radius_km(self, lat_deg: float, lon_deg: float, mass: float) -> float:
        """Give the distance in km within which a share of the belief lies around one point.

        Raises:
            InputError: A coordinate is out of range, or ``mass`` not above 0 and up to 1.
        """
        lat, lon = sphere.validate_latlon(lat_deg, lon_deg)
        if not 0 < mass <= 1:
            raise InputError(f"a mass of {mass} is not usable: expected above 0 and up to 1")
        even, net = self._above_even()
        points, masses = quadrature(self.cells, net, extra_points=4096)
        return radius_of_mass(points, masses, even, centre=sphere.to_xyz(lat, lon), mass=mass)

    def point(self, loss: Loss = "median", radius_km: float = 200.0) -> tuple[float, float]:
        """Give the point of least expected loss.

        Args:
            loss: ``median`` for the least expected distance, ``geoscore`` for the best expected GeoScore, ``hit`` for
                the best chance of lying within ``radius_km``, ``near`` for the same without an edge: the truth counts
                by exp(−distance / ``radius_km``).
            radius_km: Radius of a hit, or scale of nearness, km.

        Returns:
            Latitude and longitude in degrees. A belief that knows nothing gives (0, 0).

        Raises:
            InputError: The loss is not known or the radius not positive.
        """
        return least_loss_point(self.cells, self._above_even()[1], loss=loss, radius_km=radius_km)

    def sample(self, n: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Draw points: latitudes and longitudes in degrees, each ``(n,)``, evenly within each cell and elsewhere."""
        cells, prob = self.cells, np.exp(self.log_prob)
        if self.elsewhere > 0:
            rest = cellsets.complement(cells)
            areas = s2.area_km2(rest)
            cells = np.append(cells, rest)
            prob = np.append(prob, self.elsewhere * areas / areas.sum())
        return s2.sample(cells[rng.choice(cells.size, size=n, p=prob / prob.sum())], rng)

    def _above_even(self) -> tuple[float, FloatArray]:
        """Split into a density per km² that is even over the whole Earth, and what each cell holds beyond it.

        An even Earth favours no point, so expectations need only the second.
        """
        even = self._rest_density if self._rest_area_km2 > 0 else float(np.exp(self._log_densities.min()))
        net = np.exp(self.log_prob) - even * self.areas_km2
        return even, np.where(np.abs(net) > _NO_MASS * even * self.areas_km2, net, 0.0)


def calibrate(belief: Belief, temperature: float) -> Belief:
    """Temper a belief: its density to the power of 1/temperature, normalised again.

    Args:
        belief: What to temper.
        temperature: Above 1 for a locator that is too sure of itself, below 1 for one that is too timid; 1 changes
            nothing, and infinity gives the uniform Earth.

    Raises:
        InputError: The temperature is not positive.
    """
    if not temperature > 0:
        raise InputError(f"a temperature of {temperature} is not usable: expected above 0")
    return _pool([belief], [1.0 / temperature], 0.0)


def fuse(beliefs: Sequence[Belief], weights: Sequence[float] | None = None, floor: float = 1e-6) -> Belief:
    """Pool beliefs log-linearly: the product of their densities, each to the power of its weight.

    Args:
        beliefs: At least one.
        weights: Exponents, not negative, one for each; 1 when left out, which is right for independent evidence and for
            which the uniform belief is neutral. Locators that see the same pixels are not independent: fit the weights
            on validation data.
        floor: Even mass mixed into every belief, 0 to 1, so that one that is too sure cannot veto all others.

    Returns:
        A belief over the common refinement of all cells.

    Raises:
        InputError: No beliefs, unusable weights or floor, or (with ``floor=0``) beliefs that exclude each other.

    Source:
        Genest and Zidek (1986), logarithmic opinion pools.
    """
    exponents = [1.0] * len(beliefs) if weights is None else [float(weight) for weight in weights]
    if not beliefs or len(exponents) != len(beliefs) or not all(0 <= weight < np.inf for weight in exponents):
        raise InputError(f"{len(beliefs)} beliefs, weights {exponents}: expected one weight, not negative, for each")
    if not 0 <= floor <= 1:
        raise InputError(f"a floor of {floor} is not usable: expected 0 to 1")
    return _pool(beliefs, exponents, floor)


def _pool(beliefs: Sequence[Belief], exponents: Sequence[float], floor: float) -> Belief:
    """Multiply powers of densities on the common refinement."""
    pieces, held = cellsets.overlay([belief.cells for belief in beliefs])
    log_mass = np.log(s2.area_km2(pieces))
    log_rest = 0.0
    even = _log(np.float64(floor)) - np.log(EARTH_AREA_KM2)
    for belief, exponent, index in zip(beliefs, exponents, held, strict=True):
        if exponent == 0:
            continue
        densities = np.append(belief._log_densities, _log(np.float64(belief._rest_density)))
        densities = exponent * np.logaddexp(densities + _log(np.float64(1 - floor)), even)
        log_mass += densities[index]
        log_rest += float(densities[-1])
    rest_area = EARTH_AREA_KM2 - float(s2.area_km2(pieces).sum())
    log_rest = log_rest + np.log(rest_area) if rest_area > _NO_AREA_KM2 else -np.inf
    return _normalised(pieces, log_mass, log_rest)


def _normalised(cells: CellArray, log_mass: FloatArray, log_rest: float) -> Belief:
    total = np.logaddexp.reduce(np.append(log_mass, log_rest))
    if not total > -np.inf:
        raise InputError("the beliefs exclude each other everywhere: give fuse() a floor above 0")
    return Belief(cells, log_mass - total)


def _flatten(cells: CellArray, mass: FloatArray, nested: str) -> tuple[CellArray, FloatArray]:
    """Resolve cells that hold each other: pieces, and the mass of each by the rule of `Belief.from_weights`."""
    level = s2.level(cells)
    sets = [np.flatnonzero(level == each) for each in np.unique(level)]  # cells of one level are disjoint
    pieces, held = cellsets.overlay([cells[index] for index in sets])
    areas, mixture_areas = s2.area_km2(pieces), s2.area_km2(cells)
    owner = np.full(pieces.size, -1)
    for index, row in zip(sets, held, strict=True):
        owner[row >= 0] = index[row[row >= 0]]
    left_km2 = np.bincount(owner, areas, minlength=cells.size)
    spread = np.ones(cells.size, np.bool_) if nested == "mixture" else left_km2 == 0
    flat = np.zeros(pieces.size)
    for index, row in zip(sets, held, strict=True):
        density = np.where(spread[index], mass[index] / mixture_areas[index], 0.0)
        flat += np.where(row >= 0, np.append(density, 0.0)[row], 0.0) * areas
    rest = np.where(spread, 0.0, mass / np.where(left_km2 > 0, left_km2, 1.0))
    return pieces, flat + rest[owner] * areas


def _log(value: FloatArray | np.float64) -> FloatArray:
    """Logarithm with −inf for zero and no warning about it."""
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(value))
