"""How the chat page looks: a Gradio theme with fonts that come with Gradio, and a style sheet on top of it."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import Any

from gradio.themes import Base, Color, sizes
from gradio.themes.utils.fonts import Font, LocalFont

TEAL = Color(
    name="teal",
    c50="#effaf8",
    c100="#d2f1ec",
    c200="#a8e2da",
    c300="#72ccc2",
    c400="#43b0a6",
    c500="#27948c",
    c600="#0b6e6e",
    c700="#125f5d",
    c800="#134c4c",
    c900="#133f40",
    c950="#052526",
)
INK = Color(
    name="ink",
    c50="#f7f8f6",
    c100="#eef1ef",
    c200="#dfe5e4",
    c300="#c5cfd0",
    c400="#94a3a8",
    c500="#66777f",
    c600="#4c5c65",
    c700="#35434c",
    c800="#1d2830",
    c900="#141d24",
    c950="#0d141a",
)


def theme() -> Any:
    """The page's theme: teal on paper by day, teal on night by night; nothing is fetched for it."""
    # Of the faces that come with Gradio, several hold only a few letters; this one is whole.
    sans = (
        LocalFont("IBM Plex Sans", weights=(400, 700)),
        Font("ui-sans-serif"),
        Font("system-ui"),
        Font("sans-serif"),
    )
    made = Base(
        primary_hue=TEAL,
        secondary_hue=TEAL,
        neutral_hue=INK,
        font=sans,
        font_mono=(Font("ui-monospace"), Font("monospace")),
        text_size=sizes.text_md,
        radius_size=sizes.radius_lg,
    )
    return made.set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        block_background_fill="#ffffff",
        block_background_fill_dark="*neutral_900",
        block_border_width="1px",
        block_shadow="none",
        block_label_text_color="*neutral_500",
        input_background_fill="#ffffff",
        input_background_fill_dark="*neutral_800",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_500",
        button_secondary_background_fill="#ffffff",
        button_secondary_background_fill_dark="*neutral_800",
        button_secondary_border_color="*neutral_200",
        button_secondary_border_color_dark="*neutral_700",
    )


@lru_cache(maxsize=1)
def style_sheet() -> str:
    """The style sheet on top of the theme."""
    return (resources.files("gaea.app") / "web" / "chat.css").read_text(encoding="utf-8")
