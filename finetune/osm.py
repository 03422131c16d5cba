"""OpenStreetMap around a point: what stands there, in which of GAEA's categories, how far off and in which direction.

Extracts (``.osm``, ``.osm.gz``, ``.osm.pbf``, whatever libosmium reads) become an :class:`Extract`, offline; the same
value comes from Overpass (``gaea.finetune.overpass``) and from a GeoDataFrame of osmnx (:func:`from_geodataframe`).
Distances are to the nearest point of a line or area, not to its middle: a river passes by, and does not lie elsewhere.
OSM data are © OpenStreetMap contributors, ODbL 1.0; every object carries that, and so must whatever is made from it.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gaea.errors import InputError, MissingDependencyError, first_line
from gaea.finetune import categories
from gaea.finetune.outlines import SegmentIndex
from gaea.sphere import bearing_deg, great_circle_km, validate_latlon

ATTRIBUTION = "© OpenStreetMap contributors"
LICENCE = "ODbL-1.0"
RADIUS_KM = 1.0
"""GAEA's radius for the attributes of a picture (arXiv 2503.16423, §3)."""

SAME_THING_KM = 0.15
"""Two objects of one name and kind this near are one thing, mapped as a point and as its building."""

KEPT_TAGS = ("religion", "denomination", "cuisine", "sport", "waterway", "brand")
SUFFIXES = (".osm", ".osm.gz", ".osm.bz2", ".osm.pbf")


@dataclass(frozen=True)
class OsmObject:
    """One thing on the map that has a category.

    Attributes:
        osm_id: ``"node/123"``, ``"way/45"``, ``"relation/6"``.
        lat: Degrees, of its middle.
        lon: Degrees.
        name: As people there write it, cleaned; '' where it has none that says anything.
        english: Name in English or Latin letters where the map or a translator gives one; '' otherwise.
        category: One of :data:`gaea.finetune.categories.CATEGORIES`.
        kind: What it is, in plain English.
        tags: A few further tags that say something.
        attribution: Whom to name wherever this is used.
    """

    osm_id: str
    lat: float
    lon: float
    name: str
    english: str
    category: str
    kind: str
    tags: tuple[tuple[str, str], ...] = ()
    attribution: str = ATTRIBUTION
    licence: str = LICENCE

    @property
    def label(self) -> str:
        """The name, with its English form behind it where that is another."""
        return f"{self.name} ({self.english})" if self.english and self.english != self.name else self.name


@dataclass(frozen=True)
class Nearby:
    """An object as seen from a point; ``bearing_deg`` is None for what lies around the point itself."""

    thing: OsmObject
    distance_km: float
    bearing_deg: float | None


@dataclass(frozen=True, eq=False)
class Extract:
    """A piece of the map.

    Attributes:
        name: Of the file or query.
        objects: Things with a category, named or not.
        outlines: Shapely geometry of each, (lon, lat) degrees.
        dropped: How many outlines and names were left out as unusable, by reason.
    """

    name: str
    objects: tuple[OsmObject, ...]
    outlines: tuple[Any, ...]
    dropped: Mapping[str, int]

    def around(self, lat: float, lon: float, radius_km: float = RADIUS_KM) -> tuple[Nearby, ...]:
        """What lies within a distance, nearest first; of several with one name and kind close together, the nearest.

        Raises:
            InputError: A coordinate is out of range, or the radius is not between 0 and 100 km.
        """
        lat_deg, lon_deg = (float(v) for v in validate_latlon(lat, lon))
        if not 0 < radius_km <= 100:
            raise InputError(f"a radius of {radius_km} km is not usable: expected more than 0 and at most 100")
        owner, near_lat, near_lon, inside = self._index.nearest_points(lat_deg, lon_deg, radius_km)
        distance = np.where(inside, 0.0, great_circle_km(lat_deg, lon_deg, near_lat, near_lon))
        bearing = bearing_deg(lat_deg, lon_deg, near_lat, near_lon)
        found: list[Nearby] = []
        seen: defaultdict[tuple[str, str], list[OsmObject]] = defaultdict(list)
        for i in np.argsort(distance, kind="stable"):
            if distance[i] > radius_km:
                break
            thing = self.objects[int(owner[i])]
            if thing.name:
                if any(_same(thing, other) for other in seen[thing.name, thing.kind]):
                    continue
                seen[thing.name, thing.kind].append(thing)
            found.append(Nearby(thing, float(distance[i]), None if distance[i] < 0.001 else float(bearing[i])))
        return tuple(found)

    @cached_property
    def _index(self) -> SegmentIndex:
        return SegmentIndex.build(self.outlines)


def _same(a: OsmObject, b: OsmObject) -> bool:
    """Whether two objects of one name and kind are one thing; the many ways of a river always are."""
    if a.category == "waterways":
        return True
    return bool(great_circle_km(a.lat, a.lon, b.lat, b.lon) <= SAME_THING_KM)


# ── reading ─────────────────────────────────────────────────────────────────


def read_extract(path: Path, *, translate: categories.Translator | None = None) -> Extract:
    """Read an extract from disk.

    Args:
        path: A file that libosmium reads; files whose objects are out of order are sorted first.
        translate: An optional model that gives names in English or Latin letters where the map has none.

    Raises:
        InputError: The file is missing, of another kind, or damaged.
        MissingDependencyError: osmium or shapely is not installed.
    """
    try:
        import osmium
    except ImportError as error:
        raise MissingDependencyError("reading OSM extracts needs osmium: pip install 'gaea-geo[osm]'") from error
    if not path.is_file() or not path.name.endswith(SUFFIXES):
        raise InputError(f"'{path}' is not an OSM extract: expected a file ending in {', '.join(SUFFIXES)}")
    try:
        try:
            return collect(path.name, _elements(path), translate=translate)
        except RuntimeError as error:
            if "out of order" not in str(error):
                raise
        with tempfile.TemporaryDirectory() as folder:
            ordered = Path(folder) / "sorted.osm.pbf"
            reader = osmium.MergeInputReader()
            reader.add_file(str(path))
            with osmium.SimpleWriter(str(ordered)) as writer:
                reader.apply(writer, simplify=False)
            return collect(path.name, _elements(ordered), translate=translate)
    except (RuntimeError, OSError, osmium.InvalidLocationError) as error:
        raise InputError(f"'{path}' cannot be read as OSM data: {first_line(error)}") from error


def _elements(path: Path) -> Iterator[tuple[str, dict[str, str], Any]]:
    """Id, tags and outline of each tagged object; a closed way comes once, as an area."""
    import osmium
    import shapely

    wkb = osmium.geom.WKBFactory()
    wanted = osmium.filter.KeyFilter(*categories.TAG_KEYS)
    for element in osmium.FileProcessor(str(path)).with_areas(wanted).with_filter(wanted):
        tags = {tag.k: tag.v for tag in element.tags}
        try:
            if element.is_node():
                yield f"node/{element.id}", tags, shapely.from_wkb(wkb.create_point(element))
            elif element.is_way() and not element.is_closed():
                yield f"way/{element.id}", tags, shapely.from_wkb(wkb.create_linestring(element))
            elif element.is_area():
                home = "way" if element.from_way() else "relation"
                yield f"{home}/{element.orig_id()}", tags, shapely.from_wkb(wkb.create_multipolygon(element))
        except (RuntimeError, osmium.InvalidLocationError):
            yield f"{type(element).__name__.lower()}/{element.id}", tags, None  # cut off at the extract's edge


def from_geodataframe(name: str, features: Any, *, translate: categories.Translator | None = None) -> Extract:
    """Take what ``osmnx.features_from_point`` and its siblings return.

    Args:
        name: What to call it.
        features: GeoDataFrame in EPSG:4326, indexed by (element, id), a column for each key.
        translate: See :func:`read_extract`.
    """
    columns = [column for column in features.columns if column != "geometry"]

    def elements() -> Iterator[tuple[str, dict[str, str], Any]]:
        for (element, number), row in features.iterrows():
            yield f"{element}/{number}", {k: row[k] for k in columns if isinstance(row[k], str)}, row["geometry"]

    return collect(name, elements(), translate=translate)


def collect(
    name: str,
    elements: Iterable[tuple[str, Mapping[str, str], Any]],
    *,
    translate: categories.Translator | None = None,
) -> Extract:
    """Keep what has a category, and names that say something.

    Args:
        name: Of the extract.
        elements: OSM id, tags and shapely outline (lon, lat) of each; an outline of None is counted as cut off.
        translate: See :func:`read_extract`.
    """
    kept: list[tuple[OsmObject, Any]] = []
    dropped: defaultdict[str, int] = defaultdict(int)
    for osm_id, tags, outline in elements:
        home, word = categories.category(tags), categories.kind(tags)
        if home is None or not word:
            continue
        title = categories.clean_name(tags.get("name", ""))
        if outline is None or outline.is_empty:
            dropped["outline incomplete"] += 1
            continue
        dropped["name numeric or meaningless"] += bool(tags.get("name")) and not title
        told = (categories.clean_name(tags.get(key, "")) for key in ("name:en", "int_name", "name:latin"))
        english = next((name for name in told if name and name.casefold() not in title.casefold()), "") if title else ""
        if categories.script(title) == "LATIN" and title.casefold() in english.casefold():
            english = ""  # says the name again, and more
        further = tuple((key, tags[key]) for key in KEPT_TAGS if tags.get(key) and ";" not in tags[key])
        middle = outline.centroid
        kept.append((OsmObject(osm_id, middle.y, middle.x, title, english, home, word, further), outline))
    things = [thing for thing, _ in kept]
    if translate is not None:
        things = [
            thing if thing.english or not thing.name else replace(thing, english=_told(translate, thing))
            for thing in things
        ]
    return Extract(name, tuple(things), tuple(outline for _, outline in kept), dict(dropped))


def _told(translate: categories.Translator, thing: OsmObject) -> str:
    """A translator's word for it; names in Latin letters are left as people write them."""
    if categories.script(thing.name) in ("LATIN", ""):
        return ""
    return categories.clean_name(translate(thing.name))
