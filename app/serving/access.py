"""Who may ask: keys from the environment or a file, compared in constant time and never shown."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path

from gaea.app.serving.problems import ApiError
from gaea.errors import InputError

KEYS_VARIABLE = "GAEA_SERVER_KEYS"
LEAST_LENGTH = 16
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]", "::1")
NOBODY = "open"
"""Who asks where no key is set."""


@dataclasses.dataclass(frozen=True)
class Keys:
    """The keys of a server.

    Attributes:
        digests: SHA-256 of each, by the short name under which its holder appears in logs and metrics.
    """

    digests: Mapping[str, bytes] = dataclasses.field(default_factory=dict, repr=False)

    def __bool__(self) -> bool:
        return bool(self.digests)

    @classmethod
    def of(cls, keys: list[str]) -> Keys:
        """From the keys themselves, which are not kept.

        Raises:
            InputError: One is too short to be a secret, or cannot be sent in a header.
        """
        for number, key in enumerate(keys, 1):
            if len(key) < LEAST_LENGTH or not key.isascii() or not key.isprintable() or " " in key:
                raise InputError(
                    f"key {number} is no key: expected {LEAST_LENGTH} or more printable ASCII characters, for example "
                    "from: openssl rand -hex 24"
                )
        return cls({f"key{number}": _digest(key) for number, key in enumerate(dict.fromkeys(keys), 1)})

    @classmethod
    def read(cls, file: str | None, environment: Mapping[str, str] = os.environ) -> Keys:
        """From a file, one key a line (``#`` begins a comment line), and from ``$GAEA_SERVER_KEYS``, by commas.

        Raises:
            InputError: The file cannot be read or holds no key.
        """
        found = [key.strip() for key in environment.get(KEYS_VARIABLE, "").split(",")]
        if file is not None:
            try:
                lines = [line.strip() for line in Path(file).read_text(encoding="utf-8").splitlines()]
            except (OSError, UnicodeDecodeError) as error:
                raise InputError(f"{file}: the keys cannot be read ({error.__class__.__name__})") from error
            lines = [line for line in lines if line and not line.startswith("#")]
            if not lines:
                raise InputError(f"{file} holds no key: expected one a line")
            found += lines
        return cls.of([key for key in found if key])

    def holder(self, authorization: str | None) -> str:
        """The name of whoever sent an ``Authorization`` header.

        Raises:
            ApiError: 401, no key or a wrong one.
        """
        if not self:
            return NOBODY
        scheme, _, sent = (authorization or "").partition(" ")
        digest = _digest(sent.strip()) if scheme.lower() == "bearer" else b""
        holder = None
        for name, kept in self.digests.items():  # all of them, always: how long it takes tells nothing
            if hmac.compare_digest(kept, digest):
                holder = name
        if holder is None:
            raise ApiError(
                401,
                "a valid API key is needed: send it as 'Authorization: Bearer KEY'",
                kind="authentication_error",
                code="invalid_api_key",
            )
        return holder


def check_address(host: str, keys: Keys) -> None:
    """Refuse to listen where others can reach, unless they need a key.

    Raises:
        InputError: Not the loopback address, and no key.
    """
    if not is_loopback(host) and not keys:
        raise InputError(
            f"--host {host} can be reached by others, and no key is set: name a file with --keys, or set "
            f"{KEYS_VARIABLE}"
        )


def is_loopback(host: str) -> bool:
    """Whether an address, or the name ``localhost``, is reached from this machine only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def check_host_header(host: str | None, keys: Keys) -> None:
    """Without keys, answer only to a local name, so that no web page can reach the server under a name of its own.

    Raises:
        ApiError: 403, another name.
    """
    if keys:
        return
    name = (host or "").lower()
    bare = name.rpartition(":")[0] if ":" in name.rpartition("]")[2] else name
    if bare not in LOCAL_NAMES:
        raise ApiError(403, "without a key this server answers to local names only", code="host_not_allowed")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
