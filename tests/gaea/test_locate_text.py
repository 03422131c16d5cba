"""From words to a belief: samples vote, refusals know nothing, and an endpoint that only talks can point."""

import dataclasses
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from PIL import Image

from gaea.assistant import Assistant
from gaea.calibration import Calibration
from gaea.endpoint import EndpointEngine
from gaea.errors import InputError
from gaea.locate.kernels import kernel_per_km2
from gaea.locate.neighbours import Neighbour, Neighbours
from gaea.locate.text import TextConfig, belief_from_text
from gaea.prompts import LOCATE_IN_WORDS
from gaea.sphere import EARTH_AREA_KM2, great_circle_km
from gaea.spoken import Candidate, Spoken, read

LYON, GENEVA, SYDNEY = (45.75, 4.85), (46.2, 6.14), (-33.86, 151.2)
PICTURE = Image.linear_gradient("L").resize((48, 32)).convert("RGB")


def says(place):
    return json.dumps({"lat": place[0], "lon": place[1]})


def mass_near(belief, place, km=300.0):
    return belief.probability_of(*place, km)


# ── the belief ──────────────────────────────────────────────────────────────


def test_a_belief_is_centred_where_the_text_points():
    belief = belief_from_text([says(LYON)])
    assert great_circle_km(*belief.point("median"), *LYON) < 10
    assert belief.at_level(0).cells.size
    assert 0 < belief.elsewhere < 0.2


def test_the_density_is_the_mixture_of_the_docstring():
    config = TextConfig(widths_km=(64.0, 512.0), shares=(0.75, 0.25), background=0.1)
    belief = belief_from_text([says(LYON), "I cannot tell."], config)
    lat, lon = np.array([45.75, 46.1, 50.0, -40.0]), np.array([4.85, 5.2, 10.0, 150.0])
    away = 1 - np.cos(great_circle_km(lat, lon, *LYON) / 6371.0088)
    kernels = 0.75 * kernel_per_km2(away, 64.0) + 0.25 * kernel_per_km2(away, 512.0)
    expected = 0.5 * 0.9 * kernels + (1 - 0.5 * 0.9) / EARTH_AREA_KM2
    np.testing.assert_allclose(np.exp(belief.log_density(lat, lon)), expected, rtol=0.1)


def test_a_wide_place_is_believed_widely():
    radius = [b.radius_km(*b.point("median"), 0.5) for b in map(belief_from_text, (["Lyon, France"], ["Brazil"]))]
    assert 1.5 * radius[0] < radius[1]


def test_samples_vote():
    belief = belief_from_text([says(LYON)] * 3 + [says(SYDNEY)])
    near_lyon, near_sydney = mass_near(belief, LYON), mass_near(belief, SYDNEY)
    assert near_lyon / near_sydney == pytest.approx(3, rel=0.05)
    for order in ([says(SYDNEY)] + [says(LYON)] * 3,):
        again = belief_from_text(order)
        np.testing.assert_array_equal(again.cells, belief.cells)
        np.testing.assert_allclose(again.log_prob, belief.log_prob, atol=1e-9)


def test_stated_confidences_are_shares():
    belief = belief_from_text(["1. Lyon, France (60%)\n2. Sydney, Australia (20%)"])
    assert mass_near(belief, LYON) / mass_near(belief, SYDNEY) == pytest.approx(3, rel=0.1)


def test_refusals_and_unreadable_texts_leave_their_vote_to_the_whole_earth():
    sure, unsure = (belief_from_text([says(LYON), *rest]) for rest in ([says(LYON)], ["I can't tell."]))
    assert mass_near(unsure, LYON) / mass_near(sure, LYON) == pytest.approx(0.5, rel=0.05)
    nothing = belief_from_text(["I can't tell.", "A house.", ""])
    assert nothing.information_gain() == 0


def test_what_was_read_already_is_not_read_again():
    one = Spoken((Candidate(*SYDNEY, None, 1.0, "coordinates", "", (0, 1)),))
    assert great_circle_km(*belief_from_text([one]).point("median"), *SYDNEY) < 10


def test_no_texts_and_settings_out_of_range():
    with pytest.raises(InputError, match="ask the model at least once"):
        belief_from_text([])
    with pytest.raises(InputError, match=r"shares=\(0\.5,\)"):
        TextConfig(shares=(0.5,))
    with pytest.raises(InputError, match="background=0"):
        TextConfig(background=0)


# ── an endpoint that only talks ─────────────────────────────────────────────


class Server(HTTPServer):
    """Answers the question for coordinates with one text, and every other with another."""

    def __init__(self):
        self.places, self.asked = "", []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    def answer(self, content, status=200):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer({"data": [{"id": "talker"}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/chat/completions":  # it does not tell of its tokens
            self.answer({}, 404)
            return
        self.server.asked.append(body)
        question = body["messages"][-1]["content"][-1]["text"]
        reply = self.server.places if question == LOCATE_IN_WORDS else "I see hills."
        self.answer({"choices": [{"message": {"content": reply}}]})

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    made = Server()
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@dataclasses.dataclass
class FakeMemory:
    places: tuple
    unlike: float = 0.0
    name = "invented"

    def recall(self, image):
        return Neighbours(tuple(Neighbour(i, *p, 0.9, "similar", f"place {i}") for i, p in enumerate(self.places)))

    def strangeness(self, image):
        return self.unlike


@pytest.fixture
def ask(server):
    engine = EndpointEngine(f"http://127.0.0.1:{server.server_port}/v1")

    def run(places, memory=None, **trust):
        server.places = places
        return Assistant(engine, memory, Calibration(**trust), {}).open(PICTURE)

    yield run
    engine.close()


CANDIDATES = json.dumps(
    {
        "candidates": [
            {"place": "Lyon, France", "lat": LYON[0], "lon": LYON[1], "radius_km": 20, "probability": 0.8},
            {"place": "Geneva, Switzerland", "lat": GENEVA[0], "lon": GENEVA[1], "radius_km": 20, "probability": 0.1},
        ]
    }
)


def test_the_reply_that_is_asked_for_is_understood():
    first, second = read(CANDIDATES).candidates
    assert (first.lat, first.lon, first.radius_km, first.weight) == (*LYON, 20, 0.8)
    assert (second.lat, second.lon, second.weight) == (*GENEVA, 0.1)
    assert read('{"candidates": []}').refused


def test_a_model_without_symbols_points_in_words(ask, server):
    chat = ask(CANDIDATES)
    answer = chat.ask("Where is this?")
    assert list(chat.beliefs) == ["text"]
    assert great_circle_km(answer.point.lat, answer.point.lon, *LYON) < 60
    assert (answer.text, answer.place.country, answer.abstained) == ("I see hills.", "France", False)
    assert "text" in answer.timings
    chat.ask("Sure?")
    assert len(server.asked) == 3  # coordinates are asked for once
    assert server.asked[0]["messages"][-1]["content"][-1]["text"] == LOCATE_IN_WORDS


@pytest.mark.parametrize("reply", ['{"candidates": []}', "I'm sorry, I cannot help with that.", "A nice picture.", ""])
def test_a_model_that_names_no_place_moves_nobody(ask, reply):
    chat = ask(reply)
    assert chat.ask().abstained
    assert chat.beliefs == {}


def test_words_are_pooled_with_the_gallery(ask):
    heard = ask(says(SYDNEY), FakeMemory((LYON,)), weights=(0.0, 0.5)).ask().point
    assert great_circle_km(heard.lat, heard.lon, *SYDNEY) < 100
    muted = ask(says(SYDNEY), FakeMemory((LYON,)), text_weight=0.0).ask().point
    assert great_circle_km(muted.lat, muted.lon, *LYON) < 100


def test_a_photo_unlike_the_gallery_is_left_to_the_model(ask):
    answer = ask(says(SYDNEY), FakeMemory((LYON,), unlike=9.0), strange=1.0).ask()
    assert great_circle_km(answer.point.lat, answer.point.lon, *SYDNEY) < 100
    assert answer.evidence == ()  # the gallery's look-alikes had no say
    assert ask("I can't tell.", FakeMemory((LYON,), unlike=9.0), strange=1.0).ask().abstained


def test_a_calibration_of_before_words_still_loads(tmp_path):
    old = {k: v for k, v in dataclasses.asdict(Calibration(weights=(0.7, 0.3))).items() if k != "text_weight"}
    (tmp_path / "calibration.json").write_text(json.dumps(old))
    loaded = Calibration.load(tmp_path / "calibration.json")
    assert (loaded.weights, loaded.text_weight) == ((0.7, 0.3), 1.0)
