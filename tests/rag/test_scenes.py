"""What a picture shows, by sentences: with an encoder that answers as it is told, and with those that cannot."""

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from gaea.app.assemble import NANO
from gaea.disclosure import SCENES, Policy
from gaea.errors import ModelError
from gaea.rag.encoder import OpenClipEncoder
from gaea.rag.scenes import SENTENCES, ZeroShotScenes

PICTURE = Image.new("RGB", (8, 8))


class Encoder:
    """Every sentence has an axis of its own; a picture lies where it is told to."""

    knows_words, logit_scale = True, 100.0

    def __init__(self, **weights):
        self.sentences = [each for kind in SENTENCES.values() for each in kind]
        self.picture = np.zeros(len(self.sentences), np.float32)
        for kind, weight in weights.items():
            at = self.sentences.index(SENTENCES[kind.replace("_", " ")][0])
            self.picture[at] = weight
        self.asked = 0

    def encode_text(self, texts):
        self.asked += 1
        assert list(texts) == self.sentences
        return np.eye(len(self.sentences), dtype=np.float32)

    def encode(self, images):
        return np.stack([self.picture for _ in images])


def test_every_scene_has_sentences_and_so_have_public_places():
    assert set(SENTENCES) == {*SCENES, "public"}
    assert all(len(set(each)) == len(each) >= 3 for each in SENTENCES.values())


@pytest.mark.parametrize("scene", SCENES)
def test_a_private_scene_is_told_from_public_ones(scene):
    judge = ZeroShotScenes(Encoder(**{scene.replace(" ", "_"): 0.4, "public": 0.3}))
    assert judge.scenes(PICTURE) == {scene}
    assert sum(judge.probabilities(PICTURE).values()) == pytest.approx(1)


def test_a_public_place_is_none_of_them():
    assert ZeroShotScenes(Encoder(public=0.4, person=0.3)).scenes(PICTURE) == frozenset()


def test_what_is_one_of_two_private_kinds_is_the_likelier():
    judge = ZeroShotScenes(Encoder(minors=0.401, person=0.4, public=0.35))
    assert judge.scenes(PICTURE) == {"minors"}


def test_sentences_are_embedded_once():
    encoder = Encoder(home=0.4)
    judge = ZeroShotScenes(encoder)
    judge.scenes(PICTURE), judge.scenes(PICTURE)
    assert encoder.asked == 1


def test_an_encoder_without_a_text_tower_cannot_judge():
    class Mute(Encoder):
        def encode_text(self, texts):
            raise ModelError("no text tower")

    assert ZeroShotScenes(Mute()).scenes(PICTURE) is None
    assert ZeroShotScenes.of(object()) is None
    assert Policy(unjudged="city").decide(None).level == "city"


@pytest.mark.skipif(not (NANO / "clip" / "open_clip_model.safetensors").is_file(), reason="nano is not in this copy")
def test_nano_cannot_judge():
    nano = OpenClipEncoder(NANO / "clip")
    assert not nano.knows_words
    assert ZeroShotScenes.of(nano) is None


def test_a_general_clip_can(tmp_path):
    import open_clip

    made = open_clip.create_model("ViT-S-32-alt", pretrained=None)
    weights = tmp_path / "w.safetensors"
    save_file(made.state_dict(), weights)
    general = OpenClipEncoder("ViT-S-32-alt", str(weights))
    assert general.knows_words
    assert general.logit_scale == pytest.approx(1 / 0.07, rel=1e-3)
    judge = ZeroShotScenes.of(general)
    told = judge.probabilities(Image.linear_gradient("L").convert("RGB"))
    assert set(told) == set(SENTENCES)
    assert sum(told.values()) == pytest.approx(1)
