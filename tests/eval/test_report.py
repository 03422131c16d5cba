"""Reports of runs: a page, Markdown and JSON of the same numbers; escaped, self-contained, honest about gaps."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gaea.errors import InputError, PhotoError
from gaea.eval import charts, error_map, published, report_tables
from gaea.eval.__main__ import main
from gaea.eval.answers import Answers
from gaea.eval.cases import astronaut_link, groups
from gaea.eval.records import GroundTruth, Item, Prediction, RunHeader
from gaea.eval.report_data import examined, runs_in, sections
from gaea.eval.report_html import html
from gaea.eval.report_markdown import markdown
from gaea.eval.runs import RunWriter
from gaea.photo import Photo
from gaea.sphere import destination

HOSTILE = '<script>alert(1)</script> & "co"'
FACTS = (("country", "Egypt", "Natural Earth"),)


def items(count=40, benchmark="toy"):
    rng = np.random.default_rng(1)
    for number in range(count):
        lat, lon = float(rng.uniform(-60, 70)), float(rng.uniform(-180, 180))
        truth = GroundTruth(round(lat, 4), round(lon, 4))
        split = "few" if number < 3 else "test"
        strata = {"continent": "Africa" if number % 2 else "Asia"}
        yield Item(
            f"ISS050-E-{number:05d}", benchmark, "locate", f"{number}.jpg", "Where?", None, truth, strata, split=split
        )
        if number % 4 == 0:
            told = GroundTruth(answer="The country is Egypt.", facts=FACTS)
            yield Item(
                f"{number}/long", benchmark, "ask", f"{number}.jpg", f"Tell {HOSTILE}", "long", told, place=f"{number}"
            )
            told = GroundTruth(answer="B", choices=("Libya", "Egypt"))
            yield Item(f"{number}/choice", benchmark, "ask", None, "Which?", "choice", told, place=f"{number}")


def predicted(item, rng, spread_km):
    if item.kind == "ask":
        return Prediction(item.id, "answered", "B" if item.question_type == "choice" else f"It is Egypt. {HOSTILE}")
    km = float(rng.exponential(spread_km))
    lat, lon = (float(each) for each in destination(*item.truth.point, float(rng.uniform(0, 360)), km))
    radii = {50: spread_km, 90: 3 * spread_km}
    held = {50: km < radii[50], 90: km < radii[90]}
    area = {50: 1e4, 90: 1e6}
    return Prediction(item.id, "answered", "", lat, lon, radii, held, area, log_score=-12.0 - km / 1000, country="EG")


def make_run(folder, system, spread_km=300.0, *, benchmark="toy", seed=0, lost=0, count=40):
    asked = list(items(count, benchmark))
    header = RunHeader(
        benchmark, "1", "ab" * 32, system, {"root": "/nowhere"}, seed, {"model": "cd" * 32}, "0123456789ab"
    )
    rng = np.random.default_rng(seed)
    with RunWriter(folder, header, asked) as writer:
        for item in asked[lost:]:
            writer.append(predicted(item, rng, spread_km))
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("runs")
    made = [
        make_run(base / "a", f"good {HOSTILE}", 150.0, seed=1),
        make_run(base / "b", "middling", 900.0, seed=2, lost=2),
        make_run(base / "c", "random", 8000.0, seed=3),
    ]
    for folder in made:
        assert main(["judge", str(folder)]) == 0
    return made


@pytest.fixture(scope="module")
def found(folders):
    return sections(folders)


class Reader(HTMLParser):
    """Checks that what is opened is closed, and keeps texts and attributes."""

    VOID = ("meta", "img", "br", "link", "input", "hr")

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.words = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def of(self, name):
        return [attrs for tag, attrs in self.tags if tag == name]


def read(page):
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def picture(item):
    if item.id.endswith("00001"):
        raise PhotoError("no such file")
    return Photo.open(Image.new("RGB", (640, 480), (20, 90, 140)))


@pytest.fixture(scope="module")
def page(found):
    return html(found, {"toy": picture})


def test_the_page_is_whole_escaped_and_needs_no_network(page):
    reader = read(page)
    assert not reader.of("script")
    assert "<script>alert" not in page
    assert "alert(1)" in "".join(reader.words), "it is shown as text"
    (policy,) = [m["content"] for m in reader.of("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src data:")
    assert all(each["src"].startswith("data:image/jpeg") for each in reader.of("img"))
    assert all(each["href"].startswith("data:") for each in reader.of("image"))
    links = [each["href"] for each in reader.of("a") if not each["href"].startswith("#")]
    assert links
    assert all(link.startswith("https://eol.jsc.nasa.gov/") for link in links)
    assert "/nowhere" not in page, "no path of a machine"


def test_the_contract_stands_on_top(page, found):
    words = " ".join(read(page).words)
    assert words.index("The contract") < words.index("What was asked")
    for told in (
        "5000·exp(−d/1492.7)",
        "seed 1",
        "commit 0123456789ab",
        "data abababababababab",
        "model cdcdcdcdcdcdcdcd",
    ):
        assert told in words


def test_everything_can_be_read_without_seeing(page):
    reader = read(page)
    assert all(each.get("alt") for each in reader.of("img"))
    drawn = [each for each in reader.of("svg") if each.get("aria-hidden") != "true"]
    assert len(drawn) >= 4
    assert all(each["role"] == "img" and len(each["aria-label"]) > 40 for each in drawn)
    assert all(each.get("scope") in ("col", "row") for each in reader.of("th"))
    assert len(reader.of("caption")) == len(reader.of("table"))
    assert reader.of("html")[0]["lang"] == "en"
    assert "prefers-color-scheme:dark" in page


def test_page_markdown_and_json_say_the_same(found, folders, page, tmp_path):
    text = markdown(found)
    assert main(["report", *map(str, folders), "--json", str(tmp_path / "r.json"), "--md", str(tmp_path / "r.md")]) == 0
    told = json.loads((tmp_path / "r.json").read_text())["benchmarks"][0]
    assert (tmp_path / "r.md").read_text() == text
    words = " ".join(read(page).words)
    for system in told["systems"]:
        value, (low, high) = system["scores"]["places"]["geoscore"]
        assert f"{value:,.0f} ({low:,.0f}–{high:,.0f})" in text
        assert f"{value:,.0f}" in words
        assert f"{low:,.0f}–{high:,.0f}" in words
    assert json.loads(json.dumps(told)) == told
    assert "<img" not in text
    assert "<script" not in text
    assert "data:image" not in text


def test_missing_predictions_are_in_every_table(found):
    table = report_tables.asked(found[0])
    row = dict(zip(table.columns, table.rows[1], strict=True))
    assert (row["system"], row["attempted"], row["missing"]) == ("middling", "60", "2")


def test_lexical_marks_stand_in_a_table_of_their_own(found, page):
    assert "Answers in words, lexical: not judged" in page
    assert "judged by" not in re.sub(r"not to be compared.*?marks", "", " ".join(read(page).words))


def test_published_rows_are_never_among_measured_ones(tmp_path):
    make_run(tmp_path / "a", "mine", benchmark="im2gps3k")
    (section,) = sections([tmp_path / "a"])
    tables = [*report_tables.places(section), report_tables.asked(section)]
    names = {str(row[0]) for table in tables for row in table.rows}
    assert names == {"mine"}
    (theirs,) = report_tables.published(section)
    assert len(theirs.rows) == len(published.rows("im2gps3k")) > 3
    assert all(str(row[0]).endswith("(published)") for row in theirs.rows)
    assert "nothing here was measured" in theirs.note


def test_runs_of_other_data_are_another_section(tmp_path, folders):
    other = make_run(tmp_path / "x", "mine", benchmark="else")
    assert [len(section.examined) for section in sections([*folders, other], compared=False)] == [3, 1]
    assert runs_in(folders[0].parent) == folders
    with pytest.raises(InputError, match="holds no run, nor"):
        runs_in(tmp_path / "nothing")


def test_places_and_questions_of_one_benchmark_are_told_apart(tmp_path):
    parts = []
    for only in ("locate", "ask"):
        asked = [item for item in items(8) if item.kind == only]
        header = RunHeader("toy", "1", "ab" * 32, "mine", {"only": only})
        with RunWriter(tmp_path / only, header, asked) as writer:
            for item in asked:
                writer.append(predicted(item, np.random.default_rng(0), 100.0))
        parts.append(tmp_path / only)
    assert [section.title for section in sections(parts)] == ["Toy: places", "Toy: questions"]


def test_systems_of_one_name_are_called_by_their_folders(tmp_path):
    twice = [make_run(tmp_path / name, "mine", seed=seed, count=8) for seed, name in enumerate(("one", "two"))]
    (section,) = sections(twice)
    assert [each.name for each in section.examined] == ["mine (one)", "mine (two)"]
    assert (section.comparisons[0]["one"], section.comparisons[0]["other"]) == ("mine (one)", "mine (two)")
    many = [make_run(tmp_path / str(n), f"system {n}", seed=n, count=8) for n in range(10)]
    page = html(sections(many, compared=False))
    assert "The charts show 8 of 10 systems" in page
    assert page.count('class="s7"') > 0


def test_scores_older_than_predictions_are_made_anew(tmp_path):
    folder = make_run(tmp_path / "a", "mine")
    (folder / "scores.json").write_text('{"n": "old"}')
    past = (folder / "predictions.jsonl").stat().st_mtime - 10
    __import__("os").utime(folder / "scores.json", (past, past))
    assert examined(folder).scores["n"]["attempted"] == 60
    (folder / "judged.json").write_text("{torn")
    with pytest.raises(InputError, match="is damaged"):
        examined(folder)


def test_cases_are_the_worst_the_best_and_small_splits(found):
    cases = groups(found[0].first, picture)
    best, worst = ([case.error_km for case in cases[name]] for name in ("The best", "The worst"))
    assert best == sorted(best)
    assert worst == sorted(worst, reverse=True)
    assert max(best) <= min(worst)
    few = cases["One by one: few"]
    assert [case.item.id for case in few] == [f"ISS050-E-{n:05d}" for n in range(3)]
    assert [case.picture is None for case in few] == [False, True, False], (
        "a picture that is missing is a gap, no crash"
    )
    assert len(few[0].picture) < 40_000
    assert set(cases) >= {"Words marked highest"}


def test_astronauts_photographs_are_linked_where_nasa_shows_them():
    url = "https://eol.jsc.nasa.gov/SearchPhotos/photo.pl?mission=ISS050&roll=E&frame=70536"
    assert astronaut_link("ISS050-E-70536") == url
    for name in ("paris", "ISS050-E-x", "ISS050", "XX1-E-5", "ISS050-E-70536/long"):
        assert astronaut_link(name) is None


def test_the_error_curve_never_reaches_what_was_not_answered(found):
    located = [(i, p) for i, p in found[0].examined[1].run.pairs() if i.kind == "locate"]
    answers = Answers.of(located)
    drawn = charts.error_curve({"b": answers})
    assert f"{100 * float((answers.error_km <= 2500).mean()):.0f} % within 2,500 km" in drawn
    lines = re.findall(r'class="line" d="([^"]+)"', drawn)[0]
    tops = [float(y) for _, y in re.findall(r"([\d.]+) ([\d.]+)", lines)]
    assert tops == sorted(tops, reverse=True), "it only rises"
    assert tops[-1] > charts.TOP + 0.1, "two were lost"
    assert charts.error_curve({}) == ""


def test_arcs_follow_great_circles_and_cross_the_antimeridian():
    lat, lon = error_map.arc(np.array([0.0, 170.0]), np.array([0.0, -170.0]))
    assert np.allclose(lat, 0, atol=1e-9)
    assert np.abs(np.asarray(lon)).min() > 169.9, "the short way"
    for start, end in (([10, 20], [10, 20]), ([0, 0], [0, 180]), ([90, 0], [-90, 0])):
        assert np.isfinite(error_map.arc(np.array(start, float), np.array(end, float))).all()


def test_the_map_tells_shares_in_words(found):
    located = [(i, p) for i, p in found[0].examined[1].run.pairs() if i.kind == "locate"]
    drawn = error_map.draw(Answers.of(located), "b <i>")
    assert "b &lt;i&gt;" in drawn
    assert re.search(r"\d+ % no answer", drawn)
    assert error_map.draw(Answers.of([]), "none") == ""


def test_the_command_prints_markdown_and_still_reads_special_reports(folders, capsys, tmp_path):
    assert main(["report", str(folders[0]), "--no-comparisons"]) == 0
    assert "| good &lt;script>" in capsys.readouterr().out
    committed = Path(__file__).parents[2] / "docs" / "results" / "orbit.json"
    if committed.is_file():
        assert main(["report", str(committed)]) == 0
        assert "| split | system |" in capsys.readouterr().out
    (tmp_path / "bad.json").write_text("{}")
    assert main(["report", str(tmp_path / "bad.json")]) == 2
    assert "is not a report" in capsys.readouterr().err
    assert main(["report", str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err


def test_a_benchmark_that_is_not_here_is_shown_without_pictures(folders, tmp_path, caplog):
    assert main(["report", str(folders[2]), "--html", str(tmp_path / "sub" / "r.html")]) == 0
    assert "is shown without pictures" in caplog.text
    assert "no picture" in (tmp_path / "sub" / "r.html").read_text()


@pytest.mark.skipif(not Path("/usr/bin/chromium").exists(), reason="there is no Chromium at /usr/bin/chromium")
def test_a_browser_shows_it_in_both_lights_and_asks_for_nothing(page, tmp_path):
    sync_api = pytest.importorskip("playwright.sync_api")
    (tmp_path / "r.html").write_text(page, encoding="utf-8")
    with sync_api.sync_playwright() as played:
        browser = played.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-background-networking"]
        )
        seen = {}
        for light in ("light", "dark"):
            shown = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme=light)
            told = []
            shown.on("console", lambda message, told=told: told.append(message.text))
            shown.on("request", lambda sent, told=told: told.append(sent.url) if sent.url[:4] == "http" else None)
            shown.goto((tmp_path / "r.html").as_uri(), timeout=120_000)
            assert told == []
            assert shown.evaluate("document.documentElement.scrollWidth") == 390, "nothing sticks out on a phone"
            seen[light] = shown.evaluate("getComputedStyle(document.body).backgroundColor")
        browser.close()
    assert seen["light"] != seen["dark"]
