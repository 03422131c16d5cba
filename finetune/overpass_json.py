"""Read what an Overpass server answers to ``out geom``: elements of the map, each with its outline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def elements(answer: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str], Any]]:
    """Id, tags and shapely outline (lon, lat; None where cut off) of each tagged element; what is none is left out."""
    for element in answer["elements"]:
        try:
            osm_id, tags = f"{element['type']}/{element['id']}", dict(element.get("tags", {}))
            outline = _outline(element)
        except (KeyError, TypeError, ValueError):
            continue  # not an element of the map
        if tags:
            yield osm_id, tags, outline


def _outline(element: Mapping[str, Any]) -> Any:
    """Shapely outline of one element, None where the server sent too little of it."""
    import shapely

    if element["type"] == "node":
        return shapely.Point(element["lon"], element["lat"])
    if element["type"] == "way":
        line = [(p["lon"], p["lat"]) for p in element.get("geometry", []) if p]
        if len(line) < 2:
            return None
        return shapely.Polygon(line) if len(line) > 3 and line[0] == line[-1] else shapely.LineString(line)
    lines = [[(p["lon"], p["lat"]) for p in m.get("geometry", []) if p] for m in element.get("members", [])]
    pieces = [shapely.LineString(line) for line in lines if len(line) > 1]
    if not pieces:
        return None
    if element.get("tags", {}).get("type") == "multipolygon":
        area = shapely.build_area(shapely.MultiLineString(pieces))
        if not area.is_empty:
            return area
    return shapely.MultiLineString(pieces)
