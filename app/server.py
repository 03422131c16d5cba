"""``gaea serve``: the OpenAI-compatible server, from arguments to a running process."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
from pathlib import Path
from typing import Any

from gaea.app.serving.access import Keys, check_address
from gaea.app.serving.limits import MIB, Limits
from gaea.errors import InputError, MissingDependencyError

IN_PROCESS, VLLM = "transformers", "vllm"
NANO_CONTEXT, USUAL_CONTEXT = 1024, 4096
SERVED_PARALLEL = 16
"""Requests at a time where a server runs the model, which batches them; in this process there is one."""

_ASSEMBLED = ("index", "encoder", "store", "store_at", "device", "disclosure")
_WAYS_OUT_S = 30


def run(args: argparse.Namespace) -> int:
    """Run the subcommand until it is told to end.

    Raises:
        GaeaError: It cannot start as asked for.
    """
    try:
        import aiohttp  # noqa: F401
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise MissingDependencyError("gaea serve needs packages: pip install 'gaea-geo[serve]'") from error
    from gaea.app.serving.application import application
    from gaea.app.serving.service import Service

    keys = Keys.read(args.keys)
    check_address(args.host, keys)
    config = _config(args, keys)
    _set_up_log(quiet=args.quiet)
    backend = _backend(args, config.limits)

    def give_up() -> None:
        server.should_exit = True

    service = Service(config, backend, on_failure=give_up)
    server = uvicorn.Server(
        uvicorn.Config(
            application(service),  # type: ignore[arg-type]
            host=args.host,
            port=args.port,
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            ws="none",
            lifespan="on",
            timeout_graceful_shutdown=_WAYS_OUT_S,
            timeout_keep_alive=15,
            h11_max_incomplete_event_size=64 * 1024,
        )
    )
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises the signal again once all is closed
        server.run()
    if service.failure is not None:
        raise service.failure
    if not server.started:
        raise InputError(f"{args.host}:{args.port} cannot be listened on: is another program there?")
    return 0


def _config(args: argparse.Namespace, keys: Keys) -> Any:
    from gaea.app.serving.service import ServiceConfig

    nano = args.model in (None, "nano") and args.engine in (None, IN_PROCESS, VLLM)
    context = args.context or (NANO_CONTEXT if nano else USUAL_CONTEXT)
    in_process = args.engine in (None, IN_PROCESS)
    limits = Limits(
        body_bytes=args.max_body * MIB,
        images=args.max_images,
        pixels=args.max_pixels,
        context=context,
        parallel=args.parallel or (1 if in_process else SERVED_PARALLEL),
        waiting=args.queue,
        chats=args.max_chats,
        chat_bytes=args.chat_memory * MIB,
    )
    if args.pass_through and in_process:
        raise InputError("--pass-through is for an engine that is a server: --engine vllm or a URL")
    if args.pass_through and args.disclosure not in (None, "precise"):
        raise InputError(
            f"--pass-through tells what a bare model says, which cannot be held to '{args.disclosure}': leave one out"
        )
    return ServiceConfig(
        keys=keys,
        limits=limits,
        image_hosts=tuple(args.image_host or ()),
        origins=tuple(args.origin or ()),
        pass_through=args.pass_through,
        counted_as=None if nano else args.model,
    )


def _backend(args: argparse.Namespace, limits: Limits) -> Any:
    import os

    from gaea.app.assemble import cache_folder
    from gaea.app.serving import backends

    options = {name: getattr(args, name) for name in _ASSEMBLED if getattr(args, name, None) is not None}
    if args.engine in (None, IN_PROCESS):
        if args.lora or args.vllm_arg:
            raise InputError("--lora and --vllm-arg are for --engine vllm; in this process there is --adapter")
        options |= {n: getattr(args, n) for n in ("model", "adapter", "quantize") if getattr(args, n) is not None}
        return backends.InProcess(args.name, options)
    if args.engine == VLLM:
        if args.quantize:
            raise InputError("--quantize is for a model in this process: give vLLM --vllm-arg=--quantization=…")
        loras = dict(_named(each) for each in args.lora or ())
        config = backends.vllm_config(
            args.model,
            name=args.name,
            adapter=args.adapter,
            loras=loras,
            context=limits.context,
            more=args.vllm_arg or (),
        )
        output = Path(args.vllm_log) if args.vllm_log else cache_folder() / "vllm" / "server.log"
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(b"")
        return backends.Supervised(config, output, options)
    if args.lora or args.vllm_arg or args.adapter or args.quantize:
        raise InputError("a model at a URL is what it is: start that server with its adapters")
    if args.model is not None:
        options["model"] = args.model
    return backends.Elsewhere(args.engine, args.name, options, os.environ.get("GAEA_API_KEY"))


def _named(said: str) -> tuple[str, str]:
    name, equals, folder = said.partition("=")
    if not (name and equals and folder):
        raise InputError(f"--lora {said}: expected NAME=FOLDER")
    return name, folder


def _set_up_log(*, quiet: bool) -> None:
    """Lines to standard error, none of which says what was asked or answered."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name in ("gaea.server", "uvicorn"):
        log = logging.getLogger(name)
        log.handlers, log.propagate = [handler], False
        log.setLevel(logging.WARNING if quiet else logging.INFO)
