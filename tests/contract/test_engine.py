"""One contract for engines, held by nano: in this process, behind a small server, and behind vLLM where there is one.

The three run the same weights, so they also have to say the same, and believe the same to within 1e-4.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from gaea import prompts
from gaea.briefing import Briefing
from gaea.decoding import SearchConfig, search
from gaea.endpoint import EndpointEngine
from gaea.engine import Engine
from gaea.locate.neighbours import Neighbour

ROOT = np.zeros((1, 0), np.int64)
ALPS = [Neighbour(i, 46.0 + i / 10, 8.0 - i / 5, 0.95 - i / 50, "similar", "the Alps") for i in range(8)]
WITH_NEIGHBOURS = prompts.locate(prompts.neighbour_tokens(ALPS))
CHAD = Briefing(facts=(("country", "Chad"), ("city", "Faya")), sure="confident", radius_km=(40.0, 110.0))
TALK = prompts.talk(CHAD, [], "Where is this?")


def picture(kind: str) -> Image.Image:
    if kind == "noise":
        return Image.fromarray(np.random.default_rng(1).integers(0, 255, (90, 120, 3), np.uint8))
    if kind == "sand":
        return Image.new("RGB", (300, 200), (214, 178, 120))
    return Image.linear_gradient("L").resize((64, 48)).convert("RGB")


@pytest.fixture(scope="module", autouse=True)
def quiet() -> None:
    from transformers.utils import logging

    logging.disable_progress_bar()


@pytest.fixture(scope="module", params=["transformers", "endpoint", "vllm"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    if request.param == "transformers":
        yield request.getfixturevalue("in_process")
        return
    url = request.getfixturevalue("model_server" if request.param == "endpoint" else "vllm_url")
    made = EndpointEngine(url)
    yield made
    made.close()


def test_it_has_a_name_and_symbols(engine: Engine) -> None:
    assert engine.name.startswith("gaea-nano")
    assert engine.has_geotokens


def test_one_look_serves_every_question(engine: Engine) -> None:
    sight = engine.see(picture("sand"))
    assert sight.image.size == (300, 200)
    first = engine.complete(TALK, sight, max_new_tokens=8)
    engine.scorer(prompts.locate(), sight)(ROOT)
    later = prompts.talk(Briefing(), [("Where is this?", first)], "Are you sure?")
    assert isinstance(engine.complete(later, sight, max_new_tokens=8), str)
    assert engine.complete(TALK, sight, max_new_tokens=8) == first


def test_a_reply_is_text_without_marks_and_as_short_as_asked(engine: Engine) -> None:
    sight = engine.see(picture("noise"))
    whole = engine.complete(TALK, sight, max_new_tokens=24)
    assert whole == whole.strip()
    assert not any(mark in whole for mark in ("<s>", "</s>", "<pad>", "<|user|>", "<image>"))
    assert whole.startswith(engine.complete(TALK, sight, max_new_tokens=2))


def test_rows_are_distributions_in_the_order_of_the_prefixes(engine: Engine) -> None:
    score = engine.scorer(WITH_NEIGHBOURS, engine.see(picture("sand")))
    faces = score(ROOT)
    assert faces.shape == (1, 6)
    deep, shallow = score(np.array([[2, 3, 15], [0, 1, 7], [2, 3, 15]])), score(np.array([[5], [1]]))
    assert (deep.shape, shallow.shape) == ((3, 16), (2, 16))
    for rows in (faces, deep, shallow):
        assert rows.dtype == np.float64
        np.testing.assert_allclose(np.exp(rows).sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(deep[0], deep[2], atol=1e-5)
    np.testing.assert_allclose(score(np.array([[1], [5]])), shallow[::-1], atol=1e-5)
    assert np.abs(deep[0] - deep[1]).max() > 1e-3
    assert score(np.array([[2, 3, 15, 1, 1, 1, 1, 1, 1, 1]])).shape == (1, 16)  # the eleventh and last symbol


def test_picture_and_neighbours_are_heard(engine: Engine) -> None:
    sand, noise = engine.see(picture("sand")), engine.see(picture("noise"))
    plain = engine.scorer(prompts.locate(), sand)(ROOT)
    assert np.abs(engine.scorer(prompts.locate(), noise)(ROOT) - plain).max() > 1e-3
    assert np.abs(engine.scorer(WITH_NEIGHBOURS, sand)(ROOT) - plain).max() > 1e-3


@pytest.mark.parametrize("kind", ["sand", "noise", "ramp"])
@pytest.mark.parametrize("messages", [prompts.locate(), WITH_NEIGHBOURS], ids=["alone", "neighbours"])
def test_all_engines_believe_the_same(kind: str, messages: list, engine: Engine, in_process: Engine) -> None:
    ours = engine.scorer(messages, engine.see(picture(kind)))
    reference = in_process.scorer(messages, in_process.see(picture(kind)))
    prefixes = [ROOT, *(np.array(rows) for rows in ([[0], [1], [2]], [[2, 3], [1, 9]], [[2, 3, 15, 3, 3]]))]
    for each in prefixes:
        np.testing.assert_allclose(ours(each), reference(each), atol=1e-4)
    config = SearchConfig(symbols=3, width=5)
    belief, expected = search(ours, config), search(reference, config)
    np.testing.assert_array_equal(belief.cells, expected.cells)
    np.testing.assert_allclose(np.exp(belief.log_prob), np.exp(expected.log_prob), atol=1e-4)


@pytest.mark.parametrize("kind", ["sand", "ramp"])
def test_all_engines_say_the_same(kind: str, engine: Engine, in_process: Engine) -> None:
    expected = in_process.complete(TALK, in_process.see(picture(kind)), max_new_tokens=40)
    assert engine.complete(TALK, engine.see(picture(kind)), max_new_tokens=40) == expected


# ---- in pieces


def test_pieces_add_up_to_the_whole_reply(engine: Engine) -> None:
    for kind in ("sand", "ramp"):
        sight = engine.see(picture(kind))
        pieces = list(engine.stream(TALK, sight, max_new_tokens=40))
        assert len(pieces) > 3
        assert all(pieces)
        assert "".join(pieces) == engine.complete(TALK, sight, max_new_tokens=40)


def test_a_reply_that_is_stopped_ends_early_and_the_next_one_is_whole(engine: Engine) -> None:
    sight = engine.see(picture("sand"))
    whole = engine.complete(TALK, sight, max_new_tokens=40)
    heard: list[str] = []
    heard.extend(engine.stream(TALK, sight, max_new_tokens=40, stopped=lambda: len(heard) >= 3))
    assert len(heard) == 3
    assert whole.startswith("".join(heard))
    assert len("".join(heard)) < len(whole)
    assert list(engine.stream(TALK, sight, stopped=lambda: True)) == []
    assert engine.complete(TALK, sight, max_new_tokens=40) == whole


def test_who_leaves_frees_the_model_for_others(engine: Engine) -> None:
    sight = engine.see(picture("sand"))
    leaving = engine.stream(TALK, sight, max_new_tokens=160)
    first = next(leaving)
    leaving.close()  # type: ignore[attr-defined]
    assert engine.complete(TALK, sight, max_new_tokens=40).startswith(first)


def test_several_chats_at_once_say_what_each_says_alone(engine: Engine) -> None:
    kinds = ["sand", "ramp", "noise", "sand"]
    sights = [engine.see(picture(kind)) for kind in kinds]
    alone = [engine.complete(TALK, sight, max_new_tokens=16) for sight in sights]
    with ThreadPoolExecutor(len(kinds)) as pool:
        streams = list(pool.map(lambda sight: "".join(engine.stream(TALK, sight, max_new_tokens=16)), sights))
        scored = list(pool.map(lambda sight: engine.scorer(prompts.locate(), sight)(ROOT), sights))
    assert streams == alone
    np.testing.assert_allclose(scored[0], scored[3], atol=1e-5)
