"""The one place where parts are wired: settings in, an assistant out."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import gaea
from gaea.assistant import Assistant
from gaea.calibration import CALIBRATION_FILE, Calibration
from gaea.disclosure import Level, Policy
from gaea.endpoint import EndpointEngine
from gaea.engine import Engine, TransformersEngine
from gaea.errors import InputError, ModelError
from gaea.rag.backends import BACKENDS
from gaea.rag.encoder import OpenClipEncoder
from gaea.rag.encoders import load_encoder
from gaea.rag.gallery import Gallery
from gaea.rag.index import Index
from gaea.rag.manifest import MANIFEST_FILE
from gaea.rag.memory import GalleryMemory
from gaea.rag.scenes import ZeroShotScenes
from gaea.rag.store import open_store
from gaea.rag.sync import open_index_store

NANO = Path(gaea.__file__).parent / "nano"
GALLERY_FILE = "gallery.parquet"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a user may choose; everything else follows.

    Attributes:
        model: Folder or hub name of a LLaVA-class model; None is the shipped nano.
        adapter: Folder or hub name of a PEFT adapter for it.
        engine: None or ``transformers`` for this process, else the URL of an OpenAI-compatible server.
        index: Folder made by ``gaea index build``, or one with ``gallery.parquet``; where fitted, either holds a
            ``calibration.json``. None is the shipped one, ``none`` goes without.
        encoder: What to load as the encoder that built ``index``; None is what the index names, or the shipped one.
        store: ``chroma``, ``memory``, ``chroma-server`` or ``milvus``; the last two for an index folder.
        store_at: Folder or address of the store, where it is not the usual one.
        device: Torch device; None picks CUDA where there is one.
        quantize: ``4bit`` or ``8bit``, with bitsandbytes.
        disclosure: How precisely places may be told: a level (``precise``, ``city``, ``region``, ``country``,
            ``withheld``) or a :class:`gaea.disclosure.Policy`; None is precise but for scenes that ask for less.
        api_key: What the server at ``engine`` wants to be sent; None is ``$GAEA_API_KEY``.
        system: Whether the model is sent the system message; None is yes, but for nano, which was trained without one.
        progress: Told what is being loaded.
    """

    model: str | None = None
    adapter: str | None = None
    engine: str | None = None
    index: str | None = None
    encoder: str | None = None
    store: str = "chroma"
    store_at: str | None = None
    device: str | None = None
    quantize: str | None = None
    disclosure: Policy | Level | str | None = None
    api_key: str | None = dataclasses.field(default=None, repr=False)
    system: bool | None = None
    progress: Callable[[str], None] | None = None

    def __post_init__(self) -> None:
        if self.store not in BACKENDS:
            raise InputError(f"store '{self.store}' is not known: {', '.join(BACKENDS)}")
        if self.engine not in (None, "transformers") and not str(self.engine).startswith(("http://", "https://")):
            raise InputError(f"engine '{self.engine}' is not known: transformers, or a URL such as http://host:8000/v1")
        if self.served and (self.adapter or self.quantize):
            raise InputError(
                "adapter and quantize are for a model in this process: start the server with them, and give as model "
                "the name that the adapter is served under"
            )

    @property
    def served(self) -> bool:
        """Whether the model runs behind a URL."""
        return self.engine not in (None, "transformers")


def assemble(**options: Any) -> Assistant:
    """Load the parts and join them.

    Args:
        **options: Fields of :class:`Settings`.

    Raises:
        InputError: An unknown option or value.
        ModelError: A model, adapter or endpoint cannot be used.
        GalleryError: The index is damaged or belongs to another encoder.
    """
    known = [field.name for field in dataclasses.fields(Settings)]
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise InputError(f"unknown option '{name}'" + (f"; did you mean '{near[0]}'?" if near else ""))
    settings = Settings(**options)
    disclosure = Policy.of(settings.disclosure)
    tell = settings.progress or (lambda _: None)
    memory, calibration = _memory(settings, tell)
    tell("loading the model")
    engine = _engine(settings)
    provenance = {
        "model": engine.name,
        "adapter": settings.adapter,
        "index": memory.name if memory else None,
        "calibration": "none" if memory and calibration == Calibration() else "fitted",
        "versions": {name: metadata.version(name) for name in ("torch", "transformers", "open_clip_torch")}
        | {"gaea": gaea.__version__},
    }
    judge = ZeroShotScenes.of(memory.encoder) if memory else None
    return Assistant(engine, memory, calibration, provenance, disclosure, judge)


def cache_folder() -> Path:
    """Where vector indexes are kept between runs: ``$GAEA_CACHE``, or ``gaea`` in the user's cache folder."""
    chosen = os.environ.get("GAEA_CACHE")
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gaea"


def _engine(settings: Settings) -> Engine:
    if settings.served:
        key = settings.api_key or os.environ.get("GAEA_API_KEY")
        return EndpointEngine(str(settings.engine), model=settings.model, api_key=key, system=settings.system)
    nano = settings.model in (None, "nano")
    if nano and not (NANO / "llava" / "model.safetensors").is_file():
        raise ModelError(f"the shipped model is missing from {NANO}: reinstall, or choose one with --model")
    return TransformersEngine(
        NANO / "llava" if nano else str(settings.model),
        adapter=settings.adapter,
        device=_device(settings),
        quantize=settings.quantize,
        system=not nano if settings.system is None else settings.system,
        name="gaea-nano" if nano else None,
    )


def _memory(settings: Settings, tell: Callable[[str], None]) -> tuple[GalleryMemory | None, Calibration]:
    if settings.index == "none":
        return None, Calibration()
    folder = Path(settings.index) if settings.index else NANO / "gallery"
    if (folder / MANIFEST_FILE).is_file():
        return _from_index(settings, folder, tell), _calibration(folder)
    rows = folder / GALLERY_FILE if folder.is_dir() else folder
    gallery = Gallery.read(rows)
    tell("loading the encoder")
    encoder = OpenClipEncoder(settings.encoder or NANO / "clip", device=_device(settings))
    gallery.check_encoder(encoder)
    tell("opening the index")

    def building(done: int, total: int) -> None:
        tell(f"building the index once: {done:,} of {total:,}")

    store = open_store(gallery, settings.store, cache_folder(), progress=building)
    trust = _calibration(rows.parent)
    around = trust.neighbours.surroundings
    return GalleryMemory(encoder, gallery, store, depth=around.k if around else 0), trust


def _from_index(settings: Settings, folder: Path, tell: Callable[[str], None]) -> GalleryMemory:
    """An index of one's own, with the encoder that it names and a store brought in line with it."""
    index = Index.open(folder)
    tell("loading the encoder")
    encoder = load_encoder(settings.encoder or index.encoder.spec, device=_device(settings))
    index.check_encoder(encoder)
    tell("opening the index")

    def adding(done: int, total: int) -> None:
        tell(f"bringing the vector store up to date: {done:,} of {total:,}")

    store = open_index_store(index, settings.store, location=settings.store_at, progress=adding)
    return GalleryMemory(encoder, index.gallery, store, label=folder.resolve().name)


def _calibration(folder: Path) -> Calibration:
    fitted = folder / CALIBRATION_FILE
    return Calibration.load(fitted) if fitted.is_file() else Calibration()


def _device(settings: Settings) -> str:
    """The device that was asked for, if it exists; else CUDA where there is one."""
    import torch

    if settings.device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(settings.device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device '{settings.device}' cannot be used here: {str(error).splitlines()[0]}") from error
    return str(device)
