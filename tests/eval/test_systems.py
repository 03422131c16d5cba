"""The assistant under examination, and the baselines it is held against."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from gaea import cells as s2
from gaea import geotokens
from gaea.assistant import Assistant
from gaea.calibration import Calibration
from gaea.errors import InputError
from gaea.eval import published, systems
from gaea.eval.assistant_system import DECODINGS, LEVELS, AssistantSystem, prompt_sha256
from gaea.eval.baselines import AlwaysTrue, Exif, Majority, NearestNeighbour, RandomPlace
from gaea.eval.benchmark import Faults, benchmark
from gaea.eval.benchmarks import TOLD as BENCHMARKS
from gaea.eval.records import GroundTruth, Item, Prediction
from gaea.exif import ExifClaim
from gaea.gazetteer import gazetteer
from gaea.locate.neighbours import Neighbour, Neighbours
from gaea.photo import Photo
from gaea.sphere import great_circle_km

LYON, TURIN = (45.75, 4.85), (45.07, 7.68)
PICTURE = Photo.open(Image.linear_gradient("L").resize((48, 32)).convert("RGB"))


class Memory:
    name = "invented (1 place)"

    def __init__(self, place=TURIN):
        self.place, self.recalled = place, []

    def recall(self, image, **_):
        self.recalled.append(np.asarray(image))
        return (
            Neighbours((Neighbour(0, *self.place, 0.9, "similar", "a place"),), ())
            if self.place
            else Neighbours((), ())
        )

    def strangeness(self, image):
        return 0.0


class Engine:
    name, has_geotokens = "a fake", True

    def __init__(self, place=LYON):
        self.path, self.asked = geotokens.encode(*place), []

    def see(self, image):
        return image

    def stream(self, messages, sight, **_):
        self.asked.append(messages)
        yield "It is warm."

    def complete(self, messages, sight, **_):
        return "".join(self.stream(messages, sight))

    def scorer(self, messages, sight):
        def score(prefixes):
            length = prefixes.shape[1]
            choices = 6 if length == 0 else 16
            log_p = np.full((len(prefixes), choices), np.log(0.001 / (choices - 1)))
            log_p[:, self.path[length]] = np.log(0.999)
            return log_p

        return score


def assistant(memory=None, **trust):
    return Assistant(Engine(), memory, Calibration(**{"weights": (1.0, 1.0), **trust}), {"model": "a fake"})


def located(identity="a", image="a.jpg", truth=LYON):
    return Item(identity, "toy", "locate", image, "Where is this?", truth=GroundTruth(*truth))


def picture(item):
    return PICTURE


def test_a_place_comes_with_all_that_is_scored():
    made = AssistantSystem({}, assistant=assistant()).predict(located(), picture)
    assert made.status == "answered"
    assert great_circle_km(*made.point, *LYON) < 30
    assert (made.country, made.covered[90], made.text) == ("FR", True, "")
    assert 0 < made.area_km2[50] <= made.area_km2[90]
    assert 0 < made.radius_km[50] <= made.radius_km[90]
    assert 0 <= made.needed <= 1
    assert made.log_score > -np.log(510e6)
    assert set(made.cells) <= set(LEVELS)
    assert made.cells[2] == s2.to_token(s2.from_latlon(*LYON, 2))


def test_abstention_keeps_the_guess():
    made = AssistantSystem({}, assistant=assistant(abstain_radius_km=1e-6)).predict(located(), picture)
    assert made.status == "abstained"
    assert great_circle_km(*made.point, *LYON) < 30


def test_questions_of_one_picture_share_a_conversation_and_nothing_else():
    built = assistant(Memory())
    system = AssistantSystem({}, assistant=built)
    asked = [Item(f"q{n}", "toy", "ask", "a.jpg", f"Question {n}?", "short", GroundTruth(*LYON)) for n in range(2)]
    made = [system.predict(item, picture) for item in asked]
    assert [each.text for each in made] == ["It is warm."] * 2
    assert [each.status for each in made] == ["answered"] * 2
    assert len(built.memory.recalled) == 1
    assert all(len(messages) == 1 for messages in built.engine.asked)
    system.predict(located(image="b.jpg"), picture)
    assert len(built.memory.recalled) == 2


def test_retrieval_moves_the_answer_and_blanking_hides_the_picture():
    without = AssistantSystem({}, assistant=assistant()).predict(located(), picture)
    memory = Memory()
    beside = AssistantSystem({}, assistant=assistant(memory, weights=(1.0, 0.1))).predict(located(), picture)
    assert great_circle_km(*beside.point, *TURIN) < great_circle_km(*without.point, *TURIN)
    blank = AssistantSystem({"blank": "true"}, assistant=assistant(memory))
    blank.predict(located(), picture)
    assert memory.recalled[0].std() > 10 > memory.recalled[1].std(axis=(0, 1)).max()
    assert memory.recalled[1].shape == memory.recalled[0].shape
    assert blank.name == "a fake, with retrieval, picture blanked"


@pytest.mark.parametrize("decoding", ["greedy", "beam 5", "30 samples, grid"])
def test_each_decoding_answers(decoding):
    system = AssistantSystem({"decoding": decoding, "selection": "likelihood"}, assistant=assistant())
    made = system.predict(located(), picture)
    assert great_circle_km(*made.point, *LYON) < 30
    assert system.settings["decoding"] == decoding
    assert decoding in system.name
    assert made.area_km2[90] > 0


@pytest.mark.parametrize("setting", [{"decoding": "guess"}, {"selection": "best"}, {"blank": "perhaps"}])
def test_a_setting_that_is_not_known_is_refused(setting):
    with pytest.raises(InputError):
        AssistantSystem(setting, assistant=assistant())


def test_settings_and_hashes_tell_what_was_examined():
    system = AssistantSystem({"model": "nano"}, assistant=assistant())
    assert system.hashes["prompt"] == prompt_sha256()
    assert len(system.hashes["model"]) == 64
    assert system.settings["decoding"] == DECODINGS[-1]


def asked(kind, answer="", **told):
    truth = {"country": "France", "city": "Lyon", "choices": ("x", "y", "z") if kind == "choice" else ()} | told
    return Item(f"{kind}{answer}", "toy", "ask", "a.jpg", "?", kind, GroundTruth(*LYON, answer=answer, **truth))


QUESTIONS = [
    asked("true_false", "true"),
    asked("choice", "B"),
    asked("short", "red"),
    asked("location", "Lyon, France"),
]


def test_always_true():
    made = [AlwaysTrue().predict(item, picture) for item in [*QUESTIONS, located()]]
    assert [each.status for each in made] == ["answered", *["abstained"] * 4]
    assert made[0].text == "True"


def test_the_majority_is_that_of_each_type():
    items = [asked("short", f"{n}") for n in range(3)] + [QUESTIONS[2], asked("short", "red", city="Nice")]
    items += [located("x"), located("y"), located("z", truth=TURIN)]
    system = Majority([*items, *QUESTIONS])
    assert system.predict(QUESTIONS[2], picture).text == "red"
    place = system.predict(located(), picture)
    assert place.country == "FR"
    assert 42 < place.lat < 51
    assert system.predict(QUESTIONS[3], picture).text == "Lyon, France"
    assert Majority([QUESTIONS[0]]).predict(located(), picture).status == "abstained"


def test_random_places_are_drawn_by_people_and_follow_from_the_seed():
    system = RandomPlace(3)
    made = [system.predict(located(str(n)), picture) for n in range(400)]
    assert made == [RandomPlace(3).predict(located(str(n)), picture) for n in range(400)]
    assert made != [RandomPlace(4).predict(located(str(n)), picture) for n in range(400)]
    towns = gazetteer()
    large = towns.population[towns.population > 1_000_000].sum() / towns.population.sum()
    sizes = [
        towns.population[towns.by_name[each.city.lower()][0]] > 1e6
        for each in made
        if each.city.lower() in towns.by_name
    ]
    assert abs(np.mean(sizes) - large) < 0.15
    assert {system.predict(QUESTIONS[1], picture).text} <= {"A", "B", "C"}
    assert system.predict(QUESTIONS[0], picture).text in ("True", "False")


def test_the_nearest_neighbour_and_the_files_own_claim():
    memory = Memory()
    memory.gallery = SimpleNamespace(content_hash="g")
    memory.encoder = SimpleNamespace(fingerprint="e")
    made = NearestNeighbour(memory).predict(located(), picture)
    assert made.point == TURIN
    assert made.country == "IT"
    memory.place = None
    assert NearestNeighbour(memory).predict(located(), picture).status == "abstained"
    assert NearestNeighbour(memory).predict(QUESTIONS[0], picture).status == "abstained"
    claims = Photo(PICTURE.pixels, "s", "JPEG", (48, 32), "a", ExifClaim(lat=TURIN[0], lon=TURIN[1]))
    assert Exif().predict(located(), lambda _: claims).point == TURIN
    assert Exif().predict(located(), picture).status == "abstained"
    assert Exif().predict(QUESTIONS[3], lambda _: claims).text == "Turin, Italy"


def test_systems_are_opened_by_name():
    whole = benchmark("toy", "1", [located(), *QUESTIONS], faults=Faults())
    for name in ("always-true", "majority", "random-place", "exif"):
        opened = systems.open_system(name, {}, whole, seed=1)
        made = opened.predict(whole.items[1], picture)
        assert isinstance(made, Prediction)
        assert opened.at_once == 1
        with pytest.raises(InputError, match="no setting 'x'"):
            systems.open_system(name, {"x": "1"}, whole)
    with pytest.raises(InputError, match="did you mean 'majority'"):
        systems.open_system("majorty", {}, whole)
    with pytest.raises(InputError, match="needs its path"):
        systems.open_system("file", {}, whole)
    with pytest.raises(InputError, match="unknown option 'modle'"):
        systems.open_system("assistant", {"modle": "nano"}, whole)


def test_published_rows_are_marked_and_of_benchmarks_that_are_known():
    rows = published.rows()
    assert len(rows) > 25
    for row in rows:
        assert row.benchmark in BENCHMARKS
        assert published.MARK in row.label
        assert row.source
        assert all(0 < value <= 5000 for value in row.scores.values())
    gaea = next(row for row in published.rows("gaea-bench") if row.system == "GAEA-7B")
    assert gaea.scores["mean of types"] == 67.5
    assert published.rows("orbit") == ()
