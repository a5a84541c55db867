"""The questions as tasks: examples, pictures, subsets, what is asked once, what is wrong, what is scored."""

import json
import string
import struct
import zlib
from dataclasses import replace

import gptalt_eval_plugin_scienceqa as scienceqa
import pytest
from gptalt_eval_plugin_scienceqa.columns import find_columns
from gptalt_eval_plugin_scienceqa.releases import LETTERS, read_release
from hypothesis import given
from hypothesis import strategies as st

import gptalt_eval
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.planning.resolve import resolve
from gptalt_eval.running.lmeval import evaluation, tasks
from gptalt_eval.testing import hash_likelihood, make_plugin_set, make_scripted_lm, make_scripted_model

SEES = {"pictures": "several"}


class Asked:
    """A scripted model that keeps what it is asked; pictures are part of it."""

    def __init__(self, reply="The answer is A."):
        self.reply = reply
        self.compared, self.generated = [], []

    def likelihood(self, prompt, answer, shown=None):
        self.compared.append((prompt, answer, tuple((shown or {}).get("visual", ()))))
        return hash_likelihood(prompt, answer)

    def generate(self, prompt):
        self.generated.append(prompt)
        return self.reply

    @property
    def plugins(self):
        def create(args):
            lm = make_scripted_lm(self.likelihood, self.generate)
            lm.MULTIMODAL = lm.opens_pictures = True
            return lm

        plain = make_scripted_model()
        return make_plugin_set(scienceqa, models=[replace(plain, create=create)])


def evaluate(folder, output, asked=None, names="scienceqa", metadata=None, **settings):
    return gptalt_eval.evaluate(
        "scripted", names, plugins=(asked or Asked()).plugins, data_dir=str(folder), metadata=metadata or {},
        output_path=str(output), log_samples=True, **settings,
    )  # fmt: skip


def load(folder, name="scienceqa_ll", metadata=None, **settings):
    plugins = make_plugin_set(scienceqa, models=[make_scripted_model()])
    spec = make_spec(
        {"model": "scripted", "tasks": name, "data_dir": str(folder), "metadata": metadata or {}, **settings}
    )
    planned = resolve(spec, plugins)
    with evaluation.quiet(None):
        [task] = tasks.load_tasks(planned, planned.cells[0]).tasks.values()
    return task


def list_prompts(task):
    shots = task.config.num_fewshot
    return [task.fewshot_context(doc, shots) for doc in task.eval_docs]


def list_examples(task):
    """The numbers of the examples in each prompt."""
    return [[part.split("?")[0] for part in text.split("right in ")[1:-1]] for text in list_prompts(task)]


def read(folder, split="test"):
    return list(read_release(folder / "scienceqa" / "problems.json", split))


# ---------------------------------------------------------------------- examples


def test_two_examples_are_the_same_for_all_questions(make_release):
    examples = list_examples(load(make_release()))
    assert len(examples) == 12 and len(examples[0]) == 2
    assert all(each == examples[0] for each in examples)
    assert set(examples[0]) <= {str(n) for n in range(1, 9)}, "of train"


@pytest.mark.parametrize("shots", range(6))
def test_any_number_of_examples(make_release, shots):
    examples = list_examples(load(make_release(), num_fewshot=shots))
    assert {len(each) for each in examples} == {shots}
    assert len(set(examples[0])) == shots


def test_the_seed_draws_others(make_release):
    folder = make_release()
    drawn = {str(list_examples(load(folder, seed=f"0,0,0,{seed}"))[0]) for seed in range(6)}
    assert len(drawn) > 2
    assert list_examples(load(folder, seed="0,0,0,3")) == list_examples(load(folder, seed="0,0,0,3"))


def test_examples_of_each_question_on_request(make_release):
    folder = make_release()
    examples = list_examples(load(folder, metadata={"shots": "per_question"}))
    assert len({str(each) for each in examples}) > 3
    assert examples == list_examples(load(folder, metadata={"shots": "per_question"}))


@pytest.mark.parametrize("names", ["3,1", "1 3 8", ["7"]])
def test_examples_by_number_are_shown_in_their_order(make_release, names):
    wanted = names if isinstance(names, list) else names.replace(",", " ").split()
    examples = list_examples(load(make_release(), metadata={"shot_qids": names}))
    assert all(each == wanted for each in examples)


@pytest.mark.parametrize(
    ("names", "shots", "said"),
    [
        ("3,11", None, r"shot_qids: question 11 is not one of the 8 of train"),
        ("3,3", None, "shot_qids has question 3 twice"),
        ("3", 2, "--num_fewshot 2: shot_qids has 1 questions"),
    ],
)
def test_numbers_that_cannot_be_are_said_before_weights_are_loaded(make_release, names, shots, said):
    settings = {} if shots is None else {"num_fewshot": shots}
    with pytest.raises(GptaltError, match=said):
        load(make_release(), metadata={"shot_qids": names}, **settings)


def test_an_example_ends_in_its_answer_in_the_chosen_format(make_release):
    folder = make_release()
    rows = {row["id"]: row for row in read(folder, "train")}
    for name in ("scienceqa_ll", "scienceqa_gen"):
        for format, ending in (
            ("QCM-A", "The answer is D."),
            ("QCM-ALE", "The answer is D. BECAUSE: A lecture\\nof 3. Since 3."),
        ):
            task = load(folder, name, {"shot_qids": "3", "prompt_format": format})
            first, question = list_prompts(task)[0].split("\n\n")
            assert first.endswith(f"\nAnswer: {ending}") and rows["3"]["answer"] == 3
            assert question.endswith("\nAnswer:")


# ---------------------------------------------------------------------- pictures


def expect_pictures(prompt, folder, split_of):
    names = [part.split("?")[0] for part in prompt.split("right in ")[1:]]
    return [folder / "scienceqa/images" / split_of(n) / n / "image.png" for n in names if int(n) % 2 == 0]


def find_split(name):
    return "train" if int(name) <= 8 else "val" if int(name) <= 10 else "test"


def test_each_picture_stands_before_its_question(make_release, tmp_path):
    folder, asked = make_release(), Asked()
    evaluate(folder, tmp_path / "out", asked, "scienceqa_ll", SEES | {"shot_qids": "2,3"})
    assert len({prompt for prompt, _, _ in asked.compared}) == 12
    for prompt, _, shown in asked.compared:
        files = expect_pictures(prompt, folder, find_split)
        assert list(shown) == [gptalt_eval.make_picture(file) for file in files]
        parts = prompt.split("\n\n")
        assert len(parts) == 3
        for part in parts:
            name = part.split("right in ")[1].split("?")[0]
            assert part.startswith("<image>\nQuestion:" if int(name) % 2 == 0 else "Question:")


def test_a_model_without_sight_gets_no_places_and_captions_on_request(make_release, tmp_path):
    folder, plain, told = make_release(), Asked(), Asked()
    one = evaluate(folder, tmp_path / "a", plain, "scienceqa_ll", {"shot_qids": "2,3"})
    evaluate(folder, tmp_path / "b", told, "scienceqa_ll", {"shot_qids": "2,3", "use_caption": True})
    assert not any("<image>" in prompt or "a picture of" in prompt for prompt, _, _ in plain.compared)
    assert all("a picture of 2" in prompt and "<image>" not in prompt for prompt, _, _ in told.compared)
    assert "6 of the 12 questions of ScienceQA have a picture; this model sees none." in one.run.notes


def test_a_model_that_takes_one_picture_has_captions_in_its_examples(make_release, tmp_path):
    folder, asked = make_release(), Asked()
    record = evaluate(
        folder, tmp_path / "out", asked, "scienceqa_ll", {"shot_qids": "2,4", "pictures": "one"}
    )
    for prompt, _, shown in asked.compared:
        name = prompt.split("right in ")[-1].split("?")[0]
        assert len(shown) == prompt.count("<image>") == (int(name) % 2 == 0)
        assert "a picture of 2" in prompt and "a picture of 4" in prompt
        assert f"a picture of {name}" not in prompt, "the question's own is shown"
    said = "The model takes one picture in a prompt: examples of ScienceQA have captions in place of theirs."
    assert said in record.run.notes
    assert record.results[0]["configs"]["scienceqa_ll"]["metadata"]["pictures"] == "one"


def test_examples_without_pictures_need_no_such_note(make_release, tmp_path):
    record = evaluate(make_release(), tmp_path, None, "scienceqa_ll", {"shot_qids": "1,3", "pictures": "one"})
    assert not any("takes one picture" in note for note in record.run.notes)


def test_examples_whose_picture_is_missing_are_replaced_and_counted(make_release, find_picture, tmp_path):
    """As in the part of the release that has no pictures of train."""
    folder = make_release()
    for name in ("2", "4", "6", "8"):
        find_picture(folder, name, "train").unlink()
    record = evaluate(folder, tmp_path, None, "scienceqa_ll", SEES, num_fewshot=4)
    assert {line["doc"]["id"] for line in record.read_samples(0, "scienceqa_ll")} == {
        str(n) for n in range(11, 23)
    }
    [note] = [note for note in record.run.notes if "others were drawn" in note]
    assert "whose picture is missing" in note
    assert {int(each) % 2 for each in list_examples(load(folder, metadata=SEES, num_fewshot=4))[0]} == {1}
    with pytest.raises(
        GptaltError, match=r"only 4 of 8 examples can be shown: question \d has a picture that"
    ):
        load(folder, metadata=SEES, num_fewshot=5)
    with pytest.raises(GptaltError, match="an example cannot be shown: question 2 has a picture that"):
        load(folder, metadata=SEES | {"shot_qids": "1,2"})
    assert list_examples(load(folder, metadata={"shot_qids": "1,2"}))[0] == ["1", "2"], (
        "a model without sight"
    )
    assert list_examples(load(folder, metadata={"shot_qids": "1,2", "pictures": "one"}))[0] == ["1", "2"]


# ---------------------------------------------------------------------- subsets


def test_subsets_are_the_same_questions_asked_once(make_release, tmp_path):
    folder, whole, both = make_release(), Asked(), Asked()
    one = evaluate(folder, tmp_path / "a", whole, "scienceqa", SEES)
    all_of_them = evaluate(folder, tmp_path / "b", both, "scienceqa,scienceqa_img,scienceqa_txt", SEES)
    assert sorted(both.compared) == sorted(whole.compared), "each is asked once"
    assert sorted(both.generated) == sorted(whole.generated), "texts too"
    found = {}
    for record, names in ((one, ("",)), (all_of_them, ("", "_img", "_txt"))):
        for name in names:
            for kind in ("ll", "gen"):
                lines = record.read_samples(0, f"scienceqa{name}_{kind}")
                found[len(names), name, kind] = {line["doc"]["id"]: line for line in lines}
    for kind in ("ll", "gen"):
        image, text = found[3, "_img", kind], found[3, "_txt", kind]
        assert not image.keys() & text.keys() and all(line["doc"]["image"] for line in image.values())
        for part in (image, text):
            for name, line in part.items():
                for same in ("arguments", "resps", "acc", "target"):
                    assert line[same] == found[1, "", kind][name][same] == found[3, "", kind][name][same]
        assert image.keys() | text.keys() == found[1, "", kind].keys()
    scores = all_of_them.results[0]["results"]
    assert scores["scienceqa_img_ll"]["acc,none"] == scores["scienceqa_ll"]["acc_IMG,none"]


def test_a_subset_without_questions_is_said(make_release):
    def change(problems, splits):
        for problem in problems.values():
            problem["image"] = None

    with pytest.raises(GptaltError, match="scienceqa_img_ll has no questions"):
        load(make_release(change=change), "scienceqa_img_ll")


# ---------------------------------------------------------------------- faults


def cut(file):
    file.write_bytes(file.read_bytes()[:-20])


def bomb(file):
    """A few bytes whose header says more pixels than Pillow decodes (of 12), or than we do."""
    width = 70000 if file.parent.name == "12" else 9000
    header = struct.pack(">IIBBBBB", width, width, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(99))), (b"IEND", b"")]
    written = [
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    ]
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(written))


PICTURES = {
    "whose picture is missing": lambda file: file.unlink(),
    "whose picture is not a picture": lambda file: file.write_text("<html>not found</html>"),
    "whose picture is cut off or damaged": cut,
    "whose picture has too many pixels": bomb,
}
PROBLEMS = {
    "without options": {"choices": []},
    "with more options than letters": {"choices": list("abcdef")},
    "with an answer that is not one of the options": {"answer": 9},
    "without text": {"question": " "},
}


@pytest.fixture(params=[*PICTURES, *PROBLEMS])
def faulty(request, make_release, find_picture):
    """A release in which questions 12 and 14 have the same fault: (folder, kind)."""
    kind = request.param

    def change(problems, splits):
        for name in ("12", "14"):
            problems[name] |= PROBLEMS.get(kind, {})

    folder = make_release(change=change)
    if kind in PICTURES:
        for name in ("12", "14"):
            PICTURES[kind](find_picture(folder, name))
    return folder, kind


@pytest.mark.parametrize("name", ["scienceqa_ll", "scienceqa_gen"])
def test_faults_are_refused_by_default(faulty, name):
    folder, kind = faulty
    with pytest.raises(GptaltError) as caught:
        load(folder, name, SEES)
    said = str(caught.value)
    assert f"2 of 12 questions cannot be asked (2 {kind}): question 12 has" in said
    assert "; question 14 has" in said and "--bad_rows leave_out" in said


def test_faults_are_left_out_and_counted_on_request(faulty, tmp_path):
    folder, kind = faulty
    asked = Asked()
    record = evaluate(folder, tmp_path, asked, "scienceqa", SEES | {"bad_rows": "leave_out"})
    [note] = [note for note in record.run.notes if "cannot be asked" in note]
    assert f"(2 {kind})" in note and note.endswith("They are left out.")
    for name in ("scienceqa_ll", "scienceqa_gen"):
        ids = [line["doc"]["id"] for line in record.read_samples(0, name)]
        assert ids == [str(n) for n in range(11, 23) if n not in (12, 14)]
        assert record.results[0]["configs"][name]["metadata"]["left_out"] == {kind: 2}
    for prompt, _, shown in asked.compared:
        question = int(prompt.split("right in ")[-1].split("?")[0])
        assert (question % 2 == 0) == prompt.split("\n\n")[-1].startswith("<image>"), "never without it"
        assert len(shown) == prompt.count("<image>")


def test_a_model_without_sight_needs_no_pictures(make_release, find_picture):
    folder = make_release()
    find_picture(folder, "12").unlink()
    assert len(load(folder).eval_docs) == 12
    with pytest.raises(GptaltError, match="1 whose picture is missing"):
        load(folder, metadata=SEES)
    assert len(load(folder, "scienceqa_txt_ll", SEES).eval_docs) == 6, "questions that are not asked"


def test_each_kind_is_counted(make_release, find_picture):
    def change(problems, splits):
        problems["11"]["choices"] = []
        problems["13"]["answer"] = -1
        problems["15"]["answer"] = 7

    folder = make_release(change=change)
    find_picture(folder, "12").unlink()
    with pytest.raises(GptaltError) as caught:
        load(folder, metadata=SEES)
    said = str(caught.value)
    for part in (
        "4 of 12",
        "2 with an answer that",
        "1 without options",
        "1 whose picture is missing",
        "; ...",
    ):
        assert part in said


# ---------------------------------------------------------------------- the hub's rows


@pytest.fixture
def from_hub(make_release, monkeypatch):
    """A task with rows as the hub has them: pictures inside, without numbers and captions."""
    import datasets

    def convert(folder, spoil=None):
        def make(split):
            rows = []
            for row in read(folder, {"validation": "val"}.get(split, split)):
                file = folder / "scienceqa" / str(row["image"])
                content = file.read_bytes() if row["image"] else None
                if content and row["id"] == spoil:
                    content = content[:-20]
                kept = {key: value for key, value in row.items() if key not in ("id", "caption", "image")}
                rows.append({**kept, "image": {"bytes": content, "path": None} if content else None})
            made = datasets.Dataset.from_list(rows)
            return made.cast_column("image", datasets.Image())

        monkeypatch.setattr(tasks, "load_rows", lambda data, name: make(name))
        return folder

    return convert


def test_pictures_of_the_hub_are_those_of_the_release(make_release, from_hub, tmp_path):
    folder, ours, theirs = make_release(), Asked(), Asked()
    evaluate(folder, tmp_path / "a", ours, "scienceqa_ll", SEES)
    evaluate(from_hub(folder), tmp_path / "b", theirs, "scienceqa_ll", SEES)
    assert theirs.compared == ours.compared
    assert any(shown for _, _, shown in ours.compared)


def test_a_damaged_picture_of_the_hub_is_a_fault(make_release, from_hub):
    with pytest.raises(GptaltError, match=r"1 whose picture is cut off or damaged\): question 5 has"):
        load(from_hub(make_release(), spoil="16"), metadata=SEES)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [({"use_caption": True}, "has no captions"), ({"shot_qids": "1,2"}, "has no numbers of questions")],
)
def test_what_the_hub_does_not_have_is_said(make_release, from_hub, metadata, said):
    with pytest.raises(GptaltError, match=said):
        load(from_hub(make_release()), metadata=metadata)


def test_examples_of_the_hub_go_without_captions(make_release, from_hub):
    task = load(from_hub(make_release()), metadata={"pictures": "one"}, num_fewshot=4)
    assert any(note.endswith("examples of ScienceQA are without theirs.") for note in task.notes)
    assert all(prompt.count("<image>") < 2 for prompt in list_prompts(task))


# ---------------------------------------------------------------------- scores


def test_scores_are_counted_in_the_columns_of_each_question(make_release, tmp_path):
    folder = make_release()
    record = evaluate(folder, tmp_path, Asked("The answer is B."))
    scores = record.results[0]["results"]
    rows = read(folder)
    for column in ("NAT", "SOC", "LAN", "TXT", "IMG", "NO", "G1-6", "G7-12"):
        part = [row for row in rows if column in find_columns(row)]
        right = sum(row["answer"] == 1 for row in part)
        assert scores["scienceqa_gen"][f"acc_{column},none"] == pytest.approx(right / len(part))
        lines = [line for line in record.read_samples(0, "scienceqa_ll") if f"acc_{column}" in line]
        assert [line["doc"]["id"] for line in lines] == [row["id"] for row in part]
    assert scores["scienceqa_gen"]["acc,none"] == sum(row["answer"] == 1 for row in rows) / 12
    assert scores["scienceqa_gen"]["no_answer,none"] == 0


def test_a_reply_without_an_answer_is_counted_apart(make_release, tmp_path):
    scores = evaluate(make_release(), tmp_path, Asked("I wonder."), "scienceqa_gen").results[0]["results"]
    assert (scores["scienceqa_gen"]["acc,none"], scores["scienceqa_gen"]["no_answer,none"]) == (0, 1)


def test_replies_that_give_reasons_first_have_room(make_release):
    folder = make_release()
    for format, room in (("QCM-A", 64), ("QCM-ALE", 64), ("QCM-LEA", 512), ("CQM-EA", 512)):
        task = load(folder, "scienceqa_gen", {"prompt_format": format})
        assert task.config.generation_kwargs["max_gen_toks"] == room
    task = load(folder, "scienceqa_gen", {"prompt_format": "QCM-LEA"}, gen_kwargs={"max_gen_toks": 100})
    assert task.config.generation_kwargs["max_gen_toks"] == 100


WORDS = st.text(string.ascii_lowercase + " ", min_size=1, max_size=20)


class Row:
    """What ``score`` reads of a task, without lm-eval building one."""

    def __init__(self, format="QCM-A"):
        from gptalt_eval_plugin_scienceqa.settings import Settings

        self.settings, self.OUTPUT_TYPE = Settings(prompt_format=format), "generate_until"

    def score(self, choices, answer, reply):
        from gptalt_eval_plugin_scienceqa.tasks.questions import ScienceQA

        row = {"choices": choices, "answer": answer, "subject": "", "grade": "", "hint": "", "image": None}
        self.cut_reasons = lambda text: ScienceQA.cut_reasons(self, text)
        found = ScienceQA.score(self, row, [reply])
        return found["acc"], found["no_answer"]


CHOICES = ["granite rock", "sand stone", "blue clay", "white chalk", "dry peat"]


@given(st.integers(2, 5), st.data())
def test_replies_that_state_a_letter(count, data):
    chosen, gold = (data.draw(st.integers(0, count - 1)) for _ in range(2))
    form = data.draw(
        st.sampled_from(
            [
                "The answer is {}.",
                "The answer is {}",
                "({})",
                "{}",
                "{}.",
                "({}) {t}",
                "{}. {t}",
                "Answer: {}",
                "{t}",
                "{t}.",
            ]
        )
    )
    reply = form.format(LETTERS[chosen], t=CHOICES[chosen])
    assert Row().score(CHOICES[:count], gold, reply) == (float(chosen == gold), 0.0)


@given(st.integers(0, 4), st.integers(0, 4), WORDS)
def test_reasons_after_the_answer_do_not_change_it(chosen, other, words):
    reply = f"The answer is {LETTERS[chosen]}. BECAUSE: {words} The answer is {LETTERS[other]}."
    assert Row("QCM-ALE").score(CHOICES, chosen, reply) == (1.0, 0.0)


@given(st.integers(0, 4), WORDS)
def test_reasons_before_the_answer_do_not_hide_it(chosen, words):
    reply = f"{words}. BECAUSE: {words}. The answer is {LETTERS[chosen]}."
    assert Row("QCM-LEA").score(CHOICES, chosen, reply) == (1.0, 0.0)


@pytest.mark.parametrize(
    "reply",
    ["", "I do not know.", "A or B", "The answer is F.", "granite rock or sand stone", "The answer is"],
)
def test_replies_that_choose_nothing(reply):
    assert Row().score(CHOICES, 0, reply) == (0.0, 1.0)


@given(st.text(max_size=60), st.integers(0, 4))
def test_any_reply_has_a_score(reply, gold):
    right, none = Row().score(CHOICES, gold, reply)
    assert (right, none) in {(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)}


def test_the_record_says_how_the_questions_were_asked(make_release, tmp_path):
    given = {"prompt_format": "CQM-A", "shot_qids": "1,3", "use_caption": True}
    record = evaluate(make_release(), tmp_path, None, "scienceqa_ll", given)
    assert json.loads((record.folder / "run.json").read_text())["settings"]["metadata"] == given
    found = record.results[0]["configs"]["scienceqa_ll"]["metadata"]
    assert {name: found[name] for name in given} == given
