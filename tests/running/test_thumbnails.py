"""The pictures of a run's items: saved small, each once, beside the samples, and never through a link."""

import json
import os

import pytest
from illustrated import SHOTS, draw, make_question
from page_items import read_pictures
from PIL import Image

import gptalt_eval
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.pictures import make_picture, measure_thumbnail
from gptalt_eval.contract.record import Record
from gptalt_eval.contract.run import Run
from gptalt_eval.machine import storage
from gptalt_eval.running import thumbnails
from gptalt_eval.running.lmeval import evaluation
from gptalt_eval.running.lmeval.logged import dump_sample, restore_sample
from gptalt_eval.running.thumbnails import Thumbnails, list_pictures
from gptalt_eval.testing import make_plugin_set, make_scripted_model


def read_names(folder):
    return {f"sha256:{file.stem}" for file in (folder / "pictures").iterdir()}


def test_every_picture_of_the_samples_is_there_once(tmp_path, monkeypatch):
    made = []
    make = thumbnails.make_thumbnail
    monkeypatch.setattr(thumbnails, "make_thumbnail", lambda picture: made.append(picture) or make(picture))
    pictures = Thumbnails(tmp_path)
    questions = [make_question(n) for n in (3, 4, 3)]
    assert pictures.save(questions) == [] and pictures.save(questions) == []
    assert sorted(made) == sorted({*SHOTS, draw(3), draw(4)})
    assert read_names(tmp_path) == {*SHOTS, draw(3), draw(4)}
    record = Record(tmp_path, Run(), (), ())
    for name in read_names(tmp_path):
        assert measure_thumbnail(record.read_picture(name), name) == (240, 150)


def test_without_pictures_there_is_no_folder(tmp_path):
    assert Thumbnails(tmp_path).save([make_question(3, with_picture=False, shots=False)]) == []
    assert list(tmp_path.iterdir()) == []


def test_a_resumed_run_keeps_what_is_there(tmp_path):
    Thumbnails(tmp_path).save([make_question(3)])
    before = {file: (file.stat().st_ino, file.read_bytes()) for file in (tmp_path / "pictures").iterdir()}
    Thumbnails(tmp_path).save([make_question(3), make_question(4)])
    assert len(list((tmp_path / "pictures").iterdir())) == len(before) + 1
    assert all((file.stat().st_ino, file.read_bytes()) == each for file, each in before.items())


def test_a_kill_leaves_no_half_of_a_picture(tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(storage.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Thumbnails(tmp_path).save([make_question(3)])
    assert list((tmp_path / "pictures").iterdir()) == []


def test_a_full_disk_is_an_error_of_the_run(tmp_path, monkeypatch):
    def fill(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage.os, "fsync", fill)
    with pytest.raises(OSError, match="No space"):
        Thumbnails(tmp_path).save([make_question(3)])


def test_a_picture_that_is_gone_meanwhile_does_not_take_the_results_with_it(tmp_path):
    file = tmp_path / "question.png"
    Image.new("RGB", (9, 9)).save(file)
    picture = make_picture(file)
    file.unlink()
    question = make_question(3)
    for _, _, shown in question["arguments"]:
        shown["visual"] = [picture, draw(4)]
    [fault] = Thumbnails(tmp_path).save([question])
    assert str(file) in fault.what
    assert read_names(tmp_path) == {draw(4)}


@pytest.mark.parametrize("kind", ["folder", "dangling folder", "file", "hard link", "pipe"])
def test_links_are_refused_before_anything_is_computed(tmp_path, kind):
    victim, run = tmp_path / "victim", tmp_path / "run"
    victim.mkdir()
    run.mkdir()
    (victim / "x").write_text("theirs")
    file = run / "pictures" / f"{draw(3).removeprefix('sha256:')}.webp"
    if kind == "folder":
        (run / "pictures").symlink_to(victim)
    elif kind == "dangling folder":
        (run / "pictures").symlink_to(tmp_path / "nowhere")
    else:
        file.parent.mkdir()
        {"file": lambda: file.symlink_to(victim / "x"), "hard link": lambda: file.hardlink_to(victim / "x"),
         "pipe": lambda: os.mkfifo(file)}[kind]()  # fmt: skip
    with pytest.raises(GptaltError, match="pictures"):
        Thumbnails(run)
    assert [each.name for each in victim.iterdir()] == ["x"] and (victim / "x").read_text() == "theirs"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    "arguments",
    [[], [()], [("p", "o")], [("p", "o", {})], [("p", "o", {"visual": None})], [("p", {"until": ["x"]})],
     [("p", "o", {"visual": [Image.new("RGB", (1, 1)), "sha256:x", None]})]],
)  # fmt: skip
def test_only_our_pictures_are_saved(arguments):
    assert list(list_pictures([{"arguments": arguments}])) == []


def test_samples_name_their_pictures_and_come_back(tmp_path):
    line = json.loads(dump_sample(make_question(3)))
    named = {"visual": [*map(str, SHOTS), str(draw(3))]}
    assert all(request["arg_2"] == named for request in line["arguments"].values())
    assert [request[2] for request in restore_sample(line, "multiple_choice")["arguments"]] == [named] * 3


def test_pictures_are_saved_only_with_samples(tmp_path, monkeypatch):
    """Of a whole run, whose requests get a picture as those of a task with pictures have one."""
    evaluate = evaluation.evaluate_task

    def add_pictures(*given):
        result = evaluate(*given)
        for number, sample in enumerate(result["samples"]["piqa"]):
            sample["arguments"] = [(*request, {"visual": [draw(number)]}) for request in sample["arguments"]]
        return result

    monkeypatch.setattr(evaluation, "evaluate_task", add_pictures)
    for log_samples in (True, False):
        out = tmp_path / str(log_samples)
        gptalt_eval.evaluate(
            "scripted", "piqa", data_dir="sample", limit=3, log_samples=log_samples, output_path=str(out),
            plugins=make_plugin_set(models=[make_scripted_model()]),
        )  # fmt: skip
        pictures = out / "scripted" / "pictures"
        assert pictures.is_dir() is log_samples
        page = (out / "scripted" / "report.html").read_text(encoding="utf-8")
        assert len(read_pictures(page)) == (3 if log_samples else 0)
    assert read_names(tmp_path / "True" / "scripted") == {draw(n) for n in range(3)}
