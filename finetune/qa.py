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


ASKED: dict[str, tuple[str, ...]] = {
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

NAMES = {"near": "nearest town", "driving": "driving side"}
"""What facts are called where their own name would not be understood."""

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
_HELD_BACK = "I may not say that."
_NOWHERE = "I cannot tell, because I do not know where this is."

WHERE = (
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
SURE = (
    "How sure are you?",
    "Are you certain?",
    "How confident is that?",
    "How exact is this?",
    "How wide is the area?",
    "How far off could you be?",
)
ELSE = (
    "What else could it be?",
    "Where else might it be?",
    "Is there another possibility?",
    "What are the alternatives?",
)
WHY = (
    "How do you know?",
    "What is the evidence?",
    "Why do you think so?",
    "What does it look like?",
    "Which places look similar?",
)
OUTSIDE = (
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
    if not facts:
        return "I may not say where this is."
    named = [v for v in (facts.get("region"), facts.get("country") or facts.get("sea")) if v]
    place = ", ".join(named) or facts.get("continent", "a place whose name I do not know")
    near = f" near {facts['near']} away" if "near" in facts and facts.get("country") else ""
    spread = f" Half of my belief lies within {rounded_km(briefing.radius_km[0])}." if briefing.radius_km else ""
    opening = {"confident": "This is", "fairly sure": "This is probably", "unsure": "This may be"}[briefing.sure]
    return f"{opening} in {place}{',' + near if near else ''}.{spread}"


def how_sure(briefing: Briefing) -> str:
    """Doubt in words and numbers."""
    if briefing.sure == CANNOT_TELL or not briefing.radius_km:
        return "I cannot tell where this is, and give no area." if briefing.sure == CANNOT_TELL else _HELD_BACK
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
        return _NOWHERE if briefing.sure == CANNOT_TELL else _HELD_BACK
    if kind in facts:
        return _TOLD[kind](facts[kind])
    return _NO_NEIGHBOURS if kind == "neighbours" else _NOT_KNOWN


def part(kind: str, briefing: Briefing) -> str:
    """One fact as a sentence among others; what is not known is named, so that it is clear which."""
    answer = told(kind, briefing)
    return f"I do not know the {NAMES.get(kind, kind)}." if answer == _NOT_KNOWN else answer


def simple(kind: str, briefing: Briefing, rng: np.random.Generator) -> Item:
    """An open question about one fact."""
    answer = told(kind, briefing)
    return Item(kind, "open", picked(ASKED[kind], rng), answer, dict(briefing.facts).get(kind) or answer, (kind,))


def combined(kinds: Sequence[str], briefing: Briefing, rng: np.random.Generator) -> Item:
    """One question about several facts at once."""
    asked = [NAMES.get(k, k) for k in kinds]
    question = picked(("Which {}?", "What {}?", "Tell me the {}."), rng).format(
        ", ".join(asked[:-1]) + f" and {asked[-1]}"
    )
    answers = dict.fromkeys(part(kind, briefing) for kind in kinds)
    key = dict(briefing.facts).get(kinds[0], next(iter(answers)))
    return Item("combined", "open", question, " ".join(answers), key, tuple(kinds))


def true_false(kind: str, briefing: Briefing, other: str, rng: np.random.Generator) -> Item:
    """A statement to confirm or deny; half of them are true. The fact comes first, and the verdict follows from it."""
    value = dict(briefing.facts)[kind]
    true = bool(rng.random() < 0.5) or other == value
    plain = picked((f"Is the {kind} {{}}?", f"True or false: the {kind} is {{}}."), rng)
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
    question = f"{picked((f'Which {kind}?', f'Choose the {kind}:', f'What is the {kind}?'), rng)} {listed}"
    return Item(kind, "choice", question, f"{_TOLD[kind](value)[:-1]}, so {letter}).", f"{letter})", (kind,))


def picked(options: Sequence[str], rng: np.random.Generator) -> str:
    """One of several phrasings."""
    return options[int(rng.integers(len(options)))]


def lowered(sentence: str) -> str:
    """With a small first letter, to follow others."""
    return sentence[0].lower() + sentence[1:]
