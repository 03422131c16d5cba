"""A Ray to compute on: a cluster by its address, what runs already, or one of our own, private and put away afterwards.

A Ray that is started here listens on the loopback address alone, has no dashboard, reports nothing to Ray's makers,
and leaves no files behind.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from gaea.errors import InputError, MissingDependencyError

OBJECT_STORE_BYTES = 256 * 2**20
"""Shared memory of a private Ray: lists of items and rows of vectors pass through it, pictures do not."""

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # otherwise Ray reports to its makers
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # its core writes warnings straight to the terminal
    "RAY_worker_niceness": "0",  # its default of 15 gives way to everything else on the machine
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what Ray itself announces as its next default
}


@contextmanager
def ray_session(address: str | None = None) -> Iterator[Any]:
    """The module ``ray``, connected; stopped on leaving unless it ran before.

    Args:
        address: Of a cluster (``auto``, ``10.0.0.1:6379``); where it is left out, a Ray that this process is
            already connected to, or else a private one.

    Raises:
        MissingDependencyError: Ray is not installed.
        InputError: No cluster answers at the address.
    """
    with _environment(_QUIET):
        ray = _import_ray()
        if ray.is_initialized():
            with _quiet_data(ray):
                yield ray
            return
        folder = None if address else tempfile.mkdtemp(prefix="gaea-ray-")
        try:
            _start(ray, address, folder)
            with _quiet_data(ray):
                yield ray
        finally:
            ray.shutdown()
            if folder:
                shutil.rmtree(folder, ignore_errors=True)


def _start(ray: Any, address: str | None, folder: str | None) -> None:
    quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    try:
        if address:
            with _on_loopback(ray) if _loopback_only(ray, address) else nullcontext():
                ray.init(address=address, **quiet)
            return
        with _on_loopback(ray):
            ray.init(
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=folder,
                _node_ip_address="127.0.0.1",
                **quiet,
            )
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"no Ray answers at {address or 'this machine'}: {reason}") from error


def _loopback_only(ray: Any, address: str) -> bool:
    """Whether a cluster listens on the loopback address and on no other, where Ray would then look for it in vain."""
    host, _, port = address.rpartition(":")
    if host not in ("127.0.0.1", "localhost") or not port.isdigit():
        return False
    try:
        with socket.create_connection((ray.util.get_node_ip_address(), int(port)), timeout=5):
            return False
    except OSError:
        return True


@contextmanager
def _on_loopback(ray: Any) -> Iterator[None]:
    """Let Ray keep the loopback address, which on Linux it replaces by one that the network reaches.

    The switch is Ray's own, read when it is imported; it is the default on the other systems.
    """
    constants = ray._private.ray_constants
    before = constants.ENABLE_RAY_CLUSTER
    constants.ENABLE_RAY_CLUSTER = False
    try:
        with _environment({constants.ENABLE_RAY_CLUSTERS_ENV_VAR: "0"}):
            yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def _quiet_data(ray: Any) -> Iterator[None]:
    """Ray Data in order and without progress bars, for as long as this lasts."""
    context = ray.data.DataContext.get_current()
    logger = logging.getLogger("ray.data")
    before = (logger.level, context.enable_progress_bars, context.print_on_execution_start)
    kept_order = context.execution_options.preserve_order
    logger.setLevel(logging.ERROR)
    context.enable_progress_bars = context.print_on_execution_start = False
    context.execution_options.preserve_order = True
    try:
        yield
    finally:
        logger.setLevel(before[0])
        context.enable_progress_bars, context.print_on_execution_start = before[1:]
        context.execution_options.preserve_order = kept_order


@contextmanager
def _environment(wanted: dict[str, str]) -> Iterator[None]:
    """Variables that the processes started meanwhile inherit; what the user set stays."""
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _import_ray() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own deprecations, at import
            import ray
            import ray.data
    except ImportError as error:
        raise MissingDependencyError("--engine ray needs Ray; run: pip install 'gaea-geo[ray]'") from error
    return ray
