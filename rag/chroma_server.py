"""A Chroma server as a store: one index, many processes, the same rows and settings as the embedded client.

``chroma run --path FOLDER --host 127.0.0.1 --port 8000`` starts one. CVE-2026-45829 (code execution before
authentication) is open for Chroma's Python server in versions 1.0.0 to 1.5.9: let it listen on the loopback address
only, and put a gateway that authenticates in front of it before other machines may ask.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from gaea.errors import GalleryError, InputError
from gaea.rag.chroma import ChromaRows
from gaea.rag.store import StoreLostError


class ChromaServerStore(ChromaRows):
    """A collection on a Chroma server.

    Args:
        url: Such as ``http://127.0.0.1:8000``.
        dim: Length of the vectors.
        collection: Its name on the server, made if missing: one per index.

    Raises:
        GalleryError: No server answers, or the collection holds vectors of another length.
        InputError: The address is not one.
    """

    def __init__(self, url: str, dim: int, *, collection: str = "gallery") -> None:
        self.url, self._name = url, collection
        host, port, ssl = _address(url)

        def connect() -> Any:
            import chromadb
            from chromadb.config import Settings

            quiet = Settings(anonymized_telemetry=False)
            return chromadb.HttpClient(host=host, port=port, ssl=ssl, settings=quiet)

        super().__init__(connect, dim, collection=collection)

    @property
    def _where(self) -> str:
        return f"Chroma server {self.url}"

    def _fault(self, error: Exception) -> GalleryError:
        from chromadb.errors import ChromaError, NotFoundError

        if isinstance(error, NotFoundError):
            return StoreLostError(
                f"collection {self._name!r} of {self._where} was deleted: open the gallery again, and it is rebuilt"
            )
        detail = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        if isinstance(error, ChromaError):
            return GalleryError(f"{self._where} refuses ({detail}): its version must be that of this program's client")
        host, port, _ = _address(self.url)
        return GalleryError(
            f"{self._where} does not answer ({detail}): start it with "
            f"`chroma run --path FOLDER --host {host} --port {port}`, or name another"
        )

    def drop(self) -> None:
        """Delete the collection, if it is still there; the store is not used afterwards."""
        if any(found.name == self._name for found in self._asked(self._client.list_collections)):
            self._asked(self._client.delete_collection, name=self._name)

    def close(self) -> None:
        """See :meth:`Store.close`."""
        # Chroma's client leaves its connections to the garbage collector.
        for part in (self._client, self._client._admin_client):
            part._server._session.close()
        super().close()


def _address(url: str) -> tuple[str, int, bool]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InputError(f"Chroma server address {url!r} is not usable: {error}") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise InputError(f"Chroma server address {url!r} is not of the form http://127.0.0.1:8000")
    return host, port or (443 if parts.scheme == "https" else 8000), parts.scheme == "https"
