"""What one request, and all of them together, may ask of the server."""

from __future__ import annotations

import dataclasses

from gaea import photo
from gaea.errors import InputError

MIB = 2**20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds, all checked before work is done.

    Attributes:
        body_bytes: Of a request, base64 and all.
        body_s: How long a request may take to arrive.
        images: Pictures in one request, those of the replayed conversation included.
        pixels: Of one picture, width times height.
        messages: In one request.
        characters: Of all texts in one request.
        context: Tokens that the model reads and writes; nano's.
        briefing: Of these, what is kept for the picture, the briefing and the template.
        reply: Most tokens of a reply.
        parallel: Requests that are answered at the same time.
        waiting: Requests that may wait for their turn; one more is told to come back.
        wait_s: How long they may wait.
        chats: Conversations whose photo stays in memory.
        chat_bytes: Memory for them.
        chat_s: How long an idle one stays.
    """

    body_bytes: int = 28 * MIB
    body_s: float = 60.0
    images: int = 8
    pixels: int = 40_000_000
    messages: int = 200
    characters: int = 100_000
    context: int = 1024
    briefing: int = 400
    reply: int = 160
    parallel: int = 1
    waiting: int = 64
    wait_s: float = 60.0
    chats: int = 64
    chat_bytes: int = 512 * MIB
    chat_s: float = 900.0

    def __post_init__(self) -> None:
        """Refuse what nobody could be served with."""
        for field in dataclasses.fields(self):
            least = 0 if field.name in ("waiting", "chats", "chat_bytes") else 1
            if getattr(self, field.name) < least:
                raise InputError(f"{field.name} is {getattr(self, field.name)}: expected {least} or more")
        if self.asked < 1:
            raise InputError(
                f"a context of {self.context} tokens leaves none for questions: {self.briefing} are kept for what is "
                f"known of the picture, and {self.reply} for the reply"
            )

    @property
    def asked(self) -> int:
        """Most tokens of a question and what went before it."""
        return self.context - self.briefing - self.reply

    @property
    def photo(self) -> photo.Limits:
        """The same for the photo's own checks."""
        return photo.Limits(max_bytes=self.body_bytes, max_pixels=self.pixels)
