"""The whole story with parts that are told what to say: when a point is given, and what may move it."""

import dataclasses

import jsonschema
import numpy as np
import pytest
from PIL import Image

from gaea import geotokens
from gaea.answer import schema
from gaea.assistant import Assistant
from gaea.calibration import Calibration
from gaea.errors import InputError, PhotoError
from gaea.exif import ExifClaim
from gaea.locate.neighbours import Neighbour, Neighbours
from gaea.photo import Photo
from gaea.sphere import great_circle_km

LYON = (45.75, 4.85)
PICTURE = Image.linear_gradient("L").resize((48, 32)).convert("RGB")


class FakeMemory:
    name = "invented (3 places)"

    def __init__(self, places=(LYON,), strangeness=0.0):
        similar = tuple(Neighbour(i, *p, 0.9 - 0.01 * i, "similar", f"place {i}") for i, p in enumerate(places))
        self.found = Neighbours(similar, (Neighbour(9, -30.0, 150.0, -0.4, "dissimilar", "the other end"),))
        self.unlike = strangeness
        self.recalled = 0

    def recall(self, image):
        assert image.size == PICTURE.size
        self.recalled += 1
        return self.found

    def strangeness(self, image):
        return self.unlike


class FakeEngine:
    name = "a fake"

    def __init__(self, place=LYON, has_geotokens=True):
        self.has_geotokens = has_geotokens
        self.path = geotokens.encode(*place)
        self.seen, self.scored, self.asked = 0, [], []

    def see(self, image):
        self.seen += 1
        return f"sight {self.seen}"

    def stream(self, messages, sight, *, max_new_tokens=160, stopped=None):
        yield from self.complete(messages, sight, max_new_tokens=max_new_tokens).partition(" ")

    def complete(self, messages, sight, *, max_new_tokens=160):
        assert sight == "sight 1"
        self.asked.append(messages)
        return f"reply {len(self.asked)}"

    def scorer(self, messages, sight):
        self.scored.append(messages)

        def score(prefixes):
            length = prefixes.shape[1]
            choices = 6 if length == 0 else 16
            log_p = np.full((len(prefixes), choices), np.log(0.01 / (choices - 1)))
            log_p[:, self.path[length]] = np.log(0.99)
            return log_p

        return score


def assistant(engine=None, memory=None, **trust):
    return Assistant(engine or FakeEngine(), memory, Calibration(**trust), {"model": "a fake"})


def told(messages):
    return messages[0]["content"][-1]["text"]


def valid(answer):
    jsonschema.validate(answer.to_dict(), schema())
    return answer


def test_an_answer_with_everything():
    engine, memory = FakeEngine(), FakeMemory()
    answer = valid(assistant(engine, memory).open(PICTURE).ask("Where is this?"))
    assert (answer.question, answer.text, answer.abstained) == ("Where is this?", "reply 1", False)
    assert great_circle_km(answer.point.lat, answer.point.lon, *LYON) < 30
    assert 0 < answer.radius_km[50] <= answer.radius_km[90] < 500
    assert answer.place.country == "France"
    assert set(answer.region) == {50, 90}
    assert [e.text for e in answer.evidence] == ["place 0", "the other end"]
    assert [e.kind for e in answer.evidence] == ["similar", "dissimilar"]
    assert answer.evidence[0].distance_km < 30
    assert answer.provenance["model"] == "a fake"
    assert len(answer.provenance["photo_sha256"]) == 64
    assert "country: France" in told(engine.asked[0])
    assert "place 0" in told(engine.asked[0])
    assert geotokens.to_text(engine.path[:6]) in told(engine.scored[0])


def test_a_second_question_reuses_all_that_was_seen():
    engine, memory = FakeEngine(), FakeMemory()
    chat = assistant(engine, memory).open(PICTURE)
    first, second = chat.ask("Where is this?"), chat.ask("How sure are you?")
    assert (memory.recalled, engine.seen, len(engine.scored)) == (1, 1, 1)
    assert second.point == first.point
    assert [m["role"] for m in engine.asked[1]] == ["user", "assistant", "user"]
    assert engine.asked[1][1]["content"][0]["text"] == "reply 1"
    assert chat.turns == [("Where is this?", "reply 1"), ("How sure are you?", "reply 2")]
    assert {"recall", "tokens", "neighbours", "talk", "total"} <= set(first.timings)
    assert set(second.timings) == {"talk", "total"}
    assert first.timings["total"] == pytest.approx(sum(v for k, v in first.timings.items() if k != "total"))


def abstains(answer):
    assert answer.abstained
    assert (answer.point, answer.radius_km, answer.place) == (None, None, None)
    assert (answer.region, answer.alternatives) == ({}, ())
    assert answer.confidence.sure == "cannot tell"


def test_a_photo_of_another_world_gets_no_point():
    engine, memory = FakeEngine(), FakeMemory(strangeness=3.0)
    answer = valid(assistant(engine, memory, strange=2.9).open(PICTURE).ask())
    abstains(answer)
    assert told(engine.asked[0]) == "<data>\nsure: cannot tell\n</data>\nWhere is this?"
    assert not assistant(FakeEngine(), memory, strange=3.0).open(PICTURE).ask().abstained


def test_a_colour_alone_gets_no_point_however_like_a_row_it_is():
    sand = Image.new("RGB", PICTURE.size, (200, 170, 120))
    chat = assistant(FakeEngine(), FakeMemory()).open(sand)
    abstains(valid(chat.ask()))
    assert not assistant(FakeEngine(), FakeMemory()).open(PICTURE).ask().abstained
    guess = chat.ask("Guess where", guess=True).point
    assert great_circle_km(guess.lat, guess.lon, *LYON) < 30


def test_a_belief_too_wide_gets_no_point():
    anywhere = [(lat, lon) for lat in (-50, 0, 50) for lon in (-150, -60, 30, 120)]
    engine = FakeEngine(has_geotokens=False)
    abstains(valid(assistant(engine, FakeMemory(anywhere)).open(PICTURE).ask()))
    assert engine.scored == []
    narrow = assistant(FakeEngine(), FakeMemory(), abstain_radius_km=0.001).open(PICTURE)
    abstains(valid(narrow.ask()))


def test_a_guess_is_given_when_asked_for():
    chat = assistant(FakeEngine(has_geotokens=False)).open(PICTURE)
    abstains(chat.ask())
    guess = valid(chat.ask("Guess where", guess=True))
    assert guess.point is not None
    assert guess.radius_km[90] > 1000
    assert guess.confidence.sure == "cannot tell"
    abstains(chat.ask("And now?"))


def test_a_guess_about_a_photo_of_another_world_is_what_the_locators_believe():
    chat = assistant(FakeEngine(), FakeMemory(strangeness=9.0), strange=1.0).open(PICTURE)
    abstains(chat.ask())
    guess = valid(chat.ask("Guess where", guess=True)).point
    assert great_circle_km(guess.lat, guess.lon, *LYON) < 30
    abstains(chat.ask("And now?"))


def test_the_file_claim_stands_beside_the_answer_and_never_moves_it():
    plain = Photo.open(PICTURE)
    lying = dataclasses.replace(plain, exif=ExifClaim(lat=-33.86, lon=151.2, make="Kodak"))
    without, with_claim = (assistant(memory=FakeMemory()).open(p).ask() for p in (plain, lying))
    assert without.file_claim is None
    claim = valid(with_claim).file_claim
    assert (claim.lat, claim.lon, claim.camera) == (-33.86, 151.2, "Kodak")
    assert claim.distance_km == pytest.approx(
        great_circle_km(-33.86, 151.2, with_claim.point.lat, with_claim.point.lon)
    )
    for name in ("point", "radius_km", "region", "place", "evidence", "confidence", "alternatives"):
        assert getattr(with_claim, name) == getattr(without, name)


def test_the_model_is_not_told_the_file_claim():
    engine = FakeEngine()
    photo = dataclasses.replace(Photo.open(PICTURE), exif=ExifClaim(lat=-33.86, lon=151.2, make="Kodak"))
    assistant(engine, FakeMemory()).open(photo).ask()
    said = str(engine.asked) + str(engine.scored)
    assert "Kodak" not in said
    assert "151" not in said
    assert "Australia" not in said


def test_an_abstaining_answer_still_shows_the_claim_without_a_distance():
    photo = dataclasses.replace(Photo.open(PICTURE), exif=ExifClaim(lat=10.0, lon=10.0))
    claim = assistant(FakeEngine(has_geotokens=False)).open(photo).ask().file_claim
    assert (claim.lat, claim.distance_km) == (10.0, None)


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0)])
def test_weights_decide_who_is_heard(weights):
    sydney = (-33.86, 151.2)
    chat = assistant(FakeEngine(LYON), FakeMemory([sydney]), weights=weights).open(PICTURE)
    point = chat.ask().point
    heard = sydney if weights[0] else LYON
    assert great_circle_km(point.lat, point.lon, *heard) < 100


@pytest.mark.parametrize("question", ["", "  \n"])
def test_an_empty_question_is_refused_before_anything_is_done(question):
    memory = FakeMemory()
    with pytest.raises(InputError, match="the question is empty"):
        assistant(memory=memory).open(PICTURE).ask(question)
    assert memory.recalled == 0


def test_many_photos_in_order_and_what_is_no_photo():
    one = assistant(memory=FakeMemory())
    answers = one.locate([PICTURE], "Which country?")
    assert [a.question for a in answers] == ["Which country?"]
    assert one.locate([]) == []
    with pytest.raises(PhotoError):
        one.open(b"no photo")


def test_what_was_described_is_a_copy():
    one = assistant()
    one.describe()["model"] = "another"
    assert one.describe() == {"model": "a fake"}
