"""The options of ``gaea serve``; nothing heavy is imported, so that help comes at once."""

from __future__ import annotations

import argparse


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The options of ``gaea serve``, beside those of every subcommand that loads a model."""
    command.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1; others need keys)"
    )
    command.add_argument("--port", metavar="PORT", type=int, default=8000, help="port to listen on (default: 8000)")
    command.add_argument(
        "--keys", metavar="FILE", help="file of API keys, one a line; also $GAEA_SERVER_KEYS, by commas"
    )
    command.add_argument("--name", metavar="NAME", help="what the model is served as (default: its own name)")
    command.add_argument(
        "--lora", metavar="NAME=FOLDER", action="append", help="with --engine vllm: serve this adapter too; repeatable"
    )
    command.add_argument(
        "--vllm-arg", metavar="ARG", action="append", help="with --engine vllm: pass this on to vllm serve; repeatable"
    )
    command.add_argument("--vllm-log", metavar="FILE", help="where vLLM's own log goes (default: in the cache folder)")
    command.add_argument("--pass-through", action="store_true", help="also serve the bare engine, as engine/NAME")
    command.add_argument(
        "--disclosure", metavar="LEVEL", help="finest answers: precise, city, region, country, withheld"
    )
    command.add_argument(
        "--image-host",
        metavar="HOST",
        action="append",
        help="fetch pictures from this host; repeatable (default: none)",
    )
    command.add_argument(
        "--origin", metavar="URL", action="append", help="let this web page's scripts ask; repeatable (default: none)"
    )
    command.add_argument("--parallel", metavar="N", type=int, help="requests at a time (default: 1; 16 with a server)")
    command.add_argument("--queue", metavar="N", type=int, default=64, help="requests that may wait (default: 64)")
    command.add_argument(
        "--context", metavar="N", type=int, help="tokens the model reads (default: 1024 for nano, or 4096)"
    )
    command.add_argument("--max-body", metavar="MIB", type=int, default=28, help="largest request (default: 28)")
    command.add_argument("--max-images", metavar="N", type=int, default=8, help="pictures in a request (default: 8)")
    command.add_argument(
        "--max-pixels", metavar="N", type=int, default=40_000_000, help="largest picture (default: 40000000)"
    )
    command.add_argument("--max-chats", metavar="N", type=int, default=64, help="photos kept in memory (default: 64)")
    command.add_argument(
        "--chat-memory",
        metavar="MIB",
        type=int,
        default=512,
        help="memory for them, after which they go (default: 512)",
    )
