"""Milvus as a store: past one machine by a cluster, or the same client on a local file (Milvus Lite).

Run and tested here: Milvus Lite 3.2 through pymilvus 3.0. A cluster is reached by the same calls with its address and
token; that was not run here. Milvus Lite is for trying out: it holds its file for one process, and searches every
segment in Python (``docs/retrieval-benchmark.md`` shows what that costs).
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gaea.errors import GalleryError, InputError, MissingDependencyError
from gaea.rag.store import (
    ROWS_PER_QUESTION,
    Float32Array,
    IntArray,
    StoreLostError,
    checked_queries,
    checked_rows,
    refuse_taken,
)

# The same graph and beam as Chroma's, so that the two can be compared.
HNSW = {"M": 16, "efConstruction": 100}
MAX_K = 16_384
"""Milvus lists no more than this at once, neighbours or rows."""

_EF = 400
_BATCH_BYTES = 16_000_000  # below the 64 MB that a gRPC message may have
_VALUES = 1_000_000  # neighbours asked for at once, over all queries
_FIELDS = {"anns_field": "embedding", "output_fields": ["row"]}


class MilvusStore:
    """A collection in Milvus.

    Args:
        uri: Of a cluster, such as ``http://milvus:19530``, or the path of a Milvus Lite file, ending in ``.db``.
        dim: Length of the vectors.
        token: Of a cluster, ``user:password`` or an API key.
        collection: Its name there, made if missing: one per index.
        timeout_s: How long to wait for any one answer.

    Raises:
        GalleryError: No server answers, the file is held by another process, or vectors of another length are there.
        InputError: A path that does not end in ``.db``.
        MissingDependencyError: pymilvus is not installed.
    """

    def __init__(
        self, uri: str | Path, dim: int, *, token: str = "", collection: str = "gallery", timeout_s: float = 60.0
    ) -> None:
        self.dim, self.uri, self._name = dim, str(uri), collection
        self._lite = "://" not in self.uri
        self._options = {"collection_name": collection, "timeout": timeout_s}
        if self._lite:
            self._check_lite()
        self._client: Any = self._asked(_client, uri=self.uri, token=token, timeout_s=timeout_s)
        self._closed = False
        if self._lite:
            _lite_users[str(Path(self.uri).absolute())] += 1
        try:
            self._open()
        except GalleryError:
            self.close()
            raise

    def _check_lite(self) -> None:
        if not self.uri.endswith(".db"):
            raise InputError(f"Milvus Lite file {self.uri!r} must end in .db; a cluster is named by http://host:19530")
        try:
            Path(self.uri).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise GalleryError(f"Milvus Lite file {self.uri} cannot be made: {error.strerror or error}") from error

    def _open(self) -> None:
        if not self._asked(self._client.has_collection, **self._options):
            self._asked(self._create)
        fields = self._asked(self._client.describe_collection, **self._options)["fields"]
        held = next((field["params"].get("dim") for field in fields if field["name"] == "embedding"), None)
        if held is None or int(held) != self.dim:
            raise GalleryError(
                f"collection {self._name!r} of {self._where} holds {held}-d vectors, expected {self.dim}-d: "
                "name another collection, or drop that one"
            )
        self._asked(self._client.load_collection, **self._options)
        self._count = self._counted()

    def _create(self) -> None:
        from pymilvus import DataType

        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("row", DataType.INT64, is_primary=True)
        schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=self.dim)
        index = self._client.prepare_index_params()
        index.add_index("embedding", index_type="HNSW", metric_type="COSINE", params=HNSW)
        self._client.create_collection(schema=schema, index_params=index, consistency_level="Strong", **self._options)

    @property
    def _where(self) -> str:
        return f"Milvus {'Lite file ' if self._lite else ''}{self.uri}"

    def _asked(self, call: Callable[..., Any], **arguments: Any) -> Any:
        try:
            with _no_logging():
                return call(**arguments)
        except ImportError as error:
            raise MissingDependencyError(
                "Milvus needs packages that are not installed: pip install 'gaea-geo[milvus]'"
            ) from error
        # pymilvus raises MilvusException and its kin, gRPC its own, and Milvus Lite bare Python errors.
        except Exception as error:
            raise self._fault(error) from error

    def _fault(self, error: Exception) -> GalleryError:
        detail = " ".join(str(getattr(error, "message", error)).split())[:200]
        if self._lite and not Path(self.uri).exists():
            return StoreLostError(f"{self._where} was deleted: open the gallery again, and it is rebuilt")
        if "Open local milvus failed" in detail:
            if _held(Path(self.uri, "LOCK")):
                return GalleryError(f"{self._where} is held by another process: close that, or use a Milvus cluster")
            return StoreLostError(f"{self._where} is damaged: delete it, and it is rebuilt")
        if "not found" in detail or "not exist" in detail:
            return StoreLostError(f"{self._where} has lost its rows ({detail}): open the gallery again to rebuild it")
        if self._lite:
            return StoreLostError(f"{self._where} is not usable ({detail}): delete it, and it is rebuilt")
        return GalleryError(f"{self._where} does not answer ({detail}): check that it runs, its address and the token")

    def add(self, ids: Sequence[int] | IntArray, embeddings: ArrayLike) -> None:
        """See :meth:`Store.add`. Milvus itself would keep both rows of an id."""
        new_ids, rows = checked_rows(ids, embeddings, self.dim)
        for part in self._parts(new_ids):
            taken = self._asked(self._client.get, ids=part, output_fields=["row"], **self._options)
            refuse_taken(np.array([found["row"] for found in taken], dtype=np.int64))
        start = 0
        for part in self._parts(new_ids):
            data = [{"row": row, "embedding": rows[start + index]} for index, row in enumerate(part)]
            self._asked(self._client.insert, data=data, **self._options)
            start += len(part)
            self._count += len(part)

    def query(self, embeddings: ArrayLike, k: int) -> tuple[IntArray, Float32Array]:
        """See :meth:`Store.query`; InputError also for a k that Milvus does not list (:data:`MAX_K`)."""
        queries, k = checked_queries(embeddings, self.dim, k, self._count)
        if k > MAX_K:
            raise InputError(f"k is {k}: Milvus gives at most {MAX_K} neighbours")
        ids, similarity = np.zeros((len(queries), k), np.int64), np.zeros((len(queries), k), np.float32)
        block = max(1, _VALUES // max(1, k))
        for start in range(0, len(queries) if k else 0, block):
            for index, hits in enumerate(self._search(queries[start : start + block], k)):
                if len(hits) < k:
                    raise StoreLostError(
                        f"{self._where} gave {len(hits)} of {k} rows: open the gallery again to mend it"
                    )
                ids[start + index] = [hit["row"] for hit in hits]
                similarity[start + index] = [hit["distance"] for hit in hits]
        return ids, np.clip(similarity, -1, 1)

    def _search(self, queries: Float32Array, k: int) -> Any:
        beam = {"metric_type": "COSINE", "params": {"ef": max(_EF, k)}}
        return self._asked(self._client.search, data=queries, limit=k, search_params=beam, **_FIELDS, **self._options)

    def remove(self, ids: Sequence[int] | IntArray) -> None:
        """See :meth:`Store.remove`."""
        for part in self._parts(np.asarray(ids, np.int64)):
            self._asked(self._client.delete, ids=part, **self._options)
        self._count = self._counted()

    def ids(self) -> IntArray:
        """See :meth:`Store.ids`."""

        def listed() -> list[int]:
            pages = self._client.query_iterator(
                batch_size=10_000, output_fields=["row"], filter="row >= 0", **self._options
            )
            found: list[int] = []
            while page := pages.next():
                found.extend(row["row"] for row in page)
            pages.close()
            return found

        return np.sort(np.array(self._asked(listed), dtype=np.int64))

    def count(self) -> int:
        """See :meth:`Store.count`."""
        return self._count

    @property
    def rows_per_question(self) -> int:
        """Milvus Lite walks over all row numbers for a question, a cluster does not; see :mod:`gaea.rag.narrow`."""
        return 10 * self._count if self._lite else ROWS_PER_QUESTION

    def _counted(self) -> int:
        found = self._asked(self._client.query, filter="", output_fields=["count(*)"], **self._options)
        return int(found[0]["count(*)"])

    def _parts(self, ids: IntArray) -> Iterator[list[int]]:
        """Ids in batches whose vectors fit a message and whose number Milvus lists at once."""
        size = min(10_000, max(1, _BATCH_BYTES // (4 * self.dim)))
        for start in range(0, len(ids), size):
            yield ids[start : start + size].tolist()

    def drop(self) -> None:
        """Delete the collection, if it is still there; the store is not used afterwards."""
        self._asked(self._client.drop_collection, **self._options)

    def close(self) -> None:
        """See :meth:`Store.close`; a Milvus Lite file is free for another process afterwards."""
        if self._closed:
            return
        self._closed = True
        self._client.close()
        if self._lite:
            _release(self.uri)


_lite_users: Counter[str] = Counter()  # pymilvus serves a file once per process, to all who open it


def _release(uri: str) -> None:
    from milvus_lite.server_manager import server_manager_instance

    file = str(Path(uri).absolute())
    _lite_users[file] -= 1
    if not _lite_users[file]:
        del _lite_users[file]
        server_manager_instance.release_server(uri)


def _held(lock: Path) -> bool:
    """Whether another process has the lock of a Milvus Lite file; pymilvus does not tell why it could not open one."""
    import fcntl

    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _client(uri: str, token: str, timeout_s: float) -> Any:
    from pymilvus import MilvusClient

    return MilvusClient(uri, token=token, timeout=timeout_s)


@contextlib.contextmanager
def _no_logging() -> Iterator[None]:
    """Keep the packages from printing tracebacks of faults that are raised anyway."""
    loggers = [logging.getLogger(name) for name in ("pymilvus", "milvus_lite", "grpc")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
