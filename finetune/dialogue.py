"""Conversations as people have them: several things asked at once, one of two, a word of thanks, what no map tells.

:mod:`gaea.finetune.qa` holds one question and one answer a fact; here they become turns. Every answer follows from the
briefing all the same, and what the briefing does not hold is said not to be known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from gaea.briefing import Briefing
from gaea.finetune import qa
from gaea.finetune.qa import ASKED, Item, lowered, picked
from gaea.speech import Conclusion

DESCRIBE = (
    "Describe this picture.",
    "What do you see?",
    "What do you see in this picture?",
    "What can be seen here?",
    "What does the picture show?",
    "What is in this picture?",
    "Tell me about this place.",
    "Describe this place.",
    "Describe the landscape.",
    "What is this?",
    "What can you say about it?",
)
OUTSIDE = (
    *qa.OUTSIDE,
    "Who is this?",
    "Who is in the picture?",
    "When was this taken?",
    "What year was it?",
    "Which camera was used?",
    "Which building is this?",
    "What building or landmark is that?",
    "Name the landmark.",
    "Which street is this?",
    "What is the address?",
    "What does the sign say?",
    "What colour is the car?",
    "What is the house number?",
    "Which airport is that?",
    "Is that my house?",
    "Which river is this?",
    "Which mountain is that?",
    "What is the name of the road?",
    "Which island is this?",
)
UNTOLD = (
    "What is the population?",
    "How many people live there?",
    "What time zone is it?",
    "How high is this place?",
    "What is the elevation?",
    "What is the calling code?",
    "Which internet domain do they use?",
    "What religion do they have?",
    "What do they eat there?",
    "Which plants grow there?",
    "Which animals live there?",
    "Who governs it?",
    "What is its history?",
    "What is it famous for?",
    "How do I get there?",
    "Is it safe to travel there?",
    "What does its flag look like?",
    "How large is the country?",
    "What is its highest mountain?",
    "Which rivers flow there?",
)
"""What a place has, and no briefing tells."""
COURTESY = {
    "You are welcome.": ("Thanks!", "Thank you.", "Thank you very much!", "Great, thanks.", "ok thanks", "Perfect."),
    "Hello. Ask me where this picture was taken.": ("Hello!", "Hi", "Hi there.", "Good morning.", "Hey!"),
    "I am GAEA. I say where a picture was taken, how sure I am, and how I know.": (
        "Who are you?",
        "What are you?",
        "What can you do?",
        "What is your name?",
        "Help",
    ),
}
MORE: dict[str, tuple[str, ...]] = {
    "where": ("Where is that?", "Guess where this is.", "Where do you think this is?", "Geolocate this photo.",
              "Where on Earth is this?", "Find this place.", "Tell me where this is.", "What are the coordinates?",
              "Where was it shot?", "Which place do you see?"),
    "sure": ("How certain are you?", "How accurate is this?", "What is the error?", "Can I trust this?",
             "Are you sure?", "What is the radius?", "How reliable is that?", "How big is the area?"),
    "else": ("Could it be somewhere else?", "Which other countries are possible?", "What is your second guess?",
             "Are there other candidates?", "Which other places fit?"),
    "why": ("How can you tell?", "What makes you think that?", "Explain.", "Why?", "Show me the evidence.",
            "What did you compare it with?", "Which pictures are similar?", "How did you find out?"),
    "country": ("Which land is this?", "What country do you think it is?", "Guess the country.",
                "Which country does it belong to?", "To which country does this belong?"),
    "region": ("What region is it in?", "Which province are we in?", "Which state is this?"),
    "continent": ("What continent are we on?", "Which continent does it belong to?"),
    "capital": ("Which city is the capital?", "What is the capital?"),
    "neighbours": ("Which countries are next to it?", "What are the neighbouring countries?",
                   "Which countries surround it?"),
    "languages": ("What is spoken there?", "Which language would I need?", "What language do they speak?",
                  "Which languages do people use?"),
    "driving": ("Which side of the road do they use?", "Left- or right-hand traffic?",
                "On which side of the road do they drive?"),
    "currency": ("What money do they have?", "How do people pay there?", "Which currency is used?"),
    "climate": ("Is it hot or cold there?", "What is the weather like?", "How warm is it?", "Is it dry there?"),
    "hemisphere": ("Northern or southern hemisphere?", "Is it in the north or in the south?",
                   "In which hemisphere does it lie?"),
    "coast": ("Is it on the coast?", "Is it far from the sea?", "Coast or inland?", "Is the sea near?"),
    "near": ("Which town is closest?", "What is the nearest town?", "Which towns are around?", "Is there a town near?"),
    "sea": ("Which body of water is this?", "What ocean is it?"),
}  # fmt: skip
"""Further phrasings, which only ``gaea.eval told --talk`` asks of the examinations."""
_NAMES = {**qa.NAMES, "languages": "language"}
_SHORT = ("And the {}?", "What about the {}?", "The {}?", "{}?", "{} please", "I want to know the {}.", "Now the {}.")
_LISTS = ("{}?", "Give me the {}.", "I want to know the {}.", "{}, please.", "What are the {}?", "Tell me {}.")
_EITHER = {
    "country": ("Is this {a} or {b}?", "Is it {a} or {b}?", "{a} or {b}?", "Is this in {a} or in {b}?",
                "Are we in {a} or {b}?", "Was this taken in {a} or {b}?", "Which is it, {a} or {b}?"),
    "continent": ("Is this {a} or {b}?", "Is this in {a} or in {b}?", "{a} or {b}?", "Are we in {a} or {b}?"),
}  # fmt: skip
_CLAIMS = {
    "country": ("Is this {}?", "Is it {}?", "Is this in {}?", "Is it in {}?", "Was this taken in {}?",
                "Are we in {}?", "This is {}, right?", "I think this is {}.", "Does this show {}?"),
    "continent": ("Is this {}?", "Is it in {}?", "Was this taken in {}?", "Are we in {}?"),
    "region": ("Is this in the region {}?", "Is this region {}?"),
    "capital": ("Is {} the capital?", "Is {} its capital?"),
    "climate": ("Does it have a {} climate?", "Is its climate {}?"),
    "currency": ("Do they pay with {}?", "Can I pay with {} here?"),
    "languages": ("Is {} spoken here?", "Do they speak {}?"),
    "sea": ("Is this the {}?", "Is it the {}?"),
    "coast": ("Is it {}?",),
    "driving": ("Do people drive on the {}?", "Is traffic on the {}?"),
}  # fmt: skip
"""Statements to judge beside those of :func:`gaea.finetune.qa.true_false`, which examinations ask."""
_LISTED = ("languages", "neighbours")
"""Facts that hold several names."""


def phrased(kind: str, rng: np.random.Generator) -> str:
    """A question about a fact, in any words."""
    return picked((*ASKED[kind], *MORE[kind]), rng)


def joined(briefing: Briefing, rng: np.random.Generator) -> Item:
    """Two to six questions in one breath, answered in their order."""
    about: list[tuple[str, Callable[[], str]]] = [
        (phrased(kind, rng), lambda kind=kind: qa.part(kind, briefing))  # type: ignore[misc]
        for kind in map(str, rng.choice(list(ASKED)[:12], int(rng.integers(2, 4)), replace=False))
    ]
    others = {
        0: (qa.WHERE, lambda: qa.where(briefing)),
        len(about): (qa.ELSE, lambda: qa.what_else(briefing)),
        len(about) + 1: (qa.SURE, lambda: qa.how_sure(briefing)),
    }
    for seat, (phrasings, answer) in others.items():
        if rng.random() < 0.15:
            about.insert(seat, (picked(phrasings, rng), answer))
    asked = [question for question, _ in about]
    if rng.random() < 0.3:
        question = " ".join(asked)
    else:
        bare = [asked[0].rstrip("?."), *(lowered(each.rstrip("?.")) for each in asked[1:])]
        last = picked((", and ", " and ", " and also "), rng)
        question = ", ".join(bare[:-1]) + last + bare[-1] + "?"
    answers = list(dict.fromkeys(answer() for _, answer in about))
    return Item("combined", "open", question, " ".join(answers), answers[0], ())


def listed(briefing: Briefing, rng: np.random.Generator) -> Item:
    """Names of facts in a row: "Country, capital and climate, please"."""
    kinds = [str(k) for k in rng.choice(list(ASKED)[:12], int(rng.integers(2, 5)), replace=False)]
    names = [_NAMES.get(kind, kind) for kind in kinds]
    asked = picked(_LISTS, rng).format(", ".join(names[:-1]) + picked((" and ", ", and ", ", "), rng) + names[-1])
    answers = list(dict.fromkeys(qa.part(kind, briefing) for kind in kinds))
    return Item("combined", "open", asked[0].upper() + asked[1:], " ".join(answers), answers[0], tuple(kinds))


def short(briefing: Briefing, rng: np.random.Generator) -> Item:
    """One fact by its name, as in a conversation under way: "And the climate?"."""
    kind = str(rng.choice(list(ASKED)))
    asked, answer = picked(_SHORT, rng).format(_NAMES.get(kind, kind)), qa.told(kind, briefing)
    return Item(kind, "open", asked[0].upper() + asked[1:], answer, dict(briefing.facts).get(kind) or answer, (kind,))


def either(kind: str, briefing: Briefing, others: Sequence[str], rng: np.random.Generator) -> Item:
    """One of two, of which mostly one is right; the answer tells the fact and leaves it at that."""
    value = dict(briefing.facts)[kind]
    wrong = [other for other in dict.fromkeys(others) if other != value]
    pair = [value, wrong[0]] if len(wrong) < 2 or rng.random() < 0.75 else wrong[:2]
    a, b = (pair[i] for i in rng.permutation(2))
    name = _NAMES.get(kind, kind)
    forms = _EITHER.get(kind, (f"Is the {name} {{a}} or {{b}}?", f"Which {name}: {{a}} or {{b}}?"))
    asked = picked(forms, rng).format(a=a, b=b)
    return Item(kind, "open", asked, qa.told(kind, briefing), value, (kind,))


def claimed(kind: str, briefing: Briefing, other: str, rng: np.random.Generator) -> Item:
    """A statement to judge, in more words than examinations use; of a list, one name or all."""
    value = dict(briefing.facts)[kind]
    true = bool(rng.random() < 0.5)
    claim = value if true else other
    if kind in _LISTED:
        names = claim.split(", ")
        claim = names[int(rng.integers(len(names)))]
    asked = picked(_CLAIMS[kind], rng).format(claim)
    verdicts = Conclusion(asked).follows([value])
    if len(verdicts) != 1:
        return qa.true_false(kind, briefing, other, rng)
    verdict = verdicts[0]  # of a name that two lists share, yes, wherever it was taken from
    return Item(kind, "true-false", asked, f"{qa.told(kind, briefing)[:-1]}, so {verdict}.", verdict, (kind,))


def described(briefing: Briefing, rng: np.random.Generator) -> Item:
    """All that a picture from above gives away: the place, its climate, and whether the sea is near."""
    facts = dict(briefing.facts)
    said = [qa.where(briefing), *(qa.told(kind, briefing) for kind in ("climate", "coast") if kind in facts)]
    return Item("where", "open", picked(DESCRIBE, rng), " ".join(said), facts.get("country", ""), ("country",))


def idle(rng: np.random.Generator) -> Item:
    """A greeting, thanks, or what the assistant is."""
    answer = picked(tuple(COURTESY), rng)
    return Item("outside", "open", picked(COURTESY[answer], rng), answer, answer, ())


def unknown(briefing: Briefing, rng: np.random.Generator) -> Item:
    """What no picture tells, and what no briefing holds."""
    if rng.random() < 0.5:
        return Item("outside", "open", picked(OUTSIDE, rng), qa.CANNOT, qa.CANNOT, ())
    answer = qa.told("what is not told", briefing)
    return Item("outside", "open", picked(UNTOLD, rng), answer, answer, ())


def unsupported(kind: str, briefing: Briefing, others: Sequence[Briefing], rng: np.random.Generator) -> Item:
    """A statement or a choice about a fact that the briefing does not hold: neither judged nor chosen.

    Args:
        kind: The fact.
        briefing: Without it.
        others: At least one of them with it.
        rng: Source of randomness.
    """
    known = [other for other in others if kind in dict(other.facts)]
    values = [dict(other.facts)[kind] for other in known]
    forms: list[Callable[[], Item]] = [lambda: qa.true_false(kind, known[0], values[-1], rng)]
    forms += [lambda: claimed(kind, known[0], values[-1], rng)] if kind in _CLAIMS else []
    if len(set(values)) > 1:
        forms += [lambda: qa.choice(kind, known[0], values, rng), lambda: either(kind, known[0], values, rng)]
    asked = forms[int(rng.integers(len(forms)))]().question
    answer = qa.told(kind, briefing)
    return Item(kind, "open", asked, answer, answer, ())


def conversation(
    briefing: Briefing, others: Sequence[Briefing], rng: np.random.Generator, turns: int = 5
) -> list[Item]:
    """Several questions about one picture, drawn from all kinds and forms.

    Args:
        briefing: Of the picture.
        others: Of other places, from which wrong options and false claims are taken.
        rng: Source of randomness.
        turns: How many questions.
    """
    makers = _makers(briefing, others, rng)
    shares = np.array([share for share, _ in makers])
    drawn = rng.choice(len(makers), size=turns, p=shares / shares.sum())
    items = [makers[i][1]() for i in drawn]
    return [dataclasses.replace(item, question=_as_typed(item.question, rng)) for item in items]


def _makers(
    briefing: Briefing, others: Sequence[Briefing], rng: np.random.Generator
) -> list[tuple[float, Callable[[], Item]]]:
    """Each kind of turn with its share; those that need a fact only where there is one."""
    facts = dict(briefing.facts)

    def both() -> Item:
        asked = f"{picked(qa.SURE, rng)[:-1]}, and {lowered(picked(qa.ELSE, rng))}"
        said = f"{qa.how_sure(briefing)} {qa.what_else(briefing)}"
        return Item("sure", "open", asked, said, briefing.sure, ())

    def combined() -> Item:
        kinds = [str(k) for k in rng.choice(list(ASKED)[:12], int(rng.integers(2, 4)), replace=False)]
        return qa.combined(kinds, briefing, rng)

    def one(kind: str, answer: str, phrasings: Sequence[str], key: str = "", facts: tuple[str, ...] = ()) -> Item:
        return Item(kind, "open", picked((*phrasings, *MORE[kind]), rng), answer, key, facts)

    def simple() -> Item:
        kind = str(rng.choice(list(ASKED)))
        return dataclasses.replace(qa.simple(kind, briefing, rng), question=phrased(kind, rng))

    def beside(make: Callable[[str, list[str]], Item], kinds: Sequence[str]) -> Callable[[], Item]:
        """A question about a fact that others have, too: with their values, in no order."""

        def made() -> Item:
            kind = str(rng.choice(kinds))
            values = [v for o in others if (v := dict(o.facts).get(kind)) and v != facts[kind]]
            if len(values) < 2:
                return qa.simple(kind, briefing, rng)
            return make(kind, [str(v) for v in rng.permutation(values)])

        return made

    makers: list[tuple[float, Callable[[], Item]]] = [
        (0.10, lambda: one("where", qa.where(briefing), qa.WHERE, facts.get("country", ""), ("country",))),
        (0.06, lambda: one("sure", qa.how_sure(briefing), qa.SURE, briefing.sure)),
        (0.05, lambda: one("else", qa.what_else(briefing), qa.ELSE)),
        (0.04, both),
        (0.05, lambda: one("why", qa.evidence(briefing), qa.WHY)),
        (0.04, lambda: unknown(briefing, rng)),
        (0.01, lambda: idle(rng)),
        (0.05, lambda: described(briefing, rng)),
        (0.06, combined),
        (0.06, lambda: listed(briefing, rng)),
        (0.11, lambda: joined(briefing, rng)),
        (0.04, lambda: short(briefing, rng)),
        (0.10, simple),
    ]
    lacking = [kind for kind in ASKED if kind not in facts and any(kind in dict(other.facts) for other in others)]
    if lacking:
        share = 0.04 if facts else 0.20
        makers.append((share, lambda: unsupported(str(rng.choice(lacking)), briefing, others, rng)))
    told = [kind for kind in facts if kind in ASKED]
    if told:
        doubtful = [kind for kind in told if kind in _CLAIMS]
        makers += [
            (0.04, beside(lambda kind, values: either(kind, briefing, values, rng), told)),
            (0.08, beside(lambda kind, values: qa.true_false(kind, briefing, values[0], rng), told)),
            (0.10, beside(lambda kind, values: qa.choice(kind, briefing, values, rng), told)),
        ]
        if doubtful:
            makers.append((0.05, beside(lambda kind, values: claimed(kind, briefing, values[0], rng), doubtful)))
    return makers


def _as_typed(question: str, rng: np.random.Generator) -> str:
    """People leave out capitals and marks, and some are polite."""
    draw = rng.random()
    if draw < 0.1:
        polite = ("Please: ", "Hello! ", "Thanks. ", "And ", "So, ", "Tell me: ")
        return picked(polite, rng) + lowered(question)
    if draw < 0.2 and question.count("?") == 1:
        question = question.removesuffix("?")
    return lowered(question) if 0.15 < draw < 0.3 else question
