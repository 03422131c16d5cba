"""The chat page in Gradio: what is on it, and which part moves which."""

from __future__ import annotations

from typing import Any

import gradio as gr

from gaea.app import chat_parts, chat_view
from gaea.app.chat_map import scene
from gaea.app.chat_narrow import countries, regions
from gaea.app.chat_session import Sessions
from gaea.app.chat_turns import Turns
from gaea.assistant import Assistant

LONGEST_QUESTION = 2000


class Page:
    """What is on the page, and what happens when it is used."""

    def __init__(self, assistant: Assistant, sessions: Sessions) -> None:
        self._turns = Turns(assistant, sessions)

    def build(self, script_tag: str) -> Any:
        """The Gradio blocks, wired."""
        with gr.Blocks(title="GAEA", analytics_enabled=False, fill_width=True) as blocks:
            gr.HTML(chat_parts.HEADER, js_on_load=chat_parts.HEADER_SCRIPT, head=script_tag, elem_id="top")
            with gr.Row(elem_id="desk"):
                with gr.Column(elem_id="talk", scale=5, min_width=320):
                    self._talk(script_tag)
                with gr.Column(elem_id="findings", scale=8, min_width=320):
                    self._findings(script_tag)
            self._wire(blocks)
        return blocks

    def _talk(self, script_tag: str) -> None:
        self.photo = gr.HTML(
            chat_view.photo_card(None),
            html_template=chat_parts.photo_template(),
            js_on_load=chat_parts.PHOTO_SCRIPT,
            head=script_tag,
            elem_id="photo",
            apply_default_css=False,
        )
        self.chatbot = gr.Chatbot(
            [],
            label="Conversation",
            show_label=False,
            height=None,
            min_height=120,
            elem_id="chatbot",
            # What anybody wrote is shown as it was written: no markup, no formulas, no pictures from elsewhere.
            render_markdown=False,
            sanitize_html=True,
            latex_delimiters=[],
            allow_tags=False,
            buttons=[],
            feedback_options=None,
            layout="bubble",
            group_consecutive_messages=False,
        )
        self.status = gr.HTML("", elem_id="status", html_template='<p role="status" aria-live="polite">${value}</p>')
        with gr.Row(elem_id="chips", visible=False) as self.chips:
            self.follow_ups = [
                (gr.Button(short, size="sm", elem_classes="chip"), gr.State(question))
                for short, question in chat_parts.FOLLOW_UPS
            ]
            self.guess = gr.Button("Guess anyway", size="sm", elem_id="guess", elem_classes="chip", visible=False)
        self.question = gr.Textbox(
            placeholder="Ask about the photo",
            label="Question",
            show_label=False,
            max_length=LONGEST_QUESTION,
            lines=1,
            max_lines=6,
            submit_btn=True,
            stop_btn=False,
            elem_id="ask-box",
        )
        with gr.Accordion("Narrow it down", open=False, elem_id="narrow"):
            self.countries = gr.Dropdown(countries(), multiselect=True, label="Country")
            self.regions = gr.Dropdown([], multiselect=True, label="Region", info="of the countries above")
            self.hint = gr.Textbox(label="Hint", placeholder="somewhere in the south of Peru", max_length=200)
            self.box = gr.Textbox(label="Box", placeholder="south, west, north, east", max_length=80)
            self.use_map = gr.Button("Only what the map shows", size="sm")
            self.again = gr.Button("Look again", size="sm", variant="primary")
        self.area_only = gr.Checkbox(
            label="Area only", info="Say the region, never a point", elem_id="area-only", container=False
        )
        gr.HTML(f'<p class="privacy">{chat_parts.PRIVACY}</p>')

    def _findings(self, script_tag: str) -> None:
        self.verdict = gr.HTML(chat_view.verdict(None), elem_id="verdict", apply_default_css=False)
        self.globe = gr.HTML(
            scene(None),
            html_template=chat_parts.globe_template(),
            js_on_load=chat_parts.GLOBE_SCRIPT,
            head=script_tag,
            elem_id="map",
            apply_default_css=False,
        )
        self.legend = gr.HTML("", elem_id="legend", apply_default_css=False)
        self.evidence = gr.HTML("", elem_id="evidence", apply_default_css=False)
        self.details = gr.HTML("", elem_id="details", apply_default_css=False)

    def _wire(self, blocks: gr.Blocks) -> None:
        turns = self._turns
        wishes = [self.countries, self.regions, self.box, self.hint, self.area_only]
        shown = [self.photo, self.chatbot, self.status, self.chips, self.guess, self.question]
        shown += [self.verdict, self.globe, self.legend, self.evidence, self.details]
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        # The model answers one question at a time; everything else goes on meanwhile.
        slow = {**quiet, "concurrency_limit": 1, "concurrency_id": "model"}

        for event, handler in ((self.photo.photo, turns.photo), (self.photo.example, turns.example)):
            event(handler, None, shown, **quiet).then(turns.first, [self.question, *wishes], shown, **slow)
        self.photo.forget(turns.forget, None, shown, **quiet)
        asked = [(self.question.submit, turns.ask, [self.question]), (self.guess.click, turns.guess, [])]
        asked += [(button.click, turns.ask, [question]) for button, question in self.follow_ups]
        asked += [(self.again.click, turns.again, []), (self.area_only.input, turns.again, [])]
        for event, handler, first in asked:
            event(None, None, self.status, js=chat_parts.WAITING, **quiet)  # at once, whoever else is asking
            event(handler, [*first, *wishes], shown, **slow)
        self.question.stop(turns.stop, None, None, queue=False, **quiet)
        self.countries.change(_regions_of, [self.countries, self.regions], self.regions, **quiet)
        self.use_map.click(None, None, self.box, js="() => gaea.mapBounds()", api_visibility="private")

        def leave(request: gr.Request) -> None:
            turns.leave(request)
            # Gradio would hold what the page showed for an hour, and its newest values for longer.
            blocks.state_holder.session_data.pop(request.session_hash, None)

        blocks.unload(leave)


def _regions_of(codes: list[str], chosen: list[str]) -> Any:
    """The regions of the chosen countries to choose from; those that are no longer among them are let go."""
    names = regions(codes)
    return gr.update(choices=names, value=[name for name in chosen or [] if name in names])
