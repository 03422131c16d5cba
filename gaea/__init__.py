"""GAEA: ask a photo where it is, how sure that is, and how one can know.

    import gaea
    assistant = gaea.load()
    chat = assistant.open("photo.jpg")
    print(chat.ask("Where is this?").text)

Importing this package loads no model and no framework; :func:`load` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gaea._torchvision import install_hook as _install_hook

if TYPE_CHECKING:
    from gaea.assistant import Assistant

__version__ = "0.1.0"
__all__ = ["__version__", "load"]

_install_hook()


def load(**options: Any) -> Assistant:
    """Assemble an assistant; the front door, and the one arrow that points up.

    Args:
        **options: ``model``, ``adapter``, ``engine``, ``index``, ``device`` and the other fields of
            :class:`gaea.app.assemble.Settings`.

    Returns:
        An :class:`gaea.assistant.Assistant`, ready to open photos.
    """
    from gaea.app.assemble import assemble

    return assemble(**options)
