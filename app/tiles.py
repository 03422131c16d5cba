"""Map tiles of somebody else's server, for the chat page's globe: where they are, and who is to be named for them.

Nobody is asked for tiles unless ``gaea chat --tiles`` names a server and the switch on the map is turned on.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from urllib.parse import urlsplit

from gaea.errors import InputError

LONGEST_CREDIT = 200
_PLACES = ("{z}", "{x}", "{y}")
# Nothing that ends a directive of a content security policy, or begins a placeholder of another kind.
_ADDRESS = re.compile(r"[A-Za-z0-9._~:/?&=%@+,!*()\[\]-]+")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\]")
_EXAMPLE = "https://tiles.example/{z}/{x}/{y}.png"


@dataclasses.dataclass(frozen=True)
class Tiles:
    """A tile server: Web Mercator, 256 or 512 px, readable by other sites' pages (CORS).

    Attributes:
        url: With ``{z}``, ``{x}`` and ``{y}`` in its path or query.
        credit: Who made the map; shown on it while it is.
        origin: Scheme, host and port: what the page may load pictures from.

    Raises:
        InputError: The URL is no such template, or is not https although it leaves this machine; or nobody is named.
    """

    url: str
    credit: str
    origin: str = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        wrong = InputError(f"--tiles {self.url[:120]!r}: expected {_EXAMPLE}, or http on this machine")
        bare = self.url
        for place in _PLACES:
            if place not in bare:
                raise InputError(f"--tiles {self.url[:120]!r} has no {place}: expected {_EXAMPLE}")
            bare = bare.replace(place, "0")
        if not _ADDRESS.fullmatch(bare):
            raise wrong
        try:
            parts, port = urlsplit(self.url), urlsplit(self.url).port
        except ValueError:
            raise wrong from None
        host = parts.netloc.lower().rpartition(":")[0] if port is not None else parts.netloc.lower()
        if not _HOST.fullmatch(host) or not (parts.scheme == "https" or (parts.scheme == "http" and _loopback(host))):
            raise wrong
        credit = " ".join(self.credit.split())
        if not credit or len(credit) > LONGEST_CREDIT or not credit.isprintable():
            raise InputError(
                f"--tiles needs --tiles-credit, who made the map, in 1 to {LONGEST_CREDIT} characters: "
                "for example '© OpenStreetMap contributors'"
            )
        object.__setattr__(self, "credit", credit)
        object.__setattr__(self, "origin", f"{parts.scheme}://{host}" + (f":{port}" if port is not None else ""))


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
