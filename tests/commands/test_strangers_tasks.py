"""A stranger's task or group: whatever its YAML says, nothing runs without consent, and all of it with consent.

Each payload leaves a marker where it runs. It is tried in each way in which lm-eval can come upon a YAML.
"""

import dataclasses
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from lm_eval.config.group import AggMetricConfig, GroupConfig
from lm_eval.config.task import FewshotConfig, TaskConfig

from gptalt_eval.commands import cli
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.hookspecs import hookimpl
from gptalt_eval.contract.record import find_runs, load_record
from gptalt_eval.machine.storage import hash_file
from gptalt_eval.planning import index
from gptalt_eval.testing import make_plugin_set, make_scripted_model

ROWS = [{"question": f"{number} + 1 =", "answer": "a"} for number in range(3)]
PYTHON = """
from pathlib import Path
Path({mark!r}).touch()

def f(*args, **settings):
    return args[0] if args else []

def text(doc, *_):
    return "x"

def score(doc, results):
    return {{"exact_match": 1.0}}

def mean(items, *_):
    return 0.0
"""
METRIC = """
import datasets
import evaluate
from pathlib import Path
Path({mark!r}).touch()

class Metric(evaluate.Metric):
    def _info(self):
        features = datasets.Features({{"predictions": datasets.Value("string"), "references": datasets.Value("string")}})
        return evaluate.MetricInfo(description="", citation="", features=features)

    def _compute(self, predictions, references):
        return {{"evil": 1.0}}
"""


@dataclass(frozen=True)
class Attack:
    """Lines of a YAML that run code.

    Attributes:
        lines: of the task, or of the group.
        drop: the fields of the plain task that are left out.
        in_group: whether they are a group's.
        files: more files, by name.
        runs: whether the payload leaves its marker with consent.
    """

    lines: str
    drop: tuple = ()
    in_group: bool = False
    files: dict = field(default_factory=dict)
    runs: bool = True


FIELDS = (
    "process_docs", "doc_to_text", "doc_to_target", "doc_to_choice", "doc_to_image", "doc_to_audio", "process_results",
    "custom_dataset", "description", "gen_prefix", "doc_to_decontamination_query", "dataset_name", "metadata", "tag",
    "task_alias", "test_split", "fewshot_split", "target_delimiter", "use_prompt", "class", "repeats", "unsafe_code",
)  # fmt: skip
F = "!function evil.f"
ATTACKS = {
    **{name: Attack(f"{name}: {F}", (name,)) for name in FIELDS},
    "fewshot samples": Attack(f"fewshot_config: {{samples: {F}}}"),
    "fewshot text": Attack(f"fewshot_config: {{doc_to_text: {F}}}"),
    "fewshot docs": Attack(f"fewshot_config: {{process_docs: {F}}}"),
    "fewshot sampler": Attack(f"fewshot_config: {{sampler: {F}}}"),
    "metric": Attack(f"metric_list: [{{metric: {F}, aggregation: mean, higher_is_better: true}}]", ("metric_list",)),
    "aggregation": Attack(f"metric_list: [{{metric: exact_match, aggregation: {F}}}]", ("metric_list",)),
    "filter": Attack(f"filter_list: [{{name: x, filter: [{{function: custom, filter_fn: {F}}}]}}]"),
    "generation": Attack(f"generation_kwargs: {{until: ['.'], x: {F}}}", ("generation_kwargs",)),
    "data": Attack(f"dataset_kwargs: {{data_files: rows.jsonl, x: {F}}}", ("dataset_kwargs",)),
    "a key given twice": Attack(f"doc_to_text: {F}\ndoc_to_text: question", ("doc_to_text",)),
    "inside a key given twice": Attack(f"metadata: {{a: [{F}]}}\nmetadata: {{}}"),
    "a mapping's key": Attack(f"metadata: {{? {F} : 1}}"),
    "pairs": Attack(f"metadata: !!pairs [a: {F}]"),
    "an ordered mapping": Attack(f"metadata: !!omap [a: {F}]"),
    "a set": Attack(f"metadata: !!set {{? {F}}}"),
    "an anchor": Attack(f"metadata: {{a: &it {F}}}\ndoc_to_text: *it", ("doc_to_text",)),
    "a merged mapping": Attack(f"fewshot_config: {{<<: {{doc_to_text: {F}}}, doc_to_text: question}}"),
    "a full tag": Attack("doc_to_text: !<!function> evil.f", ("doc_to_text",)),
    "a value key": Attack("doc_to_text: !function {=: evil.f}", ("doc_to_text",)),
    "an absolute module": Attack("doc_to_text: !function ELSEWHERE.f", ("doc_to_text",)),
    "an include that is overridden": Attack("include: base.yaml", files={"base.yaml": f"doc_to_text: {F}\n"}),
    "an include of an include": Attack(
        "include: [base.yaml]", files={"base.yaml": "include: more.yml\n", "more.yml": f"doc_to_text: {F}\n"}
    ),
    "an included task list": Attack("include: base.yaml", files={"base.yaml": f"task_list: [{{doc_to_text: {F}}}]\n"}),
    "a metric's script": Attack(
        "metric_list: [{metric: FOLDER/evil_metric.py, hf_evaluate: true, aggregation: mean, higher_is_better: true}]",
        ("metric_list",),
    ),
    "a metric that is not known": Attack(
        "metric_list: [{metric: FOLDER/evil_metric.py, aggregation: mean, higher_is_better: true}]", ("metric_list",)
    ),
    "custom generation": Attack(
        "generation_kwargs: {until: ['.'], custom_generate: FOLDER, trust_remote_code: true}", ("generation_kwargs",), runs=False
    ),
    "remote code": Attack("dataset_kwargs: {data_files: rows.jsonl, trust_remote_code: true}", ("dataset_kwargs",), runs=False),
    "remote code in a reader": Attack("fewshot_config: {samples: [{trust_remote_code: 1}]}", runs=False),
    "a tokenizer of its own": Attack("metadata: {tokenizer: stranger/evil}", runs=False),
    "a tokenizer in the rows' settings": Attack(
        "dataset_kwargs: {data_files: rows.jsonl, tokenizer: stranger/evil}", ("dataset_kwargs",), runs=False
    ),
    "a recipe of unitxt": Attack("recipe: card=cards.evil", runs=False),
    "a recipe in the rows' settings": Attack(
        "dataset_kwargs: {data_files: rows.jsonl, card: evil.json}", ("dataset_kwargs",), runs=False
    ),
    "a group's recipe": Attack("task: [{task: 20_newsgroups, recipe: card=cards.evil}]", ("task",), in_group=True, runs=False),
    "what a model writes": Attack("unsafe_code: false", runs=False),
    "a group's aggregation": Attack(f"aggregate_metric_list: [{{metric: exact_match, aggregation: {F}}}]", in_group=True),
    "a group's field": Attack(f"description: {F}", in_group=True),
    "a group's override": Attack(f"task: [{{task: quiz, doc_to_text: {F}}}]", ("task",), in_group=True),
    "an inner group's override": Attack(f"task: [{{group: inner, task: [{{task: quiz, doc_to_text: {F}}}]}}]", ("task",), in_group=True),
    "an inner group": Attack("task: [inner]", ("task",), in_group=True, files={"inner.yaml": f"group: inner\ntask: [quiz]\nmetadata: {{x: {F}}}\n"}),
    "an inline task": Attack(f"task: [{{task: anew, dataset_path: json, doc_to_text: {F}}}]", ("task",), in_group=True),
    "a group's include": Attack("include: base.yaml", in_group=True, files={"base.yaml": f"description: {F}\n"}),
    "a group's metric": Attack(
        "task: [{task: quiz, metric_list: [{metric: FOLDER/evil_metric.py, aggregation: mean}]}]", ("task",), in_group=True
    ),
    "a group's generation": Attack("generation_kwargs: {custom_generate: FOLDER}", in_group=True, runs=False),
}  # fmt: skip
JINJA = "'{{ cycler.__init__.__globals__.os.system(\"touch MARK\") }}'"
TEMPLATES = {
    **{name: Attack(f"{name}: {JINJA}", (name,)) for name in ("doc_to_text", "doc_to_target", "description", "gen_prefix")},
    "doc_to_choice": Attack(f"output_type: multiple_choice\ndoc_to_choice: {JINJA}", ("output_type",)),
    "fewshot text": Attack(f"num_fewshot: 1\nfewshot_config: {{split: test, doc_to_text: {JINJA}}}"),
    "fewshot target": Attack(f"num_fewshot: 1\nfewshot_config: {{split: test, doc_to_target: {JINJA}}}"),
    "fewshot prefix": Attack(f"num_fewshot: 1\nfewshot_config: {{split: test, gen_prefix: {JINJA}}}"),
    "a group's": Attack(f"doc_to_text: {JINJA}", in_group=True),
}  # fmt: skip


class Stranger:
    """A folder with a stranger's task and group, and the marker that its code leaves."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.mark = folder / "theirs", folder / "MARK"
        self.folder.mkdir()
        (self.folder / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
        (self.folder / "evil.py").write_text(PYTHON.format(mark=str(self.mark)))
        (self.folder / "evil_metric.py").write_text(METRIC.format(mark=str(self.mark)))
        (self.folder / "custom_generate").mkdir()
        (self.folder / "custom_generate" / "generate.py").write_text(PYTHON.format(mark=str(self.mark)))
        self.plain = {
            "task": "quiz", "dataset_path": "json", "dataset_kwargs": f"{{data_files: {{test: {self.folder / 'rows.jsonl'}}}}}",
            "test_split": "test", "output_type": "generate_until", "doc_to_text": "question", "doc_to_target": "answer",
            "generation_kwargs": "{until: ['.']}", "metric_list": "[{metric: exact_match}]",
        }  # fmt: skip
        self.group = {"group": "quizzes", "task": "[quiz]"}

    def fill(self, text: str) -> str:
        rows = f"data_files: {{test: {self.folder / 'rows.jsonl'}}}"
        elsewhere = str(self.folder / "evil").replace("/", ".")
        text = text.replace("data_files: rows.jsonl", rows).replace("ELSEWHERE", elsewhere)
        return text.replace("FOLDER", str(self.folder)).replace("MARK", str(self.mark))

    def write(self, attack: Attack) -> None:
        for name, fields, lines in (
            ("quiz.yaml", self.plain, "" if attack.in_group else attack.lines),
            ("quizzes.yaml", self.group, attack.lines if attack.in_group else ""),
        ):
            kept = [f"{key}: {value}" for key, value in fields.items() if not lines or key not in attack.drop]
            (self.folder / name).write_text("\n".join([*kept, self.fill(lines), ""]))
        for name, text in attack.files.items():
            (self.folder / name).write_text(self.fill(text))


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Stranger(tmp_path)


@pytest.fixture
def call(tmp_path, capsys):
    """Runs the program; returns what it printed, or with what it refused."""

    def run(*words):
        try:
            cli.dispatch([str(word) for word in words], make_plugin_set(models=[make_scripted_model()]))
        except GptaltError as error:
            return str(error)
        except Exception as error:  # lm-eval fails on a function where it expects text, after it imported it
            return repr(error)
        finally:
            printed = capsys.readouterr()
        return printed.out + printed.err

    return run


def spell(way, attack, stranger):
    """The command line of one way to come upon the YAML."""
    name = "quizzes" if attack.in_group or way == "group" else "quiz"
    file, out = stranger.folder / f"{name}.yaml", stranger.folder.parent / "out"
    run = ("run", "--model", "scripted", "--output_path", out, "--include_path", stranger.folder, "--tasks")
    return {
        "validate": ("validate", stranger.folder),
        "show": ("show", "task", file),
        "run": (*run, file),
        "group": (*run, name),
        "folder": (*run, name),
        "pattern": (*run, f"{name}*"),
    }[way]


WAYS = ("validate", "show", "run", "folder", "group", "pattern")


@pytest.mark.parametrize("name", [*ATTACKS])
def test_no_code_runs_without_consent_and_all_with_it(name, stranger, call):
    attack = ATTACKS[name]
    stranger.write(attack)
    for way in WAYS:
        told = call(
            *spell(way, attack, stranger), *(("--confirm_run_unsafe_code",) if way in WAYS[2:] else ())
        )
        assert not stranger.mark.exists(), f"{way}: {told}"
        if way == "show" and attack.in_group:
            continue  # its members are found in --include_path only
        assert "runs Python: " in told or "runs what a model writes" in told, told
    assert not (stranger.folder.parent / "out").exists()
    trusted = ",".join(str(stranger.folder / name) for name in ("quiz.yaml", "quizzes.yaml", "inner.yaml"))
    told = call(
        *spell("group" if attack.in_group else "show", attack, stranger), "--trust_task_code", trusted
    )
    assert stranger.mark.exists() == attack.runs, told
    assert "does more than ask" not in told


def test_a_consent_is_remembered_for_exactly_this_content(stranger, call):
    stranger.write(ATTACKS["process_results"])
    run, out = spell("run", Attack(""), stranger), stranger.folder.parent / "out"
    file, code = stranger.folder / "quiz.yaml", stranger.folder / "evil.py"
    code.write_text(code.read_text().replace("def f(", "def g(").replace("def score(", "def f("))
    assert "--trust_task_code" in call(*run)
    assert "Results:" in call(*run, "--trust_task_code", file)
    [folder] = find_runs(out)
    assert load_record(folder).run.task_code == {str(path): hash_file(path) for path in (file, code)}
    assert "Results:" in call(*run)
    stranger.mark.unlink()
    code.write_text(code.read_text() + "import more\n")
    (stranger.folder / "more.py").write_text("")
    assert "--trust_task_code" in call(*run) and not stranger.mark.exists()
    assert "--trust_task_code" not in call(
        "show", "task", file, "--trust_task_code", f"elsewhere.yaml,{file}"
    )
    (stranger.folder / "more.py").write_text("1")
    assert "--trust_task_code" in call(*run), "what the code imports beside it is part of the consent"


@pytest.mark.parametrize("way", ["run", "folder"])
def test_a_task_cannot_pass_for_one_of_lm_evals(way, stranger, call):
    """In flow style, as the fast index of names misses it, too."""
    stranger.write(Attack(""))
    text = (stranger.folder / "quiz.yaml").read_text().replace("task: quiz", "task: arc_easy")
    (stranger.folder / "a.yaml").write_text('{"t\\x61sk": arc_easy, "process_docs": !function evil.f}')
    (stranger.folder / "b.yaml").write_text(text)
    out = stranger.folder.parent / "out"
    run = (
        "run",
        "--model",
        "scripted",
        "--output_path",
        out,
        "--data_dir",
        "sample",
        "--limit",
        1,
        "--tasks",
    )
    told = call(*run, f"arc_easy,{stranger.folder / 'quiz.yaml'}")
    assert "Results:" in told and not stranger.mark.exists(), told
    [folder] = find_runs(out)
    record = load_record(folder)
    assert record.run.data["arc_easy"].hub == "allenai/ai2_arc" and "is that of" not in str(record.run.notes)
    named = (stranger.folder / "b.yaml",) if way == "run" else ("arc_easy", "--include_path", stranger.folder)
    told = call(*run, *named)
    assert "Results:" in told and not stranger.mark.exists(), told
    assert any(
        note.startswith("The task 'arc_easy' is that of") and "not of lm-eval" in note
        for note in load_record(folder).run.notes
    )
    assert "It overrides arc_easy" in call("validate", stranger.folder / "b.yaml")
    assert "Two tasks have the name arc_easy" in call(*run, f"arc_easy,{stranger.folder / 'b.yaml'}")


@pytest.mark.parametrize("name", [*TEMPLATES])
def test_no_template_reaches_the_system(name, stranger, call):
    stranger.write(TEMPLATES[name])
    for way in WAYS[:4]:
        told = call(*spell(way, TEMPLATES[name], stranger))
        assert not stranger.mark.exists(), f"{way}: {told}"
    assert "reaches for more than its row" in told or "SecurityError" in told, told


CHANGED = "from pathlib import Path\nPath({mark!r}).touch()\n\ndef f(*args):\n    return 'x'\n"
HARMLESS = "def f(*args):\n    return 'x'\n"
HERE = "import os, sys\nsys.path.insert(0, os.path.dirname(__file__))\n"


@pytest.mark.parametrize("way", ["a package", "a module in a package", "a link", "a module of Python's path"])
def test_a_consent_ends_when_any_of_the_code_changes(way, stranger, call, monkeypatch):
    """Not only that of the module beside the YAML."""
    stranger.write(ATTACKS["doc_to_text"])
    theirs, file = stranger.folder, stranger.folder / "quiz.yaml"
    (theirs / "pkg").mkdir()
    (theirs / "pkg" / "__init__.py").write_text("")
    changed = theirs / "pkg" / "inner.py"
    if way == "a link":
        (theirs / "evil.py").unlink()
        (theirs / "evil.py").symlink_to(theirs / "pkg" / "evil.py")
        (theirs / "pkg" / "evil.py").write_text(f"{HERE}from inner import f\n")
        (theirs / "inner.py").write_text(HARMLESS)  # beside the link, and never imported
    elif way == "a module of Python's path":
        (theirs / "evil.py").unlink()
        monkeypatch.syspath_prepend(theirs / "pkg")
        changed = theirs / "pkg" / "evil.py"
    else:
        inner = "pkg.inner" if way == "a module in a package" else "pkg"
        (theirs / "evil.py").write_text(f"{HERE}from {inner} import f\n")
        changed = theirs / "pkg" / ("inner.py" if way == "a module in a package" else "__init__.py")
    changed.write_text(HARMLESS)
    assert "--trust_task_code" not in call("show", "task", file, "--trust_task_code", file)
    assert "--trust_task_code" not in call("show", "task", file)
    changed.write_text(CHANGED.format(mark=str(stranger.mark)))
    assert "--trust_task_code" in call("show", "task", file) and not stranger.mark.exists()


@pytest.mark.parametrize("way", ["rerun", "resume", "run", "--config"])
def test_a_setting_in_a_file_trusts_no_code_that_came_later(way, stranger, call, tmp_path):
    """``trust_task_code`` in a run's settings was typed for what the code was then."""
    stranger.write(ATTACKS["doc_to_text"])
    file, code, out = stranger.folder / "quiz.yaml", stranger.folder / "evil.py", tmp_path / "out"
    code.write_text(HARMLESS)
    told = call("run", "--model=scripted", "--tasks", file, "--trust_task_code", file, "--output_path", out)
    assert "Results:" in told
    settings = {"model": "scripted", "tasks": str(file), "trust_task_code": str(file)}
    (tmp_path / "mine.yaml").write_text(json.dumps(settings))
    words = {
        "run": ["run", tmp_path / "mine.yaml"],
        "--config": ["run", "--config", tmp_path / "mine.yaml"],
    }.get(way, [way, out / "scripted"])
    if way in ("run", "--config"):
        assert "Results:" in call(*words, "--trust")
    assert "asks for more" not in call(*words)
    code.write_text(CHANGED.format(mark=str(stranger.mark)))
    if way == "resume":
        saved = out / "scripted" / "run.json"
        content = json.loads(saved.read_text())
        content |= {"done": [], "missing": ["quiz"], "results": [], "status": "interrupted"}
        content["cells"][0]["results"] = None
        saved.write_text(json.dumps(content))
    told = call(*words)
    assert f"runs the Python of the task {file}" in told and not stranger.mark.exists(), told


@pytest.mark.parametrize("kind", ["task_alias", "group_alias"])
def test_an_alias_hides_no_name(kind, stranger, call):
    """In the table, the report and a comparison; a record of somebody's run has aliases as well."""
    stranger.write(Attack("task_alias: arc_easy") if kind == "task_alias" else GROUP_ALIAS)
    out = stranger.folder.parent / "out"
    told = call(*spell("run" if kind == "task_alias" else "group", Attack(""), stranger))
    name = "quiz" if kind == "task_alias" else "quizzes"
    assert f"{name} (arc_easy)" in " ".join(told.split()), told
    call("report", out / "scripted")
    assert f">{name} (arc_easy)<" in (out / "scripted" / "report.html").read_text()
    assert ">arc_easy<" not in (out / "scripted" / "report.html").read_text()


GROUP_ALIAS = Attack("group_alias: arc_easy\naggregate_metric_list: [{metric: exact_match}]", in_group=True)
OVERRIDES = {
    "num_fewshot": "num_fewshot: 1", "doc_to_text": "doc_to_text: question", "metric_list": "metric_list: [{metric: acc_norm}]",
    "description": "description: Cheat.", "fewshot_config": "fewshot_config: {sampler: first_n}", "gen_prefix": "gen_prefix: A",
    "dataset_path": "dataset_path: json\ndataset_kwargs: {data_files: rows.jsonl}\nprocess_docs: null\ntest_split: test\n"
    "training_split: null\nvalidation_split: null\ndoc_to_text: question\ndoc_to_target: 0\ndoc_to_choice: [a, b]",
}  # fmt: skip


@pytest.mark.parametrize("place", ["the group", "the member", "an inner group"])
@pytest.mark.parametrize("key", OVERRIDES)
def test_what_a_group_changes_in_a_task_is_said(key, place, stranger, call):
    """At the plan, in run.json, and beside the result."""
    stranger.write(Attack(""))
    lines = stranger.fill(OVERRIDES[key]).split("\n")
    member = "{task: arc_easy, " + ", ".join(lines) + "}"
    text = {
        "the group": "\n".join(["task: [arc_easy]", *lines]),
        "the member": f"task: [{member}]",
        "an inner group": f"task: [{{group: inner, task: [{member}]}}]",
    }[place]
    (stranger.folder / "g.yaml").write_text(f"group: g\n{text}\n")
    out = stranger.folder.parent / "out"
    run = ("run", "--model=scripted", "--output_path", out, "--include_path", stranger.folder, "--tasks=g")
    told = " ".join(call(*run, "--data_dir=sample", "--limit=1").split())
    [folder] = find_runs(out)
    record = load_record(folder)
    [note] = [note for note in record.run.notes if note.startswith("arc_easy is not as in its own YAML")]
    assert key in note and "the group 'g'" in note and str(stranger.folder) in note
    assert told.count("arc_easy is not as in its own YAML") == 2, told
    call("report", folder)
    assert "arc_easy is not as in its own YAML" in (folder / "report.html").read_text()


def test_groups_of_lm_eval_change_nothing_that_is_said(stranger, call):
    out = stranger.folder.parent / "out"
    call("run", "--model=scripted", "--output_path", out, "--tasks=mmlu", "--data_dir=sample", "--limit=1")
    [folder] = find_runs(out)
    assert not [note for note in load_record(folder).run.notes if "own YAML" in note]


FIELDS_OF = {
    "task": (TaskConfig, "{fields}"),
    "fewshot_config": (FewshotConfig, "fewshot_config: {{{fields}}}"),
    "group": (GroupConfig, "{fields}"),
    "aggregate_metric_list": (AggMetricConfig, "aggregate_metric_list: [{{{fields}}}]"),
}
#: what lm-eval reads of a task's YAML besides the fields of its class
MORE = ("class", "task_list", "recipe", "no_such_field")
NAMES = ("task", "group", "include")  # a function there names nothing
#: of lm-eval's 14,000 names, which each call would read anew
FEW = {name: entry for name, entry in index.read_lm_eval_tasks().items() if name.startswith("arc_")}


def write_fields(place):
    """All fields of a class, each with a function of its own, and these functions' names."""
    kind, form = FIELDS_OF[place]
    names = [each.name for each in dataclasses.fields(kind)] + ([*MORE] if place == "task" else [])
    named = [name for name in names if name not in NAMES or place not in ("task", "group")]
    lines = [f"{name}: !function evil.f_{name}" for name in named]
    return form.format(fields=("\n" if place in ("task", "group") else ", ").join(lines)), named


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of a harmless quiz, as the stranger hands it over, and an experiment file."""
    folder = tmp_path_factory.mktemp("finished")
    stranger = Stranger(folder)
    stranger.write(Attack(""))
    words = [
        "run",
        "--model=scripted",
        f"--output_path={stranger.folder}",
        f"--include_path={stranger.folder}",
    ]
    cli.dispatch([*words, "--tasks=quizzes"], make_plugin_set(models=[make_scripted_model()]))
    saved = stranger.folder / "scripted" / "run.json"
    content = json.loads(saved.read_text())
    content |= {"done": [], "missing": ["quiz"], "results": [], "status": "interrupted"}
    content["cells"][0]["results"] = None
    saved.write_text(json.dumps(content))
    settings = {
        "model": "scripted",
        "tasks": "quizzes",
        "include_path": str(stranger.folder),
        "output_path": str(folder / "out"),
    }
    (stranger.folder / "experiment.yaml").write_text(json.dumps(settings))
    return stranger


@pytest.mark.parametrize("is_included", [False, True])
@pytest.mark.parametrize("place", FIELDS_OF)
def test_every_field_is_asked_for_in_every_way(place, is_included, finished, call, tmp_path, monkeypatch):
    """What lm-eval 0.4.13 reads, also in a file that the YAML includes: none is missing in what is asked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(index, "read_lm_eval_tasks", FEW.copy)
    text, names = write_fields(place)
    theirs, in_group = finished.folder, place in ("group", "aggregate_metric_list")
    drop = (*names, "fewshot_config", "aggregate_metric_list")
    files = {"base.yaml": text + "\n"} if is_included else {}
    finished.write(Attack("include: base.yaml" if is_included else text, drop, in_group, files))
    file = theirs / ("quizzes.yaml" if in_group else "quiz.yaml")
    ways = {
        "run": (
            "run",
            "--model=scripted",
            f"--output_path={tmp_path}",
            f"--include_path={theirs}",
            "--tasks=quizzes",
        ),
        "file": ("run", "--model=scripted", f"--output_path={tmp_path}", "--tasks", file),
        "show": ("show", "task", file),
        "validate": ("validate", file),
        "resume": ("resume", theirs / "scripted", "--trust"),
        "rerun": ("rerun", theirs / "scripted", "--trust"),
        "experiment": ("run", theirs / "experiment.yaml", "--trust"),
        "--config": ("run", "--config", theirs / "experiment.yaml", "--trust"),
    }
    for way, words in ways.items():
        told = call(*words)
        missing = [name for name in names if not re.search(rf"runs Python: evil\.f_{name}\b", told)]
        assert not missing, f"{way}: {told}"
        assert not finished.mark.exists() and "Results:" not in told, way


@pytest.mark.parametrize("key", NAMES)
def test_a_name_that_is_a_function_names_nothing(key, stranger, call):
    stranger.write(Attack(f"{key}: {F}", (key,)))
    for way in WAYS[:4]:
        told = call(*spell(way, Attack(""), stranger))
        assert not stranger.mark.exists() and "Results:" not in told, told


def test_a_plugins_task_is_asked_for_only_where_others_change_it(tmp_path, monkeypatch, capsys):
    """Its own Python is installed, like the plugin; that of a stranger's group around it is not."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "installed").mkdir()
    plugin, stranger = Stranger(tmp_path / "installed"), Stranger(tmp_path)
    plugin.write(Attack(f"process_docs: {F}", in_group=False))
    (plugin.folder / "quizzes.yaml").unlink()
    stranger.write(ATTACKS["a group's field"])
    (stranger.folder / "quiz.yaml").unlink()
    plugins = make_plugin_set(TaskPlugin(plugin.folder), models=[make_scripted_model()])
    run = [
        "run",
        "--model=scripted",
        f"--output_path={tmp_path / 'out'}",
        f"--include_path={stranger.folder}",
    ]
    with pytest.raises(GptaltError, match=r"runs Python: evil\.f .*theirs"):
        cli.dispatch([*run, "--tasks=quizzes"], plugins)
    with pytest.raises(GptaltError, match=r"runs Python: evil\.f .*theirs"):
        cli.dispatch(["show", "task", str(stranger.folder / "quizzes.yaml")], plugins)
    assert not stranger.mark.exists() and not plugin.mark.exists()
    assert cli.dispatch(["show", "task", "quiz"], plugins) == 0 and plugin.mark.exists()
    assert not stranger.mark.exists()


class TaskPlugin:
    """An installed plugin with a folder of tasks."""

    def __init__(self, folder):
        self.folder = folder

    @hookimpl
    def register_task_dirs(self):
        return [self.folder]
