"""Coordinates in running text, as models write them: decimal pairs, degrees-minutes-seconds, JSON, tables, map links.

A text is read in two steps. *Angles* are numbers with whatever says what they are: a label (``"lat":``,
``Longitude =``), degree marks, a hemisphere before or after. Neighbouring angles are then *paired*. A pair whose axes
are told may come in either order; one without labels is read as (lat, lon), and only where its decimals or the words
around it show that coordinates are meant. Nothing is guessed: a pair that is out of range or contradicts itself is
reported and gives no point. All patterns have bounded repetitions, so that reading takes time linear in the text.

WGS84 degrees, radii in km. The format of degrees, minutes and seconds follows ISO 6709, annex D, and its common
misspellings.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from gaea.sphere import EARTH_RADIUS_KM

Span = tuple[int, int]

KM_PER_DEG = math.pi * EARTH_RADIUS_KM / 180

GAP = 120
"""Most characters between two angles of one pair."""


@dataclass(frozen=True)
class Coordinates:
    """A pair found in a text.

    Attributes:
        lat: degrees, −90 to 90; NaN where there is a problem.
        lon: degrees, −180 to 180; NaN where there is a problem.
        radius_km: half the width of a stated range, or of the last digit where that is coarser than 1 km; None
            for a plain, precise pair.
        span: where in the text, as (start, end).
        problem: why it is no place on Earth, or ``""``.
    """

    lat: float
    lon: float
    radius_km: float | None
    span: Span
    problem: str = ""


@dataclass(frozen=True)
class _Angle:
    axis: str  # "lat", "lon" or "" where nothing tells
    value: float
    half_deg: float  # half a stated range, or half a unit of the last digit
    decimals: int
    marked: bool  # a degree mark, label or hemisphere shows that it is an angle
    labelled: bool
    span: Span
    problem: str


# ── angles ──────────────────────────────────────────────────────────────────

_LABEL = r"(?<![a-z])m?(?:latitude|longitude|lat|long|lng|lon)(?![a-z])"
# What stands between a label and its number: quotes, Markdown, a table's bar, and words of doubt.
_JUNK = (
    r"""[\s"'`“”„*_:=~≈≃(\[|>\\]{0,12}(?:(?:is|of|at|approximately|approx\.?|about|around|roughly|circa|ca\.|near|between"""
    r"""|deg(?:rees)?|would\sbe|could\sbe|value)(?![a-z])[\s"'`*_:=~≈≃]{0,6}){0,3}"""
)
_POLE = r"(?-i:[NSEW])(?![A-Za-z])|(?<![a-z])(?:north|south|east|west)(?:ern)?(?![a-z])"
_NUM = r"[0-9]{1,4}(?:[.,][0-9]{1,17})?"
_DEG = r"(?:\s?(?:°|º|˚|⁰|&deg;|&\#176;|\^?\{?\\circ\}?|degrees?(?![a-z])|deg\.?(?![a-z]))|d(?=\s?[0-9]))"
_MIN = r"(?:\s?(?:['′’‘´`]|minutes?(?![a-z])|min\.?(?![a-z]))|m(?![a-z]))"
_SEC = r"(?:\s?(?:[\"″”“]|''|′′|’’|seconds?(?![a-z])|sec\.?(?![a-z]))|(?-i:s)(?![a-z]))"


def _pattern(ranges: str) -> re.Pattern[str]:
    return re.compile(
        rf"""
        (?: (?P<label>{_LABEL}) {_JUNK} )?
        (?: (?<![a-z0-9]) (?P<before>{_POLE}) [\s:.]{{0,3}} )?
        (?(before)|(?(label)|(?<![0-9A-Za-z_.]))) (?P<sign> [+\-−–] )? (?P<deg>{_NUM})
        (?:
            (?P<mark>{_DEG})
            (?: \s{{0,2}} (?P<min>[0-9]{{1,2}}(?:[.,][0-9]{{1,9}})?) {_MIN}
                (?: \s{{0,2}} (?P<sec>[0-9]{{1,2}}(?:[.,][0-9]{{1,9}})?) {_SEC} )?
              | \s{{0,2}} (?P<bare_min>[0-9]{{1,2}}\.[0-9]{{2,6}}) (?! {_DEG} | [0-9] )
            )?
          | : (?P<colon_min>[0-9]{{2}}) (?: : (?P<colon_sec>[0-9]{{2}}(?:\.[0-9]{{1,6}})?) )?
          | \s (?P<space_min>[0-9]{{1,2}}) \s (?P<space_sec>[0-9]{{1,2}}(?:\.[0-9]{{1,6}})?)
            (?= \s?(?-i:[NSEW])(?![A-Za-z]) )
        )?
        {ranges}
        (?! [0-9] | \.[0-9] )
        (?: [\s"]{{0,2}} (?P<after>{_POLE}) (?(before)(?! [\s:.]{{0,3}} [0-9] )|) )?
        (?: \s? (?P<late>{_LABEL}) (?! {_JUNK} (?:(?:{_POLE})[\s:.]{{0,3}})? [+\-−–]? [0-9] ) )?
        """,
        re.IGNORECASE | re.VERBOSE,
    )


_ANGLE = _pattern(
    rf"(?: (?: [\-–—] | \s[\-–—]\s | \s(?:to|and|through)\s ) (?P<to_sign>[+\-−])? (?P<to>{_NUM}) {_DEG}? )?"
)
_ONE_NUMBER = _pattern("")
# "Lat/Lon: 48.85, 2.29": here the label is the end of a heading, and does not belong to the number behind it.
_HEADING = re.compile(rf"""{_LABEL}["'`*_]{{0,3}}[\s,/|&]{{1,4}}(?:and\s)?["'`*_]{{0,3}}$""", re.IGNORECASE)


def _number(written: str) -> float:
    return float(written.replace(",", "."))


def _axis_of(labels: tuple[str | None, ...], poles: tuple[str | None, ...]) -> tuple[str, str]:
    """The axis that labels and hemispheres agree on, and what is wrong if they do not."""
    axes = {"lat" if "lat" in label.lower() else "lon" for label in labels if label}
    axes |= {"lat" if pole[0].upper() in "NS" else "lon" for pole in poles if pole}
    return (
        ("", "its labels and hemispheres contradict each other") if len(axes) > 1 else (axes.pop() if axes else "", "")
    )


def _angle(match: re.Match[str], text: str) -> _Angle:
    part: dict[str, str | None] = {"to": None, "to_sign": None} | match.groupdict()
    start = match.start()
    if part["label"] and _HEADING.search(text, max(0, start - 20), start):
        part["label"], start = None, match.end("label")
    axis, problem = _axis_of((part["label"], part["late"]), (part["before"], part["after"]))
    degrees = part["deg"] or ""
    value, decimals = _number(degrees), len(re.sub("[0-9]*[.,]?", "", degrees, count=1))
    minutes = part["min"] or part["bare_min"] or part["colon_min"] or part["space_min"]
    seconds = part["sec"] or part["colon_sec"] or part["space_sec"]
    if minutes:
        small = [_number(minutes), _number(seconds or "0")]
        if max(small) >= 60 or decimals:
            problem = problem or "minutes and seconds must be below 60, after whole degrees"
        value, decimals = value + small[0] / 60 + small[1] / 3600, 4 if seconds else 3
    poles = {p[0].upper() for p in (part["before"], part["after"]) if p}
    minus = part["sign"] in ("-", "−", "–")
    if len(poles) > 1 or (minus and poles & {"N", "E"}):
        problem = problem or "its sign and hemisphere contradict each other"
    sign = -1.0 if minus or poles & {"S", "W"} else 1.0
    value, half_deg = sign * value, 0.5 * 10.0**-decimals
    labelled = bool(part["label"] or part["late"])
    if part["to"]:
        other = _number(part["to"]) * (sign if poles else -1.0 if part["to_sign"] in ("-", "−") else 1.0)
        value, half_deg = (value + other) / 2, max(abs(other - value) / 2, half_deg)
    return _Angle(axis, value, half_deg, decimals, bool(axis or part["mark"]), labelled, (start, match.end()), problem)


def _angles(text: str) -> list[_Angle]:
    found, position = [], 0
    while match := _ANGLE.search(text, position):
        told = any(match[name] for name in ("label", "late", "before", "after"))
        if match["to"] and not told:
            # "48.85 - 2.29" is a pair, if anything: a range has a label or a hemisphere.
            match = _ONE_NUMBER.match(text, match.start()) or match
        if told or not match["colon_min"]:  # else it is the time of day
            found.append(_angle(match, text))
        position = match.end()
    return found


# ── pairs ───────────────────────────────────────────────────────────────────

_BETWEEN = re.compile(
    r"""(?:[\s,;/|()\[\]{}"'`*_~≈=:&<>.\\-]|\bby\b|\band\b|\bapproximately\b|\babout\b|\baround\b|\broughly\b|\bthe\b|\bof\b
    |\bat\b|\bcoordinates?\b|\bdegrees?\b|\bbr\b|longitude|latitude|lon|lng)*""",
    re.IGNORECASE | re.VERBOSE,
)
_CUE = re.compile(
    r"coord|gps|locat|latitude|longitude|\blat\b|position|guess|answer|geo:|[?&](?:q|ll|center|query|daddr|cbll)=|@$|situated",
    re.IGNORECASE,
)
_TURNED = re.compile(
    r"""(?:longitude|long|lng|lon|\bx)["'`*_]{0,3}[\s,/|&]{1,4}(?:and\s)?["'`*_]{0,3}(?:latitude|lat|y)\b""", re.I
)
_STRAIGHT = re.compile(
    r"""(?:latitude|lat|\by)["'`*_]{0,3}[\s,/|&]{1,4}(?:and\s)?["'`*_]{0,3}(?:longitude|long|lng|lon|x)\b""", re.I
)
_GEOJSON = re.compile(r""""type"\s{0,3}:\s{0,3}"Point"[^{}]{0,60}$""")
_LINK = re.compile(
    r"!3d(-?[0-9]{1,3}\.[0-9]{1,16})!4d(-?[0-9]{1,3}\.[0-9]{1,16})|map=[0-9.]{1,5}/(-?[0-9.]{1,18})/(-?[0-9.]{1,18})"
)


def _before(text: str, start: int) -> str:
    """What is written before a pair: some words, or, in a table, the lines up to its heading."""
    line = text[text.rfind("\n", 0, start) + 1 : start]
    return text[max(0, start - (2000 if line.lstrip().startswith("|") else 80)) : start]


def _turned(text: str, start: int) -> bool:
    """Whether a heading before an unlabelled pair puts the longitude first."""
    before = _before(text, start)
    if _GEOJSON.search(before):
        return True
    turned = [m.end() for m in _TURNED.finditer(before)]
    straight = [m.end() for m in _STRAIGHT.finditer(before)]
    return bool(turned) and turned[-1] > (straight[-1] if straight else -1)


def _meant(text: str, first: _Angle, second: _Angle) -> bool:
    """Whether two numbers without labels are coordinates at all, and not prices, ratios or dates."""
    if first.marked and second.marked:
        return True
    fewest = min(first.decimals, second.decimals)
    start, end = first.span[0], second.span[1]
    between = text[first.span[1] : second.span[0]]
    written = text[start:end]
    if "," in written.replace(", ", " ").replace(between, " ", 1) and 3 in (first.decimals, second.decimals):
        return False  # 3,145 people
    cued = bool(_CUE.search(_before(text, start))) or text.strip(" \n()[]`*.") == written.strip(" ()")
    return fewest >= 3 or (fewest >= 1 and cued) or (fewest >= 2 and text[max(0, start - 1) : start] in ("(", "["))


def _paired(text: str, first: _Angle, second: _Angle) -> Coordinates | None:
    between = text[first.span[1] : second.span[0]]
    axes = (first.axis, second.axis)
    # A bare number in front of a label is not its partner: {"score": 0.6}, {"lat": 46.2, ...
    if (
        len(between) > GAP
        or (axes[0] and axes[0] == axes[1])
        or (second.labelled and not (first.axis or first.problem))
    ):
        return None
    # Labelled ones may have other fields of a JSON object between them.
    if not (first.labelled and second.labelled) and not _BETWEEN.fullmatch(between):
        return None
    if not any(axes) and not _meant(text, first, second):
        return None
    span = (first.span[0], second.span[1])
    turned = axes in (("lon", "lat"), ("lon", ""), ("", "lat"))
    if not any(axes):
        turned = _turned(text, first.span[0])
        if between == "," and "," in text[slice(*first.span)]:
            return Coordinates(math.nan, math.nan, None, span, f"{text[slice(*span)]!r} mixes commas of two kinds")
    lat, lon = (second, first) if turned else (first, second)
    return _checked(lat, lon, span, text[slice(*span)])


def _checked(lat: _Angle, lon: _Angle, span: Span, written: str) -> Coordinates:
    said = " ".join(written.split())[:80]
    problem = lat.problem or lon.problem
    if not problem and not abs(lat.value) <= 90:
        problem = f"latitude {lat.value:g} is not within −90 to 90"
    if not problem and not abs(lon.value) <= 180:
        problem = f"longitude {lon.value:g} is not within −180 to 180"
    if problem:
        return Coordinates(math.nan, math.nan, None, span, f"{said!r}: {problem}")
    radius = KM_PER_DEG * math.hypot(lat.half_deg, lon.half_deg * math.cos(math.radians(lat.value)))
    return Coordinates(lat.value, lon.value, radius if radius > 1 else None, span)


def _links(text: str) -> list[Coordinates]:
    """Places inside map links that are not written as a pair."""
    found = []
    for match in _LINK.finditer(text):
        lat, lon = (g for g in match.groups() if g is not None)
        try:
            lat_deg, lon_deg = float(lat), float(lon)
        except ValueError:
            continue
        plain = [_Angle("", value, 0.0, 6, True, False, match.span(), "") for value in (lat_deg, lon_deg)]
        found.append(_checked(plain[0], plain[1], match.span(), match[0]))
    return found


def find_coordinates(text: str) -> list[Coordinates]:
    """All pairs in a text, in order of appearance; those that are no place on Earth carry a problem."""
    found = _links(text)
    taken = [pair.span for pair in found]
    angles = [a for a in _angles(text) if not any(a.span[0] < end and start < a.span[1] for start, end in taken)]
    index = 0
    while index + 1 < len(angles):
        pair = _paired(text, angles[index], angles[index + 1])
        if pair:
            found.append(pair)
        index += 2 if pair else 1
    return sorted(found, key=lambda pair: pair.span)
