"""How large a JPEG says it is, found without a decoder, at the start of a data URL.

Only what cannot be mistaken is told: a base64 data URL whose first bytes are a plain JPEG's, one segment after the
other, with one frame header among them. Of all else nothing is said, whether it is a picture or not. Pillow would read
more on the way (EXIF, other pictures in the same file), and a made-up file can keep it busy for a tenth of a second.
"""

from __future__ import annotations

import base64
import binascii

_READ = 2**13  # characters: a header and a small colour profile are among them, a thumbnail or a long EXIF block is not
_START = b"\xff\xd8"
_SCAN = 0xDA
_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive
_SKIPPED = (0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0))  # tables, the restart interval, a comment, applications' own


def jpeg_size(url: str) -> tuple[int, int] | None:
    """Width and height in the header of a JPEG's data URL; None where there is any doubt."""
    kind, comma, _ = url[:_READ].partition(",")
    if not comma or not kind.endswith(";base64"):
        return None
    begins = len(kind) + 1
    try:
        head = base64.b64decode(url[begins : begins + _READ // 4 * 4], validate=True)
    except (binascii.Error, ValueError):
        return None
    return _size(head)


def _size(head: bytes) -> tuple[int, int] | None:
    if not head.startswith(_START):
        return None
    size, at = None, len(_START)
    while at + 4 <= len(head) and head[at] == 0xFF:
        marker, length = head[at + 1], int.from_bytes(head[at + 2 : at + 4], "big")
        if marker == _SCAN:
            return size
        if marker in _FRAMES and size is None and length >= 8 and at + 9 <= len(head):
            # ITU-T T.81, B.2.2: length, bits of a sample, lines, samples of a line
            size = int.from_bytes(head[at + 7 : at + 9], "big"), int.from_bytes(head[at + 5 : at + 7], "big")
        elif marker not in _SKIPPED or length < 2:
            return None
        at += 2 + length
    return None
