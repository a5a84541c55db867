"""Each name of lm-eval that it does not document, what depends on it, and that the installed release has it so.

A test marked ``holds(names)`` is the one that fails when a release changes them; its docstring says what depends
on them. That nothing else uses such a name, and that none is missing here, is a test too.
"""

import ast
import contextlib
import importlib
import inspect
import io
import json
import logging
import pickle
import py_compile
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import datasets
import jinja2
import numpy as np
import pytest
from jinja2.exceptions import SecurityError
from lm_eval import evaluate
from lm_eval.api.instance import Instance
from lm_eval.tasks import TaskManager
from tqdm.auto import tqdm

import gptalt_eval
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.plan import TaskEntry
from gptalt_eval.running.lmeval import guards, seams
from gptalt_eval.running.lmeval.tasks import compile_afresh
from gptalt_eval.testing import make_scripted_lm

PACKAGE = Path(gptalt_eval.__file__).parent
SPEAK_LM_EVAL = [
    *sorted((PACKAGE / "running" / "lmeval").glob("*.py")),
    *sorted((PACKAGE / "scoring").glob("*.py")),
    PACKAGE / "testing.py",
]
SEAMS = PACKAGE / "running" / "lmeval" / "seams.py"
#: they patch datasets and evaluate, and not lm-eval
GUARDS = {PACKAGE / "running" / "lmeval" / name for name in ("guards.py", "packed.py")}
STOCK = PACKAGE / "scoring" / "stock.py"
# subclasses of lm-eval's backend: they override what they must
BACKENDS = [PACKAGE / "scoring" / name for name in ("backend.py", "guarded.py", "picture_backend.py")]
BACKENDS += [
    PACKAGE / "running" / "lmeval" / name for name in ("engines.py", "streamed.py", "served_scores.py")
]
DOCUMENTED = {
    "lm_eval.evaluate",
    "lm_eval.api.instance.Instance",
    "lm_eval.api.model.LM",
    "lm_eval.api.registry.get_model",
    "lm_eval.loggers.EvaluationTracker",
    "lm_eval.loggers.TrackioLogger",
    "lm_eval.loggers.WandbLogger",
    "lm_eval.models.hf_vlms.HFMultimodalLM",
    "lm_eval.models.huggingface.HFLM",
    "lm_eval.tasks.TaskManager",
}
HFLM = "lm_eval.models.huggingface.HFLM"


@dataclass(frozen=True)
class Use:
    """What depends on a name, and in which release it is so called (None: in both)."""

    reason: str
    is_next: bool | None


USES = {}


def holds(*names, is_next=None):
    def mark(test):
        USES.update({name: Use(test.__doc__, is_next) for name in names})
        return test

    return mark


# ------------------------------------------------------------------ a quiz of two tasks in a group


ROWS = {"train": 6, "test": 4}
TASK = """
task: {name}
dataset_path: nobody/quiz
output_type: multiple_choice
training_split: train
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_choice: ["yes", "no"]
doc_to_target: gold
num_fewshot: {shots}
metric_list: [{{metric: acc}}]
"""
GROUP = """
group: quiz
task: [quiz_plain, quiz_shown]
aggregate_metric_list: [{metric: acc, weight_by_size: true}]
"""


def make_rows(count, split):
    rows = [{"question": f"{split} {number}?", "gold": number % 2} for number in range(count)]
    return datasets.Dataset.from_list(rows)


@pytest.fixture
def asked():
    """What of ``datasets.load_dataset`` was asked for."""
    return []


@pytest.fixture
def quiz(tmp_path, asked):
    """Makes the tasks and the group anew."""
    (tmp_path / "plain.yaml").write_text(TASK.format(name="quiz_plain", shots=0))
    (tmp_path / "shown.yaml").write_text(TASK.format(name="quiz_shown", shots=2))
    (tmp_path / "group.yaml").write_text(GROUP)
    rows = datasets.DatasetDict({split: make_rows(count, split) for split, count in ROWS.items()})

    def load(original, path, name=None, **settings):
        asked.append((path, name))
        return seams.take_splits(rows, settings.get("split"))

    def make(*names):
        manager = TaskManager(include_defaults=False, include_path=[str(tmp_path)])
        with seams.replace_load_dataset(load):
            tasks, groups = seams.load_named(manager, names)
        for task in tasks.values():
            task.set_fewshot_seed(seed=7)
        return tasks, groups

    return make


class Picture:
    """A value of a row that is more than text: ``datasets`` gives pictures with a method that saves them."""

    size = 3

    def save(self, path):
        Path(path).touch()


OS = "cycler.__init__.__globals__.os"
ATTACKS = [
    f"{{{{ {OS}.system('touch MARK') }}}}",
    "{{ cycler['__init__']['__globals__']['os'].system('touch MARK') }}",
    "{{ (cycler | attr('__init__') | attr('__globals__'))['os'].system('touch MARK') }}",
    "{% set it = namespace() %}{% set it.f = lipsum.__globals__['os'].system %}{{ it.f('touch MARK') }}",
    "{{ ('{0.__class__}' | string).format(1) and self.__init__.__globals__.__builtins__.open('MARK', 'w') }}",
    "{{ [lipsum] | map(attribute='__globals__.os') | first | attr('system') }}{{ lipsum.__globals__.os.system('touch MARK') }}",
    "{{ picture.save('MARK') }}",
    "{{ picture['save']('MARK') }}",
    "{{ [picture] | map(attribute='save') | list | first | string }}{{ (picture | attr('save'))('MARK') }}",
]


def run(tasks, **settings):
    return evaluate(lm=make_scripted_lm(), task_dict={"tasks": tasks}, log_samples=True, **settings)


# ------------------------------------------------------------------ patches


@holds("datasets.load_dataset")
def test_tasks_load_their_rows_through_the_library_s_name(quiz, asked):
    """The rows that a plan located, on this disk, are what a task gets; nothing is fetched."""
    before = datasets.load_dataset
    tasks, _ = quiz("quiz_plain")
    assert set(asked) == {("nobody/quiz", None)}
    assert [row["question"] for row in tasks["quiz_plain"].eval_docs] == [f"test {n}?" for n in range(4)]
    assert datasets.load_dataset is before


def test_what_the_library_found_is_seen_before_it_reads_a_row(tmp_path):
    """A dataset whose card names files of this computer is refused before they are read."""
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n')
    seen = []
    with guards.check_builders(lambda builder: seen.append(builder.config.data_files["test"])):
        datasets.load_dataset(
            "json", data_files={"test": str(tmp_path / "rows.jsonl")}, cache_dir=str(tmp_path)
        )
    assert seen == [[str(tmp_path / "rows.jsonl")]]


def test_splits_are_taken_as_the_library_takes_them():
    rows = datasets.DatasetDict({"train": make_rows(5, "train"), "test": make_rows(3, "test")})
    assert seams.take_splits(rows, None) is rows
    assert seams.take_splits(rows, "test") is rows["test"]
    whole, some, more = seams.take_splits(rows, ["test[:]", "train[:2]", "test[:9]"])
    assert whole is rows["test"]
    assert some["question"][:] == ["train 0?", "train 1?"]
    assert len(more) == 3


def explain(template, error):
    assert isinstance(error, SecurityError), error
    return GptaltError("doc_to_text reaches for more")


@holds("lm_eval.utils.env", is_next=False)
@holds(
    "lm_eval.config.templates",
    "lm_eval.config.templates._jinja_env",
    "lm_eval.config.templates._compile_tpl",
    is_next=True,
)
def test_a_template_is_compiled_once(quiz, monkeypatch):
    """Prompts are built in seconds: three quarters of a long grid's overhead was the compiling of templates."""
    compile_it, compiled = jinja2.Environment.compile, []
    monkeypatch.setattr(
        jinja2.Environment,
        "compile",
        lambda self, source, *a, **k: compiled.append(source) or compile_it(self, source, *a, **k),
    )
    tasks, _ = quiz("quiz_plain")
    tasks["quiz_plain"].set_config(key="doc_to_text", value="Only here: {{question}}")

    def render():
        compiled.clear()
        for row in tasks["quiz_plain"].eval_docs:
            assert tasks["quiz_plain"].doc_to_text(row) == f"Only here: {row['question']}"
        return compiled.count("Only here: {{question}}")

    with seams.sandbox_templates(explain):
        assert render() == 1
        with seams.sandbox_templates(explain):
            assert render() == 0
    assert render() == (1 if seams.IS_NEXT else 4), "afterwards lm-eval is as it was"


@holds("lm_eval.utils.env", is_next=False)
@holds(
    "lm_eval.config.templates",
    "lm_eval.config.templates._jinja_env",
    "lm_eval.config.templates._compile_tpl",
    is_next=True,
)
@pytest.mark.parametrize("text", ATTACKS)
def test_a_template_sees_its_row_and_nothing_of_this_process(quiz, text, tmp_path):
    """A stranger's task is looked at and run without consent: its templates must not do anything else."""
    mark = tmp_path / "MARK"
    tasks, _ = quiz("quiz_plain")
    tasks["quiz_plain"].set_config(key="doc_to_text", value=text.replace("MARK", str(mark)))
    row = {"question": "?", "picture": Picture()}
    with pytest.raises(GptaltError, match="doc_to_text reaches"), seams.sandbox_templates(explain):
        tasks["quiz_plain"].doc_to_text(row)
    assert not mark.exists()
    with contextlib.suppress(jinja2.TemplateError, TypeError):
        tasks["quiz_plain"].doc_to_text(row)
    assert mark.exists(), "the attack itself works"


@holds("lm_eval.api.task.ConfigurableTask")
@holds("lm_eval.api.task.ConfigurableTask.from_config", is_next=True)
def test_a_task_that_cannot_be_built_is_named(tmp_path):
    """A stranger's task with a wrong field ends in one message, which names the task, before weights are loaded."""
    file = tmp_path / "quiz.yaml"
    file.write_text(TASK.format(name="quiz", shots=0) + "no_such_field: 1\n")
    manager = seams.make_manager({"quiz": TaskEntry("quiz", "task", file)}, {})

    def explain_build(name, error):
        return GptaltError(f"{name}: {error}")

    said = r"^quiz: .*unexpected keyword argument 'no_such_field'"
    with pytest.raises(GptaltError, match=said), seams.explain_builds(explain_build):
        seams.load_named(manager, ["quiz"])
    with pytest.raises(TypeError):
        seams.load_named(manager, ["quiz"])


class Marks:
    """Unpickled, it leaves a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@holds("lm_eval.caching.cache.dill")
def test_pickled_requests_are_not_read(quiz, tmp_path):
    """``--cache_requests`` reads no pickle, which could run anything: requests are kept as JSON."""
    marker, folder = tmp_path / "MARK", tmp_path / "kept"

    def build():
        with seams.keep_requests_in(folder):
            return seams.build_requests(quiz("quiz_plain")[0]["quiz_plain"], cache_requests=True)

    built = build()
    [file] = folder.iterdir()
    assert json.loads(file.read_bytes()), "readable by anybody"
    assert build() == built
    for others in (
        pickle.dumps(Marks(marker)),
        pickle.dumps([[Marks(marker)]]),
        b"[[1]]",
        b"[" * 100_000,
        b"",
    ):
        file.write_bytes(others)
        assert build() == built
        assert not marker.exists()
    pickle.loads(pickle.dumps(Marks(marker)))
    assert marker.exists(), "the attack is real"


def test_requests_that_json_would_change_are_not_kept():
    def make(doc, *arguments):
        return [
            [
                Instance(
                    request_type="loglikelihood",
                    doc=doc,
                    arguments=arguments,
                    idx=0,
                    task_name="quiz",
                    doc_id=0,
                )
            ]
        ]

    for groups in (make({"a": 1, "b": "中"}, "a", "b"), make({}, "a", {"until": ["x"], "do_sample": False})):
        assert seams.JsonRequests.loads(seams.JsonRequests.dumps(groups)) == groups
    for groups in (
        make({1: "a"}, "a"),
        make({"a": (1, 2)}, "a"),
        make({"a": b"x"}, "a"),
        make({"a": float("nan")}, "a"),
    ):
        assert seams.JsonRequests.dumps(groups) == b""


@holds("lm_eval.caching.cache.PATH")
def test_built_requests_are_kept_where_they_are_told_to(quiz, tmp_path):
    """``--cache_requests`` keeps prompts in our cache, in one folder for each data: lm-eval looks at names only."""
    from lm_eval.caching import cache

    before = cache.PATH
    for folder, shown in (("one", "first"), ("two", "second"), ("one", "first")):
        tasks, _ = quiz("quiz_plain")
        tasks["quiz_plain"].set_config(key="doc_to_text", value=f"{shown}: {{{{question}}}}")
        with seams.keep_requests_in(tmp_path / "deep" / folder):
            built = seams.build_requests(tasks["quiz_plain"], cache_requests=True)
        assert built[0].args[0] == f"{shown}: test 0?"
        assert len(list((tmp_path / "deep" / folder).iterdir())) == 1
    with seams.keep_requests_in(tmp_path / "deep" / "one"):
        tasks, _ = quiz("quiz_plain")
        assert seams.build_requests(tasks["quiz_plain"], cache_requests=True)[0].args[0] == "first: test 0?"
    with seams.keep_requests_in(None):
        assert before == cache.PATH
    assert before == cache.PATH


@holds("lm_eval.evaluator.LMEVAL_HASHMM")
def test_samples_keep_their_pictures(quiz):
    """Rows and prompts are hashed with their pictures, and pictures are saved, from the logged samples."""
    from lm_eval import evaluator

    class Marked(dict):
        pass

    def log(lm):
        tasks, _ = quiz("quiz_plain")
        built = seams.build_requests(tasks["quiz_plain"])
        seams.keep_requests(tasks["quiz_plain"])
        for request in built:
            request.arguments = (*request.arguments[:2], Marked(visual=[]))
        lm.loglikelihood = lambda requests: [(-1.0, False)] * len(requests)
        result = evaluate(lm=lm, task_dict={"tasks": tasks}, log_samples=True)
        return {type(sample["arguments"][0][2]) for sample in result["samples"]["quiz_plain"]}

    lm = make_scripted_lm()
    lm.MULTIMODAL = True
    with seams.keep_pictures():
        assert log(lm) == {Marked} and not evaluator.LMEVAL_HASHMM
    assert log(lm) == {dict} and evaluator.LMEVAL_HASHMM, "it is needed"


@holds("tqdm.std.tqdm.__init__")
def test_no_bar_is_drawn():
    """A terminal shows our one bar, and none of lm-eval's, of ``datasets``' or of transformers'."""
    with seams.silence_bars():
        assert list(tqdm(range(2), disable=False)) == [0, 1]
        assert tqdm(range(2), disable=False).disable
    assert not tqdm(range(2), disable=False, file=io.StringIO()).disable


# ------------------------------------------------------------------ tasks


@holds("lm_eval.api.task.Task.build_all_requests")
def test_requests_that_are_built_ahead_are_the_ones_that_are_asked(quiz):
    """Requests of all tasks are built first and computed together; the evaluator then asks these very ones."""
    tasks, _ = quiz("quiz_shown")
    [task] = tasks.values()
    wanted = {
        "limit", "samples", "rank", "world_size", "cache_requests", "rewrite_requests_cache",
        "system_instruction", "apply_chat_template", "fewshot_as_multiturn", "chat_template", "tokenizer_name",
    }  # fmt: skip
    assert wanted <= set(inspect.signature(task.build_all_requests).parameters)
    built = seams.build_requests(task, limit=2)
    seams.keep_requests(task)
    run(tasks, limit=2)
    assert [id(request) for request in task.instances] == [id(request) for request in built]
    assert len(built) == 4 and all(len(request.resps) == 1 for request in built)


@holds("lm_eval.api.samplers.ContextSampler.df", "lm_eval.api.samplers.ContextSampler.replace_df")
def test_examples_come_from_the_wanted_rows(quiz):
    """No few-shot example is a row that is scored (``metadata: fewshot: unseen``)."""
    tasks, _ = quiz("quiz_shown")
    [task] = tasks.values()
    seams.filter_examples(task, lambda row: row["question"] in ("train 1?", "train 4?", "train 5?"))
    prompts = [request.args[0] for request in seams.build_requests(task)]
    shown = {part.split("?")[0] for prompt in prompts for part in prompt.split("train ")[1:]}
    assert shown == {"1", "4", "5"}


@holds("lm_eval.evaluator_utils.get_sample_size", is_next=False)
@holds("lm_eval.evaluator_utils._get_sample_size", is_next=True)
@pytest.mark.parametrize(("limit", "count"), [(None, None), (3, 3), (3.0, 3), (0.3, 2), (1.0, 1)])
def test_a_limit_counts_the_rows_that_the_evaluator_scores(quiz, limit, count):
    """Requests that are built ahead are as many as ``--limit`` leaves, shares of a task included."""
    tasks, _ = quiz("quiz_plain")
    assert seams.count_limited(tasks["quiz_plain"], limit) == count
    assert len(run(tasks, limit=limit)["samples"]["quiz_plain"]) == (count or 4)


@holds("lm_eval.tasks._index.Entry", "lm_eval.tasks._index.Kind")
def test_lm_eval_reads_the_planned_files_and_no_others(quiz, tmp_path):
    """A second YAML of a folder cannot take the place of another task, and its code is not run."""
    quiz("quiz_plain")
    mark = tmp_path / "MARK"
    (tmp_path / "evil.py").write_text(f"open({str(mark)!r}, 'w')\ndef f(*_): ...\n")
    (tmp_path / "a.yaml").write_text("{task: quiz_plain, process_docs: !function evil.f}")
    entries = [
        TaskEntry("quiz_plain", "task", tmp_path / "plain.yaml"),
        TaskEntry("quiz_shown", "task", tmp_path / "shown.yaml"),
        TaskEntry("quiz", "group", tmp_path / "group.yaml"),
        TaskEntry("some", "tag", members=("quiz_plain",)),
    ]
    rows = datasets.DatasetDict({split: make_rows(count, split) for split, count in ROWS.items()})
    for name in ("quiz", "some"):
        manager = seams.make_manager({entry.name: entry for entry in entries}, {"m": 1})
        with seams.replace_load_dataset(
            lambda *_, **settings: seams.take_splits(rows, settings.get("split"))
        ):
            tasks, groups = seams.load_named(manager, [name])
        metadata = tasks["quiz_plain"].config.metadata
        assert metadata["config_source"] == str(tmp_path / "plain.yaml") and metadata["m"] == 1
        assert [*groups] == [name] * (name == "quiz")
    assert not mark.exists()


def test_compiled_files_of_a_strangers_folder_are_not_used(tmp_path):
    """What is run is what the user has read: the source, whatever lies in ``__pycache__``."""
    (tmp_path / "code.py").write_text("value = 'evil'")
    compiled = py_compile.compile(
        str(tmp_path / "code.py"), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    (tmp_path / "code.py").write_text("value = 'shown'")

    def load():
        spec = importlib.util.spec_from_file_location("code_of_a_stranger", tmp_path / "code.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.value

    assert Path(compiled).is_file() and load() == "evil"
    with compile_afresh(tmp_path / "own"):
        assert load() == "shown"


@holds("lm_eval.config.task.TaskConfig._qualified_name", is_next=True)
def test_members_of_a_group_have_their_own_names(quiz):
    """Plans, records and reports know a task by the name that its YAML gives it."""
    tasks, groups = quiz("quiz")
    assert list(tasks) == ["quiz_plain", "quiz_shown"]
    assert groups["quiz"].child_names == ["quiz_plain", "quiz_shown"]
    assert [task.task_name for task in groups["quiz"].get_all_tasks()] == list(tasks)


# ------------------------------------------------------------------ answers


@holds("lm_eval.api.model.CacheHook", "lm_eval.api.model.LM.set_cache_hook")
def test_a_model_says_each_answer():
    """The bar moves and an answer is on disk as soon as the model has it; a kill costs one answer."""
    lm, reported = make_scripted_lm(likelihood=lambda prompt, answer: -float(len(answer))), []
    seams.report_answers(lm, lambda *answer: reported.append(answer))
    lm.loglikelihood([Instance("loglikelihood", {}, ("a", "bb"), 0, doc_id=0)])
    assert reported == [("loglikelihood", ("a", "bb"), (-2.0, False))]


@pytest.mark.torch
def test_lm_eval_s_own_backend_says_each_answer_by_position():
    """The same for lm-eval's own loop, which serves models and settings that ours does not."""
    import tiny
    from lm_eval.models.huggingface import HFLM

    lm, reported = (
        HFLM(pretrained=tiny.make_model("llama"), tokenizer=tiny.make_tokenizer(), batch_size=2),
        [],
    )
    seams.report_answers(lm, lambda *answer: reported.append(answer))
    ask = [Instance("loglikelihood", {}, ("Question: how", end), 0, doc_id=0) for end in (" many", " quick")]
    answers = lm.loglikelihood(ask, disable_tqdm=True)
    text = Instance("generate_until", {}, ("Question: how", {"max_gen_toks": 2, "until": ["?"]}), 0, doc_id=0)
    answers += lm.generate_until([text], disable_tqdm=True)
    assert {(kind, arguments[1] if kind == "loglikelihood" else "") for kind, arguments, _ in reported} == {
        ("loglikelihood", " many"), ("loglikelihood", " quick"), ("generate_until", ""),
    }  # fmt: skip
    assert all(answer in answers for _, _, answer in reported)


@holds("lm_eval.api.model.hash_args")
def test_requests_are_told_apart_by_kind_and_arguments():
    """An answer is found again, by ``resume`` and ``--use_cache``, for the very request that it answers."""
    keys = {
        seams.hash_request(kind, arguments)
        for kind in ("loglikelihood", "generate_until")
        for arguments in (("a", "b"), ("ab", ""), ("a", {"until": ["b"]}))
    }
    assert len(keys) == 6 and all(len(key) == 64 for key in keys)
    assert seams.hash_request("loglikelihood", ("a", "b")) == seams.hash_request("loglikelihood", ["a", "b"])
    with pytest.raises(TypeError):
        seams.hash_request("generate_until", ("a", {}, {"visual": [object()]}))


@holds("lm_eval.models.api_models.JsonChatStr")
def test_a_served_chat_model_gets_messages():
    """A chat template's messages reach a server as messages, not as one text."""
    messages = '[{"role": "user", "content": "hello"}]'
    assert seams.make_chat(messages).prompt == messages and json.loads(messages)


# ------------------------------------------------------------------ results


NEXT_RESULTS = ("_EvalAcc", "_aggregate_groups", "_EvalAcc._to_eval_results")


@holds(*(f"lm_eval.evaluator_utils.{name.lstrip('_')}" for name in NEXT_RESULTS), is_next=False)
@holds(*(f"lm_eval.evaluator_utils.{name}" for name in NEXT_RESULTS), is_next=True)
def test_results_task_by_task_add_up_to_those_of_one_evaluation(quiz):
    """A run saves task by task and goes on after a kill; its groups are lm-eval's own sums nevertheless."""
    tasks, groups = quiz("quiz")
    whole = evaluate(lm=make_scripted_lm(), task_dict={"tasks": tasks, "groups": groups})
    whole.pop("samples")
    tasks, groups = quiz("quiz")
    single = {name: run({name: task}) for name, task in tasks.items()}
    combined = seams.combine_results(single, groups)
    assert combined == whole
    assert combined["groups"]["quiz"]["sample_len"] == 8
    assert set(seams.PARTS) <= combined.keys()


def test_a_logged_sample_has_the_fields_that_records_have(quiz):
    """What observers, reports and ``samples_*.jsonl`` read of a sample."""
    tasks, _ = quiz("quiz_plain")
    sample = seams.flatten_sample(run(tasks, limit=1)["samples"]["quiz_plain"][0])
    assert {
        "doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics",
        "doc_hash", "prompt_hash", "target_hash", "acc",
    } <= sample.keys()  # fmt: skip
    assert [len(answer) for answer in sample["filtered_resps"]] == [2, 2], "(log-likelihood, greedy)"
    assert sample["resps"] == [[answer] for answer in sample["filtered_resps"]]
    assert sample["metrics"] == ["acc"] and sample["filter"] == "none"


@holds("lm_eval.utils.handle_non_serializable")
def test_what_json_does_not_know_is_written():
    """A result with numpy's whole numbers or a set in it is saved, in a form that lm-eval's readers know."""
    assert json.loads(seams.dump_json({"n": np.int64(3), "s": {1}, "汉": Path("x")})) == {
        "n": 3,
        "s": [1],
        "汉": "x",
    }
    assert seams.dump_json({"汉": 1}, indent=2) == '{\n  "汉": 1\n}'


@holds("lm_eval.utils.sanitize_list")
def test_answers_are_written_as_text():
    """``samples_*.jsonl`` is byte for byte lm-eval's."""
    assert seams.write_out_texts([[(-1.5, True)], "text"]) == [[("-1.5", "True")], "text"]


@holds("lm_eval.loggers.utils.add_tokenizer_info")
def test_the_tokenizer_is_described():
    """``results_*.json`` says which special tokens the tokenizer has, as lm-eval's command line does."""
    described = {}
    lm = make_scripted_lm()
    lm.tokenizer = type("T", (), {f"{name}_token": name for name in ("pad", "eos", "bos")} | {
        f"{name}_token_id": number for number, name in enumerate(("pad", "eos", "bos"))
    })()  # fmt: skip
    lm.max_length, lm.eot_token_id = 77, 1
    seams.add_tokenizer(described, lm)
    assert described["tokenizer_pad_token"] == ["pad", "0"] and described["max_length"] == 77


@holds("lm_eval.utils.setup_logging")
def test_lm_eval_logs_from_a_level_on():
    """lm-eval is silent, and ``--verbosity`` brings its log back."""
    logger, before = logging.getLogger("lm_eval"), logging.getLogger("lm_eval").level
    try:
        for level in (logging.ERROR, logging.INFO):
            seams.set_log_level(level)
            assert logger.level == level
    finally:
        logger.setLevel(before)


# ------------------------------------------------------------------ what scoring takes


@holds("lm_eval.utils.get_rolling_token_windows", "lm_eval.utils.make_disjoint_window")
def test_a_long_text_is_rolled_in_windows():
    """Rolling log-likelihoods (perplexity) are those of lm-eval's windows."""
    from gptalt_eval.scoring import stock

    assert stock.roll_windows([1, 2, 3, 4, 5], 0, 2) == [([0], [1, 2]), ([2], [3, 4]), ([3, 4], [5])]
    assert stock.roll_windows([], 0, 2) == []


@holds("lm_eval.models.utils.normalize_gen_kwargs", "lm_eval.models.utils.handle_stop_sequences")
def test_generation_settings_are_read(monkeypatch):
    """Our generation takes over where the settings leave a greedy answer as it is, and ends it where lm-eval does."""
    from gptalt_eval.scoring import stock

    given = {"max_new_tokens": 5, "until": "x", "temperature": 0}
    assert stock.read_settings(given, 9) == {
        "max_gen_toks": 5,
        "until": ["x"],
        "temperature": 0,
        "do_sample": False,
    }
    assert stock.read_settings({}, 9) == {"max_gen_toks": 9, "until": [], "do_sample": False}
    assert stock.list_stops(["a", "b"], "</s>") == ["a", "b", "</s>"]


@holds("lm_eval.models.utils.postprocess_generated_text")
def test_an_answer_is_cut_at_its_first_stop():
    """A generated text is lm-eval's, from the end of the thinking to the first stop string."""
    from gptalt_eval.scoring import stock

    assert stock.cut_answer("yes. no. stop", ["stop", "."], None) == "yes"
    assert stock.cut_answer("hm </think> yes stop", ["stop"], "</think>") == "yes "
    early = stock.cut_answer("hm stop </think> yes stop", ["stop"], "</think>")
    assert early == ("hm " if seams.IS_NEXT else "yes "), "0.5.0.dev1 looks for the stop in the thinking too"


@pytest.fixture
def make_lm():
    import tiny

    def make(backend):
        return backend(pretrained=tiny.make_model("llama"), tokenizer=tiny.make_tokenizer(), batch_size=2)

    return make


@pytest.mark.torch
@holds(f"{HFLM}._loglikelihood_tokens", f"{HFLM}._encode_pair")
def test_log_likelihoods_go_through_one_method_of_the_backend(make_lm):
    """The prefix tree scores the very tokens that lm-eval would; it comes in by overriding this method."""
    from lm_eval.models.huggingface import HFLM

    from gptalt_eval.scoring.backend import add_tree

    class Listening(HFLM):
        def _loglikelihood_tokens(self, requests, disable_tqdm=False, override_bs=None):
            self.given = requests
            return [(0.0, False)] * len(requests)

    pairs = [("Question: how", " many"), ("Question: ", "how"), ("", " many apples"), ("", "<s>many")]
    stock, tree = make_lm(Listening), make_lm(add_tree(HFLM))
    stock.loglikelihood([Instance("loglikelihood", {}, pair, 0, doc_id=0) for pair in pairs])
    assert stock.given == [tree.encode(*pair) for pair in pairs]


@pytest.mark.torch
@holds(f"{HFLM}._create_model")
def test_weights_are_loaded_by_one_method_with_one_class(tmp_path):
    """Settings of 4 bits become those of transformers, and what did not fit is noted, by overriding it."""
    import tiny
    from lm_eval.models.huggingface import HFLM

    called = []

    class Listening(HFLM):
        def _create_model(self, pretrained, **settings):
            called.append((pretrained, settings["load_in_4bit"]))
            loads = self.AUTO_MODEL_CLASS
            self.AUTO_MODEL_CLASS = mock.Mock(from_pretrained=mock.Mock(side_effect=loads.from_pretrained))
            del settings["load_in_4bit"]
            super()._create_model(pretrained, **settings)
            self.AUTO_MODEL_CLASS.from_pretrained.assert_called_once()

    folder = str(tiny.save_model("llama", tmp_path))
    listening = Listening(folder, device="cpu", load_in_4bit=False)
    assert called == [(folder, False)] and listening.model.config.model_type == "llama"


@pytest.mark.torch
@holds(f"{HFLM}._model_call", f"{HFLM}._select_cont_toks", f"{HFLM}._model_generate")
def test_backends_that_score_or_generate_in_a_way_of_their_own_are_known(make_lm):
    """A backend that overrides these, which lm-eval's loops call, keeps them: ours steps back."""
    from lm_eval.models.huggingface import HFLM

    from gptalt_eval.scoring import stock

    called = []

    def override(name):
        def call(self, *args, **settings):
            called.append(name)
            return getattr(HFLM, name)(self, *args, **settings)

        return type("Own", (HFLM,), {name: call})

    assert stock.scores_like_stock(HFLM) and stock.generates_like_stock(HFLM)
    likelihood = Instance("loglikelihood", {}, ("Question: how", " many"), 0, doc_id=0)
    for name in ("_model_call", "_select_cont_toks"):
        backend = override(name)
        assert not stock.scores_like_stock(backend) and stock.generates_like_stock(backend)
        make_lm(backend).loglikelihood([likelihood], disable_tqdm=True)
    text = Instance("generate_until", {}, ("Question: how", {"max_gen_toks": 2}), 0, doc_id=0)
    backend = override("_model_generate")
    assert stock.scores_like_stock(backend) and not stock.generates_like_stock(backend)
    make_lm(backend).generate_until([text], disable_tqdm=True)
    assert set(called) == {"_model_call", "_select_cont_toks", "_model_generate"}


@pytest.mark.parametrize(("arguments", "answer"), [(("text",), -1.5), (("", "text"), (-1.5, False))])
def test_rolling_requests_are_answered_as_they_are_asked(arguments, answer):
    """0.4 asks with a text and wants a number; 0.5 asks with a pair and wants a pair."""
    from gptalt_eval.scoring import stock

    request = Instance("loglikelihood_rolling", {}, arguments, 0, doc_id=0)
    assert stock.read_rolling(request) == "text" and stock.answer_rolling(request, -1.5) == answer
    lm = make_scripted_lm(likelihood=lambda prompt, text: -1.5)
    assert lm.loglikelihood_rolling([request]) == [answer]


# ------------------------------------------------------------------ nothing is missing here, nothing else does so


def find_names(tree):
    """The names of lm-eval that a module imports, or takes from a module of lm-eval that it imports."""
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "lm_eval":
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if is_module(name):
                    modules[alias.asname or alias.name] = name
                else:
                    yield name
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "lm_eval")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            yield f"{modules[node.value.id]}.{node.attr}"


def is_module(name):
    with contextlib.suppress(ModuleNotFoundError):
        return importlib.util.find_spec(name) is not None
    return False


def find_patches(tree):
    """What a module patches of lm-eval or of the libraries that it uses, as (object, attribute) in its own words."""
    imported = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            for alias in node.names:
                imported[alias.asname or alias.name.split(".")[0]] = module or alias.name
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = {getattr(node, "module", None), *(alias.name for alias in node.names)}
            if {"mock", "unittest.mock", "patch"} & names:
                yield "unittest", "mock"
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("setattr", "delattr"):
            targets = [ast.Attribute(node.args[0], "setattr")]
        for target in targets:
            root = target
            while isinstance(root, ast.Attribute):
                root = root.value
            package = imported.get(getattr(root, "id", ""), "").split(".")[0]
            if isinstance(target, ast.Attribute) and package in ("lm_eval", "datasets", "tqdm"):
                yield package, target.attr


def parse(file):
    return ast.parse(file.read_text(encoding="utf-8"))


def find_attributes(tree):
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def list_private():
    """The private names of the objects of lm-eval that we handle."""
    from lm_eval.api.group import Group
    from lm_eval.api.task import Task
    from lm_eval.models.huggingface import HFLM

    names = {name for one in (HFLM, Task, Group, TaskManager) for name in dir(one)}
    return {name for name in names if name.startswith("_") and not name.startswith("__")}


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("from lm_eval.caching import cache\ncache.PATH = 1", {"lm_eval.caching.cache.PATH"}),
        ("from lm_eval import utils as u\nu.env.x", {"lm_eval.utils.env"}),
        ("def f():\n    from lm_eval.utils import env", {"lm_eval.utils.env"}),
        ("import lm_eval.utils", {"lm_eval.utils"}),
        ("from json import utils\nutils.env", set()),
    ],
)
def test_a_name_is_found(source, names):
    assert set(find_names(ast.parse(source))) == names


@pytest.mark.parametrize(
    "source",
    [
        "from unittest import mock", "import unittest.mock", "from unittest.mock import patch",
        "from tqdm import std\nstd.tqdm.__init__ = f", "import datasets\ndatasets.load_dataset = f",
        "from lm_eval.caching import cache\nsetattr(cache, 'PATH', 1)",
    ],
)  # fmt: skip
def test_a_patch_is_found(source):
    assert set(find_patches(ast.parse(source)))


def test_every_name_is_listed_here():
    for file in (SEAMS, STOCK, *BACKENDS):
        undocumented = set(find_names(parse(file))) - DOCUMENTED
        assert undocumented <= USES.keys(), f"{file.name} uses what no test here holds"


def test_no_listed_name_is_out_of_use():
    words = {
        word
        for file in (SEAMS, STOCK, *BACKENDS)
        for node in ast.walk(parse(file))
        for word in (
            getattr(node, "attr", None),
            getattr(node, "name", None),
            getattr(node, "id", None),
            getattr(node, "value", None) if isinstance(node, ast.Constant) else None,
        )
        if isinstance(word, str)
    }
    assert {name for name in USES if name.rsplit(".", 1)[1] not in words} == set()


@pytest.mark.parametrize("name", sorted(name for name in USES if USES[name].is_next in (None, seams.IS_NEXT)))
def test_each_name_exists(name):
    module = name
    while not is_module(module):
        module = module.rpartition(".")[0]
    found = importlib.import_module(module)
    for part in filter(None, name[len(module) :].split(".")):
        owner, found = found, getattr(found, part, None)
        if found is None:  # an attribute that instances have
            assert part in {*inspect.signature(owner).parameters, *getattr(owner, "__annotations__", ())}, (
                name
            )


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_each_name_says_what_depends_on_it(use):
    assert use.reason and use.reason.endswith(".")


@pytest.mark.torch
@pytest.mark.parametrize("file", SPEAK_LM_EVAL, ids=lambda file: file.name)
def test_no_other_module_uses_such_a_name(file):
    if file in (SEAMS, STOCK):
        return
    assert set(find_names(parse(file))) <= DOCUMENTED
    overridden = (
        {name.rsplit(".", 1)[1] for name in USES if name.startswith(HFLM)} if file in BACKENDS else set()
    )
    listed = {name.rsplit(".", 1)[1] for name in USES if "api.task" in name or "samplers" in name}
    used = find_attributes(parse(file)) & (list_private() | listed | {"set_cache_hook"}) - overridden
    assert not used


@pytest.mark.parametrize(
    "file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: str(file.relative_to(PACKAGE))
)
def test_no_other_module_patches_anything(file):
    patches = set(find_patches(parse(file)))
    assert patches == ({("unittest", "mock")} if file in {SEAMS, *GUARDS} else set())


def test_the_librarys_builder_for_pickles_stays_disabled(tmp_path):
    """``dataset_path: pandas`` would unpickle a file that a task names."""
    file, marker = tmp_path / "rows.pkl", tmp_path / "MARK"
    file.write_bytes(pickle.dumps(Marks(marker)))
    with pytest.raises(Exception, match=r"(?i)pickle"):
        datasets.load_dataset("pandas", data_files=str(file), cache_dir=str(tmp_path / "cache"))
    assert not marker.exists()


@pytest.mark.torch
@holds("lm_eval.models.hf_vlms.HFMultimodalLM", f"{HFLM}._create_tokenizer")
def test_lm_evals_class_for_pictures_scores_no_answers_about_them():
    """Ours comes before it, and takes over what it refuses; loading is its own."""
    from lm_eval.models.hf_vlms import HFMultimodalLM
    from lm_eval.models.huggingface import HFLM

    assert issubclass(HFMultimodalLM, HFLM)
    assert {"pretrained", "max_images", "interleave"} <= set(inspect.signature(HFMultimodalLM).parameters)
    for name in ("_create_tokenizer", "apply_chat_template", "loglikelihood", "generate_until"):
        assert name in vars(HFMultimodalLM)
    asked = Instance("loglikelihood", {}, ("<image>?", " red", {"visual": []}), 0, doc_id=0)
    with pytest.raises(NotImplementedError):
        HFMultimodalLM.__new__(HFMultimodalLM).loglikelihood([asked])


@pytest.mark.torch
def test_the_clients_of_servers_have_what_ours_uses_of_them():
    """They are found by their names, make the requests, and read the texts; sending and numbers are ours."""
    from lm_eval.api.registry import get_model

    client, chats = get_model("local-completions"), get_model("local-chat-completions")
    assert client.__name__ == "LocalCompletionsAPI" and chats.__name__ == "LocalChatCompletion"
    for name in ("_create_payload", "create_message", "parse_generations", "_encode_pair", "decode_batch"):
        assert callable(getattr(client, name)) and callable(getattr(chats, name))
    made = chats(base_url="http://127.0.0.1:9/v1/chat/completions", model="m", batch_size=1)
    assert made._seed == 1234 and made._max_gen_toks == 256 and made.max_length == 2047
    messages = made.create_message([seams.make_chat('[{"role": "user", "content": "?"}]')], generate=True)
    payload = made._create_payload(messages, generate=True, gen_kwargs={"until": ["x"]}, seed=1, eos=None)
    assert payload["messages"] == [{"role": "user", "content": "?"}]
    assert payload["stop"] == ["x"] and payload["model"] == "m" and payload["max_tokens"] == 256
