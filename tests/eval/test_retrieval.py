"""The retrieval ablation: what is told is what is meant, what must not answer does not, and intervals are of places."""

import dataclasses
import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageFilter

from gaea import geotokens
from gaea.app.assemble import assemble
from gaea.errors import InputError
from gaea.eval import leakage, retold, retrieval, retrieval_run, worlds
from gaea.eval.__main__ import main
from gaea.eval.blocks import even_crops
from gaea.eval.grouped import Draws, compared, score
from gaea.eval.metrics import Outcome
from gaea.eval.retold import VARIANTS, Seen
from gaea.eval.retrieval import RetrievalExam, examine, recall, right_country, told_rows
from gaea.eval.retrieval_report import _verdict, markdown
from gaea.eval.worlds import blind, photographs, same_place
from gaea.finetune.crops import CropConfig
from gaea.finetune.imagery import open_imagery
from gaea.finetune.splits import Part, block_address, footprint_parts
from gaea.locate.neighbours import Neighbour, Neighbours
from gaea.photo import Photo
from gaea.rag.neighbours import RetrievalConfig

PLACES = {  # name: latitude, longitude, country
    "Calgary one": (51.045, -114.055, "CA"),
    "Calgary two": (51.048, -114.062, "CA"),
    "Lyon": (45.764, 4.836, "FR"),
    "Rome": (41.9, 12.5, "IT"),
    "Naples": (40.85, 14.27, "IT"),
    "Venice": (45.44, 12.33, "IT"),
    "Accra": (5.56, -0.2, "GH"),
}


@pytest.fixture(scope="module")
def assistant():
    return assemble(store="memory")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photographs that differ as much as noise can."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    with (root / "metadata.jsonl").open("w") as file:
        for name, (lat, lon, code) in PLACES.items():
            blur = ImageFilter.GaussianBlur(float(rng.uniform(4, 30)))
            noise = Image.fromarray(rng.integers(0, 255, (160, 160, 3), dtype=np.uint8)).filter(blur)
            noise = Image.fromarray((np.asarray(noise, float) * rng.uniform(0.3, 1.2, 3)).clip(0, 255).astype(np.uint8))
            noise.save(root / f"{name}.png")
            row = {"file_name": f"{name}.png", "latitude": lat, "longitude": lon, "country_iso2": code, "title": name}
            file.write(json.dumps(row) + "\n")
    return root


@pytest.fixture(scope="module")
def ground(assistant, folder):
    return photographs("ground", assistant.memory.encoder, folder)


@pytest.fixture(scope="module")
def imagery(tmp_path_factory):
    path = tmp_path_factory.mktemp("world") / "noise.png"
    noise = np.random.default_rng(0).integers(0, 255, (512, 1024, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return open_imagery(path)


def at(lat, lon, guess, **more):
    return Outcome(lat, lon, guess, {}, {}, **more)


class TestBlocks:
    CONFIG = CropConfig(size=16, width_km=(60.0, 120.0))

    def test_every_block_gives_one_before_any_gives_two(self, imagery):
        cases = even_crops(imagery, Part.TEST, 300, self.CONFIG, np.random.default_rng(0))
        assert len({case.name for case in cases}) == 300

    def test_crops_lie_within_their_blocks(self, imagery):
        for case in even_crops(imagery, Part.TEST, 40, self.CONFIG, np.random.default_rng(1)):
            row, column = block_address(np.array(case.lat), np.array(case.lon))
            assert case.name == f"{row}/{column}"
            assert footprint_parts(case.lat, case.lon, 30) == {Part.TEST}

    def test_blocks_give_again_where_there_are_too_few(self, imagery):
        cases = even_crops(Window(imagery, 10.0), Part.TEST, 40, self.CONFIG, np.random.default_rng(2))
        times = Counter(case.name for case in cases)
        assert 1 < len(times) < 40
        usual = 40 / len(times)
        assert max(times.values()) <= usual + 2, "no block speaks louder than another"
        assert sorted(times.values())[1] >= usual - 2, "but for one of which only a sliver is shown"

    def test_imagery_without_room_says_so(self, imagery):
        with pytest.raises(InputError, match="holds no view of"):
            even_crops(Window(imagery, 0.0), Part.TEST, 1, self.CONFIG, np.random.default_rng(0))


class Window:
    """Imagery that shows a part of the Earth only."""

    def __init__(self, imagery, half_deg):
        self.name, self.render, self.half_deg = imagery.name, imagery.render, half_deg

    def has_detail(self, lat, lon):
        return abs(lat) < self.half_deg and abs(lon) < 2 * self.half_deg


class TestGrouped:
    def test_pictures_of_one_place_do_not_count_as_many(self):
        rng = np.random.default_rng(0)
        of_place = rng.normal(size=20)
        values, names = np.repeat(of_place, 30), np.repeat([f"p{i}" for i in range(20)], 30).tolist()
        alone = Draws([f"p{i}" for i in range(20)]).estimate(of_place)
        grouped = Draws(names).estimate(values)
        naive = Draws([str(i) for i in range(600)]).estimate(values)
        width = [high - low for _, (low, high) in (alone, grouped, naive)]
        assert width[1] == pytest.approx(width[0], rel=0.15)
        assert width[1] > 3 * width[2]

    def test_what_is_not_asked_is_left_out(self):
        draws = Draws(["a", "b", "c"])
        assert draws.estimate(np.array([1.0, np.nan, 1.0]))[0] == 1.0
        assert draws.estimate(np.full(3, np.nan)) == [None, [None, None]]
        with pytest.raises(InputError, match="nothing to score"):
            Draws([])

    def test_scores_and_differences(self):
        near, far, none = at(0, 0, (0.0, 1.0)), at(0, 0, (0.0, 40.0)), at(0, 0, None, abstained=True)
        draws = Draws(["a", "b", "c"])
        scored = score([near, far, none], draws)
        assert (scored["n"], scored["places"], scored["answered"], scored["abstained"]) == (3, 3, 2, 1)
        assert scored["within_200_km"][0] == pytest.approx(1 / 3, abs=1e-4)
        same = compared([near, far, none], [near, far, none], draws)
        assert (same["geoscore"], same["moved_25_km"]) == ([0.0, [0.0, 0.0]], 0.0)
        better = compared([near, near, near], [near, far, none], draws)
        assert better["within_200_km"][0] == pytest.approx(2 / 3, abs=1e-4)
        assert better["moved_25_km"] == pytest.approx(2 / 3, abs=1e-4)
        assert better["geoscore"][0] > 0


class TestWorlds:
    def test_photos_of_one_place(self):
        lat, lon = np.array([0, 0.2, 0.4, 10, 20, 30]), np.zeros(6)
        apart = [int(x) for x in np.random.default_rng(0).integers(0, 2**63, 5)]
        group = same_place(lat, lon, ["a", "b", "c", "Castle ", "castle", ""], [*apart, apart[0] ^ 0b11])
        assert group[0] == group[1] == group[2], "friends of friends: 22 km, twice"
        assert group[3] == group[4] != group[0], "the same title, 1100 km apart"
        assert group[5] == group[0], "the same picture but for two bits"

    def test_a_photo_is_not_answered_by_its_own_place(self, ground):
        by_row = {query.barred for query in ground.queries}
        assert (0, 1) in by_row, "the two of Calgary"
        for query in ground.queries:
            found = recall(ground, query, RetrievalConfig(k_similar=9, k_dissimilar=9), ground.memory.store)
            told = {n.row for n in (*found.similar, *found.dissimilar)}
            assert told
            assert not told & set(query.barred)
            assert all(ground.memory.gallery.labels["sha256"][row] != query.sha256 for row in told)

    def test_without_looking(self, ground):
        middles, commonest = blind(ground)
        for query, middle, country in zip(ground.queries, middles, commonest, strict=True):
            assert middle != (query.lat, query.lon)
            assert country == "IT" if query.country != "IT" else country in {"IT", "CA"}

    def test_metadata_that_are_none(self, assistant, tmp_path):
        (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.jpg"}\n')
        with pytest.raises(InputError, match="not a list of photographs with places: KeyError"):
            photographs("ground", assistant.memory.encoder, tmp_path)


class TestLeakage:
    def test_copies_are_found_each_way(self, ground):
        counted, rows = leakage.count(ground, 0.9999)
        assert counted["found"]["sha256"] == {"queries": 0, "rows": 0, "rows barred as of the same place": 7}
        assert counted["found"]["cosine"]["rows barred as of the same place"] == 7
        # Without the rule about places every photograph finds itself, and nothing else.
        unbarred = dataclasses.replace(ground, queries=tuple(dataclasses.replace(q, barred=()) for q in ground.queries))
        counted, rows = leakage.count(unbarred, 0.9999)
        assert counted["queries with a near-duplicate"] == counted["queries with one within 25 km"] == 7
        assert all(len(mine) == 1 for mine in rows)

    def test_a_gallery_without_hashes_is_cut_again(self, assistant, imagery):
        world = worlds.crops("noise", assistant.memory, imagery, part=Part.TEST, count=1, seed=0)
        gallery = assistant.memory.gallery
        (query,) = world.queries
        similar = int(np.argmax(gallery.embeddings @ query.embedding))
        view = (float(gallery.lat[similar]), float(gallery.lon[similar]), float(gallery.width_km[similar]))
        again = Image.fromarray(imagery.render(leakage.View(*view), 256))
        copy = dataclasses.replace(query, image=again, phash=worlds.perceptual_hash(again))
        assert similar in leakage.duplicates(world, copy, 2.0)["phash"]
        assert (
            similar not in leakage.duplicates(world, dataclasses.replace(copy, phash=~copy.phash % 2**64), 2.0)["phash"]
        )


class Recorder:
    """The real engine, and what it was told."""

    def __init__(self, engine):
        self.engine, self.name, self.has_geotokens, self.told = engine, engine.name, engine.has_geotokens, []

    def see(self, image):
        return self.engine.see(image)

    def scorer(self, messages, sight):
        self.told.append(messages[0]["content"][-1]["text"])
        return self.engine.scorer(messages, sight)

    def stream(self, messages, sight, **options):
        self.told.append(messages[0]["content"][-1]["text"])
        return self.engine.stream(messages, sight, **options)

    def complete(self, messages, sight, **options):
        self.told.append(messages[0]["content"][-1]["text"])
        return self.engine.complete(messages, sight, **options)


@pytest.fixture(scope="module")
def recalled(assistant):
    image = Image.fromarray(np.random.default_rng(3).integers(0, 255, (96, 96, 3), dtype=np.uint8))
    return image, assistant.memory.recall(image)


class TestRetold:
    def test_similar_is_the_assistant_itself(self, assistant, recalled):
        image, found = recalled
        own = assistant.open(Photo.open(image))
        ours = retold.chat(assistant, image, found, VARIANTS[1], Seen(assistant.memory.strangeness(image)))
        assert VARIANTS[1].name == "similar"
        assert ours.pooled.point("median") == own.pooled.point("median")
        assert ours.finding.abstained == own.finding.abstained

    def test_each_variant_is_told_what_it_says(self, assistant, recalled):
        image, _ = recalled
        rows = tuple(Neighbour(i, 10.0 + i, 20.0, 0.9 - i / 100, "similar", text=f"near {i}") for i in range(16))
        hard = tuple(Neighbour(50 + i, -40.0, 150.0 + i, 0.8, "hard dissimilar", text=f"hard {i}") for i in range(6))
        far = tuple(Neighbour(90 + i, 70.0, -40.0 - i, -0.3, "dissimilar", text=f"far {i}") for i in range(6))
        told = {}
        for variant in VARIANTS:
            engine = Recorder(assistant.engine)
            with_engine = dataclasses.replace(assistant, engine=engine)
            chat = retold.chat(with_engine, image, Neighbours(rows, hard + far), variant, Seen(0.0))
            assert set(chat.beliefs) == ({"tokens", "neighbours"} if variant.similar else {"tokens"})
            chat.ask("Where is this?", guess=True)
            told[variant.name] = engine.told
        lines = {name: texts[0].count("<|s2:f") for name, texts in told.items()}
        assert lines == {
            "k = 0": 0,
            "similar": 6,
            "10 similar": 10,
            "similar + dissimilar": 10,
            "similar + hard dissimilar": 10,
        }
        symbols = geotokens.to_text(geotokens.encode([70.0], [-40.0])[0][:6])
        assert f"-30 {symbols}" in told["similar + dissimilar"][0]
        assert symbols not in told["similar + hard dissimilar"][0]
        assert "unlike: far 0; far 1; far 2\n</data>" in told["similar + dissimilar"][1]
        assert "unlike: hard 0; hard 1; hard 2\n</data>" in told["similar + hard dissimilar"][1]
        assert all("unlike" not in told[name][1] for name in ("k = 0", "similar", "10 similar"))

    def test_a_prompt_that_changed_is_not_ablated_in_silence(self):
        messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "no block"}]}]
        with pytest.raises(InputError, match="no longer holds the block"):
            retold._rewritten(messages, "<data>", "<data>")


class TestExam:
    EXAM = RetrievalExam(asked=0, resamples=50, duplicate_similarity=0.5)

    @pytest.fixture(scope="class")
    @classmethod
    def report(cls, assistant, ground):
        few = dataclasses.replace(ground, queries=ground.queries[:2])
        return examine(assistant, few, cls.EXAM)

    def test_every_variant_and_protocol_is_scored(self, report):
        for protocol in ("all rows", "near-duplicates left out"):
            variants = report["protocols"][protocol]
            assert list(variants) == [variant.name for variant in VARIANTS]
            assert all(told["full answer"]["n"] == 2 for told in variants.values())
            assert "neighbours" not in variants["k = 0"]
            assert variants["similar"]["neighbours"] == variants["similar + hard dissimilar"]["neighbours"]
        assert report["leakage"]["queries with a near-duplicate"] > 0
        plain, strict = (report["protocols"][p]["similar"] for p in report["protocols"])
        assert plain["nearest neighbour"] != strict["nearest neighbour"], "the second protocol is another one"
        assert json.loads(json.dumps(report, allow_nan=False)) == json.loads(json.dumps(report))

    def test_differences_are_against_the_shipped_and_the_control(self, report):
        assert set(report["against"]) == {"similar", "10 similar"}
        assert "k = 0" in report["against"]["similar"]
        assert set(report["against"]["10 similar"]) == {"similar + dissimilar", "similar + hard dissimilar"}

    def test_the_page_has_the_contract_on_top_and_claims_no_more_than_it_can(self, report):
        whole = {
            "contract": "great-circle km; 95 % intervals by bootstrap over pictures",
            "command": "python -m gaea.eval retrieval",
            "commit": "abc",
            "seed": 0,
            "provenance": {"model": "m", "index": "i"},
            "hashes": {"weights": "0" * 64},
            "worlds": {"ground": {"note": "A note.", **report}},
        }
        page = markdown(whole)
        assert "over blocks or places, not pictures" in page.split("##", 1)[0]
        assert page.count("`python -m gaea.eval retrieval` at commit abc") == 1
        assert page.count("Protocol:") == 2
        claims = page.split("claims hold here")[1]
        assert "too few places to tell (2)" in claims
        assert "holds here" not in claims
        plain = [line for line in claims.splitlines() if line.startswith("- *")]
        assert any(
            line == "- *retrieval helps (all three papers)*: full answer against k = 0: "
            "too few places to tell (2) (ground)."
            for line in plain
        )
        assert len(plain) == claims.count("\n| ") - 1, (
            "as many lines as comparisons, where there is one set of pictures"
        )
        columns = {line.count("|") for line in page.split("Protocol:")[1].splitlines() if line.startswith("|")}
        assert len(columns) == 1, "rows have as many cells as the head"

    @pytest.mark.parametrize(
        ("difference", "verdict"),
        [
            ([500, [100, 900]], "holds here"),
            ([-500, [-900, -100]], "it harms"),
            ([50, [-100, 200]], "cannot be told from nothing"),
            ([-0.5, [-0.9, -0.1]], "makes no difference that matters"),
        ],
    )
    def test_a_verdict_needs_an_interval_and_a_size(self, difference, verdict):
        assert verdict in _verdict(difference, 40)
        assert "too few places" in _verdict(difference, 19)

    def test_the_page_is_printed_from_what_was_written(self, capsys, tmp_path):
        file = tmp_path / "r.json"
        held = dict.fromkeys(("contract", "command", "commit", "seed"), "x")
        file.write_text(json.dumps(held | {"provenance": {"model": "m", "index": "i"}, "hashes": {}, "worlds": {}}))
        assert main(["report", str(file)]) == 0
        assert capsys.readouterr().out.startswith("# What retrieval does to an answer")

    def test_an_exam_without_data_says_so(self, assistant, monkeypatch, tmp_path):
        monkeypatch.setattr(retrieval_run, "assemble", lambda **_: assistant)
        plan = retrieval_run.Plan(tmp_path, tmp_path)
        with pytest.raises(InputError, match="holds neither bluemarble"):
            retrieval_run.run(plan, RetrievalExam(), tmp_path / "out.json")
        assert not (tmp_path / "out.json").exists()

    def test_what_is_known_is_written_after_each_world(self, assistant, folder, monkeypatch, tmp_path):
        monkeypatch.setattr(retrieval_run, "assemble", lambda **_: assistant)
        (tmp_path / "photos").mkdir()
        (tmp_path / "photos" / "travel_photos").symlink_to(folder)
        monkeypatch.setattr(retrieval, "VARIANTS", VARIANTS[:3])
        retrieval_run.run(retrieval_run.Plan(tmp_path, tmp_path, limit=1), self.EXAM, tmp_path / "out.json")
        written = json.loads((tmp_path / "out.json").read_text())
        assert list(written["worlds"]) == ["Ground-level photos, leave one place out"]
        assert len(written["hashes"]["weights"]) == 64
        assert (tmp_path / "out.md").read_text().startswith("# What retrieval does")


def test_words_are_right_when_they_name_the_country(assistant, ground, monkeypatch):
    (query,) = [q for q in ground.queries if q.country == "GH"]
    said = iter(["I would say it is in Ghana.", "It is in Togo."])
    monkeypatch.setattr(Recorder, "stream", lambda *_, **__: iter([next(said)]))
    with_engine = dataclasses.replace(assistant, engine=Recorder(assistant.engine))
    found = recall(ground, query, RetrievalConfig(), ground.memory.store)
    seen = Seen(query.strangeness)
    named = [retrieval.trial(with_engine, query, found, VARIANTS[1], seen, asked=True).named for _ in range(2)]
    assert named == [True, False]
    at_sea = dataclasses.replace(query, country="")
    assert retrieval.trial(with_engine, at_sea, found, VARIANTS[1], seen, asked=True).named is None


def test_country_of_a_guess(ground):
    queries = sorted(ground.queries, key=lambda q: q.country)[:2]
    assert {q.country for q in queries} == {"CA"}
    outcomes = [at(q.lat, q.lon, guess) for q, guess in zip(queries, [(60.0, -110.0), None], strict=True)]
    assert right_country(queries, outcomes).tolist() == [1.0, 0.0]
    at_sea = [dataclasses.replace(queries[0], country="")]
    assert np.isnan(right_country(at_sea, outcomes[:1])).all()


def test_how_often_the_same_rows_are_told():
    far = [Neighbour(row, 0, 0, -0.5, "dissimilar") for row in (1, 2, 3, 4)]
    told = told_rows([Neighbours((), tuple(far)), Neighbours((), tuple(far)), Neighbours((), tuple(far[::-1]))])
    assert told["dissimilar, first 1"] == {"told": 3, "distinct": 2, "most common told to": 2}
    assert told["dissimilar, first 4"] == {"told": 12, "distinct": 4, "most common told to": 3}
    assert "dissimilar, first 16" not in told
    assert "similar, first 1" not in told
