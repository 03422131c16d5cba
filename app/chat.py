"""``gaea chat``: a page to drop a photo on and talk about it, with a globe beside the words.

The page is Gradio; the globe and the photo card on it are this project's own, because they must work without any
network and without a file on disk. Sessions live in memory and end with their tab.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

from gaea.app import ask, conditions, terminal
from gaea.app.tiles import Tiles
from gaea.assistant import Assistant
from gaea.errors import InputError, MissingDependencyError

_WAITING = 32  # questions in line; more are refused at once


def run(args: argparse.Namespace) -> int:
    """Run the subcommand until it is interrupted.

    Raises:
        GaeaError: Gradio is missing, the address cannot be used, or a model or index cannot be loaded.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        from gaea.app import chat_server
    except ImportError as error:
        raise MissingDependencyError(f"gaea chat needs Gradio ({error}): pip install 'gaea-geo[app]'") from error
    tiles = _tiles(args)
    opened = chat_server.bound(args.host, args.port)
    with terminal.progress(quiet=args.quiet) as tell:
        from gaea.app.assemble import assemble

        assistant = assemble(progress=tell, disclosure=conditions.disclosure(args), **ask.settings(args))
        tell("building the page")
        app = application(assistant, hosts=chat_server.hosts_of(args.host), tiles=tiles)
    host, port = opened.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    terminal.write(f"{url}  (Ctrl+C ends it)")
    if not chat_server.hosts_of(args.host):
        terminal.complain("everybody who can reach this machine can use this page: it asks for no password")
    chat_server.serve(app, opened, url=url, browser=args.open)
    return 0


def _tiles(args: argparse.Namespace) -> Tiles | None:
    if args.tiles is None:
        if args.tiles_credit is not None:
            raise InputError("--tiles-credit names who made the tiles: say where they are with --tiles")
        return None
    return Tiles(args.tiles, args.tiles_credit or "")


def application(assistant: Assistant, *, hosts: frozenset[str] = frozenset(), tiles: Tiles | None = None) -> Any:
    """The whole web application (ASGI).

    Args:
        assistant: What answers.
        hosts: Names by which the server may be called; empty for any.
        tiles: A tile server that the map may be switched to.
    """
    import gradio as gr

    from gaea.app import chat_server, chat_style
    from gaea.app.chat_page import Page
    from gaea.app.chat_session import Sessions

    sessions = Sessions()
    page = Page(assistant, sessions).build(chat_server.script_tag(tiles))
    page.queue(max_size=_WAITING, default_concurrency_limit=None)
    app = gr.mount_gradio_app(
        chat_server.routes(sessions, tiles),
        page,
        path="/",
        theme=chat_style.theme(),
        css=chat_style.style_sheet(),
        **chat_server.ALONE,
    )
    return chat_server.Doorkeeper(app, hosts, tiles)
