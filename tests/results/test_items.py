"""All items of some runs are in the page: what is read back is what the samples say."""

import json
import shutil
from itertools import pairwise

import pytest
from logged_runs import make_choice, write_run
from page_items import read_index, read_items, unpack
from rich.console import Console

from gptalt_eval.contract.models import Model
from gptalt_eval.contract.record import load_record
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.results.items import build as items_module
from gptalt_eval.results.items.build import make_items
from gptalt_eval.results.items.gathering import find_own, find_question, split_blocks, spread
from gptalt_eval.results.items.packing import pack, reduce, share, unshare
from gptalt_eval.results.report import render_report
from gptalt_eval.results.rows import read_logged
from gptalt_eval.running.api import run
from gptalt_eval.testing import hash_likelihood, make_plugin_set, make_scripted_model


def make_model(name, likelihood):
    made = make_scripted_model(likelihood, name=name)
    return Model(
        name, made.summary, made.licence, made.home, create=made.create, system_instruction="Be kind."
    )


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Two models, two prompt styles, two shot counts; choices, gaps, generated text with two filters, a group."""
    root = tmp_path_factory.mktemp("grid")
    models = [
        make_model("hash", hash_likelihood),
        make_model("long", lambda prompt, answer: float(len(answer))),
    ]
    spec = make_spec(
        {
            "model": "hash,long", "tasks": "arc_easy,winogrande,gsm8k,mmlu_stem", "num_fewshot": "0,2",
            "prompt_style": "standard,system", "data_dir": "sample", "output_path": str(root), "log_samples": True,
        }
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        return run(spec, make_plugin_set(models=models), Console(quiet=True))[0]


@pytest.fixture(scope="module")
def page(records):
    return render_report(records, make_plugin_set())


@pytest.fixture(scope="module")
def found(page):
    return read_items(page)


def list_lines(records, index):
    """Every saved sample of every arm, with the number of its arm."""
    for record in records:
        for result, results in enumerate(record.results):
            style, shots = results["config"]["prompt_style"], results["config"]["num_fewshot"]
            arm = index["arms"].index([record.model, style, f"{shots}-shot"])
            for task in results["configs"]:
                for line in record.read_samples(result, task):
                    yield task, arm, line


def test_every_item_of_every_arm_is_there_word_by_word(records, page, found):
    index = read_index(page)
    assert len(index["arms"]) == 8
    read = {(task, item["arm"], item["number"]): item for task, each in found.items() for item in each}
    seen = set()
    for task, arm, line in list_lines(records, index):
        item = read[task, arm, line["doc_id"]]
        seen.add((task, arm, line["doc_id"]))
        requests = [list(request.values()) for request in line["arguments"].values()]
        if task == "winogrande":
            whole = {item["shots"] + item["prompt"] + option for option in item["options"]}
            assert whole == {context + answer for context, answer in requests}
        else:
            assert item["shots"] + item["prompt"] == requests[0][0]
        extracted, metrics = item["filters"][line["filter"]]
        assert all(metrics[name] == pytest.approx(line[name]) for name in line["metrics"])
        assert item["gold"] == line["target"]
        if task == "gsm8k":
            assert item["replies"] == line["resps"][0] and extracted == line["filtered_resps"]
            assert item["options"] == item["likelihoods"] == []
        else:
            scores = [float(answer[0]) for answer in line["filtered_resps"]]
            assert item["likelihoods"] == pytest.approx(scores, rel=1e-3)
            assert item["chosen"] == scores.index(max(scores))
            assert (item["chosen"] == item["right"]) is bool(line["acc"])
            if task != "winogrande":
                assert item["options"] == [answer for _, answer in requests]
    assert seen == read.keys()


def test_both_filters_of_a_reply_are_there(found):
    for item in found["gsm8k"]:
        assert item["filters"].keys() == {"strict-match", "flexible-extract"}
        assert item["judged"] == "exact_match (strict-match)"


def test_examples_are_folded_and_the_question_is_not(records, page, found):
    """The last part of a prompt is the question alone: what the arm without examples was asked."""
    arms = read_index(page)["arms"]
    bare, shown = arms.index(["hash", "standard", "0-shot"]), arms.index(["hash", "standard", "2-shot"])
    for task in ("arc_easy", "winogrande", "gsm8k", "mmlu_astronomy"):
        by_arm = {
            arm: {item["number"]: item for item in found[task] if item["arm"] == arm} for arm in (bare, shown)
        }
        assert by_arm[shown]
        for number, item in by_arm[shown].items():
            assert item["prompt"] == by_arm[bare][number]["prompt"]
            assert len(item["shots"]) > len(by_arm[bare][number]["shots"])


def test_groups_come_before_their_members(page, found):
    index = read_index(page)
    names = [task["name"] for task in index["tasks"]]
    tree = {name: (depth, [names[place] for place in members]) for name, depth, members in index["tree"]}
    assert tree["mmlu_stem"][0] == 0 and len(tree["mmlu_stem"][1]) == 19
    assert tree["mmlu_astronomy"] == (1, ["mmlu_astronomy"]) and tree["gsm8k"] == (0, ["gsm8k"])
    assert {task["name"]: task["count"] for task in index["tasks"]} == {
        name: len({item["number"] for item in each}) for name, each in found.items()
    }
    assert {item["subject"] for item in found["mmlu_astronomy"]} == {"astronomy"}


def test_one_run_whose_tasks_have_other_shots_has_one_arm(records):
    items = make_items(records[:1], [read_logged(records[0])])
    assert len(read_index(render_report(records[:1], make_plugin_set()))["arms"]) == 4 and items.count


def make_small(records, **changes):
    return make_items(records, [read_logged(record) for record in records], **changes)


def test_a_page_with_too_many_items_leaves_out_the_examples_then_long_texts_and_says_so(records, monkeypatch):
    whole = make_small(records)
    assert whole.notes == []
    size = sum(map(len, whole.chunks))
    notes = []
    bare = sum(len(pack(share(reduce(unshare(unpack(chunk)), 20_000)))) for chunk in whole.chunks)
    assert bare < size
    for room in (bare, bare - 1, bare // 3):
        monkeypatch.setattr(items_module, "LARGEST", room)
        items = make_small(records)
        notes.append(" ".join(items.notes))
        assert sum(map(len, items.chunks)) <= room
        assert (items.count == whole.count) is (room > bare // 3)
    said = "The examples in front of the questions are left out, because the page would be too large."
    assert notes[0] == said
    assert notes[1].startswith(f"{said} So is the middle of texts of more than ")
    assert " So are all items of " in notes[2] and "samples_*.jsonl" in notes[2]
    kept = {task["name"] for task in unpack(items.index)["tasks"]}
    assert 0 < len(kept) == len(items.chunks) < len(whole.chunks)


def copy_record(record, tmp_path, change):
    folder = shutil.copytree(record.folder, tmp_path / "copied")
    for file in folder.glob("samples_arc_easy_*"):
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        file.write_text("".join(json.dumps(change(line)) + "\n" for line in lines), encoding="utf-8")
    return load_record(folder)


def test_other_documents_under_the_same_number_are_other_items(records, tmp_path):
    def change(line):
        return line | {"doc_hash": "other"} if line["doc_id"] == 3 else line

    both = [records[0], copy_record(records[0], tmp_path, change)]
    read = read_items(render_report(both, make_plugin_set()))["arc_easy"]
    count = len({item["number"] for item in read})
    [task] = [
        task
        for task in read_index(render_report(both, make_plugin_set()))["tasks"]
        if task["name"] == "arc_easy"
    ]
    assert task["count"] == count + 1


def test_a_task_that_computes_acc_norm_in_its_own_way_shows_no_choice_for_it(records, tmp_path):
    def change(line):
        return line | {"acc_norm": 1.0 - line["acc_norm"]} if line["doc_id"] == 3 else line

    read = read_items(render_report([copy_record(records[0], tmp_path, change)], make_plugin_set()))
    assert {item["normed"] for item in read["arc_easy"]} == {-1}
    assert {item["chosen"] for item in read["arc_easy"]} > {0, 1}


def test_no_saved_samples_no_items(records, tmp_path):
    folder = shutil.copytree(records[0].folder, tmp_path / "copied")
    for file in folder.glob("samples_*"):
        file.unlink()
    assert 'id="items"' not in render_report([load_record(folder)], make_plugin_set())


@pytest.mark.parametrize(
    ("text", "blocks"),
    [("a\n\nb\n\nc", ["a\n\n", "b\n\n", "c"]), ("a", ["a"]), ("a\n\n", ["a\n\n"]), ("", []), ("\n\n\n\nx", ["\n\n", "\n\n", "x"])],
)  # fmt: skip
def test_blocks_are_the_prompt(text, blocks):
    assert split_blocks(text, "\n\n") == blocks and "".join(blocks) == text


@pytest.mark.parametrize(
    ("head", "foot"), [("user: ", "\nassistant: "), ("<|user|>\n", "<|end|>\n<|assistant|>\n")]
)
@pytest.mark.parametrize("passage", ["", "It rains in the north of the country.\n"])
def test_in_a_chat_random_examples_are_folded(tmp_path, head, foot, passage):
    """Each item has other examples: another item's question may be among them, with the same passage."""
    asked = [f"{passage}How many legs have {n} spiders, or {n} ants?" for n in range(30)]
    lines = []
    for number, question in enumerate(asked):
        examples = [asked[(number * 7 + step) % 30] for step in (3, 11)]
        prompt = "".join(f"{head}{example}{foot}{8}\n" for example in examples) + f"{head}{question}{foot}"
        document = {"passage": passage, "question": question.removeprefix(passage), "topic": "legs"}
        lines.append(make_choice(number, prompt, 0, doc=document))
    record = write_run(tmp_path / "run", {"legs": lines}, "m", shots=2, chat_template_sha="x" * 64)
    for item, question, line in zip(
        read_items(render_report([record], make_plugin_set()))["legs"], asked, lines, strict=True
    ):
        assert item["shots"] + item["prompt"] == line["arguments"]["gen_args_0"]["arg_0"]
        assert item["prompt"].endswith(f"{question}{foot}") and len(item["prompt"]) <= len(
            head + question + foot
        )


@pytest.mark.parametrize(
    ("prompt", "document", "begin"),
    [
        ("Q: what is a thing?", {"question": "what is a thing?"}, 3),
        ("abcdefghijklm abcdefghijklm", {"x": "abcdefghijklm"}, 14),
        ("About college mathematics.\n" + "x" * 200 + "what is a polynomial ring?",
         {"subject": "college mathematics", "question": "what is a polynomial ring?"}, 227),
        ("short", {"x": "short"}, 0), ("text", {"x": ["text"]}, 0), ("text", None, 0), ("", {"x": "a long text here"}, 0),
    ],
)  # fmt: skip
def test_where_the_text_of_the_row_begins(prompt, document, begin):
    assert find_own(prompt, document) == begin


@pytest.mark.parametrize(
    ("blocks", "start", "shots", "seen", "end"),
    [
        ([1, 2, 3, 9], 0, 3, {1: 2, 2: 2, 3: 2, 9: 1}, 3),  # three examples that others have too
        ([1, 2, 8, 9], 0, 2, {1: 2, 2: 2, 8: 1, 9: 1}, 2),  # a question of two blocks
        (
            [0, 1, 2, 9],
            1,
            2,
            {0: 5, 1: 1, 2: 1, 9: 1},
            3,
        ),  # a description, and examples that no other item has
        ([1, 2, 8, 9], 2, 2, {1: 5, 2: 5, 8: 1, 9: 1}, 2),  # examples that all have, a question of two blocks
        ([9], 0, 2, {9: 1}, 0),
    ],
)
def test_where_the_question_begins(blocks, start, shots, seen, end):
    assert find_question(blocks, start, shots, seen) == end


def test_any_beginning_of_the_order_is_spread_over_the_task():
    places = sorted(range(64), key=spread)
    assert sorted(places) == list(range(64))
    for count in (4, 8, 16):
        marks = sorted(places[:count])
        assert max(after - before for before, after in pairwise(marks)) <= 64 // count * 2
