"""Other trainers' formats: what they load is what GAEA said, by their own code or by the rules of their pages."""

import importlib.util
import json

import pytest
from PIL import Image

from gaea.errors import InputError
from gaea.finetune.conversion import ConvertConfig, convert
from gaea.finetune.dataset import example_of
from gaea.finetune.exports import DATASET_INFO, ExportConfig, Trainer, export_row, import_row
from gaea.finetune.faults import FaultLog
from gaea.finetune.rowfiles import read_rows
from gaea.finetune.rowlayout import write_rows

datasets = pytest.importorskip("datasets", reason="reads exports back: pip install 'gaea-geo[index]'")


def row(number, *turns, **more):
    """A training row; even turns are asked."""
    said = [{"from": "human" if at % 2 == 0 else "gpt", "value": text} for at, text in enumerate(turns)]
    return {"image": f"{number}.png", "dataset": "MP16", "question_type": "SVQA", "conversations": said, **more}


ROWS = [
    row(0, "<image>\nWhere is this?", "Zürich", gaea={"lat": 47.4, "lon": 8.5, "facts": [{"value": "CH"}]}),
    row(1, "<image>\nWhich <b>sea</b>?", "None: it is \"inland\".", "Why?", "The hills.", gaea={"facts": [3, None]}),
    row(2, "<image>\nA) x B) y", "B) y", unique_id=5),
]  # fmt: skip
TWO = {**row(3, "<image>\n<image>\nWhich is older?", "The first."), "image": ["a.png", "b.png"]}
LATER = row(4, "Hello", "Hello.", "<image>\nAnd this?", "Lima.")


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for number in range(5):
        Image.new("RGB", (40, 30), (50 * number, 0, 0)).save(tmp_path / f"{number}.png")
    write_rows(tmp_path / "source.json", ROWS)
    return tmp_path / "source.json"


def load(path):
    return datasets.load_dataset("json", data_files=str(path), split="train")


def texts(messages):
    return [(one["role"], one["content"]) for one in messages]


every_trainer = pytest.mark.parametrize("trainer", list(Trainer))


@every_trainer
def test_there_and_back_is_the_same(source, tmp_path, trainer):
    convert(source, tmp_path / "out.jsonl", ConvertConfig(to=trainer, export=ExportConfig(facts=True)))
    convert(tmp_path / "out.jsonl", tmp_path / "back.json", ConvertConfig(to="train"))
    back = list(read_rows(tmp_path / "back.json"))
    assert back[:2] == ROWS[:2]
    assert back[2] == {**ROWS[2], "unique_id": "5"}  # columns are text


@every_trainer
def test_datasets_reads_every_export(source, tmp_path, trainer):
    config = ExportConfig(images={"MP16": "/pictures", "": "/other"}, system="Be brief.", facts=True)
    convert(source, tmp_path / "out.jsonl", ConvertConfig(to=trainer, export=config))
    rows = load(tmp_path / "out.jsonl")
    assert len(rows) == 3
    assert [one["images"] for one in rows] == [[f"/pictures/{n}.png"] for n in range(3)]
    assert json.loads(rows[0]["gaea"]) == ROWS[0]["gaea"]


def test_trl_takes_text_and_puts_the_picture_first(source, tmp_path):
    config = ExportConfig(system="Be brief.")
    convert(source, tmp_path / "out.jsonl", ConvertConfig(to="trl", export=config))
    assert texts(load(tmp_path / "out.jsonl")[1]["messages"]) == [
        ("system", "Be brief."),
        ("user", "Which <b>sea</b>?"),
        ("assistant", 'None: it is "inland".'),
        ("user", "Why?"),
        ("assistant", "The hills."),
    ]
    with pytest.raises(InputError, match="this conversation has them elsewhere"):
        export_row(example_of(LATER), Trainer.TRL)


@pytest.mark.slow  # importing TRL is
@pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="TRL is not installed")
@pytest.mark.filterwarnings("ignore")  # of TRL and what it imports; what it makes of our rows is what is tested
def test_trls_own_collator_makes_training_batches_of_an_export(source, tmp_path):
    import importlib.resources

    from transformers import AutoProcessor
    from trl.data_utils import is_conversational, prepare_multimodal_messages
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    export = ExportConfig(images={"": str(tmp_path)})
    convert(source, tmp_path / "out.jsonl", ConvertConfig(to="trl", export=export))
    rows = load(tmp_path / "out.jsonl").cast_column("images", datasets.List(datasets.Image()))
    assert is_conversational(rows[0])
    prepared = prepare_multimodal_messages(rows[1]["messages"], images=rows[1]["images"])
    assert [part["type"] for part in prepared[0]["content"]] == ["image", "text"]
    assert prepared[0]["content"][0]["image"].getpixel((0, 0)) == (50, 0, 0)
    processor = AutoProcessor.from_pretrained(str(importlib.resources.files("gaea") / "nano" / "llava"))
    batch = DataCollatorForVisionLanguageModeling(processor)([rows[n] for n in range(3)])
    assert batch["pixel_values"].shape[0] == 3
    texts_of = processor.tokenizer.batch_decode(batch["input_ids"], skip_special_tokens=True)
    for text, original in zip(texts_of, ROWS, strict=True):
        for turn in original["conversations"]:
            assert turn["value"].replace("<image>\n", "") in text


def test_swift_rows_follow_its_page(source, tmp_path):
    """Keys are messages, images and columns to drop; a tag stands for each picture; user and assistant alternate."""
    convert(source, tmp_path / "out.jsonl", ConvertConfig(to="ms-swift"))
    write_rows(tmp_path / "more.jsonl", [TWO, LATER])
    convert(tmp_path / "more.jsonl", tmp_path / "two.jsonl", ConvertConfig(to="ms-swift"))
    for one in [*read_rows(tmp_path / "out.jsonl"), *read_rows(tmp_path / "two.jsonl")]:
        assert {"messages", "images"} <= set(one) <= {"messages", "images", "dataset", "question_type", "unique_id"}
        said = texts(one["messages"])
        assert [role for role, _ in said] == ["user", "assistant"] * (len(said) // 2)
        assert "".join(text for _, text in said).count("<image>") == len(one["images"])
    with pytest.raises(InputError, match=r"ms-swift reads \.jsonl"):
        convert(source, tmp_path / "out.json", ConvertConfig(to="ms-swift"))


def test_llama_factory_rows_follow_its_page(source, tmp_path):
    (tmp_path / DATASET_INFO).write_text('{"mine": {"file_name": "mine.json"}}')
    config = ExportConfig(system="Be brief.")
    convert(source, tmp_path / "out.json", ConvertConfig(to="llama-factory", export=config))
    info = json.loads((tmp_path / DATASET_INFO).read_text())
    assert info["mine"] == {"file_name": "mine.json"}
    told = info["out"]
    assert told["formatting"] == "sharegpt"
    columns, tags = told["columns"], told["tags"]
    for one in load(tmp_path / told["file_name"]):
        said = one[columns["messages"]]
        roles = [turn[tags["role_tag"]] for turn in said]
        # Its converter takes rows whose turns alternate, user first, and are even in number; it skips all others.
        assert roles == [tags["user_tag"], tags["assistant_tag"]] * (len(said) // 2)
        assert "".join(turn[tags["content_tag"]] for turn in said).count("<image>") == len(one[columns["images"]])
        assert one[columns["system"]] == "Be brief."
    (tmp_path / DATASET_INFO).write_text("[]")
    with pytest.raises(InputError, match="is no JSON object"):
        convert(source, tmp_path / "out.json", ConvertConfig(to="llama-factory"))


@every_trainer
def test_several_pictures_keep_their_places(trainer):
    told = export_row(example_of(TWO), trainer)
    assert told["images"] == ["a.png", "b.png"]
    assert import_row(told).turns == example_of(TWO).turns


def test_foreign_rows_are_taken_in():
    blocks = {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Where?"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "Here."}]},
        ],
        "images": [{"bytes": None, "path": "a.png"}],
    }
    taken = import_row(blocks, question_type="LOC")
    assert (taken.images, taken.question_type) == (("a.png",), "LOC")
    assert [turn.text for turn in taken.turns] == ["<image>\nWhere?", "Here."]
    tight = {"messages": [{"role": "user", "content": "<image>Where?"}, {"role": "assistant", "content": "Here."}]}
    assert import_row({**tight, "images": ["a.png"]}).turns == taken.turns


def test_a_foreign_row_with_another_speaker_is_a_fault(tmp_path):
    rows = [
        {"messages": [{"role": who, "content": "x"}, {"role": "assistant", "content": "y"}]} for who in ("user", "tool")
    ]
    write_rows(tmp_path / "a.jsonl", rows)
    with pytest.raises(InputError, match=r"row 2 \(line 2\): 'tool' speaks"):
        convert(tmp_path / "a.jsonl", tmp_path / "b.json", ConvertConfig(to="train"))
    log = FaultLog()
    assert convert(tmp_path / "a.jsonl", tmp_path / "b.json", ConvertConfig(to="train", log=log)) == 1
    assert log.rows == 1
    with pytest.raises(InputError, match="say what it should become"):
        convert(tmp_path / "a.jsonl", tmp_path / "b.json")
