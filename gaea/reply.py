"""A reply on its way: what is known at once, the words as they come, and the answer they make up."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gaea.answer import Answer


class Reply:
    """The reply to one question. Iterate over it for pieces of text; the answer is complete afterwards.

    A reply belongs to one reader. Whoever stops reading calls :meth:`close`, or leaves the loop of a ``with`` block.

    Args:
        preview: The answer without its words.
        words: Pieces of text.
        finish: Called once with all the text that was read; gives the answer.

    Attributes:
        preview: Point, areas, place and evidence, known before the first word.
    """

    def __init__(self, preview: Answer, words: Iterator[str], finish: Callable[[str], Answer]) -> None:
        self.preview = preview
        self._words, self._finish = words, finish
        self._said: list[str] = []
        self._answer: Answer | None = None
        self._failed: Exception | None = None

    def __iter__(self) -> Iterator[str]:
        """Pieces of text; those that were read already are not told again."""
        try:
            for piece in self._words:
                self._said.append(piece)
                yield piece
        except Exception as error:
            self._failed = error
            raise
        finally:
            self.close()

    def __enter__(self) -> Reply:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the reply with the text so far."""
        close = getattr(self._words, "close", None)
        if close is not None:
            close()
        if self._answer is None and self._failed is None:
            self._answer = self._finish("".join(self._said).strip())

    @property
    def answer(self) -> Answer:
        """The answer with its words; reads what has not been read of them.

        Raises:
            GaeaError: What reading the words raised.
        """
        if self._answer is None and self._failed is None:
            for _ in self:
                pass
        if self._answer is None:
            raise self._failed or RuntimeError("the reply ended without an answer")
        return self._answer

    @property
    def text(self) -> str:
        """What has been read so far."""
        return "".join(self._said)
