"""Batches: what is kept, what is tried again, what stops them, and how long they say they will take."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from gaea.answer import Answer, Point
from gaea.app import batch
from gaea.app.batch import Progress, duration, run
from gaea.app.journal import Journal
from gaea.app.listing import Listed, photos
from gaea.errors import InputError, ModelError, PhotoError

ASKED = {"model": "fake", "disclosure": "city"}


def files(folder: Path, count: int) -> list[Listed]:
    folder.mkdir(exist_ok=True)
    for number in range(count):
        (folder / f"{number:02}.jpg").write_bytes(bytes([number]))
    return photos([str(folder)])


def answer(one: Listed) -> Answer:
    return Answer(question="?", text=one.path.name, point=Point(float(one.path.stem), 0.0))


def test_every_photo_is_asked_about_once_and_in_order(tmp_path: Path) -> None:
    listed, asked = files(tmp_path / "p", 12), []

    def ask(one: Listed) -> Answer:
        asked.append(one.path.name)
        return answer(one)

    with Journal(tmp_path / "j", ASKED) as journal:
        told = run(listed, ask, journal, workers=4)
    assert [each.text for each in told] == [one.path.name for one in listed]
    assert sorted(asked) == [one.path.name for one in listed]
    with Journal(tmp_path / "j", ASKED) as journal:
        again = run(listed, ask, journal, workers=4)
    assert len(asked) == 12
    assert [each.to_dict() for each in again] == [each.to_dict() for each in told]


def test_half_a_line_is_cut_off_and_that_photo_is_asked_about_again(tmp_path: Path) -> None:
    listed = files(tmp_path / "p", 3)
    with Journal(tmp_path / "j", ASKED) as journal:
        run(listed, answer, journal)
    whole = (tmp_path / "j").read_bytes()
    for cut in (1, 5, len(whole.splitlines(keepends=True)[-1])):
        (tmp_path / "j").write_bytes(whole[:-cut])
        seen: list[int] = []
        with Journal(tmp_path / "j", ASKED) as journal:
            told = run(listed, answer, journal, tell=lambda p, seen=seen: seen.append(p.known))  # type: ignore[misc]
        assert seen == [2]
        assert [each.text for each in told] == ["00.jpg", "01.jpg", "02.jpg"]
        lines = [json.loads(line) for line in (tmp_path / "j").read_text().splitlines()[1:]]
        assert len(lines) == len({line["photo"] for line in lines}) == 3


def test_a_photo_that_was_changed_is_asked_about_again(tmp_path: Path) -> None:
    listed, asked = files(tmp_path / "p", 2), []
    for content in (b"changed", b"changed again, and longer", None):
        with Journal(tmp_path / "j", ASKED) as journal:
            run(listed, lambda one: (asked.append(one.path.name), answer(one))[1], journal)
        if content:
            listed[0].path.write_bytes(content)
    assert asked.count("00.jpg") == 3
    assert asked.count("01.jpg") == 1


def test_bad_photos_are_named_kept_and_in_nobodys_way(tmp_path: Path) -> None:
    listed = files(tmp_path / "p", 20)

    def ask(one: Listed) -> Answer:
        if int(one.path.stem) < 12:  # more in a row than a model may fail
            raise PhotoError(f"{one.path.name}: damaged\nin many lines")
        return answer(one)

    seen: list[int] = []
    with Journal(tmp_path / "j", ASKED) as journal:
        told = run(listed, ask, journal, workers=3, tell=lambda p: seen.append(p.failed))
    assert told[:12] == [f"{n:02}.jpg: damaged" for n in range(12)]
    assert all(isinstance(each, Answer) for each in told[12:])
    assert max(seen) == 12
    with Journal(tmp_path / "j", ASKED) as journal:
        assert run(listed, None, journal) == told  # type: ignore[arg-type]


def test_what_is_not_the_photos_fault_is_told_and_tried_again(tmp_path: Path) -> None:
    listed = files(tmp_path / "p", 4)

    def ask(one: Listed) -> Answer:
        if one.path.stem == "01":
            raise ModelError("no reply")
        if one.path.stem == "02":
            raise ZeroDivisionError("unforeseen by anybody")
        return answer(one)

    with Journal(tmp_path / "j", ASKED) as journal:
        told = run(listed, ask, journal)
    assert told[1] == "no reply"
    assert told[2] == "unforeseen ZeroDivisionError: unforeseen by anybody"
    with Journal(tmp_path / "j", ASKED) as journal:
        assert [each.text for each in run(listed, answer, journal)] == [one.path.name for one in listed]


def test_a_model_that_keeps_failing_ends_the_batch(tmp_path: Path) -> None:
    listed, asked = files(tmp_path / "p", 40), []

    def ask(one: Listed) -> Answer:
        asked.append(one)
        raise ModelError("the server is down")

    with Journal(tmp_path / "j", ASKED) as journal, pytest.raises(ModelError, match=r"in a row failed.*server is down"):
        run(listed, ask, journal, workers=4)
    assert batch.MOST_IN_A_ROW <= len(asked) < 20


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = files(tmp_path / "p", 6)
    synced = []

    def full(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == 3:
            raise OSError(28, "No space left on device")

    with Journal(tmp_path / "j", ASKED) as journal:
        monkeypatch.setattr("gaea.app.journal.os.fsync", full)
        with pytest.raises(InputError, match=r"j: cannot be written \(No space left on device\); make room"):
            run(listed, answer, journal, workers=1)
        monkeypatch.undo()
    kept = (tmp_path / "j").read_bytes()
    assert kept.endswith(b"\n")
    assert len(kept.splitlines()) == 1 + 2
    with Journal(tmp_path / "j", ASKED) as journal:
        assert [each.text for each in run(listed, answer, journal)] == [one.path.name for one in listed]


def test_a_journal_belongs_to_its_questions_and_to_one_process(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", ASKED), pytest.raises(InputError, match="another gaea locate is writing"):
        Journal(tmp_path / "j", ASKED)
    with pytest.raises(InputError, match="was begun with disclosure 'city' and not 'precise'"):
        Journal(tmp_path / "j", ASKED | {"disclosure": "precise"})
    (tmp_path / "other").write_text("photo,lat\n")
    with pytest.raises(InputError, match="no journal of gaea locate"):
        Journal(tmp_path / "other", ASKED)
    assert (tmp_path / "other").read_text() == "photo,lat\n"
    with pytest.raises(InputError, match="cannot be written"):
        Journal(tmp_path / "none" / "j", ASKED)
    assert (tmp_path / "j").stat().st_mode & 0o077 == 0


def test_several_photos_are_under_way_at_once(tmp_path: Path) -> None:
    listed, together = files(tmp_path / "p", 3), threading.Barrier(3)

    def ask(one: Listed) -> Answer:
        together.wait(60)  # passes only if three are there
        return answer(one)

    with Journal(tmp_path / "j", ASKED) as journal:
        assert len(run(listed, ask, journal, workers=3)) == 3


def test_pace_and_time_left(tmp_path: Path) -> None:
    now = iter(range(0, 100, 2))
    lines: list[str] = []
    with Journal(tmp_path / "j", ASKED) as journal:
        told = run(
            files(tmp_path / "p", 5),
            answer,
            journal,
            workers=1,
            limit=3,
            tell=lambda p: lines.append(p.line()),
            clock=lambda: next(now),
        )
    assert lines[-1] == "3 of 5 · 0.5 a second · 4 s left"
    assert told[3:] == ["", ""]
    assert Progress(10).line() == "0 of 10"
    assert [duration(s) for s in (4, 200, 11_100)] == ["4 s", "3 min", "3 h 5 min"]


def test_photos_of_folders_files_and_tables_each_once(tmp_path: Path) -> None:
    files(tmp_path / "p", 2)
    (tmp_path / "p" / "sub").mkdir()
    (tmp_path / "p" / "sub" / "x.PNG").write_bytes(b"x")
    (tmp_path / "p" / "notes.txt").write_text("no photo")
    (tmp_path / "list.csv").write_text("Photo,what\np/00.jpg,a\np/sub/x.PNG,b\n")
    listed = photos([str(tmp_path / "p"), str(tmp_path / "list.csv"), str(tmp_path / "p" / "01.jpg")])
    assert [one.path.name for one in listed] == ["00.jpg", "01.jpg", "x.PNG"]
    only, _ = photos([str(tmp_path / "list.csv")])
    assert (only.name, only.path) == ("p/00.jpg", tmp_path / "p" / "00.jpg")
    (tmp_path / "bad.csv").write_text("what\na\n")
    (tmp_path / "out.csv").write_text("photo\n../../etc/passwd\n")
    for source, message in (("bad.csv", "no column of paths"), ("nowhere", "no such file"), ("out.csv", "not inside")):
        with pytest.raises(InputError, match=message):
            photos([str(tmp_path / source)])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no photo is there"):
        photos([str(tmp_path / "empty")])
