"""The review page of ``gaea locate --review``: one photo at a time, with what speaks for its place, yes or no.

Accepting writes an XMP sidecar beside the photo; rejecting writes nothing. Nothing is written without somebody having
looked. Photos that have a place already, or an answer without a point, are not asked about. What was decided is
remembered while the page runs; a sidecar that was written can be seen by the next run, which skips its photo.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Sequence
from html import escape
from typing import Any, Literal

from PIL import Image

from gaea.answer import Answer
from gaea.app import backdrop, chart, sidecar, terminal
from gaea.app.listing import Listed
from gaea.app.map import coordinates
from gaea.app.page import STYLE
from gaea.app.printout import km
from gaea.errors import GaeaError, InputError, MissingDependencyError
from gaea.photo import Photo
from gaea.source import printable

_PHOTO_PX = 1000

Verdict = Literal["accepted", "rejected"]


@dataclasses.dataclass
class Review:
    """What is to be looked at, and what was decided; used by one person, from any number of tabs.

    Attributes:
        open: Photos with a point and without a place of their own, in order.
        skipped: Why the others are not asked about, by name.
        decided: By number in ``open``.
    """

    open: list[tuple[Listed, Answer]]
    skipped: dict[str, str]
    decided: dict[int, Verdict] = dataclasses.field(default_factory=dict)
    _lock: threading.Lock = dataclasses.field(default_factory=threading.Lock, repr=False)

    @classmethod
    def of(cls, found: Sequence[tuple[Listed, Answer]]) -> Review:
        """Sort out what nobody needs to look at."""
        open_, skipped = [], {}
        for listed, answer in found:
            reason = "no point" if answer.point is None else sidecar.has_place(listed.path)
            if reason:
                skipped[listed.name] = reason
            else:
                open_.append((listed, answer))
        return cls(open_, skipped)

    def next(self) -> int | None:
        """The first that is not decided; None where all are."""
        return next((number for number in range(len(self.open)) if number not in self.decided), None)

    def decide(self, number: int, verdict: Verdict) -> str:
        """Accept or reject one, once, and say what was done.

        Raises:
            InputError: The sidecar cannot be written; the photo stays undecided.
        """
        with self._lock:
            listed, answer = self.open[number]
            name = printable(listed.name)
            if number in self.decided:
                return f"{name}: was {self.decided[number]} already"
            if verdict == "accepted":
                written = sidecar.write(listed.path, answer)
                self.decided[number] = verdict
                return f"{name}: accepted, wrote {printable(written.name)}"
            self.decided[number] = verdict
            return f"{name}: rejected, nothing written"

    def summary(self) -> str:
        """What came of it, in one line."""
        count = {word: sum(each == word for each in self.decided.values()) for word in ("accepted", "rejected")}
        left = len(self.open) - len(self.decided)
        return (
            f"{count['accepted']:,} accepted, {count['rejected']:,} rejected, {left:,} to look at, "
            f"{len(self.skipped):,} not asked about (a place already, or no point)"
        )


def card(listed: Listed, answer: Answer) -> str:
    """One photo with its map, radius and evidence, as HTML; everything from outside is escaped."""
    radii = answer.radius_km or {}
    label = answer.place.label if answer.place else "no named place"
    where = coordinates(answer.point, radii.get(90)) if answer.point else ""
    rows = [
        ("place", label),
        ("point", where),
        ("90 % within", km(radii[90]) if 90 in radii else ""),
        ("50 % within", km(radii[50]) if 50 in radii else ""),
        ("how sure", answer.confidence.sure),
        ("told no finer than", "" if answer.disclosure == "precise" else answer.disclosure),
        ("the file was taken", (answer.file_claim.taken or "") if answer.file_claim else ""),
    ]
    told = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(printable(v))}</dd></div>" for k, v in rows if v)
    why = "".join(f"<li>{_reason(each)}</li>" for each in answer.evidence if each.kind in ("similar", "dissimilar"))
    frame = chart.close_up(answer)
    maps = (chart.draw_close_up(answer, frame) if frame else "") + chart.draw_world(answer, frame)
    return (
        f'<div class="hero"><figure class="photo">{_picture(listed)}<figcaption>{escape(printable(listed.name))}'
        f'</figcaption></figure><div><dl class="numbers">{told}</dl><h2>Evidence</h2><ol>{why}</ol></div></div>'
        f'<div class="two">{maps}</div>'
    )


def _reason(item: Any) -> str:
    alike = "looks similar" if item.kind == "similar" else "looks different"
    parts = [item.text, alike, f"{item.similarity:.2f}" if item.similarity is not None else ""]
    parts += [f"{km(item.distance_km)} away" if item.distance_km is not None else "", item.credit or item.source or ""]
    return " · ".join(escape(printable(part)) for part in parts if part)


def _picture(listed: Listed) -> str:
    try:
        image = Photo.open(listed.path).image()
    except GaeaError as error:
        return f"<p>{escape(str(error))}</p>"
    image.thumbnail((_PHOTO_PX, _PHOTO_PX), Image.Resampling.LANCZOS)
    return f'<img src="{backdrop.jpeg_uri(image)}" alt="The photo in question" width="{image.width}">'


def page(review: Review) -> Any:
    """The page as Gradio blocks: a card, two buttons, and keys A and R for them."""
    import gradio as gr

    def shown(said: str = "") -> tuple[Any, ...]:
        number = review.next()
        done = f"{len(review.decided) + 1} of {len(review.open)}" if number is not None else review.summary()
        body = card(*review.open[number]) if number is not None else "<p>There is nothing left to look at.</p>"
        usable = gr.update(interactive=number is not None)
        return f"### {done}", body, said, usable, usable, -1 if number is None else number

    def decided(number: int, verdict: Verdict) -> tuple[Any, ...]:
        if number < 0:
            return shown()
        try:
            return shown(review.decide(number, verdict))
        except InputError as error:
            return shown(f"not written: {error}")

    with gr.Blocks(title="GAEA review", analytics_enabled=False) as blocks:
        number = gr.State(-1)
        head = gr.Markdown()
        body = gr.HTML(elem_id="card")
        with gr.Row():
            accept = gr.Button("Accept and write the sidecar (A)", variant="primary", elem_id="accept")
            reject = gr.Button("Reject (R)", elem_id="reject")
        said = gr.Textbox(label="Done", interactive=False, elem_id="said")
        shows = [head, body, said, accept, reject, number]
        options = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": 1}
        blocks.load(shown, None, shows, **options)
        accept.click(lambda n: decided(n, "accepted"), [number], shows, **options)
        reject.click(lambda n: decided(n, "rejected"), [number], shows, **options)
    return blocks


KEYS = """<script>
addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA)$/.test(event.target.tagName)) return;
  const id = { a: "accept", r: "reject" }[event.key.toLowerCase()];
  if (id) document.querySelector("#" + id)?.click();
});
</script>"""


def application(review: Review, *, hosts: frozenset[str] = frozenset()) -> Any:
    """The whole web application (ASGI), behind the doorkeeper of the chat page.

    Args:
        review: What is to be looked at.
        hosts: Names by which the server may be called; empty for any.
    """
    import gradio as gr
    from fastapi import FastAPI

    from gaea.app import chat_server

    app = gr.mount_gradio_app(
        FastAPI(openapi_url=None),
        page(review),
        path="/",
        css=STYLE,
        head=KEYS,
        **chat_server.ALONE,
    )
    return chat_server.Doorkeeper(app, hosts)


def serve(
    found: Sequence[tuple[Listed, Answer]], *, host: str = "127.0.0.1", port: int | None = None, browser: bool = False
) -> None:
    """Open the page until it is interrupted, and say what came of it.

    Raises:
        MissingDependencyError: Gradio is not installed.
        InputError: The address cannot be used.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        from gaea.app import chat_server
    except ImportError as error:
        raise MissingDependencyError(f"--review needs Gradio ({error}): pip install 'gaea-geo[app]'") from error
    review = Review.of(found)
    if not review.open:
        terminal.write(f"nothing to review: {review.summary()}")
        return
    opened = chat_server.bound(host, port)
    name, number = opened.getsockname()[:2]
    url = f"http://{f'[{name}]' if ':' in name else name}:{number}"
    terminal.write(f"{url}  (Ctrl+C ends the review)")
    chat_server.serve(application(review, hosts=chat_server.hosts_of(host)), opened, url=url, browser=browser)
    terminal.write(review.summary())
