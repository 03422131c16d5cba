"""Makes nano from imagery, stage by stage: encoder, gallery, tower, tokenizer, language, text, calibration.

Each stage writes into its own folder under ``out`` and is skipped when it is done; a killed stage goes on from its
last checkpoint. ``export`` assembles what the package ships.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gaea.calibration import Calibration
from gaea.engine import SPOKEN_FILE, TransformersEngine
from gaea.errors import InputError
from gaea.finetune import blocks, briefings, calibrate, globe, inputs, llava, lora, recipe, sft
from gaea.finetune import captions as captioning
from gaea.finetune import encoder as towers
from gaea.finetune import gallery as lattice
from gaea.finetune.crops import CropConfig, Crops, PoolJob, draw_crops, draw_pool
from gaea.finetune.imagery import Imagery, open_imagery
from gaea.finetune.lessons import Lessons, LessonsConfig, Pointing, Talking
from gaea.finetune.lora import LoraRecipe
from gaea.finetune.splits import Part
from gaea.rag.encoder import CONFIG_FILE, WEIGHTS_FILE, OpenClipEncoder, folder_fingerprint
from gaea.rag.files import write_atomically
from gaea.rag.gallery import Gallery, GalleryMeta
from gaea.rag.memory import GalleryMemory
from gaea.rag.orbitnet import MEAN, STD
from gaea.rag.store import MemoryStore

logger = logging.getLogger(__name__)
NEAREST = 200
LANGUAGE = LoraRecipe(
    model="nano",
    method="full",
    geotokens=False,
    system=False,
    even=True,
    learning_rate=2e-3,
    projector_rate=2e-3,
    weight_decay=0.05,
    warmup_share=0.01,
    steps=3500,
    batch_size=28,
    device_batch=14,
    group_by_length=False,
    gradient_checkpointing=False,
    checkpoint_every=250,
    log_every=50,
    workers=1,
)
"""How the language model is trained where a recipe does not say; a recipe that does says all of it."""


@dataclasses.dataclass(frozen=True)
class NanoRecipe:
    """Everything that decides what nano becomes.

    Of the fields that do not explain themselves:

    Attributes:
        speaker: Folder of a LLaVA of the same shape and tokenizer, from whose weights the language stage goes on; its
            tower takes the place of one made anew. None begins with nothing.
    """

    imagery: str = "../shared/data/bluemarble.mbtiles"
    cache: str | None = "runs/cache"
    pool: int = 90_000
    views: int = 0
    validation: int = 1500
    calibration: int = 400
    talk_places: int = 12_000
    point_places: int = 40_000
    seed: int = 0
    crops: CropConfig = dataclasses.field(default_factory=CropConfig)
    probe: CropConfig = dataclasses.field(default_factory=lambda: CropConfig(size=96, width_km=(100.0, 150.0)))
    encoder: towers.EncoderConfig = dataclasses.field(default_factory=towers.EncoderConfig)
    tower: towers.EncoderConfig = dataclasses.field(default_factory=towers.EncoderConfig)
    gallery: lattice.GalleryConfig = dataclasses.field(default_factory=lattice.GalleryConfig)
    captions: captioning.CaptionConfig = dataclasses.field(default_factory=captioning.CaptionConfig)
    shape: llava.LlavaShape = dataclasses.field(default_factory=llava.LlavaShape)
    doubt: briefings.DoubtConfig = dataclasses.field(default_factory=briefings.DoubtConfig)
    lessons: LessonsConfig = dataclasses.field(default_factory=LessonsConfig)
    language: LoraRecipe = LANGUAGE
    speaker: str | None = None

    def __post_init__(self) -> None:
        """Check what the stages rely on.

        Raises:
            InputError: The language stage has no number of steps, or trains an adapter.
        """
        if self.language.steps < 1 or self.language.method != "full":
            raise InputError(
                f"language: steps is {self.language.steps} and method '{self.language.method}'; rows are made up for a "
                "number of steps, and the model begins with nothing: expected at least 1 and 'full'"
            )


class NanoRun:
    """One run of the recipe in one folder; stages are properties that read what is done and make what is not."""

    def __init__(
        self,
        config: NanoRecipe,
        out: Path,
        *,
        device: str = "cpu",
        workers: int = 2,
        progress: Callable[..., Any] | None = None,
    ) -> None:
        self.config, self.out, self.device, self.workers, self.progress = config, out, device, workers, progress
        _refuse_another(config, out / "recipe.json")
        recipe.save(config, out / "recipe.json")

    @cached_property
    def imagery(self) -> Imagery:
        """The pyramid that crops are cut from."""
        return open_imagery(self.config.imagery, Path(self.config.cache) if self.config.cache else None)

    @cached_property
    def pool(self) -> Crops:
        """Training crops: two views of every place, all first views before the second ones."""
        told = self.config
        job = PoolJob(told.imagery, told.cache, Part.TRAIN, told.pool, told.crops, told.seed)
        return draw_pool(job, self.out / "pool", self.workers)

    @cached_property
    def validation(self) -> Crops:
        """Crops of validation blocks."""
        rng = np.random.default_rng((self.config.seed, 5))
        return draw_crops(self.imagery, Part.VALIDATION, self.config.validation, self.config.probe, rng)

    @cached_property
    def encoder(self) -> nn.Module:
        """The retrieval encoder's vision tower, trained."""
        return self._trained("encoder", self.config.encoder, None)

    @cached_property
    def tower(self) -> nn.Module:
        """The language model's vision tower, taught by places and by the encoder."""
        return self._trained("tower", self.config.tower, lambda: self._pool_embeddings)

    @cached_property
    def clip(self) -> Path:
        """The folder of the open_clip model: both towers and the tokenizer."""
        folder = self.out / "clip"
        if not (folder / WEIGHTS_FILE).exists():
            self._make_clip(folder)
        return folder

    @cached_property
    def gallery(self) -> Gallery:
        """The gallery, encoded by :attr:`clip`."""
        path = self.out / "gallery" / "gallery.parquet"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            told = self.config.gallery
            meta = GalleryMeta(
                "gaea-nano-clip",
                folder_fingerprint(self.clip),
                self.config.encoder.embed_dim,
                told.source,
                told.credit,
                told.licence,
            )
            size = self.config.encoder.image_size
            made = lattice.build(
                told,
                self.config.imagery,
                cache=self.config.cache,
                size=size,
                encode=self._embed,
                meta=meta,
                workers=self.workers,
            )
            made.write(path)
        return Gallery.read(path)

    @cached_property
    def tokenizer(self) -> Any:
        """The shared tokenizer, trained on conversations about training places."""
        from transformers import AutoTokenizer

        folder = self.out / "tokenizer"
        if not (folder / "tokenizer.json").exists():
            rng = np.random.default_rng((self.config.seed, 7))
            pictures = rng.integers(len(self.world), size=3000)
            corpus = [llava.render(self._talking.about(int(picture), rng).messages) for picture in pictures]
            corpus += [captioning.caption(place, rng) for place in self.world]
            llava.train_tokenizer(corpus, self.config.shape.vocabulary).save_pretrained(folder)
        return AutoTokenizer.from_pretrained(folder)

    @cached_property
    def world(self) -> list[briefings.KnownPlace]:
        """What is known of the first ``talk_places`` training places."""
        kept = self.out / "world.json"
        if not kept.exists():
            n = min(self.config.talk_places, self.config.pool)
            known = briefings.know(self.pool.lat[:n].astype(float), self.pool.lon[:n].astype(float))
            told = json.dumps([dataclasses.asdict(place) for place in known])
            write_atomically(kept, lambda part: _said(part, told))
        return [briefings.KnownPlace.read(place) for place in json.loads(kept.read_text())]

    @cached_property
    def llava(self) -> Path:
        """The folder of the LLaVA, trained to point and to talk."""
        folder = self.out / "llava"
        if not (folder / SPOKEN_FILE).exists():
            self._make_llava(folder)
        return folder

    @cached_property
    def calibration(self) -> Calibration:
        """How far each locator is trusted, learned on validation places."""
        path = self.out / "gallery" / "calibration.json"
        if not path.exists():
            memory = GalleryMemory(
                OpenClipEncoder(self.clip), self.gallery, MemoryStore.open(self.gallery), depth=calibrate.DEPTH
            )
            engine = TransformersEngine(self.llava, system=False)
            rng = np.random.default_rng((self.config.seed, 8))
            asked = dataclasses.replace(self.config.probe, size=blocks.PROBE.size)
            unseen, seen = (
                blocks.draw_even(self.imagery, part, self.config.calibration, asked, rng)
                for part in (Part.VALIDATION, Part.TRAIN)
            )
            calibrate.learn(calibrate.gather(memory, engine, unseen, seen)).save(path)
        return Calibration.load(path)

    @cached_property
    def _pool_embeddings(self) -> Tensor:
        kept = self.out / "pool_embeddings.npy"
        if not kept.exists():
            _save_rows(kept, self._embed_pool())
        return torch.from_numpy(np.load(kept))

    def _embed_pool(self) -> Tensor:
        if self.config.encoder.arch != "orbit":
            return self._embed(self.pool.images_NHWC)
        tower, seen = self.encoder, self._statistics(self.config.encoder)[1]
        with torch.inference_mode():
            rows = [tower.from_standardised(chunk.to(self.device).float()) for chunk in seen.values.split(2000)]  # type: ignore[operator]
        return nn.functional.normalize(torch.cat(rows), dim=-1)

    def _embed(self, images_NHWC: np.ndarray) -> Tensor:
        tower = self.encoder

        def unit(x: Tensor) -> Tensor:
            return nn.functional.normalize(tower(x).float(), dim=-1)

        return towers.embed(unit, images_NHWC, self.device, size=self.config.encoder.image_size)

    def _trained(self, name: str, config: towers.EncoderConfig, teacher: Callable[[], Tensor] | None) -> nn.Module:
        done = self.out / name / "tower.pt"
        tower = towers.build_tower(config)
        if not done.exists():
            if config.arch == "orbit":
                tower, fed = self._statistics(config)
            else:
                fed = self._pictures(config)
            if config.arch == "pair":
                tower.textures.load_state_dict(self._fitted(config))
            model = towers.train(
                config,
                tower,
                fed,
                self.validation,
                self.out / name,
                device=self.device,
                teacher=teacher() if teacher else None,
                progress=self.progress,
            )
            write_atomically(done, lambda part: torch.save(model.tower.state_dict(), part))
        tower.load_state_dict(torch.load(done, map_location="cpu", weights_only=True))
        return tower.to(self.device).eval()

    def _pictures(self, config: towers.EncoderConfig) -> inputs.Inputs:
        """The pool, or more views than it holds, cut where they are learned from."""
        told = self.config
        if config.arch != "pair" or not told.views:
            return inputs.Pictures(self.pool, config.image_size, config.augment)
        crops = dataclasses.replace(told.crops, size=config.image_size)
        views = globe.draw(PoolJob(told.imagery, told.cache, Part.TRAIN, told.views, crops, told.seed), self.workers)
        return globe.Rendered(globe.Globe(self.imagery, self.device), views, config.image_size, config.augment)

    def _fitted(self, config: towers.EncoderConfig) -> dict[str, Tensor]:
        """State of the statistics' trunk with what it does not learn; kept between runs."""
        kept = self.out / "fitted.pt"
        if not kept.exists():
            tower = towers.build_tower(config).textures
            inputs.fit(tower, self.pool, config.augment, image_size=config.image_size, seed=config.seed)  # type: ignore[arg-type]
            write_atomically(kept, lambda part: torch.save(tower.state_dict(), part))
        return dict(torch.load(kept, map_location="cpu", weights_only=True))

    def _statistics(self, config: towers.EncoderConfig) -> tuple[nn.Module, inputs.Statistics]:
        """The trunk with its filters fitted, and what they see of the pool; kept between runs."""
        kept = self.out / "statistics.pt"
        if not kept.exists():
            tower = towers.build_tower(config)
            seen = inputs.prepare(
                tower,  # type: ignore[arg-type]
                self.pool,
                config.augment,
                image_size=config.image_size,
                seed=config.seed,
                device=self.device,
            )
            state = {"tower": tower.state_dict(), "values": seen.values}
            write_atomically(kept, lambda part: torch.save(state, part))
        state = torch.load(kept, map_location="cpu", weights_only=True, mmap=True)
        tower = towers.build_tower(config)
        tower.load_state_dict(state["tower"])
        return tower, inputs.Statistics(state["values"], self.pool.lat, self.pool.lon)

    def _make_clip(self, folder: Path) -> None:
        import open_clip
        from safetensors.torch import save_file

        config, text = self.config.encoder, self.config.captions
        vision: dict[str, Any] = {"image_size": config.image_size}
        if config.arch in ("orbit", "pair"):
            vision |= {"timm_model_name": config.trunk, "timm_pool": "", "timm_proj": ""}
        else:
            vision |= {
                "width": config.width,
                "layers": config.layers,
                "head_width": 64,
                "patch_size": config.patch_size,
            }
        words = {
            "context_length": text.context,
            "vocab_size": len(self.tokenizer),
            "width": text.width,
            "heads": text.heads,
            "layers": text.layers,
            "pool_type": "eos",
            "eos_id": self.tokenizer.eos_token_id,
        }
        model_cfg = {
            "embed_dim": config.embed_dim,
            "vision_cfg": vision,
            "text_cfg": words | {"hf_tokenizer_name": "tokenizer", "tokenizer_kwargs": {"clean": "whitespace"}},
        }
        preprocess = {
            "mean": list(MEAN),
            "std": list(STD),
            "interpolation": "bicubic",
            "resize_mode": "squash",
        }
        folder.mkdir(parents=True, exist_ok=True)
        llava.closing(self.tokenizer).save_pretrained(folder)
        told = {"model_cfg": model_cfg, "preprocess_cfg": preprocess}
        (folder / CONFIG_FILE).write_text(json.dumps(told, indent=2) + "\n")
        clip = open_clip.CLIP(config.embed_dim, vision, words)
        trunk = clip.visual if config.arch == "vit" else clip.visual.trunk
        trunk.load_state_dict(self.encoder.state_dict())
        tokenize = open_clip.tokenizer.HFTokenizer(str(folder), context_length=text.context)
        if config.arch == "orbit":
            known = self._pool_embeddings[: len(self.world)].float()
        else:  # a convolutional network takes its time over a pool of which the captions need a part
            known = self._embed(self.pool.images_NHWC[: len(self.world)])
        losses = captioning.train(clip, tokenize, known, self.world, text)
        (folder.parent / "captions.json").write_text(json.dumps(losses))
        # Written last: a folder that has them is done.
        write_atomically(folder / WEIGHTS_FILE, lambda part: save_file(halved(clip.state_dict()), part))

    def _make_llava(self, folder: Path) -> None:
        from transformers import set_seed

        told = self.config.language
        set_seed(told.seed)
        model = llava.build_model(self.tokenizer, self.config.shape)
        if self.config.speaker is None:
            llava.load_tower(model, self.tower)
        else:
            llava.load_speaker(model, self.tokenizer, Path(self.config.speaker))
        student = lora.prepare(model, llava.build_processor(self.tokenizer, self.config.shape), told)
        lessons = Lessons(
            self.pool.images_NHWC,
            self._pointing(),
            self._talking,
            student.processor,
            count=told.steps * told.batch_size,
            together=told.device_batch,
            max_tokens=told.max_tokens,
            seed=told.seed,
        )
        sft.fit(
            student,
            lessons,
            told,
            self.out / "language",
            title="nano's language model",
            device=self.device,
            progress=self.progress,
        )
        llava.save(student.model.cpu(), student.processor, folder)
        # Written last: a folder that has it is done.
        rng = np.random.default_rng((self.config.seed, 9))
        spoken = json.dumps(dataclasses.asdict(self._talking.spoken(self.tokenizer, rng)))
        write_atomically(folder / SPOKEN_FILE, lambda part: _said(part, spoken + "\n"))

    def _pointing(self) -> Pointing:
        """Rows that point, at the first ``point_places`` pictures."""
        n = min(self.config.point_places, len(self.pool))
        known = torch.from_numpy(self.gallery.embeddings.astype(np.float32)).T
        best = [
            (chunk @ known).topk(min(NEAREST, len(self.gallery)))
            for chunk in self._pool_embeddings[:n].float().split(1000)
        ]
        nearest, similarity = (
            np.concatenate([getattr(b, name).numpy() for b in best]) for name in ("indices", "values")
        )
        return Pointing(
            self.pool.lat[:n].astype(float),
            self.pool.lon[:n].astype(float),
            nearest,
            similarity,
            self.gallery.lat,
            self.gallery.lon,
            self.config.lessons,
        )

    @cached_property
    def _talking(self) -> Talking:
        """Conversations about :attr:`world`."""
        return Talking(self.world, self.config.doubt, self.config.lessons.turns)

    def export(self, folder: Path) -> None:
        """Copy what the package ships: ``clip``, ``llava`` and ``gallery``; training state stays behind."""
        for part in ("clip", "llava", "gallery"):
            target = folder / part
            target.mkdir(parents=True, exist_ok=True)
            for file in (self.out / part).iterdir():
                if file.is_file():
                    shutil.copyfile(file, target / file.name)


def _refuse_another(config: NanoRecipe, kept: Path) -> None:
    """Stages of two recipes must not be mixed in one folder."""
    if not kept.exists():
        return
    before, now = json.loads(kept.read_text()), json.loads(json.dumps(dataclasses.asdict(config)))
    changed = [name for name in now if before.get(name) != now[name]]
    if changed:
        raise InputError(
            f"{kept.parent} holds a run of another recipe ({', '.join(changed)} differ): give another folder, or "
            "delete that one"
        )


def _save_rows(path: Path, rows: Tensor) -> None:
    """As fp16, whole or not at all."""

    def write(part: Path) -> None:
        with part.open("wb") as file:  # given a name, NumPy would add an ending to it
            np.save(file, rows.cpu().half().numpy())

    write_atomically(path, write)


def _said(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def halved(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights in fp16, contiguous; whole numbers as they are."""
    return {k: (v.half() if v.is_floating_point() else v).contiguous().cpu() for k, v in state.items()}


def make(config: NanoRecipe, out: Path, **options: Any) -> NanoRun:
    """Run every stage that is not done.

    Args:
        config: The recipe.
        out: Folder of the run.
        **options: ``device``, ``workers``, ``progress`` of :class:`NanoRun`.
    """
    run = NanoRun(config, out, **options)
    for stage in ("pool", "encoder", "clip", "gallery", "tower", "llava", "calibration"):
        logger.info("stage %s", stage)
        getattr(run, stage)
    return run
