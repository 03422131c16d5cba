"""The task folder for lmms-eval: what it holds follows that harness's own schema, and scores as this one does."""

import ast
import collections
import importlib.util
import math

import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from gaea.errors import InputError, PhotoError
from gaea.eval import lmms
from gaea.eval.__main__ import main
from gaea.eval.benchmark import Benchmark
from gaea.eval.choices import chosen
from gaea.eval.lexical import f1
from gaea.eval.records import GroundTruth, Item
from gaea.eval.yesno import verdict
from gaea.photo import Photo
from gaea.sphere import great_circle_km

# Fields of lmms-eval 0.7's TaskConfig that this task sets; `python -m lmms_eval` refuses others.
FIELDS = {
    "task", "dataset_path", "dataset_kwargs", "test_split", "output_type", "doc_to_visual", "doc_to_text",
    "doc_to_target", "process_results", "generation_kwargs", "metric_list", "lmms_eval_specific_kwargs", "metadata",
}  # fmt: skip


def item(name, kind, **truth):
    question = "Which country? A) Libya B) Egypt" if kind == "choice" else "Where?"
    return Item(name, "toy", "ask" if kind else "locate", f"{name}.jpg", question, kind, GroundTruth(30, 31, **truth))


@pytest.fixture
def toy():
    items = (
        item("place", None, city="Cairo", country="EG"),
        item("where", "location", answer="Cairo, Egypt"),
        item("which", "choice", answer="B", choices=("Libya", "Egypt")),
        item("whether", "true_false", answer="true"),
        item("what", "short", answer="Egypt"),
        item("tell", "long", answer="This is Cairo in Egypt."),
        item("gone", "short", answer="Egypt"),
    )

    def picture(one):
        if one.id == "gone":
            raise PhotoError("gone.jpg is missing")
        return Photo.open(Image.new("RGB", (40, 30), (10, 120, 60)))

    return Benchmark("toy-bench", "1", items, None, {}, picture)


@pytest.fixture
def task(toy, tmp_path):
    told = lmms.export(tmp_path, toy)
    folder = tmp_path / told["task"]
    return told, folder, functions_of(folder)


def functions_of(folder):
    """As lmms-eval loads it: under no name that modules are found by."""
    spec = importlib.util.spec_from_file_location("utils", folder / "utils.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def config_of(folder):
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda loader, node: f"!function {loader.construct_scalar(node)}")
    (path,) = folder.glob("*.yaml")
    return yaml.load(path.read_text(encoding="utf-8"), Loader)


def test_the_folder_follows_the_schema(task):
    told, folder, functions = task
    config = config_of(folder)
    assert set(config) == FIELDS
    assert config["task"] == told["task"] == "toy_bench_coordinates"
    assert config["dataset_path"] == "parquet"
    assert config["dataset_kwargs"] == {"data_files": {"test": "test.parquet"}}
    assert config["generation_kwargs"]["until"] == [], "an answer may have paragraphs"
    named = [value.removeprefix("!function utils.") for value in config.values() if str(value).startswith("!function")]
    named += ["median"]
    assert all(callable(getattr(functions, name)) for name in named)
    metrics = {each["metric"]: each for each in config["metric_list"]}
    assert tuple(metrics) == lmms.METRICS
    assert metrics["median_km"]["aggregation"] == "!function utils.median"
    assert {m["aggregation"] for m in metrics.values() if m["metric"] != "median_km"} == {"mean"}
    assert "judged ones" in (folder / "README.md").read_text(encoding="utf-8")


def test_rows_carry_pictures_and_coordinates(task):
    told, folder, _ = task
    assert (told["written"], told["without a picture"]) == (6, 1)
    table = pq.read_table(folder / "test.parquet")
    assert b"Image" in table.schema.metadata[b"huggingface"]
    rows = table.to_pylist()
    assert [row["question_type"] for row in rows] == ["LOC", "LOC", "MCQ", "TF", "SVQA", "LVQA"]
    assert (rows[0]["lat"], rows[0]["lon"], rows[0]["answer"]) == ("30", "31", "Cairo, EG")
    assert rows[0]["image"]["bytes"][:3] == b"\xff\xd8\xff"


def test_the_harness_sees_a_picture_and_a_question(task):
    datasets = pytest.importorskip("datasets")
    _, folder, functions = task
    features = datasets.Features.from_arrow_schema(pq.read_schema(folder / "test.parquet"))
    assert isinstance(features["image"], datasets.Image)
    rows = pq.read_table(folder / "test.parquet").to_pylist()
    doc = rows[2] | {"image": features["image"].decode_example(rows[2]["image"])}
    assert functions.doc_to_visual(doc)[0].size == (40, 30)
    wanted = config_of(folder)["lmms_eval_specific_kwargs"]["default"]
    assert functions.doc_to_text(doc, wanted).endswith("\nAnswer with the letter of the right option.")
    assert functions.doc_to_text(rows[1], wanted).endswith('{"lat": …, "lon": …}.')
    assert functions.doc_to_text(rows[5]) == "Where?"


def test_scores_are_those_of_this_harness(task):
    _, folder, functions = task
    place, _, which, whether, what, _ = pq.read_table(folder / "test.parquet").to_pylist()
    for said in ('{"lat": 30.2, "lon": 31.1}', "30.2° N, 31.1° E", "Perhaps at 30.2000, 31.1000."):
        made = functions.process_results(place, [said])
        assert made["median_km"] == pytest.approx(float(great_circle_km(30, 31, 30.2, 31.1)))
        assert (made["within_25_km"], made["within_1_km"], made["unparsable"]) == (1.0, 0.0, 0.0)
        assert made["geoscore"] == pytest.approx(5000 * math.exp(-made["median_km"] / 1492.7))
    missed = functions.process_results(place, ["I cannot tell."])
    assert (missed["unparsable"], missed["within_2500_km"], missed["geoscore"]) == (1.0, 0.0, 0.0)
    assert functions.process_results(place, [""])["median_km"] == functions.FARTHEST_KM
    assert functions.process_results(which, ["It is Egypt."]) == {"choice": 1.0, "unparsable": 0.0}
    assert functions.process_results(which, ["A or B"]) == {"choice": 0.0, "unparsable": 1.0}
    assert functions.process_results(whether, ["Yes."]) == {"true_false": 1.0, "unparsable": 0.0}
    assert functions.process_results(what, ["Egypt"])["short_overlap"] == 1.0
    assert functions.median([3, 1, 2]) == 2
    assert functions.median([4, 1, 2, 3]) == 2.5


def test_rows_of_the_hub_are_read_as_its_authors_write_them(task):
    """The picture beside its path, and questions as conversations."""
    _, _, functions = task
    told = [{"from": "human", "value": "<image>\nIs it?"}, {"from": "gpt", "value": "True"}]
    doc = {"image": "a/b.jpg", "file_name": Image.new("L", (4, 3)), "question_type": "TF", "conversations": told}
    assert functions.doc_to_visual(doc)[0].mode == "RGB"
    assert functions.doc_to_visual({"image": "a/b.jpg"}) == []
    assert (functions.doc_to_text(doc), functions.doc_to_target(doc)) == ("Is it?", "True")
    assert functions.process_results(doc, ["No."]) == {"true_false": 0.0, "unparsable": 0.0}


def test_the_copied_parsers_are_the_parsers(task):
    _, _, functions = task
    options = ("Egypt", "Côte d’Ivoire")
    for said in ("B", "cote d'ivoire", "not A, but B", "I cannot tell", "", "A) Côte d’Ivoire"):
        assert functions.chosen(said, options).value == chosen(said, options).value
        assert functions.verdict(said).value == verdict(said).value
        assert functions.f1(said, "It is Côte d'Ivoire") == f1(said, "It is Côte d'Ivoire")


def test_what_was_put_together_defines_each_name_once():
    names = collections.Counter(
        name
        for node in ast.parse(lmms.functions()).body
        for name in (
            [node.name]
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
            else [target.id for target in getattr(node, "targets", []) if isinstance(target, ast.Name)]
        )
    )
    assert [name for name, count in names.items() if count > 1] == []
    assert "gaea" not in {
        alias.name.split(".")[0]
        for node in ast.walk(ast.parse(lmms.functions()))
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert "from gaea" not in lmms.functions()


def test_data_may_stay_on_the_hub(tmp_path, capsys):
    assert main(["export", "lmms-eval", str(tmp_path)]) == 0
    config = config_of(tmp_path / "gaea_bench_coordinates")
    assert (config["dataset_path"], config["dataset_kwargs"]) == ("ucf-crcv/GAEA-Bench", {"token": True})
    assert "--tasks gaea_bench_coordinates" in capsys.readouterr().out


def test_what_cannot_be_written_is_told(toy, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        lmms.export(tmp_path / "file", toy)
    blind = Benchmark("toy", "1", toy.items[-1:], None, {}, toy.picture)
    with pytest.raises(InputError, match="none of its 1 pictures"):
        lmms.export(tmp_path, blind)
    assert main(["export", "lmms-eval", str(tmp_path), "--root", str(tmp_path)]) == 2
    assert "say which with --benchmark" in capsys.readouterr().err
