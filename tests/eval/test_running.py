"""Runs: on the disk as they go, whole after a kill, the same with the same seed, and nothing lost on the way."""

import dataclasses
import http.server
import json
import logging
import runpy
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gaea.errors import InputError
from gaea.eval.__main__ import main
from gaea.eval.endpoint_system import EndpointSystem, estimate, messages
from gaea.eval.records import Item
from gaea.eval.running import Plan, Progress, header_of, run
from gaea.eval.runs import PREDICTIONS, read_run
from gaea.eval.scoring import score

TOY = Path(__file__).with_name("toy_examination.py")
toy, Eastward = (runpy.run_path(str(TOY))[name] for name in ("toy", "Eastward"))


def without_time(folder):
    rows = [json.loads(line) for line in (folder / PREDICTIONS).read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def scored(folder):
    told = score(read_run(folder))
    return {key: value for key, value in told.items() if key != "timing"}


def test_a_run_killed_half_way_goes_on_to_the_same_result(tmp_path):
    started = subprocess.Popen([sys.executable, str(TOY), str(tmp_path / "killed")])
    lines = tmp_path / "killed" / PREDICTIONS
    for _ in range(1200):
        if lines.exists() and lines.read_bytes().count(b"\n") >= 5:
            break
        time.sleep(0.05)
    started.kill()
    started.wait()
    half = lines.read_bytes().count(b"\n")
    assert 5 <= half < 40
    system = Eastward()
    run(toy(), system, Plan(), tmp_path / "killed")
    assert len(system.asked) == 40 - half
    run(toy(), Eastward(), Plan(), tmp_path / "whole")
    assert without_time(tmp_path / "killed") == without_time(tmp_path / "whole")
    assert scored(tmp_path / "killed") == scored(tmp_path / "whole")


def test_two_runs_with_one_seed_are_identical_and_threads_change_nothing(tmp_path):
    for name, at_once in (("one", 1), ("two", 1), ("threads", 5)):
        run(toy(), Eastward(at_once=at_once), Plan(limit=15, seed=4), tmp_path / name)
    assert without_time(tmp_path / "one") == without_time(tmp_path / "two") == without_time(tmp_path / "threads")
    assert scored(tmp_path / "one") == scored(tmp_path / "two")
    other = run(toy(), Eastward(), Plan(limit=15, seed=5), tmp_path / "other")
    assert [item.id for item in other.items] != [item.id for item in read_run(tmp_path / "one").items]


def test_shards_together_are_the_whole(tmp_path):
    run(toy(), Eastward(), Plan(), tmp_path / "whole")
    for n in (1, 2, 3):
        run(toy(), Eastward(), Plan(shard=f"{n}/3"), tmp_path / str(n))
    together = score(read_run(*(tmp_path / str(n) for n in (1, 2, 3))))
    assert together["places"] == score(read_run(tmp_path / "whole"))["places"]


def test_what_fails_is_noted_and_asked_again_only_on_request(tmp_path):
    benchmark = toy(10, lost=(3,))
    made = run(benchmark, Eastward(failing=(7,)), Plan(), tmp_path)
    assert made.predictions["i3"].error == "3.jpg: no such file"
    assert made.predictions["i7"].status == "error"
    told = score(made)
    assert told["n"]["error"] == 2
    assert told["errors"] == {"3.jpg: no such file": 1, "the model fell over at …": 1}
    assert told["places"]["within_200_km"][0] == 0.8
    still = Eastward()
    run(benchmark, still, Plan(), tmp_path)
    assert still.asked == []
    mended = run(toy(10), still, dataclasses.replace(Plan(), again=True), tmp_path)
    assert still.asked == ["i3", "i7"]
    assert score(mended)["n"]["answered"] == 10
    assert not mended.faults


def test_another_run_is_not_continued(tmp_path):
    run(toy(), Eastward(), Plan(limit=3), tmp_path)
    for changed in (Plan(limit=4), Plan(limit=3, seed=1)):
        with pytest.raises(InputError, match="holds another run"):
            run(toy(), Eastward(), changed, tmp_path)


def test_the_header_says_what_has_to_be_known():
    header = header_of(toy(), Eastward(), Plan(limit=3, seed=9))
    assert (header.seed, header.settings["limit"], header.settings["by"]) == (9, 3, 1.0)
    assert header.data_sha256 == toy().sha256
    assert "≤" in header.contract
    assert header.started.endswith("+00:00")


def test_progress_tells_a_running_score(tmp_path):
    said = []
    items = toy(4).items
    progress = Progress(items, {}, said.append, every_s=0)
    system = Eastward(failing=(1,))
    run(toy(4), system, Plan(), tmp_path, tell=said.append)
    progress(items[0], read_run(tmp_path).predictions["i0"])
    assert said[-1].startswith("1 of 4; median 111 km, 100.0 % ≤ 200 km, GeoScore 4,641")
    assert "4 of 4" in said[0]
    assert "1 error" in said[0]


def test_a_plan_that_leaves_nothing_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no item of kind 'ask'"):
        run(toy(), Eastward(), Plan(only="ask"), tmp_path)
    with pytest.raises(InputError, match="no items"):
        run(toy(0), Eastward(), Plan(), tmp_path)


class Voice:
    """An engine that says what it is told to."""

    name, has_geotokens = "a voice", False

    def __init__(self, said):
        self.said, self.sizes, self.heard = said, [], []

    def see(self, image):
        self.sizes.append(image.size)
        return image

    def complete(self, messages, sight, *, max_new_tokens=160):
        self.heard.append(messages)
        return self.said


@pytest.mark.parametrize(
    ("said", "status", "point"),
    [
        ('{"candidates": [{"place": "Lyon, France", "lat": 45.75, "lon": 4.85}]}', "answered", (45.75, 4.85)),
        ("I am sorry, but I cannot determine the location of this image.", "refused", None),
        ("What a lovely picture", "unparsable", None),
        ("  ", "unparsable", None),
    ],
)
def test_an_endpoint_is_asked_in_words_and_its_words_are_read(said, status, point):
    voice = Voice(said)
    system = EndpointSystem({"side": "4", "at_once": 2}, engine=voice)
    whole = toy(2)
    made = system.predict(whole.items[0], whole.picture)
    assert (made.status, made.point, made.text) == (status, point, said)
    assert voice.sizes == [(4, 3)]


def test_an_endpoint_is_asked_the_question_itself():
    voice = Voice("True")
    item = Item("q", "toy", "ask", "0.jpg", "True or false: it is hot.", "true_false")
    made = EndpointSystem({}, engine=voice).predict(item, lambda _: toy(1).picture(toy(1).items[0]))
    assert made.status == "answered"
    assert voice.heard[0] == messages(item)
    assert voice.heard[0][0]["content"][1]["text"] == item.question


def test_an_endpoint_that_is_not_one_says_so():
    with pytest.raises(InputError, match="needs its URL"):
        EndpointSystem({})
    with pytest.raises(InputError, match="no setting 'modell'"):
        EndpointSystem({"url": "http://localhost:9/v1", "modell": "x"})
    with pytest.raises(InputError, match="no number"):
        EndpointSystem({"at_once": "many"}, engine=Voice(""))


def test_cost_is_estimated_before_anything_is_sent():
    told = estimate(toy(100).items, 1024, (2.5, 10.0))
    assert told.requests == 100
    assert told.tokens_in > 100 * (85 + 4 * 170)
    assert told.cost == pytest.approx((2.5 * told.tokens_in + 10 * told.tokens_out) / 1e6)
    assert "about" in told.line()
    assert estimate(toy(1).items, 512, None).cost is None


def test_the_command_runs_scores_and_lists(tmp_path, capsys, caplog):
    (tmp_path / "metadata.csv").write_text(
        "file_name,latitude,longitude\n" + "\n".join(f"{n}.jpg,{n},{n}" for n in range(9))
    )
    (tmp_path / "p.csv").write_text("filename,lat,lon\n" + "\n".join(f"{n}.jpg,{n},{n}" for n in range(8)))
    asked = ["run", "folder", "--root", str(tmp_path), "--system", "file", "--set", f"path={tmp_path / 'p.csv'}"]
    with caplog.at_level(logging.INFO):
        assert main([*asked, "--out", str(tmp_path / "run")]) == 0
    assert "items without a prediction, counted as misses: 1 (8.jpg)" in caplog.text
    assert "9 attempted, 8 answered, 1 missing" in capsys.readouterr().out
    assert main(["score", str(tmp_path / "run"), "--resamples", "50"]) == 0
    assert json.loads((tmp_path / "run/scores.json").read_text())["resamples"] == 50
    assert main(["list", "--published"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in ("gaea-bench", "osv5m", "always-true", "GeoRanker"))
    assert main(["run", "folder", "--root", str(tmp_path), "--system", "fil"]) == 2
    assert "did you mean 'file'" in capsys.readouterr().err
    assert main(["run", "folder", "--root", str(tmp_path), "--set", "x"]) == 2


class Fickle(http.server.BaseHTTPRequestHandler):
    """An OpenAI-compatible server that answers, fails and refuses in turn."""

    asked = 0

    def log_message(self, *_):
        pass

    def reply(self, status, content):
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.reply(200, {"data": [{"id": "fickle"}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.path.endswith("/chat/completions"):
            self.reply(404, {})
            return
        number = Fickle.asked
        Fickle.asked += 1
        assert body["temperature"] == 0
        assert "image_url" in json.dumps(body["messages"])
        if number % 4 == 1:
            self.reply(500, {"error": {"message": "out of memory"}})
        elif number % 4 == 2:
            self.reply(200, {"choices": []})
        else:
            said = (
                "I cannot determine where this is." if number % 4 == 3 else '{"candidates": [{"lat": 0.0, "lon": 1.0}]}'
            )
            self.reply(200, {"choices": [{"message": {"content": said}}]})


def test_a_fickle_endpoint_is_counted_and_named(tmp_path):
    pytest.importorskip("httpx")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Fickle)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/v1"
        system = EndpointSystem({"url": url, "at_once": "1", "timeout": "60"})
        made = run(toy(8), system, Plan(), tmp_path)
        assert f"fickle at {url}" in system.name
        system.close()
    finally:
        server.shutdown()
        server.server_close()
    told = score(made)
    assert {name: count for name, count in told["n"].items() if count} == {
        "attempted": 8, "answered": 2, "refused": 2, "error": 4,
    }  # fmt: skip
    assert any("HTTP 500: out of memory" in reason for reason in told["errors"])
    assert any("sent no text back" in reason for reason in told["errors"])
