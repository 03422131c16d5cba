"""Is an item right? The answer is derived again from the facts that the item carries, and from nothing else.

:func:`check` is what a judge, a test and the generator itself call. It trusts no template: the key must follow from the
facts, the answer must say the key, a choice must have exactly one right option, and no text may hold a number that no
fact accounts for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gaea import cells, geotokens
from gaea.errors import InputError
from gaea.finetune.questions import CHOICE, LONG, OSM, PLACE, TRUE_FALSE, Item
from gaea.finetune.wording import (
    LETTERS,
    degrees_text,
    in_sentence,
    listed,
    numbers_in,
    octant,
    off_octant_deg,
    spoken_distance,
    tokens_text,
)

FACT_SKILLS = (
    "country", "region", "continent", "capital", "driving", "climate", "currency", "languages", "neighbours",
    "calling code", "internet domain", "hemisphere", "setting",
)  # fmt: skip
"""Skills whose answer is one fact about the place."""


def check(item: Item) -> list[str]:
    """What is wrong with an item, one line each; empty where nothing is."""
    try:
        right = SOLVERS[item.skill](item)
    except KeyError as error:
        return [f"the facts do not hold what '{item.skill}' needs: {error}"]
    except (ValueError, InputError) as error:
        return [f"the facts of '{item.skill}' contradict each other: {error}"]
    faults = [] if right == item.key else [f"the facts say {right!r}, the item {item.key!r}"]
    faults += _answer_faults(item)
    faults += [f"'{n}' is in the text and in no fact" for n in _unaccounted(item)]
    if (not item.image or OSM in item.sources) and not tells_place(item):
        faults.append("neither picture nor question shows where this is")
    return faults


# ── what follows from the facts ─────────────────────────────────────────────


def _fact(item: Item) -> str:
    values = _accepted(item, item.skill)
    if item.question_type == TRUE_FALSE:
        return str(item.params["claim"] in values)
    if item.question_type == CHOICE:
        return _only(option for option in item.options if option in values)
    if item.skill == "languages":
        return values[0]
    if item.skill in ("country", "neighbours"):
        return listed([in_sentence(v) for v in values])
    return listed(values)


def _nearest_named(item: Item) -> str:
    kind = item.params["kind"]
    found = [f.about for f in item.facts if f.name == "kind" and f.value == kind]
    best = min(found, key=lambda about: float(item.value("distance_km", about)))
    return str(item.value("name", best))


def _nearest_label(item: Item) -> str:
    away = {str(f.value): float(item.value("distance_km", f.about)) for f in item.facts if f.name == "label"}
    if set(away) != set(item.options):
        raise ValueError("options and facts are not the same things")
    return min(away, key=away.__getitem__)


def _nearest_town(item: Item) -> str:
    away = {option: float(item.value("distance_km", option)) for option in item.options}
    return min(away, key=away.__getitem__)


def _direction(item: Item) -> str:
    bearing = float(item.value("bearing_deg", str(item.params["about"])))
    if off_octant_deg(bearing) > 15.01:
        raise ValueError(f"{bearing}° is between two directions")
    said = octant(bearing)
    return str(said == item.params["claim"]) if item.question_type == TRUE_FALSE else said


def _distance(item: Item) -> str:
    return spoken_distance(float(item.value("distance_km", str(item.params["about"]))))


def _kind(item: Item) -> str:
    kind = str(item.value("kind", str(item.params["about"])))
    return str(kind == item.params["claim"]) if item.question_type == TRUE_FALSE else kind


def _category(item: Item) -> str:
    return str(item.value("category words", str(item.params["about"])))


def _is_near(item: Item) -> str:
    return str(float(item.value("distance_km", str(item.params["about"]))) <= float(item.params["radius_km"]))


def _is_nearer(item: Item) -> str:
    a, b = (float(item.value("distance_km", str(item.params[end]))) for end in ("about", "than"))
    return str(a < b)


def _city_country(item: Item) -> str:
    return f"{item.value('city')}, {item.value('country')}"


def _tokens(item: Item) -> str:
    places = geotokens.from_text(item.answer)
    if len(places) != 1:
        raise ValueError(f"{len(places)} places in S2 symbols, expected one")
    cell = geotokens.cell_of_prefix(places[0])
    level = int(cells.level(cell))
    if int(cells.from_latlon(item.lat, item.lon, level)) != cell:
        raise ValueError("the S2 symbols name another cell")
    return geotokens.to_text(places[0])


def _country_of_clues(item: Item) -> str:
    from gaea.finetune.reasoning import remaining

    steps = remaining(item.params["clues"])
    if [count for count, _ in steps] != list(item.params["left"]):
        raise ValueError(f"the clues leave {[count for count, _ in steps]} countries, not {item.params['left']}")
    return _only(steps[-1][1])


def _long(item: Item) -> str:
    return str(item.value("country"))


SOLVERS: Mapping[str, Callable[[Item], str]] = {
    **dict.fromkeys(FACT_SKILLS, _fact),
    "nearest": _nearest_named,
    "nearest of": _nearest_label,
    "nearest town": _nearest_town,
    "direction": _direction,
    "is direction": _direction,
    "distance": _distance,
    "kind": _kind,
    "is kind": _kind,
    "category": _category,
    "is near": _is_near,
    "is nearer": _is_nearer,
    "city and country": _city_country,
    "coordinates": _tokens,
    "clues": _country_of_clues,
    "portrait": _long,
    "surroundings": _long,
}
"""How the key of each skill follows from the facts."""


# ── what the texts say ──────────────────────────────────────────────────────


def _answer_faults(item: Item) -> list[str]:
    if item.question_type == TRUE_FALSE:
        return [] if item.answer == item.key in ("True", "False") else [f"the answer {item.answer!r} is no verdict"]
    if item.question_type == CHOICE:
        return _choice_faults(item)
    faults = [] if item.key.casefold() in item.answer.casefold() else [f"the answer does not say {item.key!r}"]
    if item.question_type == LONG:
        said = item.answer.casefold()
        faults += [
            f"{fact.name} of {fact.about} is not in the answer"
            for fact in item.facts
            if not any(spoken.casefold() in said for spoken in _spoken(fact.name, fact.accepted))
        ]
    return faults


def _choice_faults(item: Item) -> list[str]:
    faults = []
    if len(set(item.options)) != len(item.options) or not 2 <= len(item.options) <= len(LETTERS):
        faults.append(f"{len(item.options)} options, {len(set(item.options))} of them different")
    for letter, option in zip(LETTERS, item.options, strict=False):
        if f"\n{letter}. {option}" not in item.question:
            faults.append(f"option {letter} is not in the question")
    if item.key not in item.options or item.answer != f"{LETTERS[item.options.index(item.key)]}. {item.key}":
        faults.append(f"the answer {item.answer!r} is not the letter and text of {item.key!r}")
    return faults


def _spoken(name: str, values: tuple[str, ...]) -> list[str]:
    """The forms in which a fact may stand in a text."""
    if name == "distance_km":
        return [spoken_distance(float(values[0]))]
    if name == "bearing_deg":
        return [octant(float(values[0]))]
    return list(values)


def _unaccounted(item: Item) -> list[str]:
    """Numbers of question and answer that neither a fact nor the place accounts for."""
    known = {"1"} if "radius_km" in item.params or item.skill == "surroundings" else set()
    known |= set(numbers_in(f"{item.lat:.4f} {item.lon:.4f} {degrees_text(item.lat, item.lon)}"))
    for fact in item.facts:
        for form in [*_spoken(fact.name, fact.accepted), *fact.accepted]:
            known |= set(numbers_in(form))
    for option in (*item.options, *(str(v) for v in item.params.values())):
        known |= set(numbers_in(option))
    return [n for n in numbers_in(f"{item.question}\n{item.answer}") if n not in known]


def tells_place(item: Item) -> bool:
    """Whether the question alone says which place is meant."""
    told = (f"{item.lat:.4f}, {item.lon:.4f}", degrees_text(item.lat, item.lon), tokens_text(item.lat, item.lon))
    return item.skill == "clues" or bool(item.params.get("described")) or any(form in item.question for form in told)


def _accepted(item: Item, name: str, about: str = PLACE) -> tuple[str, ...]:
    value = item.value(name, about)
    return value if isinstance(value, tuple) else (str(value),)


def _only(found: object) -> str:
    left = list(found)  # type: ignore[call-overload]
    if len(left) != 1:
        raise ValueError(f"{len(left)} answers are right, expected one")
    return str(left[0])
