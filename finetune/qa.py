"""Questions about a place and their answers, built from a briefing and from nothing else.

Each answer repeats what the briefing says, in words; a question that the briefing cannot answer is answered with
"I cannot tell". Every item keeps the facts it rests on, so that an examiner can check it without a second source.
Several phrasings each; wrong choices are taken from other real places.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from gaea.briefing import CANNOT_TELL, Briefing
from gaea.prompts import rounded_km


@dataclasses.dataclass(frozen=True)
class Item:
    """One question.

    Attributes:
        kind: What it asks for (``country``, ``climate`` …).
        form: ``open``, ``true-false`` or ``choice``.
        question: As a user would put it.
        answer: The reference answer, a sentence.
        key: The short string that a correct answer must contain.
        facts: Names of the briefing's facts that it rests on.
    """

    kind: str
    form: str
    question: str
    answer: str
    key: str
    facts: tuple[str, ...]


_ASKED: dict[str, tuple[str, ...]] = {
    "country": (
        "Which country is this?",
        "What country is this in?",
        "In which country was this taken?",
        "Name the country.",
        "What country am I looking at?",
        "Can you tell me the country?",
        "Which nation is this?",
        "Do you know what country we are in?",
    ),
    "region": (
        "Which region is this?",
        "What part of the country is this?",
        "Which state or province is it?",
        "Can you name the province?",
        "Which administrative region is it?",
    ),
    "continent": (
        "Which continent is this?",
        "What continent is it on?",
        "On which continent was this taken?",
        "Which part of the world is it?",
    ),
    "capital": (
        "What is the capital of this country?",
        "Which capital does this country have?",
        "Name its capital.",
        "What is its capital city?",
        "Where does its government sit?",
    ),
    "neighbours": (
        "Which countries are its neighbours?",
        "What does this country border on?",
        "Name the neighbouring countries.",
        "Which countries lie next to it?",
        "Who are its neighbours?",
        "Which countries share a border with it?",
    ),
    "languages": (
        "Which languages are spoken here?",
        "What language do people speak here?",
        "What do people speak?",
        "Which tongues would I hear?",
        "What are the official languages?",
    ),
    "driving": (
        "On which side do people drive here?",
        "Do they drive on the left or the right?",
        "Which driving side?",
        "What side of the road do they drive on?",
        "Is traffic on the left or on the right?",
    ),
    "currency": (
        "What is the currency here?",
        "How does one pay here?",
        "Which money is used?",
        "What currency do I need?",
    ),
    "climate": (
        "What is the climate like?",
        "Which climate does this place have?",
        "What kind of climate is it?",
        "How is the weather there as a rule?",
        "Describe the climate.",
    ),
    "hemisphere": (
        "Which hemisphere is this in?",
        "Is this north or south of the equator?",
        "Which hemisphere?",
        "Is it on the northern or the southern half of the Earth?",
    ),
    "coast": (
        "Is this near the coast?",
        "Is this place coastal or inland?",
        "How close is the sea?",
        "Is it by the sea?",
    ),
    "near": (
        "What is the nearest larger town?",
        "Which town is near?",
        "What city is close to this?",
        "What is the closest city?",
        "How far is the next town?",
    ),
    "sea": ("Which sea is this?", "What water is this?", "Name the sea.", "Which ocean is this?"),
}

_TOLD: dict[str, Callable[[str], str]] = {
    "country": lambda v: f"The country is {v}.",
    "region": lambda v: f"The region is {v}.",
    "continent": lambda v: f"It is in {v}.",
    "capital": lambda v: f"The capital is {v}.",
    "neighbours": lambda v: f"Its neighbours are {v}.",
    "languages": lambda v: f"People speak {v}.",
    "driving": lambda v: f"They drive on the {v}.",
    "currency": lambda v: f"The currency is {v}.",
    "climate": lambda v: f"The climate is {v}.",
    "hemisphere": lambda v: f"It is in the {v} hemispheres.",
    "coast": lambda v: "It is coastal." if v == "coastal" else "It is inland.",
    "near": lambda v: f"The nearest larger town is {v} away.",
    "sea": lambda v: f"The water is {v}.",
}

_CLAIMED = {
    "continent": "Is this in {}?",
    "neighbours": "Are its neighbours {}?",
    "languages": "Do people speak {} here?",
    "driving": "Do they drive on the {} here?",
    "hemisphere": "Is it in the {} hemispheres?",
    "coast": "Is this place {}?",
    "near": "Is the nearest larger town {} away?",
}

_NO_NEIGHBOURS = "I know of no land neighbours."
_NOT_KNOWN = "I do not know that."
_NOWHERE = "I cannot tell, because I do not know where this is."

_WHERE = (
    "Where is this?",
    "Where was this taken?",
    "Where is this picture from?",
    "What place is this?",
    "Locate this.",
    "Where am I?",
    "Where was this photo taken?",
    "Can you tell me where this is?",
    "What am I looking at?",
    "Do you know this place?",
    "What is the location of this picture?",
)
_SURE = (
    "How sure are you?",
    "Are you certain?",
    "How confident is that?",
    "How exact is this?",
    "How wide is the area?",
    "How far off could you be?",
)
_ELSE = (
    "What else could it be?",
    "Where else might it be?",
    "Is there another possibility?",
    "What are the alternatives?",
)
_WHY = (
    "How do you know?",
    "What is the evidence?",
    "Why do you think so?",
    "What does it look like?",
    "Which places look similar?",
)
_OUTSIDE = (
    "Who took this picture?",
    "What time was it taken?",
    "What is the weather tomorrow?",
    "Who lives there?",
    "How much does a house cost here?",
    "What is the name of the photographer?",
)
CANNOT = "I cannot tell that from this picture."


def where(briefing: Briefing) -> str:
    """The sentence that says where, and how sure, as the briefing has it."""
    facts = dict(briefing.facts)
    if briefing.sure == CANNOT_TELL:
        return "I cannot tell where this is. The picture fits too many places."
    named = [v for v in (facts.get("region"), facts.get("country") or facts.get("sea")) if v]
    place = ", ".join(named) or facts.get("continent", "a place whose name I do not know")
    near = f" near {facts['near']} away" if "near" in facts and facts.get("country") else ""
    spread = f" Half of my belief lies within {rounded_km(briefing.radius_km[0])}." if briefing.radius_km else ""
    opening = {"confident": "This is", "fairly sure": "This is probably", "unsure": "This may be"}[briefing.sure]
    return f"{opening} in {place}{',' + near if near else ''}.{spread}"


def how_sure(briefing: Briefing) -> str:
    """Doubt in words and numbers."""
    if briefing.sure == CANNOT_TELL or not briefing.radius_km:
        return "I cannot tell where this is, so I give no area."
    half, most = (rounded_km(r) for r in briefing.radius_km)
    return f"I am {briefing.sure}: 50 % within {half}, 90 % within {most}."


def what_else(briefing: Briefing) -> str:
    """The other places that hold a share of the belief."""
    if not briefing.alternatives:
        return "I see no other likely country."
    return "It could also be " + ", ".join(f"{n} ({max(round(100 * p), 1)} %)" for n, p in briefing.alternatives) + "."


def evidence(briefing: Briefing) -> str:
    """What it looks like."""
    if not briefing.similar:
        return "I have no similar pictures to compare with."
    return "It looks like " + "; ".join(briefing.similar) + "."


def told(kind: str, briefing: Briefing) -> str:
    """One fact as a sentence, or why it cannot be told."""
    facts = dict(briefing.facts)
    if not facts:
        return _NOWHERE
    if kind in facts:
        return _TOLD[kind](facts[kind])
    return _NO_NEIGHBOURS if kind == "neighbours" else _NOT_KNOWN


def simple(kind: str, briefing: Briefing, rng: np.random.Generator) -> Item:
    """An open question about one fact."""
    answer = told(kind, briefing)
    return Item(kind, "open", _pick(_ASKED[kind], rng), answer, dict(briefing.facts).get(kind) or answer, (kind,))


def combined(kinds: Sequence[str], briefing: Briefing, rng: np.random.Generator) -> Item:
    """One question about several facts at once."""
    names = {"near": "nearest town", "driving": "driving side"}
    asked = [names.get(k, k) for k in kinds]
    question = _pick(("Which {}?", "What {}?", "Tell me the {}."), rng).format(
        ", ".join(asked[:-1]) + f" and {asked[-1]}"
    )
    answers = dict.fromkeys(told(kind, briefing) for kind in kinds)
    key = dict(briefing.facts).get(kinds[0], next(iter(answers)))
    return Item("combined", "open", question, " ".join(answers), key, tuple(kinds))


def true_false(kind: str, briefing: Briefing, other: str, rng: np.random.Generator) -> Item:
    """A statement to confirm or deny; half of them are true. The fact comes first, and the verdict follows from it."""
    value = dict(briefing.facts)[kind]
    true = bool(rng.random() < 0.5) or other == value
    plain = _pick((f"Is the {kind} {{}}?", f"True or false: the {kind} is {{}}."), rng)
    statement = _CLAIMED.get(kind, plain).format(value if true else other)
    verdict = "yes" if true else "no"
    return Item(kind, "true-false", statement, f"{_TOLD[kind](value)[:-1]}, so {verdict}.", verdict, (kind,))


def choice(kind: str, briefing: Briefing, others: Sequence[str], rng: np.random.Generator) -> Item:
    """Four options, one right. The fact comes first, and the letter follows from it."""
    value = dict(briefing.facts)[kind]
    options = [value, *[o for o in dict.fromkeys(others) if o != value][:3]]
    order = rng.permutation(len(options))
    shown = [options[i] for i in order]
    letter = "ABCD"[shown.index(value)]
    listed = " ".join(f"{c}) {o}" for c, o in zip("ABCD", shown, strict=False))
    question = f"{_pick((f'Which {kind}?', f'Choose the {kind}:', f'What is the {kind}?'), rng)} {listed}"
    return Item(kind, "choice", question, f"{_TOLD[kind](value)[:-1]}, so {letter}).", f"{letter})", (kind,))


def conversation(  # noqa: PLR0912 - one draw, one branch a kind
    briefing: Briefing, others: Sequence[Briefing], rng: np.random.Generator, turns: int = 5
) -> list[Item]:
    """Several questions about one picture, drawn from all kinds and forms.

    Args:
        briefing: Of the picture.
        others: Of other places, from which wrong options and false claims are taken.
        rng: Source of randomness.
        turns: How many questions.
    """
    facts = dict(briefing.facts)
    items = []
    for _ in range(turns):
        draw = rng.random()
        if draw < 0.14:
            items.append(
                Item("where", "open", _pick(_WHERE, rng), where(briefing), facts.get("country", ""), ("country",))
            )
        elif draw < 0.22:
            items.append(Item("sure", "open", _pick(_SURE, rng), how_sure(briefing), briefing.sure, ()))
        elif draw < 0.29:
            items.append(Item("else", "open", _pick(_ELSE, rng), what_else(briefing), "", ()))
        elif draw < 0.33:
            both = f"{_pick(_SURE, rng)[:-1]}, and {_lower(_pick(_ELSE, rng))}"
            items.append(Item("sure", "open", both, f"{how_sure(briefing)} {what_else(briefing)}", briefing.sure, ()))
        elif draw < 0.38:
            items.append(Item("why", "open", _pick(_WHY, rng), evidence(briefing), "", ()))
        elif draw < 0.40:
            items.append(Item("outside", "open", _pick(_OUTSIDE, rng), CANNOT, CANNOT, ()))
        elif draw < 0.48:
            kinds = [str(k) for k in rng.choice(list(_ASKED)[:12], int(rng.integers(2, 4)), replace=False)]
            items.append(combined(kinds, briefing, rng))
        elif draw < 0.60 or not facts:
            items.append(simple(str(rng.choice(list(_ASKED))), briefing, rng))
        else:
            kind = str(rng.choice([k for k in facts if k in _ASKED]))
            values = [v for o in others if (v := dict(o.facts).get(kind)) and v != facts[kind]]
            if draw < 0.82 and values:
                items.append(true_false(kind, briefing, str(rng.choice(values)), rng))
            elif len(values) > 1:
                items.append(choice(kind, briefing, [str(v) for v in rng.permutation(values)], rng))
            else:
                items.append(simple(kind, briefing, rng))
    return [dataclasses.replace(item, question=_as_typed(item.question, rng)) for item in items]


def _as_typed(question: str, rng: np.random.Generator) -> str:
    """People leave out capitals and marks, and some are polite."""
    draw = rng.random()
    if draw < 0.1:
        return _pick(("Please: ", "Hello! ", "Thanks. ", "And ", "So, ", "Tell me: "), rng) + _lower(question)
    if draw < 0.2 and question.count("?") == 1:
        question = question.removesuffix("?")
    return _lower(question) if 0.15 < draw < 0.3 else question


def _pick(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]
