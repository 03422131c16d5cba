"""What Prometheus is told: counts, times and states, none of which says anything of a photo or a question."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]


class Metrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        made = {"registry": self._registry}
        self.requests = Counter("gaea_requests", "Requests answered", ["route", "status"], **made)
        self.seconds = Histogram(
            "gaea_request_seconds", "From request to end of reply", ["route"], buckets=_SECONDS, **made
        )
        self.located_seconds = Histogram("gaea_located_seconds", "From turn to place", buckets=_SECONDS, **made)
        self.answer_seconds = Histogram("gaea_answer_seconds", "From turn to end of reply", buckets=_SECONDS, **made)
        self.tokens = Counter("gaea_tokens", "Tokens of questions and replies", ["kind"], **made)
        self.cancelled = Counter("gaea_cancelled", "Replies stopped because the client had left", **made)
        self.answers = Counter(
            "gaea_answers", "Answers by disclosure, and whether a point was given", ["disclosure", "point"], **made
        )

    def watch(self, name: str, help_: str, value: Callable[[], float]) -> None:
        """Add a value that is read when it is asked for."""
        Gauge(name, help_, registry=self._registry).set_function(value)

    def render(self) -> bytes:
        """All of them, in Prometheus's text form."""
        return generate_latest(self._registry)
