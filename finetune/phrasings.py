"""Phrasings of questions about what is known of a place: openly asked, to choose from, to judge; and of answers."""

from __future__ import annotations

# Skill: (open questions, statements to judge, answers). {v} is the value, {c} the country in a sentence.
ASKED: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "country": (
        ("Which country is this in?", "What country is this?", "In which country or territory does this place lie?",
         "Name the country here."),
        ("This place is in {v}.", "The country here is {v}.", "We are in {v} here."),
        ("{v}.", "This is in {v}.", "The country is {v}."),
    ),
    "region": (
        ("Which region of the country is this?", "In which first-level division does this place lie?",
         "What state, province or region is this?"),
        ("This place is in the region {v}.", "The first-level division here is {v}."),
        ("{v}.", "The region is {v}.", "It lies in {v}, {c}."),
    ),
    "continent": (
        ("Which continent is this?", "On which continent does this place lie?", "What continent are we on here?"),
        ("This place is in {v}.", "The continent here is {v}."),
        ("{v}.", "The continent is {v}."),
    ),
    "capital": (
        ("What is the capital of the country this place is in?", "Which city is the capital here?",
         "What is the capital of the country shown here?", "Name the capital of this country."),
        ("The capital of the country here is {v}.", "{v} is the capital of this country."),
        ("{v}.", "The capital of {c} is {v}.", "This is in {c}, whose capital is {v}."),
    ),
    "driving": (
        ("On which side of the road does traffic drive here?", "Do people drive on the left or on the right here?",
         "Which side of the road is used here?", "Left or right: where would I drive at this place?"),
        ("Traffic drives on the {v} here.", "At this place one drives on the {v}.",
         "Cars keep to the {v} side of the road here."),
        ("On the {v}.", "People drive on the {v} in {c}.", "Traffic keeps to the {v} here."),
    ),
    "climate": (
        ("What is the Köppen climate here?", "Which climate does this place have?",
         "How would a climatologist classify this place?", "What kind of climate is found here?"),
        ("The climate here is {v}.", "This place has the climate class '{v}'."),
        ("{v}.", "The climate is {v} ({code}).", "Köppen class {code}: {v}."),
    ),
    "currency": (
        ("Which currency is used here?", "What money does one pay with here?",
         "What is the currency of the country this place is in?"),
        ("One pays with {v} here.", "The currency here is {v}."),
        ("{v}.", "The currency of {c} is {v}."),
    ),
    "languages": (
        ("Name a language of this country.", "Which language of the country here would be worth learning?",
         "Name one of the languages of the country this place is in."),
        ("{v} is among the languages of the country here.", "One of the languages of this country is {v}."),
        ("{v}.", "{v} is a language of {c}."),
    ),
    "neighbours": (
        ("Which countries border on the country this place is in?", "Name the land neighbours of this country.",
         "What are the neighbouring countries?"),
        ("The country here shares a land border with {v}.", "{v} is a neighbour of this country by land."),
        ("{v}.", "{c_cap} borders on {v}."),
    ),
    "calling code": (
        ("What is the international calling code here?", "With which prefix would I phone this place from abroad?"),
        ("The international calling code here is {v}.",),
        ("{v}.", "The calling code of {c} is {v}."),
    ),
    "internet domain": (
        ("What is the internet top-level domain of this country?", "In what do web addresses of this country end?"),
        ("Web sites of the country here end in {v}.",),
        ("{v}", "The domain of {c} is {v}"),
    ),
    "hemisphere": (
        ("Is this north or south of the equator?", "Which hemisphere is this, northern or southern?",
         "On which side of the equator does this place lie?"),
        ("This place is in the {v} hemisphere.",),
        ("In the {v} hemisphere.", "It lies in the {v} hemisphere."),
    ),
    "setting": (
        ("Is this place coastal or inland?", "Does this place lie by the sea or inland?",
         "Coast or interior: which is it?"),
        ("This place is {v}.", "One would call this place {v}."),
        ("It is {v}.", "This place is {v}."),
    ),
}  # fmt: skip

CHOSEN: dict[str, tuple[str, ...]] = {
    "country": ("Which country is this?", "In which of these countries does this place lie?", "Choose the country:"),
    "region": ("Which of these regions is this?", "In which region does this place lie?"),
    "continent": ("Which continent is this?", "On which of these continents does this place lie?"),
    "capital": ("What is the capital of the country here?", "Which of these cities is the capital of this country?"),
    "climate": ("Which climate does this place have?", "Which Köppen class describes this place?"),
    "currency": ("Which currency is used here?", "With what does one pay here?"),
    "languages": ("Which of these languages is spoken in this country?", "Which is a language of the country here?"),
    "neighbours": (
        "Which of these countries borders on the country here?",
        "Which is a land neighbour of this country?",
    ),
    "calling code": ("Which calling code belongs to this country?",),
    "internet domain": ("Which internet domain belongs to this country?",),
}
"""Skill: questions that come with four options."""
