"""``gaea locate`` with an assistant that takes its time, to be killed in the middle: arguments as of the command."""

import sys
import time

from gaea.answer import Answer, Point
from gaea.app import assemble, cli
from gaea.photo import Photo


class Chat:
    def __init__(self, photo: Photo) -> None:
        shade = float(photo.pixels[0, 0, 0])
        self.preview = Answer(question="?", text="", point=Point(shade / 3, -shade / 2), provenance={"model": "slow"})

    def stream(self, question: str, *, guess: bool = False) -> "Chat":
        time.sleep(0.05)
        return self


class Assistant:
    engine = object()

    def open(self, photo: Photo, **_: object) -> Chat:
        return Chat(photo)

    def describe(self) -> dict[str, object]:
        return {"model": "slow"}


assemble.assemble = lambda **_: Assistant()  # type: ignore[assignment]
sys.exit(cli.main(sys.argv[1:]))
