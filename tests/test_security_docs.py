"""What docs/security.md shows is what the program says; the files that its commands name are made here."""

import json
import re
import shlex
from pathlib import Path

import pytest

from gptalt_eval.commands import cli
from gptalt_eval.planning.lock import write_lock

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```console\n(.*?)```", PAGE, re.S)
HOME = "/home/ann"
RIVERS = """\
task: rivers
dataset_path: json
dataset_kwargs: {data_files: {test: rivers.jsonl}}
output_type: multiple_choice
test_split: test
doc_to_text: !function helpers.ask
doc_to_choice: [Asia, Africa]
doc_to_target: place
"""
FILES = {
    "rivers.yaml": RIVERS,
    "rivers.jsonl": '{"river": "Amur", "place": 0}\n{"river": "Nile", "place": 1}\n',
    "helpers.py": "def ask(doc):\n    return doc['river']\n",
    "theirs.yaml": "model: hf\ntasks: piqa\ndata_dir: sample\ntrust_remote_code: true\n"
    "model_args: {base_url: 'http://203.0.113.9/v1'}\n",
    "diary.jsonl": '{"goal": "private"}\n',
    "wanted.txt": "gptalt-eval-plugin-medqa\n--index-url https://packages.example/simple\n",
}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gptalt_eval.commands.install.find_checkout", lambda *starts: None)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    write_lock(tmp_path / "old.lock", ())
    (tmp_path / "benchmarks" / "piqa").mkdir(parents=True)
    (tmp_path / "benchmarks" / "piqa" / "valid.jsonl").symlink_to(tmp_path / "diary.jsonl")
    lock = json.loads((tmp_path / "old.lock").read_text(encoding="utf-8"))
    lock["packages"]["gptalt-eval-plugin-night-sky"] = {"version": "0.1.0", "sha256": "0"}
    (tmp_path / "old.lock").write_text(json.dumps(lock), encoding="utf-8")
    return tmp_path


def read_commands(block):
    """(command, what it prints) in order."""
    found = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), []))
        else:
            found[-1][1].append(line)
    return [(command, "\n".join(lines)) for command, lines in found]


def match(shown, printed):
    """Whether a text is the one that is shown, in which '...' stands for anything."""
    pattern = ".*?".join(map(re.escape, shown.split("...")))
    return re.fullmatch(pattern, printed.strip("\n"), re.S)


def test_the_page_is_shown_as_it_is(home, capsys):
    assert len(BLOCKS) > 5
    for block in BLOCKS:
        for command, shown in read_commands(block):
            words = shlex.split(command)
            assert words[0] == "gptalt-eval"
            code = cli.main(words[1:])
            said = capsys.readouterr()
            printed = (said.err if code else said.out + said.err).replace(str(home), HOME)
            assert code == (2 if shown.startswith("gptalt-eval: ") else 0), printed
            assert match(shown, printed), f"{command}\n{printed}"


def test_flags_in_the_table_are_those_of_the_program():
    source = "".join(
        (ROOT / "gptalt_eval" / "commands" / name).read_text(encoding="utf-8")
        for name in ("flags.py", "options.py")
    )
    flags = set(re.findall(r"`(--\w+)", PAGE))
    assert len(flags) > 5
    assert {flag for flag in flags if f'"{flag}"' not in source} == set()


def test_the_variables_that_the_page_names_are_read():
    """By us, or by the libraries that fetch for us."""
    from huggingface_hub import constants

    named = set(re.findall(r"`\$?((?:HF|GPTALT|XDG)_[A-Z_]+)", PAGE))
    sources = [Path(constants.__file__), *(ROOT / "gptalt_eval").rglob("*.py")]
    source = "".join(file.read_text(encoding="utf-8") for file in sources)
    assert {"HF_ENDPOINT", "HF_TOKEN", "HF_HUB_OFFLINE", "HF_MODULES_CACHE", "HF_DATASETS_CACHE"} <= named
    assert {name for name in named if name not in source} == set()
