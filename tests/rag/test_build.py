import io
import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gaea.errors import GalleryError, InputError, ModelError, PhotoError
from gaea.rag.build import BuildConfig, build
from gaea.rag.duplicates import DuplicateConfig
from gaea.rag.embed import embed_local, prepare
from gaea.rag.encoder import unit_rows
from gaea.rag.encoders import EncoderIdentity
from gaea.rag.estimate import estimate
from gaea.rag.index import Index
from gaea.rag.records import Item

PARIS, QUITO = (48.8584, 2.2945), (-0.18, -78.47)


class Projection:
    """An encoder that is quick: a fixed random projection of 16 × 16 pixels."""

    name, dim, fingerprint = "projection", 16, "e" * 64

    def __init__(self):
        self.matrix = np.random.default_rng(0).normal(size=(768, self.dim)).astype(np.float32)
        self.batches = []

    def encode(self, images):
        self.batches.append(len(images))
        pixels = np.stack([np.asarray(image.resize((16, 16)), np.float32).reshape(-1) for image in images])
        return unit_rows((pixels - 127) @ self.matrix)

    def encode_text(self, texts):
        raise ModelError("no text")


@dataclass(frozen=True)
class Memory:
    """A source whose pictures are in memory."""

    listed: tuple[Item, ...]
    files: dict
    name: str = "album"
    licence: str = "CC0"
    credit: str = "Ann"

    def items(self):
        return iter(self.listed)

    def read(self, item):
        if item.key not in self.files:
            raise PhotoError(f"{item.key}: gone")
        return self.files[item.key]

    def count(self):
        return len(self.listed)


def png(seed, size=(48, 40), **options):
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(file, **({"format": "PNG"} | options))
    return file.getvalue()


def album(n, **changes):
    items = tuple(Item(f"{i}.png", PARIS[0] + i / 100, PARIS[1], text=f"photo {i}") for i in range(n))
    return replace(Memory(items, {f"{i}.png": png(i) for i in range(n)}), **changes)


@pytest.fixture
def encoder():
    return Projection()


@pytest.fixture
def index(tmp_path, encoder):
    return Index.create(tmp_path / "index", EncoderIdentity.of(encoder))


def run(index, source, encoder, *, batch_size=4, **options):
    config = BuildConfig(**({"shard_rows": 8} | options))
    return build(index, source, partial(embed_local, encoder=encoder, batch_size=batch_size), config, encoder=encoder)


def keys(index):
    return Index.open(index.folder).table(["key"])["key"].to_pylist()


def refused(index):
    lines = (index.folder / "rejected.jsonl").read_text(encoding="utf-8").splitlines()
    return {line["key"]: line["reason"] for line in map(json.loads, lines)}


# ---- embedding


def test_items_come_back_in_order_whatever_the_batches(encoder):
    source = album(13)
    items = [*source.items(), Item("gone.png", 1.0, 1.0)]
    expected = encoder.encode([prepare(source, item).image for item in source.items()])
    for batch_size, threads in ((1, 1), (4, 3), (50, 2)):
        found = list(embed_local(source, iter(items), encoder, batch_size=batch_size, threads=threads))
        assert [one.item for one in found] == items
        np.testing.assert_allclose(np.stack([one.embedding for one in found[:-1]]), expected, atol=1e-6)
        assert (found[-1].embedding, found[-1].problem) == (None, "gone.png: gone")
    assert all(len(one.sha256) == 64 and one.phash for one in found[:-1])


def test_large_pictures_come_in_small_batches(encoder, monkeypatch):
    monkeypatch.setattr("gaea.rag.embed.MAX_PENDING_PIXELS", 3 * 48 * 40)
    assert len(list(embed_local(album(10), album(10).items(), encoder, batch_size=8, threads=2))) == 10
    assert encoder.batches == [3, 3, 3, 1]


def test_a_picture_without_a_usable_vector_is_a_problem(encoder):
    encoder.encode = lambda images: np.full((len(images), 16), np.nan, np.float32)
    (found,) = embed_local(album(1), album(1).items(), encoder)
    assert "no usable vector" in found.problem
    with pytest.raises(InputError, match="at least 1"):
        list(embed_local(album(1), album(1).items(), encoder, threads=0))


# ---- building


def test_rows_know_what_and_where_they_are(index, encoder):
    items = (
        Item("tower.png", *PARIS, text="a tower", licence="CC BY", width_km=0.5, extra={"camera": "x", "n": 1}),
        Item("quito.png", *QUITO),
        Item("sea.png", 30.0, -40.0),
    )
    source = Memory(items, {item.key: png(at) for at, item in enumerate(items)})
    report = run(index, source, encoder)
    assert (report.added, report.listed, report.commits, report.rows, dict(report.rejected)) == (3, 3, 1, 3, {})
    gallery = index.gallery
    assert gallery.labels["country"].tolist() == ["FR", "EC", ""]
    assert gallery.labels["region"].tolist()[0] == "Île-de-France"
    assert gallery.labels["licence"].tolist() == ["CC BY", "CC0", "CC0"]
    assert gallery.labels["credit"].tolist() == ["Ann"] * 3
    assert json.loads(gallery.labels["extra"][0]) == {"camera": "x", "n": 1}
    assert gallery.width_km[0] == 0.5
    assert np.isnan(gallery.width_km[1])
    pictures = encoder.encode([prepare(source, item).image for item in items])
    assert ((gallery.embeddings * pictures).sum(axis=1) > 0.999).all()
    assert index.verify() == ()
    (info,) = index.manifest.sources
    assert (info.name, info.licence, info.credit, info.kind) == ("album", "CC0", "Ann", "Memory")


def test_building_again_adds_only_what_is_new(index, encoder):
    assert run(index, album(10), encoder).added == 10
    encoder.batches.clear()
    report = run(index, album(13), encoder)
    assert (report.added, report.present, report.rows) == (3, 10, 13)
    assert sum(encoder.batches) == 3
    assert keys(index) == [f"{i}.png" for i in range(13)]
    # Another source may use the same keys.
    other = replace(album(2), name="other", files={f"{i}.png": png(100 + i) for i in range(2)})
    assert run(index, other, encoder).added == 2
    assert index.verify() == ()


def test_what_is_refused_is_listed_once_and_looked_at_again(index, encoder):
    odd = (
        Item("none.png", None, 2.0),
        Item("island.png", 0.0, 0.0),
        Item("nan.png", float("nan"), 2.0),
        Item("far.png", 200.0, 2.0),
        Item("broken.png", *PARIS),
        Item("gone.png", *PARIS),
        Item("3.png", *QUITO),
        Item("bad\udcff.png", *PARIS),
    )
    source = album(6)
    source = replace(source, listed=source.listed + odd, files=source.files | {"broken.png": png(9)[:60]})
    report = run(index, source, encoder)
    assert (report.added, report.listed) == (6, 14)
    assert sum(report.rejected.values()) == 8
    assert report.rejected["unreadable"] == 2
    assert report.rejected["listed twice"] == 1
    reasons = refused(index)
    assert set(reasons) == {item.key for item in odd} - {"3.png"}
    assert "damaged" in reasons["broken.png"]
    assert reasons["gone.png"] == "gone.png: gone"
    assert index.gallery.lat[3] == PARIS[0] + 0.03
    before = (index.folder / "rejected.jsonl").read_bytes()
    assert run(index, source, encoder).added == 0
    assert (index.folder / "rejected.jsonl").read_bytes() == before
    # Mended, it becomes a row, and its line goes.
    mended = replace(source, files=source.files | {"broken.png": png(9)})
    assert run(index, mended, encoder).added == 1
    assert "broken.png" not in refused(index)
    assert index.info().rejected == 6


def test_the_same_file_is_taken_once_and_the_same_picture_is_told(index, encoder):
    source = album(3)
    again = (Item("copy.png", *QUITO), Item("saved.jpg", *QUITO))
    files = source.files | {"copy.png": png(1), "saved.jpg": png(2, format="JPEG", quality=92)}
    source = replace(source, listed=source.listed + again, files=files)
    report = run(index, source, encoder)
    assert (report.added, dict(report.rejected), report.near_count) == (4, {"same file": 1}, 1)
    ((key, duplicate),) = report.near
    assert (key, duplicate.row, duplicate.exact) == ("saved.jpg", 2, False)
    assert refused(index) == {"copy.png": "the same file as row 1"}


@pytest.mark.parametrize(("exact", "near", "added"), [("keep", "keep", 5), ("keep", "drop", 4), ("drop", "drop", 3)])
def test_duplicates_are_dropped_or_kept_as_asked(index, encoder, exact, near, added):
    source = album(3)
    again = (Item("copy.png", *QUITO), Item("saved.jpg", *QUITO))
    files = source.files | {"copy.png": png(1), "saved.jpg": png(2, format="JPEG", quality=92)}
    source = replace(source, listed=source.listed + again, files=files)
    # One row a commit: what was committed and what is pending are compared alike.
    for shard_rows in (1, 50):
        made = Index.create(index.folder / str(shard_rows), index.encoder)
        config = {"duplicates": DuplicateConfig(exact=exact, near=near), "shard_rows": shard_rows}
        assert run(made, source, encoder, **config).added == added
        assert len(made) == added


def test_progress_counts_every_item_once(index, encoder):
    source = album(6)
    source = replace(source, listed=(*source.listed, Item("x.png", None, None)))
    embed = partial(embed_local, encoder=encoder)
    for _ in range(2):
        told = []
        build(index, source, embed, encoder=encoder, progress=partial(_note, told))
        assert told == [(done, 7) for done in range(1, 8)]


def _note(told, done, total):
    told.append((done, total))


def test_commits_come_after_rows_or_after_a_while(index, encoder):
    assert run(index, album(20), encoder, shard_rows=8).commits == 3
    assert [shard.rows for shard in index.shards] == [8, 8, 4]
    made = Index.create(index.folder / "second", index.encoder)
    assert run(made, album(5), encoder, shard_rows=100, commit_seconds=1e-9).commits == 5
    with pytest.raises(InputError, match="more than 0"):
        BuildConfig(shard_rows=0)


def test_what_was_embedded_before_a_fault_is_kept(index, encoder):
    class Failing(Projection):
        def encode(self, images):
            if len(self.batches) == 2:
                raise ModelError("the device is gone")
            return super().encode(images)

    with pytest.raises(ModelError, match="device is gone"):
        run(index, album(20), Failing(), shard_rows=100)
    assert len(Index.open(index.folder)) == 8
    assert run(index, album(20), encoder).added == 12
    assert keys(index) == [f"{i}.png" for i in range(20)]


def test_another_encoder_is_refused_before_anything_is_read(index, encoder):
    stranger = Projection()
    stranger.fingerprint = "a" * 64
    with pytest.raises(GalleryError, match="belongs to encoder projection"):
        run(index, album(3), stranger)
    assert stranger.batches == []


def test_a_damaged_list_of_refusals_is_told(index, encoder):
    (index.folder / "rejected.jsonl").write_text('{"source": "album"')
    with pytest.raises(GalleryError, match=r"rejected\.jsonl is damaged: delete it"):
        run(index, album(1), encoder)


# ---- estimating


def test_an_estimate_measures_a_few_items_and_says_how_much_the_whole_takes(encoder):
    source = album(30)
    told = estimate(source, partial(embed_local, encoder=encoder), dim=16, sample=10)
    assert (told.items, told.sampled, told.usable) == (30, 10, 10)
    assert sum(encoder.batches) == 10
    assert told.seconds == pytest.approx(30 / told.items_per_s)
    larger = estimate(source, partial(embed_local, encoder=encoder), dim=512, sample=10)
    assert larger.disk_bytes - told.disk_bytes == 30 * (512 - 16)
    assert larger.memory_bytes > told.memory_bytes
    half = replace(source, files={key: data for at, (key, data) in enumerate(source.files.items()) if at % 2})
    assert estimate(half, partial(embed_local, encoder=encoder), dim=16, sample=10).rows == 15
    empty = estimate(Memory((), {}), partial(embed_local, encoder=encoder), dim=16)
    assert (empty.items, empty.rows, empty.seconds) == (0, 0, 0.0)


def test_the_disk_that_was_estimated_is_about_what_is_used(tmp_path):
    encoder = Projection()
    encoder.dim, encoder.matrix = 128, np.random.default_rng(0).normal(size=(768, 128)).astype(np.float32)
    source, embed = album(300), partial(embed_local, encoder=encoder)
    told = estimate(source, embed, dim=128, sample=20)
    index = Index.create(tmp_path, EncoderIdentity.of(encoder))
    build(index, source, embed, encoder=encoder)
    used = sum(Path(index.path(shard)).stat().st_size for shard in index.shards)
    assert 0.6 * told.disk_bytes < used < 1.3 * told.disk_bytes
