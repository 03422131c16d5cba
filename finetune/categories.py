"""What an OpenStreetMap object is, in GAEA's ten categories and in a plain word; and whether its name says anything.

GAEA attaches to each picture the OSM tags within 1 km, in ten categories, and drops values that are numbers or say
nothing (Campos et al., GAEA, arXiv 2503.16423, §3). The paper gives the categories but not which tags belong to them:
the table below is this project's own reading of the OSM wiki.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Protocol

CATEGORIES = (
    "amenities",
    "food",
    "finance",
    "government",
    "lodging",
    "transport",
    "health",
    "religion",
    "education",
    "waterways",
)
"""GAEA's names, in the paper's order; ``amenities`` is what fits no other."""

# Key, values (None: any), category. The first rule that fits decides, so that the special stands before the general.
_RULES: tuple[tuple[str, str | None, str], ...] = (
    ("amenity", "restaurant cafe fast_food bar pub biergarten food_court ice_cream", "food"),
    ("amenity", "bank atm bureau_de_change money_transfer payment_centre", "finance"),
    ("amenity", "townhall courthouse police fire_station embassy prison post_office ranger_station", "government"),
    ("amenity", "hospital clinic doctors dentist pharmacy veterinary nursing_home", "health"),
    ("amenity", "place_of_worship monastery", "religion"),
    (
        "amenity",
        "school kindergarten university college library language_school music_school driving_school",
        "education",
    ),
    ("amenity", "bus_station ferry_terminal taxi fuel charging_station car_rental bicycle_rental parking", "transport"),
    ("tourism", "hotel motel hostel guest_house apartment chalet camp_site caravan_site alpine_hut", "lodging"),
    ("shop", "bakery supermarket convenience greengrocer butcher deli confectionery pastry seafood coffee", "food"),
    ("office", "government diplomatic", "government"),
    ("office", "insurance financial accountant tax_advisor", "finance"),
    ("healthcare", None, "health"),
    ("railway", "station halt tram_stop subway_entrance", "transport"),
    ("public_transport", "station", "transport"),
    ("highway", "bus_stop", "transport"),
    ("aeroway", "aerodrome terminal helipad heliport", "transport"),
    ("waterway", "river stream canal waterfall dam weir dock", "waterways"),
    ("natural", "water bay spring strait", "waterways"),
    (
        "amenity",
        "theatre cinema arts_centre community_centre marketplace fountain toilets nightclub casino",
        "amenities",
    ),
    (
        "amenity",
        "drinking_water car_wash recycling shelter social_facility studio conference_centre clock",
        "amenities",
    ),
    ("tourism", "museum attraction viewpoint artwork gallery zoo theme_park aquarium picnic_site", "amenities"),
    ("leisure", "park playground pitch sports_centre stadium garden swimming_pool marina fitness_centre", "amenities"),
    ("leisure", "nature_reserve golf_course ice_rink water_park dance", "amenities"),
    ("historic", "monument memorial castle ruins archaeological_site fort city_gate tower wayside_shrine", "amenities"),
    ("shop", None, "amenities"),
)
_RULE_VALUES = [(key, None if values is None else frozenset(values.split()), home) for key, values, home in _RULES]
TAG_KEYS = tuple(dict.fromkeys(key for key, _, _ in _RULES))
"""The keys that make an object one of interest."""

_FAITHS = {
    "christian": "church",
    "muslim": "mosque",
    "jewish": "synagogue",
    "hindu": "Hindu temple",
    "buddhist": "Buddhist temple",
    "sikh": "gurdwara",
    "shinto": "Shinto shrine",
    "taoist": "Taoist temple",
}
_WORDS = {
    "fast_food": "fast food restaurant",
    "atm": "cash machine",
    "bureau_de_change": "currency exchange office",
    "doctors": "doctor's practice",
    "dentist": "dental practice",
    "veterinary": "veterinary practice",
    "townhall": "town hall",
    "police": "police station",
    "fuel": "filling station",
    "parking": "car park",
    "taxi": "taxi rank",
    "toilets": "public toilet",
    "drinking_water": "drinking water tap",
    "recycling": "recycling point",
    "ice_cream": "ice cream parlour",
    "bicycle_rental": "bicycle rental station",
    "gallery": "art gallery",
    "doctor": "doctor's practice",
    "money_transfer": "money transfer office",
    "payment_centre": "payment office",
    "apartment": "holiday apartment",
    "chalet": "holiday chalet",
    "subway_entrance": "underground entrance",
    "halt": "railway halt",
    "aerodrome": "airfield",
    "terminal": "airport terminal",
    "artwork": "work of art",
    "attraction": "tourist attraction",
    "pitch": "sports pitch",
    "water": "body of water",
    "convenience": "convenience store",
    "deli": "delicatessen",
    "government": "government office",
    "diplomatic": "diplomatic mission",
    "insurance": "insurance office",
    "financial": "financial office",
    "accountant": "accountant's office",
    "tax_advisor": "tax adviser's office",
    "dance": "dance hall",
    "ruins": "ruin",
    "tower": "historic tower",
}
_HEALTH = frozenset({"clinic", "hospital", "pharmacy", "hospice", "laboratory"})
_SHOPS = {
    "bakery": "bakery", "supermarket": "supermarket", "greengrocer": "greengrocer", "butcher": "butcher",
    "confectionery": "confectioner", "pastry": "pastry shop", "hairdresser": "hairdresser", "florist": "florist",
    "chemist": "chemist", "optician": "optician", "mall": "shopping mall", "department_store": "department store",
    "kiosk": "kiosk", "laundry": "laundry", "dry_cleaning": "dry cleaner", "travel_agency": "travel agency",
    "car": "car dealer", "car_repair": "car repair shop", "beauty": "beauty salon", "general": "general store",
    "doityourself": "hardware store", "hardware": "hardware store", "clothes": "clothes shop", "alcohol": "off-licence",
    "deli": "delicatessen", "convenience": "convenience store", "estate_agent": "estate agency", "books": "bookshop",
    "shoes": "shoe shop", "garden_centre": "garden centre", "variety_store": "variety store", "tailor": "tailor",
    "seafood": "fishmonger", "jewelry": "jeweller", "boat": "boat shop", "insurance": "insurance office",
    "stationery": "stationer",
}  # fmt: skip
_VALUELESS = {
    "yes", "no", "none", "unknown", "unnamed", "noname", "no_name", "n/a", "na", "null", "nil", "todo", "fixme", "test",
    "temp", "tmp", "other", "misc", "vacant", "disused", "abandoned", "closed", "under_construction", "construction",
    "private", "public", "user_defined",
}  # fmt: skip
_GENERIC = {
    "building", "house", "shop", "store", "restaurant", "hotel", "guesthouse", "guest_house", "parking", "toilet",
    "toilets", "school", "church", "mosque", "bank", "atm", "park", "garden", "pool", "swimming_pool", "office", "home",
    "cafe", "café", "pub", "bar", "river", "stream", "playground", "water", "resort", "beach", "bus_stop", "clinic",
    "pharmacy", "supermarket", "market", "harbour", "jetty", "island", "museum", "temple", "chapel", "kapelle",
    "kirche", "schule", "spielplatz", "mosquée", "église", "escola", "igreja",
}  # fmt: skip
"""Names that only say what the thing is."""

_WORD = re.compile(r"[^\W\d_]{2,}")
_NUMBERED = re.compile(
    r"(?:(?:water|beach|over|villas?|room|house|bungalow|block|gate|building|flat|suite|tower|exit|platform|parking|court"
    r"|lane|no|number|plot|pool|hotel|bus|stop)\b[\s.#-]*)+\d+\w?",
    re.IGNORECASE,
)
_JUNK = re.compile(r"[$€£]|\[\[|\]\]|https?:|www\.|@|[<>{}|\\]|\?\?|[+\d][\d\s().-]{6,}")
LONGEST_NAME = 60


class Translator(Protocol):
    """An optional model that gives a name in Latin letters or in English."""

    def __call__(self, name: str, /) -> str:
        """The name as it should be read, or ``""`` to leave it as it is."""


def category(tags: Mapping[str, str]) -> str | None:
    """GAEA's category of an object, None if it is none of interest."""
    rule = _rule(tags)
    return rule[1] if rule else None


def kind(tags: Mapping[str, str]) -> str:
    """What the object is, in a word or two of plain English: ``"bakery"``, ``"Hindu temple"``; '' if unknown."""
    rule = _rule(tags)
    if rule is None:
        return ""
    key, value = rule[0], tags[rule[0]]
    word = _WORDS.get(value, value.replace("_", " "))
    if value == "place_of_worship":
        word = _FAITHS.get(tags.get("religion", ""), "place of worship")
    elif key == "shop":
        word = _SHOPS.get(value) or f"{value.replace('_', ' ')} shop"
    elif key == "healthcare" and value not in _WORDS and value not in _HEALTH:
        word = "health care practice"
    elif value == "attraction" and tags.get("sport") == "scuba_diving":
        word = "dive site"
    elif value == "station" and (key == "railway" or tags.get("train") == "yes"):
        word = "railway station"
    return word


def clean_name(name: str) -> str:
    """A name as it may be asked about, or '' where it is a number, a reference, an address or says nothing.

    The letters stay in their own script: see :class:`Translator`.
    """
    visible = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in unicodedata.normalize("NFC", name))
    plain = " ".join(visible.split()).strip(" \"'.,;:-–_*#/")
    if sum(plain.count(mark) for mark in '"«»“”„') % 2:  # one of a pair went with the ends
        plain = " ".join(plain.translate(str.maketrans("", "", '"«»“”„')).split())
    letters, digits = sum(c.isalpha() for c in plain), sum(c.isdigit() for c in plain)
    short = letters < (2 if plain and not plain.isascii() else 3)
    if short or digits > letters or len(plain) > LONGEST_NAME or _JUNK.search(plain) or ";" in plain:
        return ""
    if (
        plain.casefold().replace(" ", "_") in _VALUELESS | _GENERIC
        or not _WORD.search(plain)
        or _NUMBERED.fullmatch(plain)
    ):
        return ""
    return plain


def script(text: str) -> str:
    """The script of most letters of a text, as Unicode names it: ``"LATIN"``, ``"THAANA"``; '' without letters."""
    names = [unicodedata.name(c, "").split(" ")[0] for c in text if c.isalpha()]
    return max(dict.fromkeys(names), key=names.count) if names else ""


def _rule(tags: Mapping[str, str]) -> tuple[str, str] | None:
    for key, values, home in _RULE_VALUES:
        value = tags.get(key)
        if value and not _says_nothing(value) and ";" not in value and (values is None or value in values):
            return key, home
    return None


def _says_nothing(value: str) -> bool:
    return value.casefold().replace(" ", "_") in _VALUELESS
