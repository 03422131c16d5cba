from __future__ import annotations

import dataclasses
import json
import os
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from gaea import geotokens, places
from gaea.endpoint import EndpointEngine
from gaea.errors import InputError
from gaea.finetune import generate, osm, pictures, portraits, questions, reasoning, rewrite, solving, wording
from gaea.finetune import sieve as sieve_
from gaea.finetune.clues import read_clues
from gaea.finetune.customs import describe, known_countries
from gaea.finetune.geography import Geographer, known_by_name
from gaea.finetune.phrasings import ASKED
from gaea.finetune.questions import CHOICE, LONG, TRUE_FALSE, Item
from gaea.finetune.rowfiles import read_examples
from gaea.finetune.splits import Part, part_of
from gaea.finetune.surroundings import Surveyor
from gaea.finetune.survey import misleads, often_both
from gaea.finetune.wording import Deck

DATA = Path(os.environ.get("GAEA_DATA", "../shared/data"))
WORDS = (
    *("Rose", "Crown", "Anker", "Adler", "Linde", "Sonne", "Mond", "Stern"),
    *("Hirsch", "Bär", "Löwe", "Krone", "Brunnen", "Mühle", "Traube", "Post"),
)
TAGS = [
    {"amenity": "cafe"}, {"amenity": "restaurant"}, {"amenity": "pharmacy"}, {"amenity": "school"},
    {"tourism": "hotel"}, {"highway": "bus_stop"}, {"amenity": "bank"}, {"shop": "books"},
]  # fmt: skip


@pytest.fixture(scope="module")
def town() -> osm.Extract:
    """A made-up town around Vaduz: things of eight kinds, spread over 6 km, names all different."""
    rng = np.random.default_rng(5)
    elements = []
    for k in range(240):
        lat, lon = 47.14 + rng.normal(0, 0.012), 9.52 + rng.normal(0, 0.018)
        name = f"{WORDS[k % 16]} {WORDS[(k // 16) % 15]}{'' if k < 240 else k}"
        elements.append((f"node/{k}", TAGS[k % 8] | {"name": name}, shapely.Point(lon, lat)))
    return osm.collect("town", elements)


def world_items(seed: int, image: str = "", places_at: tuple[tuple[float, float], ...] = ()) -> list[Item]:
    rng = np.random.default_rng(seed)
    deck = Deck(rng)
    geographer = Geographer(rng, deck)
    made: list[Item | None] = []
    for lat, lon in places_at or ((47.1393, 9.5217), (-33.0, 147.0), (13.7, 100.5), (64.2, -150.1), (-1.29, 36.82)):
        place = describe(lat, lon)
        for skill in ASKED:
            made += [make(place, skill, image) for make in (geographer.short, geographer.choice, geographer.true_false)]
        made += [geographer.nearest_town(place, form, image) for form in ("choice", "direction")]
        made += [reasoning.city_and_country(place, rng, image), reasoning.coordinates(place, rng, image)]
        made += [portraits.portrait(place, rng, {}, image), reasoning.from_clues(place, rng)]
    return [item for item in made if item is not None]


def town_items(extract: osm.Extract, seed: int, points: int = 12) -> list[Item]:
    rng = np.random.default_rng(seed)
    surveyor = Surveyor(extract, rng, Deck(rng))
    found: list[Item] = []
    for _ in range(points):
        lat, lon = round(47.14 + rng.normal(0, 0.004), 4), round(9.52 + rng.normal(0, 0.006), 4)
        place = describe(lat, lon)
        around = surveyor.around(place)
        found += surveyor.items(place, around)
        made = (portraits.surroundings(place, around, rng), portraits.described(place, around, rng))
        found += [item for item in made if item is not None]
    return found


@pytest.fixture(scope="module")
def items(town: osm.Extract) -> list[Item]:
    return world_items(0) + world_items(1, "pictures/a.jpg") + town_items(town, 0)


def test_every_item_passes_its_check_and_all_types_and_skills_occur(items: list[Item]) -> None:
    assert [(item.skill, faults) for item in items if (faults := solving.check(item))] == []
    assert {item.question_type for item in items} == {"LOC", "LVQA", "SVQA", "MCQ", "TF"}
    made = {item.skill for item in items}
    assert made == set(solving.SOLVERS) - ({"is direction"} - made)
    assert len({item.unique_id for item in items}) > 0.95 * len(items)


def test_an_item_comes_back_whole_from_gaeas_format(items: list[Item]) -> None:
    for item in items:
        example = questions.example_of_item(item, "OpenStreetMap")
        again = dataclasses.replace(example, ours=json.loads(json.dumps(example.ours)))
        assert solving.check(questions.item_of_example(again)) == []
        read = questions.item_of_example(again)
        assert (read.key, read.question, read.facts, read.options) == (
            item.key,
            item.question,
            item.facts,
            item.options,
        )


def test_every_fact_has_a_source_and_openstreetmap_its_credit(town: osm.Extract) -> None:
    for item in town_items(town, 3, points=3):
        ours = questions.example_of_item(item, "OpenStreetMap").ours
        assert {source["credit"] for source in ours["sources"]} >= {"© OpenStreetMap contributors"}
        assert {source["licence"] for source in ours["sources"]} >= {"ODbL-1.0"}
        assert {fact[3] for fact in ours["facts"]} == {source["name"] for source in ours["sources"]}


def changed_fact(item: Item, name: str, about: str, value: Any) -> Item:
    facts = tuple(dataclasses.replace(f, value=value) if (f.name, f.about) == (name, about) else f for f in item.facts)
    assert facts != item.facts
    return dataclasses.replace(item, facts=facts)


def test_the_check_finds_what_is_wrong(items: list[Item]) -> None:
    by_skill = {(item.skill, item.question_type): item for item in items}
    choice = by_skill["capital", CHOICE]
    assert solving.check(dataclasses.replace(choice, answer=f"{'B' if choice.answer[0] == 'A' else 'A'}. {choice.key}"))
    assert solving.check(dataclasses.replace(choice, options=choice.options[:1] + choice.options))
    assert solving.check(changed_fact(choice, "capital", "place", "Atlantis"))
    verdict = by_skill["country", TRUE_FALSE]
    flipped = "False" if verdict.key == "True" else "True"
    assert solving.check(dataclasses.replace(verdict, answer=flipped))
    assert solving.check(dataclasses.replace(verdict, answer=flipped, key=flipped))
    distance = by_skill["distance", "SVQA"]
    assert solving.check(changed_fact(distance, "distance_km", distance.params["about"], 0.987))
    nearest = by_skill["nearest of", CHOICE]
    far = next(f.about for f in nearest.facts if f.name == "label" and f.value != nearest.key)
    assert solving.check(changed_fact(nearest, "distance_km", far, 0.0))
    long = by_skill["surroundings", LONG]
    assert solving.check(dataclasses.replace(long, answer=long.answer + " There are 7 more."))
    assert solving.check(dataclasses.replace(long, answer=long.answer.split(".")[0]))
    tokens = by_skill["coordinates", "LOC"]
    elsewhere = dataclasses.replace(tokens, lat=-tokens.lat)
    assert any("another cell" in fault for fault in solving.check(elsewhere))
    chain = by_skill["clues", LONG]
    fewer = {**chain.params, "left": [3, *chain.params["left"][1:]]}
    assert any("countries, not" in fault for fault in solving.check(dataclasses.replace(chain, params=fewer)))
    placed = by_skill["is near", TRUE_FALSE]
    nowhere = dataclasses.replace(placed, question=placed.question.replace("47.", "").replace("<|s2:", "<"))
    assert solving.check(nowhere)
    assert solving.check(dataclasses.replace(placed, facts=())) == solving.check(dataclasses.replace(placed, facts=()))
    assert "do not hold" in solving.check(dataclasses.replace(placed, facts=()))[0]


def test_the_coordinates_answer_decodes_to_a_cell_that_holds_the_place(items: list[Item]) -> None:
    from gaea import cells

    found = [item for item in items if item.skill == "coordinates"]
    assert found
    for item in found:
        (path,) = geotokens.from_text(item.answer)
        lat, lon = cells.to_latlon(np.uint64(geotokens.cell_of_prefix(path)))
        assert abs(float(lat) - item.lat) < 1e-4
        assert abs(float(lon) - item.lon) < 3e-4
        assert item.value("label").casefold() in item.answer.casefold()


def test_truth_and_letters_are_balanced_skill_by_skill(town: osm.Extract) -> None:
    rng = np.random.default_rng(9)
    deck = Deck(rng)
    draws = Counter(deck.draw("x", 4) for _ in range(160))
    assert set(draws.values()) == {40}
    made = town_items(town, 4, points=40)
    verdicts = Counter(item.key for item in made if item.question_type == TRUE_FALSE)
    assert abs(verdicts["True"] - verdicts["False"]) <= 16  # four skills, each at most half a deck off
    letters = Counter(item.answer[0] for item in made if item.question_type == CHOICE)
    assert max(letters.values()) - min(letters.values()) <= 0.2 * letters.total()


def test_wrong_options_are_plausible_and_never_right() -> None:
    made = world_items(2)
    country = next(item for item in made if (item.skill, item.question_type) == ("country", CHOICE))
    wrong = [o for o in country.options if o != country.key]
    assert set(wrong) & {"Switzerland", "Austria"}  # Liechtenstein's neighbours come first
    for item in made:
        if item.question_type == CHOICE and item.skill in solving.FACT_SKILLS:
            fact = next(f for f in item.facts if f.name == item.skill)
            assert sum(option in fact.accepted for option in item.options) == 1


def test_one_seed_gives_one_set_of_items(town: osm.Extract) -> None:
    assert town_items(town, 7, points=2) == town_items(town, 7, points=2)
    assert town_items(town, 7, points=2) != town_items(town, 8, points=2)


def test_outdated_and_disputed_facts_are_not_asked() -> None:
    assert known_countries()["KZ"].capital == "Astana"
    assert all(not known_countries()[code].capital for code in ("ZA", "BO"))
    rng = np.random.default_rng(0)
    pretoria = describe(-25.75, 28.19)
    assert Geographer(rng, Deck(rng)).short(pretoria, "capital") is None


def test_regions_are_told_only_where_their_names_are_sure() -> None:
    assert describe(40.0, -99.0).region == "Nebraska"
    assert describe(60.2556, 147.3026).region == "Magadan"
    assert describe(76.5, 104.0).region is None  # in Taymyr, and 900 km from a town, which is in Sakha
    assert describe(-33.3271, -60.1886).region is None  # the map calls the province by its city
    rng = np.random.default_rng(0)
    geographer = Geographer(rng, Deck(rng))
    assert geographer.short(describe(40.0, -99.0), "region") is not None
    assert geographer.short(describe(48.2, 11.5), "region") is None  # the nearest town's, not a border


def test_nobody_is_asked_what_a_thing_is_whose_name_says_another() -> None:
    tags = [
        {"name": "Old Mill Memorial", "leisure": "park"},
        {"name": "The Harbor", "amenity": "restaurant"},
        {"name": "Linde", "amenity": "restaurant"},
        {"name": "Hotel Adler", "tourism": "hotel"},
        {"name": "Drug Agency", "amenity": "clinic"},
    ]
    made = osm.collect("x", [(f"node/{k}", one, shapely.Point(9.52, 47.14)) for k, one in enumerate(tags)])
    assert [thing.name for thing in made.objects if misleads(thing)] == [
        "Old Mill Memorial",
        "The Harbor",
        "Drug Agency",
    ]
    assert "government" in often_both("health")


def test_a_town_that_has_a_namesake_in_its_country_is_not_asked_about() -> None:
    springfield, carlinville = (describe(*at).nearest_cities[0] for at in ((39.80, -89.65), (39.28, -89.88)))
    assert (springfield.name, known_by_name(springfield)) == ("Springfield", False)
    assert (carlinville.name, known_by_name(carlinville)) == ("Carlinville", True)
    soest = next(town for town in describe(51.57, 8.11).nearest_cities if town.name == "Soest")
    assert not known_by_name(soest)  # the Netherlands have one as well, 200 km away
    rng = np.random.default_rng(0)
    deck = Deck(rng)
    asked = [Geographer(rng, deck).nearest_town(describe(39.85, -89.6), "choice") for _ in range(20)]
    assert not any("Springfield" in item.options for item in asked if item)


def test_a_chain_of_clues_counts_as_the_gazetteer_does() -> None:
    steps = reasoning.remaining([("driving", "left"), ("language", "Thai")])
    assert steps[0][0] == sum(c.driving_side == "left" for c in known_countries().values())
    assert steps[1] == (2, ["Malaysia", "Thailand"])  # Thai is spoken in both


def test_towns_are_named_as_people_would() -> None:
    assert reasoning.town_of(describe(47.1393, 9.5217)) == "Vaduz"  # not the larger Schaan
    assert reasoning.town_of(describe(43.7282, 7.4205)) == "Monaco"  # not its quarter
    assert reasoning.town_of(describe(48.8584, 2.2945)) == "Paris"
    assert reasoning.town_of(describe(23.0, 10.0)) is None


@pytest.mark.parametrize(
    ("km", "said"), [(0.001, "10 m"), (0.214, "210 m"), (0.996, "1.0 km"), (9.96, "10 km"), (123.4, "123 km")]
)
def test_distances_are_spoken_in_one_way(km: float, said: str) -> None:
    assert wording.spoken_distance(km) == said


def test_words_stand_well_in_sentences() -> None:
    assert wording.in_sentence("Maldives") == "the Maldives"
    assert wording.in_sentence("France") == "France"
    assert wording.a_an("university") == "a university"
    assert wording.a_an("off-licence") == "an off-licence"
    assert wording.octant(359) == "north"
    assert wording.off_octant_deg(359) == pytest.approx(1)


# ── the whole dataset ───────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, town: osm.Extract) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("made")
    extracts = tmp_path_factory.mktemp("extracts")
    (extracts / "town.osm").write_text(_as_xml(town), "utf-8")
    clues = extracts / "clues.json"
    hearsay = {
        "code": "li",
        "geoguessr_clues": {"Roads": {"poles": "Utility poles are wooden and stand close to roads."}},
    }
    clues.write_text(json.dumps({"Liechtenstein": hearsay}), "utf-8")
    config = generate.GenerateConfig(extracts=extracts, clues=clues, world_points=40, osm_points=12, seed=3)
    return folder, generate.generate(config, folder)


def _as_xml(extract: osm.Extract) -> str:
    lines = [
        f'<node id="{k + 1}" lat="{t.lat}" lon="{t.lon}"><tag k="name" v="{t.name}"/>'
        for k, t in enumerate(extract.objects)
    ]
    tagged = [
        line + "".join(f'<tag k="{k}" v="{v}"/>' for k, v in TAGS[i % 8].items()) + "</node>"
        for i, line in enumerate(lines)
    ]
    return "<osm version='0.6'>" + "".join(tagged) + "</osm>"


def test_a_dataset_is_written_by_parts_and_every_row_holds(made: tuple[Path, dict[str, Any]]) -> None:
    pytest.importorskip("osmium", reason="extracts need the osm extra")
    folder, told = made
    seen = 0
    for part in Part:
        for example in read_examples(folder / f"{part.name.lower()}.jsonl"):
            item = questions.item_of_example(example)
            assert solving.check(item) == []
            assert int(part_of(np.array(item.lat), np.array(item.lon))) == part
            seen += 1
    assert seen == told["items"] > 450
    assert told["items_by_part"]["validation"] + told["items_by_part"]["test"] > 0
    assert not told["faults"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "generation.json", "test.jsonl", "train.jsonl", "validation.jsonl",
    ]  # fmt: skip
    for verdicts in told["true_false"].values():
        assert abs(verdicts["True"] - verdicts["False"]) <= 0.1 * sum(verdicts.values()) + 30


def test_nothing_held_out_is_named_in_training(made: tuple[Path, dict[str, Any]]) -> None:
    pytest.importorskip("osmium", reason="extracts need the osm extra")
    towns = 0
    for example in read_examples(made[0] / "train.jsonl"):
        item = questions.item_of_example(example)
        if item.skill == "nearest town":
            towns += 1
            near = places.nearest_cities(item.lat, item.lon, 10)
            parts = part_of(*np.array([[t.lat, t.lon] for t in near if t.name in item.options]).T)
            assert set(parts.tolist()) == {int(Part.TRAIN)}
    assert towns > 2


def test_hearsay_is_marked_in_the_text_and_in_its_source(made: tuple[Path, dict[str, Any]]) -> None:
    clues = {"LI": {"poles": "Utility poles are wooden and stand close to roads"}}
    rng = np.random.default_rng(1)
    item = portraits.portrait(describe(47.1393, 9.5217), rng, clues)
    assert item is not None
    assert "unchecked" in item.answer
    assert "not checked" in next(f.source.credit for f in item.facts if f.name == "poles")
    assert solving.check(item) == []


def test_repetitions_are_dropped_and_counted(items: list[Item]) -> None:
    sieve = sieve_.Sieve()
    first = [item for item in items if sieve.part_for(item) is not None]
    before = dict(sieve.counted)
    assert all(sieve.part_for(item) is None for item in first)
    assert sieve.counted["exact repetitions"] == before.get("exact repetitions", 0) + len(first)
    near = next(item for item in first if item.skill == "capital" and not item.image)
    other = dataclasses.replace(near, question="In other words: " + near.question)
    assert sieve.part_for(other) is None
    assert sieve.counted["near repetitions"] == before.get("near repetitions", 0) + 1
    broken = dataclasses.replace(near, key="Atlantis", question=near.question + " ")
    assert sieve.part_for(broken) is None
    assert sieve.counted["items that fail their check"] == 1


def test_the_pictures_that_rows_name_can_be_cut(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    from PIL import Image

    from gaea.finetune.imagery import Imagery, Mosaic

    ramp = np.broadcast_to(np.linspace(0, 255, 2048).astype(np.uint8)[None, :, None], (1024, 2048, 3))
    imagery = Imagery((Mosaic(np.ascontiguousarray(ramp), mercator=False),), "ramp")
    files = [made[0] / "validation.jsonl"]
    counted = pictures.cut(files, imagery, tmp_path, size=16)
    named = {name for example in read_examples(files[0]) for name in example.images}
    assert counted == {"cut": len(named), "there": 0, "beyond": 0}
    for name in named:
        view = pictures.view_of(name)
        assert pictures.picture_name(view.lat, view.lon, view.width_km) == name
        brightness = np.asarray(Image.open(tmp_path / name)).mean()
        assert abs(brightness - 255 * (view.lon + 180) / 360) < 6
    assert pictures.cut(files, imagery, tmp_path, size=16)["there"] == len(named)
    with pytest.raises(InputError, match="does not say what to cut"):
        pictures.view_of("photo.jpg")


def test_a_run_that_fails_leaves_no_half_dataset(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no OSM extracts"):
        generate.generate(generate.GenerateConfig(extracts=tmp_path, world_points=0), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == []
    with pytest.raises(InputError, match="share of pictures"):
        generate.GenerateConfig(with_picture=2)


def test_the_commands_check_and_show_what_was_made(
    made: tuple[Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from gaea.finetune.__main__ import main

    test = made[0] / "test.jsonl"
    assert main(["questions", "check", str(test)]) == 0
    assert capsys.readouterr().out.startswith("0 of ")
    assert main(["questions", "sample", str(test), "-n", "2"]) == 0
    assert capsys.readouterr().out.count("→") == 2
    row = json.loads(test.read_text("utf-8").splitlines()[0])
    row["conversations"][1]["value"] = "Atlantis"
    (tmp_path / "wrong.jsonl").write_text(json.dumps(row) + "\n")
    assert main(["questions", "check", str(tmp_path / "wrong.jsonl")]) == 1
    assert "1 of 1 items are wrong" in capsys.readouterr().out


def test_the_osm_command_prints_what_is_around_with_its_credit(
    town: osm.Extract, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("osmium", reason="extracts need the osm extra")
    from gaea.finetune.__main__ import main

    (tmp_path / "town.osm").write_text(_as_xml(town), "utf-8")
    assert main(["osm", "47.14", "9.52", "--extract", str(tmp_path), "--radius", "0.5"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["attribution"] == "© OpenStreetMap contributors"
    away = [thing["distance_km"] for thing in told["objects"]]
    assert away == sorted(away)
    assert 3 < len(away) < 100
    assert away[-1] <= 0.5
    assert main(["osm", "47.14", "9.52", "--extract", str(tmp_path / "none.osm")]) == 2
    assert "is not an OSM extract" in capsys.readouterr().err


def test_a_sample_is_drawn_evenly(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"n": {n}}}\n' for n in range(50)))
    drawn = Counter(row["n"] for seed in range(200) for row in generate.sample([path], 5, seed))
    assert drawn.total() == 1000
    assert min(drawn[n] for n in range(50)) > 5


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the shared clues")
def test_clues_that_better_sources_know_are_left_out() -> None:
    clues = read_clues(DATA / "facts" / "geoguessr_clues" / "geoguessr_clues.json")
    assert len(clues) > 230
    said = [text for topics in clues.values() for text in topics.values()]
    assert len(said) > 1000
    assert not any("right side" in text or any(c.isdigit() for c in text) for text in said)
    assert all("capital" not in topics and "driving" not in topics for topics in clues.values())


# ── other words ─────────────────────────────────────────────────────────────


class Wordsmith(ThreadingHTTPServer):
    """An OpenAI-compatible server that rewords as it is told."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Wording)
        self.reword = lambda text: text


class _Wording(BaseHTTPRequestHandler):
    server: Wordsmith

    def do_GET(self) -> None:
        self._send({"data": [{"id": "wordsmith"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/tokenize"):
            return self._send({}, 404)
        text = body["messages"][-1]["content"][-1]["text"].split("Text: ", 1)[1]
        return self._send({"choices": [{"message": {"content": self.server.reword(text)}}]})

    def _send(self, value: Any, status: int = 200) -> None:
        packed = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(packed)))
        self.end_headers()
        self.wfile.write(packed)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def wordsmith() -> Iterator[tuple[Wordsmith, EndpointEngine]]:
    server = Wordsmith()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    engine = EndpointEngine(f"http://127.0.0.1:{server.server_address[1]}/v1")
    yield server, engine
    engine.close()
    server.shutdown()
    server.server_close()


def test_other_words_are_taken_where_no_fact_changed(
    items: list[Item], wordsmith: tuple[Wordsmith, EndpointEngine]
) -> None:
    server, engine = wordsmith
    server.reword = lambda text: "Sure! " + json.dumps({"text": text + " please."})
    counted: Counter[str] = Counter()
    some = items[::9]
    fresh = list(rewrite.rewrite_all(some, engine, counted, workers=3))
    assert counted["reworded"] == len(some)
    for old, new in zip(some, fresh, strict=True):
        assert new.question != old.question
        assert solving.check(new) == []
        assert new.options == old.options
        if old.question_type == CHOICE:
            assert new.question.endswith(old.question[old.question.index("\nA. ") :])
        if old.question_type != LONG:
            assert new.answer == old.answer


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (lambda text: "I would rather not.", "no text"),
        (lambda text: json.dumps({"text": text + " There are 12 of them."}), "numbers"),
        (lambda text: json.dumps({"text": text + " It is like Paris."}), "new names"),
        (lambda text: json.dumps({"text": "It is not so: " + text}), "negation"),
        (lambda text: json.dumps({"text": text + " To the north, perhaps."}), "words that decide"),
        (lambda text: json.dumps({"text": "What?"}), "length"),
    ],
    ids=["refusal", "number", "name", "negation", "direction", "cut"],
)
def test_other_words_that_change_a_fact_are_refused_and_counted(
    town: osm.Extract, wordsmith: tuple[Wordsmith, EndpointEngine], reply: Any, reason: str
) -> None:
    server, engine = wordsmith
    server.reword = reply
    some = town_items(town, 11, points=1)[:4]
    counted: Counter[str] = Counter()
    assert list(rewrite.rewrite_all(some, engine, counted)) == some
    assert counted == {f"kept: {reason}": len(some)}


def test_a_whole_file_is_said_in_other_words_by_the_command(
    made: tuple[Path, dict[str, Any]],
    wordsmith: tuple[Wordsmith, EndpointEngine],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("osmium", reason="extracts need the osm extra")
    from gaea.finetune.__main__ import main

    server, _ = wordsmith
    server.reword = lambda text: json.dumps({"text": text.replace("here", "at this place") + " please."})
    source, target = made[0] / "validation.jsonl", tmp_path / "words.jsonl"
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    assert main(["questions", "rewrite", str(source), str(target), "--engine", url]) == 0
    counted = json.loads(capsys.readouterr().out)
    old, new = list(read_examples(source)), list(read_examples(target))
    assert sum(counted.values()) == len(old) == len(new)
    assert counted["reworded"] == sum(a.question != b.question for a, b in zip(old, new, strict=True)) > 0
    assert all(solving.check(questions.item_of_example(example)) == [] for example in new)


def test_a_name_may_not_be_lost() -> None:
    old = "Where does the cafe Rose Anker lie, seen from 47.1400, 9.5200?"
    assert rewrite.change(old, "Where is the cafe Rose Anker as seen from 47.1400, 9.5200?", ["Rose Anker"]) == ""
    assert rewrite.change(old, "Where is the cafe Anker Rose as seen from 47.1400, 9.5200?", ["Rose Anker"]) == "names"
