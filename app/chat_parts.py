"""The fixed parts of the chat page: templates of the photo card and the globe, examples, and the words around them.

Nothing here comes from outside. What does is set by scripts as text, or escaped in :mod:`gaea.app.chat_view`.
"""

from __future__ import annotations

from functools import lru_cache
from html import escape

from gaea.app import backdrop, sample
from gaea.app.chat_view import glyph
from gaea.errors import MissingDependencyError

EXAMPLES = (
    ("The Nile delta", (30.9, 31.1)),
    ("The Eye of the Sahara", (21.1, -11.4)),
    ("The Sinai", (28.9, 33.8)),
    ("The Aral Sea", (45.0, 59.5)),
    ("Florida", (27.0, -81.0)),
)
"""Pictures that are cut out of NASA's Blue Marble when the page is first built, and where."""

FOLLOW_UPS = (
    ("Country and climate", "What country, climate and neighbours?"),
    ("How sure, what else?", "How sure are you, and what else could it be?"),
    ("Languages", "Which languages are spoken here?"),
)
"""What stands on a button, short enough for one line of them beside the map, and what is asked by it."""

PRIVACY = (
    "Nothing is kept: photo, questions and answers stay in this computer’s memory, are never written to disk, and are "
    "gone when this tab is closed."
)

HEADER = (
    '<header class="top"><a class="brand" href="#ask-box">GAEA</a><span class="tagline">where a photo was taken, and '
    'why</span><button type="button" class="lights" aria-label="Switch between light and dark" title="Light or dark">'
    '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M12 3a9 9 0 1 0 9 9 7 7 0 0 1-9-9Z"/></svg></button></header>'
)
HEADER_SCRIPT = "gaea.lights(); element.querySelector('.lights').addEventListener('click', gaea.turnLights);"

WAITING = "() => '<span class=\"busy\">Waiting for the model</span>'"

PHOTO_SCRIPT = "gaea.photo(element, props, trigger, watch); // it triggers 'photo', 'example' and 'forget'"
GLOBE_SCRIPT = "gaea.globe(element, props, watch);"

_CAMERA = (
    '<dialog aria-label="Camera"><video autoplay playsinline muted></video><div class="buttons">'
    '<button type="button" class="shutter strong">Take it</button>'
    '<button type="button" class="cancel">Cancel</button></div></dialog>'
)
_ICON = (
    '<svg class="icon" viewBox="0 0 48 48" aria-hidden="true"><rect x="5" y="9" width="38" height="30" rx="5"/>'
    '<circle cx="16" cy="19" r="3.5"/><path d="m7 35 11-10 8 7 6-6 9 8"/></svg>'
)
_BUTTONS = (
    ("in", "Zoom in", '<path d="M12 5v14M5 12h14"/>'),
    ("out", "Zoom out", '<path d="M5 12h14"/>'),
    ("fit", "Show the answer", '<circle cx="12" cy="12" r="4.5"/><path d="M12 2.5v4M12 17.5v4M2.5 12h4M17.5 12h4"/>'),
    (
        "world",
        "Whole Earth",
        '<circle cx="12" cy="12" r="9"/><path d="M3 12h18M12 3c6 6 6 12 0 18M12 3c-6 6-6 12 0 18"/>',
    ),
)


@lru_cache(maxsize=1)
def example_pictures() -> tuple[tuple[str, bytes], ...]:
    """Names and JPEG files of the examples; empty without the package that they are cut from."""
    try:
        return tuple((name, backdrop.jpeg(sample.crop(place), quality=92)) for name, place in EXAMPLES)
    except MissingDependencyError:
        return ()


def photo_template() -> str:
    """The photo card: a place to drop on, ways to choose, and examples; or the photo itself."""
    examples = "".join(
        f'<button type="button" class="example" data-number="{number}" aria-label="Example: {escape(name)}">'
        f'<img src="{backdrop.thumbnail_uri(picture, 96)}" alt=""><span>{escape(name)}</span></button>'
        for number, (name, picture) in enumerate(example_pictures())
    )
    strip = f'<div class="examples"><p>or try a picture from orbit</p><div>{examples}</div></div>' if examples else ""
    return (
        '<section class="photo-card" data-state="empty" aria-label="The photo">'
        f'<div class="empty"><div class="drop">{_ICON}<p><strong>Drop a photo here</strong>or paste one</p>'
        '<div class="buttons"><button type="button" class="browse strong">Choose a file</button>'
        '<button type="button" class="take">Take a photo</button></div></div>'
        f"{strip}</div>"
        '<div class="reading" role="status"><span class="spinner"></span>Reading the photo…</div>'
        '<figure class="shown"><img alt="The photo in question"><figcaption><span class="name"></span>'
        '<span class="facts"></span><button type="button" class="forget" title="Forget this photo and conversation">'
        "Forget it</button></figcaption></figure>"
        '<p class="fault" role="alert" hidden></p>'
        '<input class="choose" type="file" accept="image/*,.heic,.heif" aria-label="Photo file" hidden>'
        '<input class="capture" type="file" accept="image/*" capture="environment" aria-label="Camera" hidden>'
        f"{_CAMERA}</section>"
    )


def globe_template() -> str:
    """The globe: canvas, regions, marks, buttons, scale and credit."""
    kinds = ("point", "similar", "dissimilar", "alternative", "claim", "fact", "token")
    glyphs = "".join(glyph(kind) for kind in kinds)
    buttons = "".join(
        f'<button type="button" data-act="{act}" aria-label="{words}" title="{words}">'
        f'<svg viewBox="0 0 24 24" aria-hidden="true">{drawing}</svg></button>'
        for act, words, drawing in _BUTTONS
    )
    return (
        '<div class="globe" role="region" aria-label="Map"><canvas tabindex="0" role="img" '
        'aria-label="A globe"></canvas><svg class="regions" aria-hidden="true"></svg><div class="pins"></div>'
        f'<template class="glyphs">{glyphs}</template><div class="zoom">{buttons}</div>'
        '<div class="callout" role="status" hidden></div><div class="scale" aria-hidden="true"></div>'
        '<p class="credit">NASA Blue Marble · GSHHG</p></div>'
    )
