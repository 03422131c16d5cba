"""Where the vector store of an index lies, and the record beside it of what it holds."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gaea.errors import InputError
from gaea.rag.files import write_atomically
from gaea.rag.store import Store, StoreLostError

BACKENDS = ("memory", "chroma", "chroma-server", "milvus")
RECORD_FILE = "store.json"
_FORMAT = 1


@dataclass(frozen=True)
class Record:
    """What a store holds; ``whole`` is false from the first change of a sync to its last.

    ``name`` is that of the collection, chosen at random, so that a store that is thrown away and its successor never
    meet. ``shards`` maps hashes to the lowest and highest row number and the number of rows.
    """

    name: str
    fingerprint: str
    dim: int
    settings: str
    whole: bool
    shards: dict[str, tuple[int, int, int]]

    @property
    def rows(self) -> int:
        """How many rows the store should count."""
        return sum(rows for _, _, rows in self.shards.values())

    @property
    def last(self) -> int:
        """Highest row number it should hold, -1 if none."""
        return max((last for _, last, _ in self.shards.values()), default=-1)


@dataclass(frozen=True)
class Place:
    """Where a store and its record lie: a folder for both, or an address with a folder for the record."""

    backend: str
    folder: Path
    address: str
    token: str

    @property
    def settings(self) -> str:
        """What a store was built with; one built otherwise is thrown away."""
        from gaea.rag import chroma, milvus

        return json.dumps(milvus.HNSW if self.backend == "milvus" else chroma.HNSW, sort_keys=True)

    def open(self, record: Record) -> Store:
        """The store of a record, made if missing.

        Raises:
            StoreLostError: What is there cannot be used.
            GalleryError: It cannot be reached.
        """
        files = self.folder / (record.name if self.backend == "chroma" else f"{record.name}.db")
        # Opened again within a process that still reads it, a deleted store would seem to be there.
        if record.shards and not self.address and not files.exists():
            raise StoreLostError(f"vector store {files} was deleted")
        if self.backend == "chroma":
            from gaea.rag.chroma import ChromaStore

            return ChromaStore(files, record.dim)
        if self.backend == "chroma-server":
            from gaea.rag.chroma_server import ChromaServerStore

            return ChromaServerStore(self.address, record.dim, collection=record.name)
        from gaea.rag.milvus import MilvusStore

        # Milvus takes no hyphens in names.
        return MilvusStore(
            self.address or files, record.dim, token=self.token, collection=record.name.replace("-", "_")
        )

    def discard(self, record: Record | None) -> None:
        """Throw away what was there; what another process still reads lives on for it until it closes."""
        if self.address and record is not None:
            store: Any = self.open(record)
            with contextlib.closing(store):
                store.drop()
        with contextlib.suppress(OSError):
            (self.folder / RECORD_FILE).unlink(missing_ok=True)
        for left in self.folder.glob("rows-*"):
            shutil.rmtree(left, ignore_errors=True)

    def read(self) -> Record | None:
        """The record; None where there is none that can be used."""
        try:
            found = json.loads((self.folder / RECORD_FILE).read_text(encoding="utf-8"))
            shards = {sha256: (int(a), int(b), int(n)) for sha256, (a, b, n) in found.pop("shards").items()}
            return Record(**found, shards=shards) if found.pop("format") == _FORMAT else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, record: Record) -> None:
        """Replace the record in one step; GalleryError where that is not possible."""
        text = json.dumps({"format": _FORMAT, **asdict(record)}, indent=1)
        write_atomically(self.folder / RECORD_FILE, lambda part: _write_text(part, text))


def place_of(folder: Path, backend: str, location: str | Path | None, token: str) -> Place:
    """Where the store of an index lies; see :func:`gaea.rag.sync.open_index_store`.

    Raises:
        InputError: Another backend, or an address where there should be none, or none where there should be one.
    """
    if backend not in BACKENDS:
        raise InputError(f"store {backend!r} is not one of {', '.join(BACKENDS)}")
    address = str(location) if location is not None and "://" in str(location) else ""
    if backend == "chroma-server" and not address:
        raise InputError("store chroma-server needs the address of the server, such as http://127.0.0.1:8000")
    if backend == "chroma" and address:
        raise InputError(f"store chroma lies in a folder; for a server at {address}, choose chroma-server")
    if address:
        known_as = hashlib.sha256(address.encode()).hexdigest()[:12]
        return Place(backend, folder / "stores" / f"{backend}-{known_as}", address, token)
    return Place(backend, Path(location) if location is not None else folder / "stores" / backend, "", token)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
