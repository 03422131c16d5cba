"""KML that map programs open, whatever text it is made from, and areas that do not cross the antimeridian."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaea import cells as s2
from gaea.answer import Alternative, Answer, Confidence, Evidence, FileClaim, Place, Point
from gaea.app.export import kml
from gaea.belief import Belief

KML = "{http://www.opengis.net/kml/2.2}"
NASTY = "<script>alert(1)</script> ]]> &amp; \x00\x0b \ud800 \"'"


def answer(lat=45.9, lon=6.9, text="In the Alps."):
    cells = s2.cover_cap(lat, lon, 300.0, max_level=7)
    belief = Belief.from_weights(cells, s2.area_km2(cells))
    return Answer(
        question="Where is this?",
        text=text,
        point=Point(lat, lon),
        radius_km={50: 10.0, 90: 60.5},
        region={n: belief.region(n / 100).geojson() for n in (50, 90)},
        place=Place("Chamonix", 3.0, "Haute-Savoie", "France", "FR"),
        evidence=(Evidence("similar", "peaks", 46.0, 7.0, 13.0, 0.9, "gallery", "NASA"), Evidence("fact", "no place")),
        confidence=Confidence("unsure", 10.0, {50: 400.0, 90: 9000.0}),
        alternatives=(Alternative("Italy", 0.2, Point(45.0, 7.5)),),
        file_claim=FileClaim(45.5, 6.5, "2024-05-01T12:00:00", "Canon", 54.0, ("odd",)),
        disclosure="city",
    )


def parsed(text):
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>')
    root = ET.fromstring(text)
    assert root.tag == f"{KML}kml"
    return root


def positions(element):
    return [tuple(map(float, pair.split(","))) for pair in element.text.split()]


def test_everything_with_a_place_is_there_with_radius_and_level():
    root = parsed(kml(answer()))
    marks = {mark.find(f"{KML}name").text: mark for mark in root.iter(f"{KML}Placemark")}
    assert set(marks) == {
        "90 % region",
        "50 % region",
        "near Chamonix, Haute-Savoie, France",
        "Italy",
        "peaks",
        "file claim",
    }
    point = marks["near Chamonix, Haute-Savoie, France"]
    assert positions(point.find(f"{KML}Point/{KML}coordinates")) == [(6.9, 45.9)]
    told = {d.get("name"): d.find(f"{KML}value").text for d in point.iter(f"{KML}Data")}
    assert (told["radius_km_50"], told["radius_km_90"], told["disclosure"]) == ("10", "60.5", "city")
    assert "radius_km_90: 60.5" in point.find(f"{KML}description").text
    styles = {"#" + style.get("id") for style in root.iter(f"{KML}Style")}
    assert {mark.find(f"{KML}styleUrl").text for mark in marks.values()} <= styles


@pytest.mark.parametrize(("lat", "lon"), [(0.0, 179.9), (-17.0, -179.9), (89.5, 30.0), (-89.9, 0.0)])
def test_areas_stay_on_their_side_of_the_antimeridian(lat, lon):
    rings = list(parsed(kml(answer(lat, lon))).iter(f"{KML}LinearRing"))
    assert rings
    for ring in rings:
        line = np.array(positions(ring.find(f"{KML}coordinates")))
        assert (line[0] == line[-1]).all()
        assert np.abs(np.diff(line[:, 0])).max() <= 180
        assert np.abs(line).max(axis=0).tolist() <= [180, 90]


def test_what_is_no_markup_stays_none():
    root = parsed(kml(answer(text=NASTY), names=[NASTY]))
    told = [d.find(f"{KML}value").text for d in root.iter(f"{KML}Data") if d.get("name") == "text"]
    assert any("<script>alert(1)</script> ]]> &amp;" in text for text in told)
    assert not [e.tag for e in root.iter() if e.tag.endswith("}script")]
    assert not [d.text for d in root.iter(f"{KML}description") if "<" in d.text]  # globes read it as HTML
    assert "<script" not in kml(answer(text=NASTY))


@given(st.text())
def test_any_text_is_written_as_xml(text):
    root = parsed(kml(Answer(question=text, text=text, point=Point(1.0, 2.0))))
    assert len(list(root.iter(f"{KML}Placemark"))) == 1


def test_several_answers_have_a_folder_each():
    root = parsed(
        kml([answer(), Answer(question="?", text="I cannot tell.", abstained=True)], names=["a.jpg", "b.jpg"])
    )
    folders = [f.find(f"{KML}name").text for f in root.iter(f"{KML}Folder")]
    assert folders == ["a.jpg", "b.jpg"]
