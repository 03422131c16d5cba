"""The assistant in this process as a system under examination, with or without retrieval, and with each decoding.

Asked for a place, it gives the point that it would give if asked to guess; that it would rather not say is noted as
*abstained* beside it. Regions are those that its calibration promises to hold 50 and 90 %. Points and regions are those
before any limit of disclosure; words have passed it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gaea import cells as s2
from gaea import prompts
from gaea.app.assemble import NANO, assemble
from gaea.assistant import Assistant, Chat, find
from gaea.belief import Belief
from gaea.briefing import Briefing
from gaea.conformal import mass_to_reach
from gaea.decoding import Decoded
from gaea.errors import InputError
from gaea.eval.records import MASSES, Item, Prediction
from gaea.eval.strategies import SELECTIONS, select, strategies
from gaea.eval.system import Picture
from gaea.locate.neighbours import NeighbourLocator
from gaea.photo import Photo
from gaea.rag.files import file_sha256
from gaea.rag.memory import GalleryMemory

LEVELS = (2, 4, 6, 8, 10)
"""S2 levels at which the belief's most probable cell is kept."""

SYMBOLS = 6
DECODINGS = (*strategies(SYMBOLS), "best first, whole belief")
DEFAULT_DECODING = DECODINGS[-1]
POOLED = "pooled"
CHOICES = (POOLED, *(each for each in SELECTIONS if each != "reward head"))
OWN = ("decoding", "selection", "blank", "seed")
"""Settings that are not the assembly's."""


class AssistantSystem:
    """Built from the settings of :func:`gaea.app.assemble.assemble`, and three of its own.

    - ``decoding``: how S2 symbols are searched, one of :data:`DECODINGS`;
    - ``selection``: ``pooled`` (the point that most of the pooled belief is close to), or a rule that chooses among
      the candidates of the search alone;
    - ``blank``: every picture is replaced by an even grey one of its size.

    Raises:
        InputError: A setting is not known.
        ModelError: The model cannot be loaded.
        GalleryError: Nor the index.
    """

    at_once = 1

    def __init__(self, settings: Mapping[str, Any], *, assistant: Assistant | None = None) -> None:
        self._decoding = str(settings.get("decoding", DEFAULT_DECODING))
        self._selection = str(settings.get("selection", POOLED))
        self._blank = truth(settings.get("blank", False))
        for name, value, known in (
            ("decoding", self._decoding, DECODINGS),
            ("selection", self._selection, CHOICES),
        ):
            if value not in known:
                raise InputError(f"{name} '{value}' is not known: {', '.join(known)}")
        parts = {"store": "memory"} | {name: value for name, value in settings.items() if name not in OWN}
        self._assistant = assistant or assemble(**parts)
        self.settings = {
            **parts,
            "decoding": self._decoding,
            "selection": self._selection,
            "blank": self._blank,
            "calibration": self._assistant.provenance.get("calibration", "none"),
        }
        self.name = self._named(str(self._assistant.provenance.get("model", "assistant")))
        self.hashes = hashes(self._assistant, parts)
        self._open: tuple[str, Chat] | None = None
        self._search = strategies(SYMBOLS, int(settings.get("seed", 0))).get(self._decoding)

    def predict(self, item: Item, picture: Picture) -> Prediction:
        """The point, regions and words about one item."""
        chat, decoded = self._chat(item, picture)
        trust, finding = self._assistant.calibration, chat.finding
        belief, guessed = chat.belief, finding.answer
        if finding.abstained:
            belief = chat.pooled
            guessed = find(belief, chat.neighbours, chat.photo, trust, provenance={}, guess=True).answer
        point = (guessed.point.lat, guessed.point.lon) if guessed.point else None
        if self._selection != POOLED and decoded is not None:
            point = select(decoded, losses=("median", "geoscore", "hit")).points[self._selection]
        text = ""
        if item.kind == "ask":
            chat.turns.clear()
            text = chat.ask(item.question, guess=True).text
        told = read_belief(belief, item.truth.point, trust.region_mass)
        place = guessed.place
        return Prediction(
            item.id,
            "abstained" if finding.abstained and item.kind == "locate" else "answered",
            text,
            lat=None if point is None else float(point[0]),
            lon=None if point is None else float(point[1]),
            radius_km=guessed.radius_km,
            country=place.country_code if place else None,
            city=place.name if place else None,
            **told,
        )

    def _chat(self, item: Item, picture: Picture) -> tuple[Chat, Decoded | None]:
        """The conversation about an item's picture, kept for the next item of the same one."""
        key = str(item.image)
        if self._open is None or self._open[0] != key:
            photo = picture(item)
            if self._blank:
                photo = Photo.open(Image.new("RGB", photo.image().size, (100, 100, 97)), name=photo.name)
            self._open = (key, self._assistant.open(photo))
        chat = self._open[1]
        return chat, self._decode(chat)

    def _decode(self, chat: Chat) -> Decoded | None:
        """Search the S2 tree in the chosen way, and let its belief take the place of the usual one."""
        if self._search is None:
            return None
        held = getattr(chat, "examined", None)
        if held is None:
            engine = self._assistant.engine
            asked = prompts.locate(prompts.neighbour_tokens(chat.neighbours.similar))
            held = self._search(engine.scorer(asked, engine.see(chat.photo.image())))
            beliefs = {"tokens": held.belief()}
            if chat.neighbours.similar:
                rows = getattr(self._assistant.memory, "rows", None)
                locator = NeighbourLocator(self._assistant.calibration.neighbours, rows)
                beliefs["neighbours"] = locator.of(chat.neighbours)
            chat.beliefs = beliefs  # type: ignore[misc] # a cached property, set before it is asked for
            chat.examined = held  # type: ignore[attr-defined] # kept with the conversation it belongs to
        return held

    def _named(self, model: str) -> str:
        parts = [model]
        parts.append("without retrieval" if self._assistant.memory is None else "with retrieval")
        if self._decoding != DEFAULT_DECODING:
            parts.append(self._decoding)
        if self._selection != POOLED:
            parts.append(f"by {self._selection}")
        if self._blank:
            parts.append("picture blanked")
        return ", ".join(parts)


def read_belief(belief: Belief, point: tuple[float, float] | None, masses: tuple[float, float]) -> dict[str, Any]:
    """Areas and likeliest cells of a belief and, where the truth is a point, what the belief says of it."""
    regions = dict(zip(MASSES, (belief.region(mass) for mass in masses), strict=True))
    told: dict[str, Any] = {
        "area_km2": {mass: round(region.area_km2, 3) for mass, region in regions.items()},
        "cells": _likeliest_cells(belief),
    }
    if point is not None:
        told["covered"] = {mass: bool(region.contains(*point)) for mass, region in regions.items()}
        told["needed"] = round(mass_to_reach(belief, *point), 6)
        density = float(belief.log_density(*point))
        told["log_score"] = round(density, 6) if np.isfinite(density) else None
    return told


def _likeliest_cells(belief: Belief) -> dict[int, str]:
    found = {}
    for level in LEVELS:
        at = belief.at_level(level)
        fine = s2.level(at.cells) == level
        if fine.any():
            best = int(np.argmax(np.where(fine, at.log_prob, -np.inf)))
            found[level] = s2.to_token(at.cells[best])
    return found


def hashes(assistant: Assistant, parts: Mapping[str, Any]) -> dict[str, str]:
    """Of model, prompt, index and encoder, as far as they lie here."""
    told = {"prompt": prompt_sha256()}
    model = parts.get("model")
    folder = (
        NANO / "llava"
        if model in (None, "nano") and not str(parts.get("engine") or "").startswith("http")
        else Path(str(model))
    )
    if weights := sorted(folder.glob("*.safetensors")) if folder.is_dir() else []:
        whole = hashlib.sha256("".join(file_sha256(each) for each in weights).encode())
        told["model"] = file_sha256(weights[0]) if len(weights) == 1 else whole.hexdigest()
    if isinstance(assistant.memory, GalleryMemory):
        told |= {"index": assistant.memory.gallery.content_hash, "encoder": assistant.memory.encoder.fingerprint}
    return told


def prompt_sha256() -> str:
    """Of all that is the same in every prompt of this version."""
    said = [prompts.SYSTEM, prompts.locate(), prompts.locate_in_words(), prompts.talk(Briefing(), (), "Where is this?")]
    return hashlib.sha256(repr(said).encode()).hexdigest()


def truth(value: Any) -> bool:
    """A setting that is yes or no, as typed.

    Raises:
        InputError: It is neither.
    """
    known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False, "": False}
    if str(value).lower() not in known:
        raise InputError(f"'{value}' is neither true nor false")
    return known[str(value).lower()]
