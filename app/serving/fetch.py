"""Pictures named by a web address: refused, unless their host is on the list; then fetched as if the host were hostile.

A name is resolved once, every address that it has must be a public one, and the connection goes to the address that was
checked, so that no second answer of a name server can lead elsewhere. No redirect is followed, no proxy is used, and
what comes is cut off at the limit. The certificate is still checked against the name.
"""

from __future__ import annotations

import asyncio
import dataclasses
import ipaddress
import socket
import urllib.parse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gaea.app.serving.problems import ApiError, invalid
from gaea.errors import InputError

if TYPE_CHECKING:
    import httpx

FETCH_S = 20.0
MOST_AT_ONCE = 8
_PORTS = {"http": 80, "https": 443}

Resolve = Callable[[str, int], Sequence[str]]
"""Name and port to addresses."""


def resolve(host: str, port: int) -> Sequence[str]:
    """What the machine's own resolver says."""
    return list(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


@dataclasses.dataclass(frozen=True)
class Address:
    """A web address taken apart and found to be on the list."""

    scheme: str
    host: str
    port: int
    path: str


class Fetcher:
    """Fetches pictures from listed hosts.

    Args:
        hosts: Exact names, each with an optional port: ``pictures.example`` stands for its usual ports.
        most_bytes: Of a picture.
        resolver: Name and port to addresses.
        transport: What carries the requests; httpx's own if left out.

    Raises:
        InputError: A name that is none: an address, a wildcard, or a whole URL.
    """

    def __init__(
        self,
        hosts: Sequence[str],
        most_bytes: int,
        *,
        resolver: Resolve = resolve,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._listed = frozenset(_listed(host) for host in hosts)
        self._most_bytes, self._resolve, self._transport = most_bytes, resolver, transport
        self._at_once = asyncio.Semaphore(MOST_AT_ONCE)

    async def fetch(self, url: str) -> bytes:
        """The bytes behind a web address.

        Raises:
            ApiError: 400; the address is not on the list, leads to a place that is not public, redirects, answers with
                anything but success, or sends too much.
        """
        address = self.checked(url)
        async with self._at_once:
            try:
                async with asyncio.timeout(FETCH_S):
                    where = await asyncio.to_thread(self._public_address, address)
                    return await self._get(address, where)
            except TimeoutError:
                raise _refused(f"its host did not send it within {FETCH_S:.0f} s") from None

    def checked(self, url: str) -> Address:
        """Take a web address apart, if it is on the list.

        Raises:
            ApiError: 400.
        """
        if not self._listed:
            raise _refused("pictures are not fetched from the network here; send it as a data URL")
        try:
            if any(ord(char) <= 32 or char in "\\\x7f" for char in url):
                raise ValueError
            parts = urllib.parse.urlsplit(url)
            if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
                raise ValueError
            host = parts.hostname.rstrip(".").encode("idna").decode().lower()
            port = parts.port or _PORTS[parts.scheme]
        except (ValueError, UnicodeError):
            raise _refused("that is not an http or https address") from None
        usual = port == _PORTS[parts.scheme]
        if (host, port) not in self._listed and not (usual and (host, None) in self._listed):
            raise _refused("its host is not on this server's list; send it as a data URL")
        path = urllib.parse.quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
        query = "?" + urllib.parse.quote(parts.query, safe="/?%:@!$&'()*+,;=~-._") if parts.query else ""
        return Address(parts.scheme, host, port, path + query)

    def _public_address(self, address: Address) -> str:
        try:
            found = self._resolve(address.host, address.port)
        except (OSError, UnicodeError):
            raise _refused("its host is not found") from None
        if not found or not all(is_public(each) for each in found):
            raise _refused("its host is not in the public network")
        return found[0]

    async def _get(self, address: Address, where: str) -> bytes:
        import httpx

        shown = address.host if address.port == _PORTS[address.scheme] else f"{address.host}:{address.port}"
        target = f"[{where}]" if ":" in where else where
        received = bytearray()
        try:
            async with (
                httpx.AsyncClient(
                    transport=self._transport, trust_env=False, follow_redirects=False, timeout=FETCH_S
                ) as client,
                client.stream(
                    "GET",
                    f"{address.scheme}://{target}:{address.port}{address.path}",
                    headers={"Host": shown, "Accept": "image/*", "Accept-Encoding": "identity"},
                    extensions={"sni_hostname": address.host},
                ) as reply,
            ):
                if reply.is_redirect:
                    raise _refused("its host redirects, which is not followed")
                if reply.status_code != 200:
                    raise _refused(f"its host answers with status {reply.status_code}")
                async for piece in reply.aiter_raw():  # as it was sent: nothing is unpacked
                    received += piece
                    if len(received) > self._most_bytes:
                        raise _refused(f"it is larger than {self._most_bytes / 2**20:.0f} MiB")
        except (httpx.HTTPError, httpx.InvalidURL, OSError):
            raise _refused("its host cannot be reached") from None
        return bytes(received)


def is_public(text: str) -> bool:
    """Whether an address belongs to the public network, and hides no other address in it."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False  # also one with a zone, which is local by its nature
    if isinstance(address, ipaddress.IPv6Address) and (
        address not in _GLOBAL_UNICAST or address.sixtofour or address.teredo  # these two carry another address
    ):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
"""All of the public IPv6 network; outside lie the loopback, local, mapped, compatible and translated addresses."""


def _listed(host: str) -> tuple[str, int | None]:
    wrong = InputError(f"image host '{host}' is no name: expected one such as pictures.example, or with :PORT")
    try:
        parts = urllib.parse.urlsplit(f"//{host}")
        name, port = parts.hostname or "", parts.port
        plain = name.rstrip(".").encode("idna").decode().lower()
    except (ValueError, UnicodeError):
        raise wrong from None
    if parts.path or parts.query or "@" in host or "*" in host or not plain or _is_address(plain):
        raise wrong
    return plain, port


def _is_address(name: str) -> bool:
    """Whether a name is an address in any of its spellings: 127.1 and 0x7f000001 are."""
    try:
        socket.inet_aton(name)
    except OSError:
        return ":" in name
    return True


def _refused(why: str) -> ApiError:
    return invalid(f"image_url: {why}", "messages", "image_url_refused")
