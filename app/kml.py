"""Answers as KML 2.2 (OGC 07-147r2), which map programs and globes open: points, areas, neighbours, and what is said.

Coordinates are lon, lat. Text is escaped by the XML writer, and characters that XML cannot hold are left out; a
description is escaped twice, because globes read it as HTML, so that nothing in a caption becomes markup. Areas arrive
split at the antimeridian, and stay so.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from typing import Any
from xml.etree import ElementTree as ET  # written here, never read

from gaea.answer import Answer
from gaea.app.export import each_answer, features
from gaea.source import printable

NAMESPACE = "http://www.opengis.net/kml/2.2"
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_STYLES = {  # aabbggrr
    "answer": "ff2c32c4",
    "region": "ff7d6d0f",
    "neighbour": "ff3f9a2f",
    "dissimilar": "ff9a9a9a",
    "alternative": "ff2c9ac4",
    "file claim": "ff9a2f7d",
}


def kml(answers: Answer | Sequence[Answer], *, names: Sequence[str] = ()) -> str:
    """One or more answers as a KML document.

    Args:
        answers: Of a conversation, or of several photos.
        names: What to call the folder of each answer, such as file names; the questions where left out.
    """
    ET.register_namespace("", NAMESPACE)
    root = ET.Element(f"{{{NAMESPACE}}}kml")
    document = _add(root, "Document")
    _add(document, "name", "GAEA")
    for style, colour in _STYLES.items():
        _style(document, style.replace(" ", "-"), colour)
    for number, answer in enumerate(each_answer(answers)):
        folder = _add(document, "Folder")
        _add(folder, "name", printable(names[number]) if number < len(names) else answer.question)
        for feature in features(answer):
            _placemark(folder, feature)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _placemark(folder: ET.Element, feature: dict[str, Any]) -> None:
    told = feature["properties"]
    role = told["role"]
    mark = _add(folder, "Placemark")
    _add(mark, "name", _name(role, told))
    lines = [f"{name}: {_text(value)}" for name, value in told.items() if name not in ("role", "kind")]
    _add(mark, "description", html.escape("\n".join(lines), quote=False))
    style = "dissimilar" if told.get("kind") == "dissimilar" else role
    _add(mark, "styleUrl", "#" + (style if style in _STYLES else "neighbour").replace(" ", "-"))
    data = _add(mark, "ExtendedData")
    for name, value in told.items():
        item = _add(data, "Data")
        item.set("name", name)
        _add(item, "value", _text(value))
    _geometry(mark, feature["geometry"])


def _name(role: str, told: dict[str, Any]) -> str:
    if role == "region":
        return f"{told['mass']} % region"
    return str(told.get("place") or told.get("label") or told.get("text") or role)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(map(str, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _geometry(mark: ET.Element, geometry: dict[str, Any]) -> None:
    coordinates = geometry["coordinates"]
    if geometry["type"] == "Point":
        _add(_add(mark, "Point"), "coordinates", _positions([coordinates]))
        return
    holder = _add(mark, "MultiGeometry")
    for rings in coordinates if geometry["type"] == "MultiPolygon" else [coordinates]:
        polygon = _add(holder, "Polygon")
        _add(polygon, "tessellate", "1")
        for number, ring in enumerate(rings):
            boundary = _add(polygon, "innerBoundaryIs" if number else "outerBoundaryIs")
            _add(_add(boundary, "LinearRing"), "coordinates", _positions(ring))


def _positions(positions: Iterable[Sequence[float]]) -> str:
    return " ".join(f"{lon:.6f},{lat:.6f}" for lon, lat in positions)


def _style(document: ET.Element, name: str, colour: str) -> None:
    style = _add(document, "Style")
    style.set("id", name)
    _add(_add(style, "IconStyle"), "color", colour)
    _add(_add(style, "LineStyle"), "color", colour)
    _add(_add(style, "PolyStyle"), "color", "40" + colour[2:])


def _add(parent: ET.Element, name: str, text: str | None = None) -> ET.Element:
    child = ET.SubElement(parent, f"{{{NAMESPACE}}}{name}")
    if text is not None:
        child.text = _NOT_XML.sub("", text)
    return child
