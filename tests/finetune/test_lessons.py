"""What nano's language stage learns from: rows that follow from their numbers, trained on as any others are."""

import dataclasses

import numpy as np
import pytest
import torch

from gaea import adapters, cells, geotokens, prompts
from gaea.errors import InputError
from gaea.finetune import briefings, collate, lessons, llava, lora, sft
from gaea.finetune.lessons import Lessons, LessonsConfig, Pointing, Talking
from gaea.sphere import great_circle_km

SHAPE = llava.LlavaShape(
    image_size=32, vision_width=64, vision_layers=1, vision_embed_dim=16, width=32, layers=1, heads=2, mlp=64
)
RECIPE = lora.LoraRecipe(
    model="nano", method="full", geotokens=False, system=False, even=True, precision="float32", learning_rate=0.01,
    projector_rate=0.01, batch_size=4, device_batch=2, steps=6, checkpoint_every=3, log_every=1, workers=0,
    group_by_length=False, gradient_checkpointing=False,
)  # fmt: skip
PLACES = np.array([48.86, -33.87, 64.1, 30.0]), np.array([2.35, 151.2, -21.9, 31.2])


@pytest.fixture(scope="module")
def talking():
    return Talking(briefings.know(*PLACES), briefings.DoubtConfig(), turns=3)


def pointing(**changes):
    """Four pictures, and a gallery with five rows near each and three far away."""
    lat, lon = PLACES
    known_lat = np.concatenate([lat + step for step in (0.1, 0.15, 0.2, 0.25, 0.3)] + [-lat, -lat + 1, -lat + 2])
    known_lon = np.concatenate([lon] * 5 + [-lon] * 3)
    nearest = np.array([[i + 4 * k for k in range(8)] for i in range(4)])
    similarity = np.tile(np.linspace(0.9, 0.4, 8), (4, 1))
    return Pointing(lat, lon, nearest, similarity, known_lat, known_lon, LessonsConfig(**changes))


@pytest.fixture(scope="module")
def processor(talking):
    rng = np.random.default_rng(0)
    corpus = [llava.render(talking.about(i % 4, rng).messages) for i in range(60)]
    return llava.build_processor(llava.train_tokenizer(corpus, 700), SHAPE)


def made(talking, processor, **changes):
    images = np.random.default_rng(1).integers(0, 255, (4, 40, 40, 3), dtype=np.uint8)
    return Lessons(images, pointing(), talking, **({"processor": processor, "count": 24, "together": 2} | changes))


def test_a_row_follows_from_its_number(talking, processor):
    one, two, other = (made(talking, processor, seed=seed) for seed in (0, 0, 1))
    assert [one.drawn(i) for i in range(24)] == [two.drawn(23 - i) for i in range(24)][::-1]
    assert [one.drawn(i) for i in range(24)] != [other.drawn(i) for i in range(24)]
    assert len(one) == 24


@pytest.mark.parametrize("together", [1, 2, 3])
def test_both_kinds_take_turns_and_keep_their_order(talking, processor, together):
    rows = made(talking, processor, together=together)
    points = [prompts.LOCATE in rows.drawn(i).messages[0]["content"][-1]["text"] for i in range(12)]
    assert points == ([True] * together + [False] * together) * (6 // together)
    assert rows.lengths() is None


@pytest.mark.parametrize("talks", [1, 2, 3])
def test_more_rows_may_talk_than_point(talking, processor, talks):
    rows = dataclasses.replace(made(talking, processor, together=2), point=pointing(talks=talks))
    points = [prompts.LOCATE in rows.drawn(i).messages[0]["content"][-1]["text"] for i in range(24)]
    assert points == (([True] * 2 + [False] * 2 * talks) * 12)[:24]


def test_a_row_that_points_says_where_its_picture_was_taken():
    rng = np.random.default_rng(0)
    for _ in range(20):
        lesson = pointing()(rng)
        (symbols,) = geotokens.from_text(lesson.messages[-1]["content"][0]["text"])
        assert len(symbols) == lessons.SYMBOLS
        place = PLACES[0][lesson.picture], PLACES[1][lesson.picture]
        lat, lon = cells.to_latlon(np.uint64(geotokens.cell_of_prefix(symbols)))
        assert great_circle_km(lat, lon, *place) < 10


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"blind_share": 1.0}, 0), ({"blind_share": 0.0, "unseen_share": 0.0}, prompts.NEIGHBOURS),
     ({"blind_share": 0.0, "unseen_share": 1.0}, 3)],
)  # fmt: skip
def test_neighbours_are_told_left_out_or_far(changes, told):
    draw = pointing(**changes)
    for seed in range(8):
        found = draw._told(2, np.random.default_rng(seed))
        assert len(found) == told
        away = [float(great_circle_km(n.lat, n.lon, PLACES[0][2], PLACES[1][2])) for n in found]
        assert min(away, default=1e9) > (180.0 if changes.get("unseen_share") == 1.0 or not told else 0.0)
        assert sorted((n.similarity for n in found), reverse=True) == [n.similarity for n in found]


def test_shares_out_of_range_are_refused():
    with pytest.raises(InputError, match="expected 0 to 1"):
        LessonsConfig(blind_share=1.2)
    with pytest.raises(InputError, match="expected at least 1"):
        LessonsConfig(talks=0)


def test_only_what_the_assistant_says_is_learned(talking, processor):
    rows = made(talking, processor)
    for number in range(12):
        encoded, lesson = rows[number], rows.drawn(number)
        said = [m["content"][0]["text"] for m in lesson.messages if m["role"] == "assistant"]
        asked = encoded["labels"] != collate.IGNORED
        assert torch.equal(encoded["labels"][asked], encoded["input_ids"][asked])
        text = processor.tokenizer.decode(encoded["input_ids"][asked])
        assert text == "".join(f"{answer}</s>" for answer in said)
        assert encoded["pixel_values"].shape == (1, 3, 32, 32)


class KilledError(Exception):
    pass


def student(processor):
    torch.manual_seed(0)
    model = llava.build_model(processor.tokenizer, SHAPE)
    return dataclasses.replace(lora.prepare(model, processor, RECIPE), likeness=adapters.likeness(model))


def test_a_killed_run_goes_on_as_if_nothing_had_been(talking, processor, tmp_path):
    from transformers import TrainerCallback

    class Kill(TrainerCallback):
        def on_step_begin(self, args, state, control, **_):
            if state.global_step == 4:
                raise KilledError

    start = student(processor).model.state_dict()
    whole, cut, again = (student(processor) for _ in range(3))
    shown = []

    def bar(steps, *, initial, total):
        shown.append((initial, total))
        for step in steps:
            shown.append(step)
            yield step

    run = sft.fit(whole, made(talking, processor), RECIPE, tmp_path / "whole")
    with pytest.raises(KilledError):
        sft.fit(cut, made(talking, processor), RECIPE, tmp_path / "cut", callbacks=[Kill()])
    sft.fit(again, made(talking, processor), RECIPE, tmp_path / "cut", progress=bar)
    assert shown == [(3, 6), 3, 4, 5]
    assert run.metrics["steps"] == 6
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[name], value, rtol=0, atol=0)
        if "vision_tower" in name:
            torch.testing.assert_close(value, start[name], rtol=0, atol=0)
    assert not torch.equal(whole.model.lm_head.weight, start["lm_head.weight"])


def test_it_learns_what_it_is_told(talking, processor, tmp_path):
    longer = dataclasses.replace(RECIPE, steps=60, checkpoint_every=60)
    run = sft.fit(student(processor), made(talking, processor, count=240), longer, tmp_path)
    losses = [line["loss"] for line in run.history if "loss" in line]
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])


def test_words_of_speech_are_what_answers_say_around_the_values():
    told = ["Al Gharbiyah", "Egypt", "Libya, Sudan"]
    answers = [
        ("This is in Al Gharbiyah, Egypt.", told),
        ("Its neighbours are Libya, Sudan, so yes.", told),
        ("The country is Egypt, so no.", told),
    ]
    tokenizer = llava.train_tokenizer([answer for answer, _ in answers] * 40, 600)
    words = lessons.spoken_words(answers, tokenizer)
    opening, inside = ({tokenizer.decode(list(word)) for word in part} for part in (words.opening, words.inside))
    assert opening == {"This", "Its", "The"}
    assert {" is", " in", " neighbours", " are", " country", " so", ","} <= inside
    said = {word.strip() for word in opening | inside}
    assert not {"Egypt", "Libya", "Sudan", "Al", "Gharbiyah", "yes", "no"} & said


def test_words_that_are_rare_in_answers_are_not_speech():
    tokenizer = llava.train_tokenizer(["It is so. Quixotic."] * 40, 400)
    words = lessons.spoken_words([("It is so.", [])] * 99 + [("Quixotic.", [])], tokenizer, share=0.02)
    assert [tokenizer.decode(list(word)) for word in words.opening] == ["It"]
