"""The layouts in which benchmarks of places were published: which table, which columns, where the pictures lie.

A layout is data. Names of columns are matched without regard to case; what a table calls ``LAT``, ``lat`` or
``latitude`` is the same here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

WHERE = "Where is this image taken? Respond with only the city and country."
"""As GAEA asks it of all of these."""

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "id": ("img_id", "file", "file_path", "file_name", "filename", "image", "id", "name"),
    "lat": ("lat", "latitude"),
    "lon": ("lon", "lng", "long", "longitude"),
    "country": ("unique_country", "country.name", "country", "country_iso2"),
    "region": ("region",),
    "city": ("city",),
}

GEOESTIMATION = "metadata: https://github.com/TIBHannover/GeoEstimation (releases and meta/)"
GAEA_TRUTH = "ground truth with cities: https://github.com/UCF-CRCV/GAEA under evaluations/"


@dataclass(frozen=True)
class Layout:
    """How one benchmark lies on a disk.

    Attributes:
        told: One line on what it is.
        version: Of its data.
        tables: Names of the table, first that is there; looked for in the root and one folder down.
        pictures: Folders that the pictures may lie in, under the root.
        suffix: Put behind an id to make a file name, where the table leaves it out.
        nested: Whether pictures lie in folders that the table does not name.
        places: Whether rows have coordinates; else city and country are all.
        strata: Columns that are groups, by the name they get.
        obtain: Where to get what is missing.
        published: How many rows it should have; 0 where versions differ.
    """

    told: str
    version: str
    tables: tuple[str, ...]
    pictures: tuple[str, ...]
    obtain: str
    suffix: str = ""
    nested: bool = False
    places: bool = True
    strata: Mapping[str, str] = field(default_factory=dict)
    published: int = 0


LAYOUTS: Mapping[str, Layout] = {
    "im2gps": Layout(
        "IM2GPS, 237 photographs of Flickr",
        "Hays and Efros 2008, metadata of GeoEstimation",
        ("im2gps_places365.csv", "im2gps_citygt.csv"),
        ("gps_query_imgs", "im2gps", "images", "img", ""),
        f"pictures: http://graphics.cs.cmu.edu/projects/im2gps/ (gps_query_imgs.zip); {GEOESTIMATION}; {GAEA_TRUTH}",
        published=237,
    ),
    "im2gps3k": Layout(
        "IM2GPS3k, 2,997 photographs of Flickr",
        "Vo et al. 2017, metadata of GeoEstimation",
        ("im2gps3k_places365.csv", "im2gps3k_citygt.csv"),
        ("im2gps3ktest", "images", "img", ""),
        f"pictures: https://github.com/lugiavn/revisiting-im2gps (im2gps3ktest.zip); {GEOESTIMATION}; {GAEA_TRUTH}",
        published=2997,
    ),
    "yfcc4k": Layout(
        "YFCC4k, 4,536 photographs of Flickr",
        "Vo et al. 2017, metadata of GeoEstimation",
        ("yfcc4k_places365.csv", "yfcc4k_places.csv", "yfcc4k_citygt.csv"),
        ("yfcc4k", "images", "img", ""),
        f"pictures: https://github.com/lugiavn/revisiting-im2gps (yfcc4k.zip); {GEOESTIMATION}",
        suffix=".jpg",
        published=4536,
    ),
    "yfcc26k": Layout(
        "YFCC26k, 25,600 photographs of Flickr",
        "Müller-Budack et al. 2018 (yfcc25600)",
        ("yfcc25600_places365.csv", "yfcc26k_citygt.csv"),
        ("yfcc26k", "yfcc25600", "images", "img", ""),
        f"pictures by the URLs in: {GEOESTIMATION}",
        suffix=".jpg",
        published=25600,
    ),
    "gws15k": Layout(
        "GWS15k, 14,955 views of Google Street View",
        "Clark et al. 2023, rows of GAEA",
        ("gws15k_citygt.csv", "gws15k.csv"),
        ("gws15k", "images", "img", ""),
        f"no pictures are published (they are fetched by coordinates under Google's terms); {GAEA_TRUTH}",
        published=14955,
    ),
    "osv5m": Layout(
        "OpenStreetView-5M, test split of 210,122 street views",
        "osv5m/osv5m, test.csv",
        ("test.csv",),
        ("images/test", "test", "images", ""),
        "https://huggingface.co/datasets/osv5m/osv5m: test.csv, and images/test/*.zip unpacked where they lie",
        suffix=".jpg",
        nested=True,
        strata={"land_cover": "land cover", "drive_side": "driving side"},
        published=210122,
    ),
    "geode": Layout(
        "GeoDE, city and country of household objects photographed in six regions",
        "rows of GAEA (geode_citygt.csv)",
        ("geode_citygt.csv",),
        ("geode", "images", ""),
        f"pictures: https://geodiverse-data-collection.cs.princeton.edu; {GAEA_TRUTH}",
    ),
    "cityguessr": Layout(
        "CityGuessr68k, city and country of frames of street videos",
        "rows of GAEA (cityguessr_citygt.csv)",
        ("cityguessr_citygt.csv",),
        ("cityguessr", "YouTube", "images", ""),
        f"pictures: https://github.com/ParthPK/CityGuessr; {GAEA_TRUTH}",
        places=False,
    ),
    "dollarstreet": Layout(
        "Dollar Street, country of rooms and things in homes",
        "rows of GAEA (dollarstreet_citygt.csv), or images_v2.csv with incomes",
        ("dollarstreet_citygt.csv", "images_v2.csv"),
        ("dollarstreet", "dataset_dollarstreet", "Dollar Street", "images", ""),
        f"pictures: https://mlcommons.org/datasets/dollar-street; {GAEA_TRUTH}",
        suffix=".jpg",
        nested=True,
        places=False,
        strata={"topics": "topic"},
    ),
    "folder": Layout(
        "any folder with metadata.csv or metadata.jsonl: file_name, latitude, longitude, and city, country if known",
        "as it lies there",
        ("metadata.csv", "metadata.jsonl"),
        ("", "images"),
        "write metadata.csv with the columns file_name, latitude, longitude beside the pictures",
    ),
}

SCENES: Mapping[str, str] = {"prob_indoor": "indoor", "prob_natural": "natural", "prob_urban": "urban"}
"""Columns of the places365 tables; the largest is the scene."""

INCOMES = ((195.4, "1 poorest"), (685.0, "2"), (1998.0, "3"))
"""Upper ends of Dollar Street's quarters of monthly income, US dollars (Gaviria Rojas et al. 2022); then 4 richest."""
