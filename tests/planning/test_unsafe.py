"""Tasks that run what a model writes need ``--confirm_run_unsafe_code``, whether or not they say so."""

import ast
import re
from types import SimpleNamespace

import pytest

from gptalt_eval.contract.spec import make_spec
from gptalt_eval.planning import index
from gptalt_eval.planning.unsafe import RUNNING, find_unsafe, runs_answers

EVALUATING = {"eval", "exec"}
CALLED = {"parse_expr", "sympify", "Popen", "check_call", "system", "unsafe_execute"}


def list_definitions(tree):
    """What a module defines -> the names that it uses."""
    for node in tree.body:
        names = [node.name] if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else []
        if isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        used = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
        attributes = {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}
        for name in names:
            yield name, used | ((attributes - EVALUATING) & CALLED)


def list_imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield alias.asname or alias.name, (node.module.rpartition(".")[2], alias.name)


def find_reaching(folder):
    """The functions of lm-eval's tasks that evaluate a text, or call one that does, as (file, name)."""
    modules = {}
    for file in folder.rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        modules[file] = dict(list_definitions(tree)), dict(list_imported(tree))
    found = set()
    while True:
        before = len(found)
        named = {(file.stem, name) for file, name in found}
        for file, (defined, imported) in modules.items():
            for name, used in defined.items():
                others = {each for each in used if imported.get(each) in named}
                if used & (EVALUATING | CALLED) or others or any((file, each) in found for each in used):
                    found.add((file, name))
        if len(found) == before:
            return found


def test_the_list_is_that_of_the_source():
    folder = index.find_lm_eval_tasks()
    running = {}
    for file, name in find_reaching(folder):
        word = re.compile(rf"!function\s+[\w.]*\b{file.stem}\.{name}\b")
        yamls = [each for each in file.parent.rglob("*yaml*") if each.is_file()]
        if any(word.search(each.read_text(encoding="utf-8")) for each in yamls):
            running.setdefault(file.relative_to(folder).as_posix(), set()).add(name)
    assert running == {file: set(names) for file, names in RUNNING.items()}


@pytest.mark.parametrize(
    ("task", "runs"),
    [
        ("prompt_robustness_math_precalc", True),
        ("non_greedy_robustness_math_algebra", True),
        ("longproc_countdown_8k", True),
        ("cruxeval_input_cot", True),
        ("humaneval", True),
        ("minerva_math_algebra", False),
        ("arc_easy", False),
    ],
)
def test_such_tasks_are_recognised(task, runs):
    file = index.read_lm_eval_tasks()[task].file
    assert runs_answers(index.load_task_yaml(file)) is runs


def test_a_yaml_of_others_that_takes_the_function_is_recognised(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "task: mine\nprocess_results: !function lm_eval.tasks.score.math.utils_math.process_results\n"
    )
    assert runs_answers(index.load_task_yaml(tmp_path / "mine.yaml"))


def test_a_run_of_them_needs_the_flag():
    file = index.read_lm_eval_tasks()["prompt_robustness_math_algebra"].file
    task = SimpleNamespace(config=index.load_task_yaml(file))
    [fault] = find_unsafe(make_spec({"model": "scripted"}), {"math": task})
    assert "math: the code that the model writes would be run" in str(fault)
    assert "--confirm_run_unsafe_code" in str(fault)
    assert not [*find_unsafe(make_spec({"confirm_run_unsafe_code": True}), {"math": task})]


#: packages that could evaluate a text, start a program or fetch something -> the modules of lm-eval's tasks that
#: import them, and what was decided: "flag" (unsafe.py or unsafe_code), "asked" (consent/deeds.py), or why neither
DECIDED = {
    "math_verify": {"minerva_math/utils.py": "a grammar", "leaderboard/math/utils.py": "a grammar"},
    "unitxt": {"unitxt/task.py": "asked"},
    "subprocess": {
        "cruxeval/utils.py": "flag", "longproc/metrics.py": "flag", "noreval/ask_gec/errant.py": "a program of its own",
    },
    "requests": {
        "ruler/qa_utils.py": "addresses in its source", "bbh/_generate_configs.py": "a program of its own",
        "eus_exams/configs.py": "a program of its own", "belebele/_generate_configs.py": "a program of its own",
        "realtoxicityprompts/metric.py": "the service that judges, with the user's key",
    },
    "openai": {"pisa/utils.py": "the service that judges, with the user's key"},
    "nltk": {
        "ifeval/instructions_util.py": "its own data", "leaderboard/ifeval/instructions_util.py": "its own data",
        "ruler/prepare_niah.py": "its own data", "nerel-bench/utils.py": "its own data",
    },
    "multiprocessing": {"cruxeval/utils.py": "flag"},
    "pickle": {}, "dill": {}, "runpy": {},
    "socket": {}, "httpx": {"ruler/essays.py": "addresses in its source"}, "anthropic": {}, "litellm": {}, "marshal": {}, "shelve": {}, "ctypes": {}, "code": {},
}  # fmt: skip


def test_what_could_run_or_fetch_was_examined():
    """A release of lm-eval in which another task imports one of these must be looked at."""
    folder, found = index.find_lm_eval_tasks(), {}
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in names:
                package = name.partition(".")[0]
                if package in DECIDED:
                    found.setdefault(package, set()).add(file.relative_to(folder).as_posix())
    assert found == {package: set(files) for package, files in DECIDED.items() if files}


def test_what_math_verify_evaluates_has_no_names():
    """Its ``parse_expr``, which is Python's ``eval``, gets what this pattern finds in an answer."""
    parser = pytest.importorskip("math_verify.parser")
    for regex, _ in parser.lazy_expr_regex(parser.ExprExtractionConfig()):
        for text in (
            "__import__('os').system('id')",
            "1+__import__('os')",
            "answer is 1 + exit()",
            "2*(a.b)",
        ):
            for match in regex.finditer(text):
                assert not set(match.groupdict().get("expr") or "") - set("0123456789. +-*×/^()÷\n")


@pytest.mark.parametrize(
    "name", ["minerva_math_algebra", "leaderboard_math_algebra_hard", "putnam_axiom_original"]
)
def test_a_grammar_needs_no_flag(name):
    entry = index.read_lm_eval_tasks().get(name)
    assert entry is not None and not runs_answers(index.load_task_yaml(entry.file))
