"""What is recalled for a picture, and what an answer cites of it. Nothing here looks at pictures or knows a store."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaea.errors import InputError

FloatArray: TypeAlias = NDArray[np.float64]
Role: TypeAlias = Literal["similar", "dissimilar", "hard dissimilar"]


@dataclass(frozen=True)
class Neighbour:
    """One retrieved picture: its gallery row, place in degrees, cosine to the query, and whose it is."""

    row: int
    lat: float
    lon: float
    similarity: float
    role: Role
    text: str = ""
    width_km: float = float("nan")
    source: str = ""
    credit: str = ""


@dataclass(frozen=True)
class Neighbours:
    """What was retrieved for one picture: the similar, most similar first, and the dissimilar.

    ``ranking`` goes deeper than the similar, for whoever asks how well a picture fits whole regions: latitudes,
    longitudes and similarities, each of shape (m,); None where no one asked.
    """

    similar: tuple[Neighbour, ...] = ()
    dissimilar: tuple[Neighbour, ...] = ()
    ranking: tuple[FloatArray, FloatArray, FloatArray] | None = dataclasses.field(default=None, compare=False)

    def arrays(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Latitudes, longitudes and similarities of the similar neighbours, each of shape (k,)."""
        columns = np.array([(n.lat, n.lon, n.similarity) for n in self.similar], np.float64).reshape(-1, 3)
        return columns[:, 0], columns[:, 1], columns[:, 2]


@dataclass(frozen=True)
class Citation:
    """A neighbour that an answer may cite, and its share of the belief where the answer points, 0…1."""

    neighbour: Neighbour
    share: float


def cite(neighbours: Neighbours, shares: ArrayLike, *, least: float = 0.05, most: int = 5) -> tuple[Citation, ...]:
    """The similar neighbours that a place rests on, the largest share first.

    Args:
        neighbours: What was retrieved.
        shares: From :meth:`NeighbourLocator.evidence` at one place or cell, shape (k,).
        least: Smallest share worth naming.
        most: How many are named.

    Raises:
        InputError: Not one share for each similar neighbour.
    """
    share = np.asarray(shares, np.float64)
    if share.shape != (len(neighbours.similar),):
        raise InputError(f"shares of shape {share.shape} for {len(neighbours.similar)} neighbours: expected one each")
    order = np.argsort(-share, kind="stable")[:most]
    return tuple(Citation(neighbours.similar[i], float(share[i])) for i in order if share[i] >= least)
