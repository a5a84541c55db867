"""Other datasets from local files, through datasets.yaml."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gptalt_eval
from gptalt_eval.contract.errors import DataError, GptaltError
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.data import datasets_yaml
from gptalt_eval.data.datasets_yaml import FILE, is_integer, read_any, read_datasets
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.planning.resolve import resolve
from gptalt_eval.results.analyse import list_scores
from gptalt_eval.testing import make_plugin_set

COPA = """\
copa:
  hub: aps/super_glue
  config: copa
  splits: {validation: copa/val.jsonl, train: copa/train.csv}
  columns: {label: answer}
  licence: BSD-2-Clause
  home: people.ict.usc.edu/~gordon/copa.html
"""
ROWS = [
    {"premise": "It rained.", "choice1": "The street was wet.", "choice2": "The sun rose.", "question": "effect", "answer": i % 2, "idx": i}
    for i in range(6)
]  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    (tmp_path / FILE).write_text(COPA)
    (tmp_path / "copa").mkdir()
    (tmp_path / "copa" / "val.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    lines = [",".join(ROWS[0]), *(",".join(map(str, row.values())) for row in ROWS[:3])]
    (tmp_path / "copa" / "train.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def plan(plugins, folder, **settings):
    spec = make_spec({"model": "scripted", "tasks": "copa", "data_dir": str(folder), **settings})
    return resolve(spec, plugins)


def test_a_task_of_lm_evals_runs_on_local_files(plugins, folder, tmp_path):
    record = gptalt_eval.evaluate(
        "scripted", "copa", plugins=plugins, data_dir=str(folder), num_fewshot=2, output_path=str(tmp_path / "out")
    )  # fmt: skip
    assert record.results[0]["results"]["copa"]["sample_len"] == 6
    described = record.run.data["copa"]
    assert (described.title, described.licence, described.origin) == (
        "copa",
        "BSD-2-Clause",
        "folder",
    )
    assert not described.partial


def test_the_file_owns_its_datasets(plugins, folder):
    catalog = Catalog(plugins, data_dir=folder)
    owned = catalog.find_dataset("aps/super_glue", "copa")
    assert str(owned.owner) == str(folder / FILE)
    assert catalog.find_dataset("aps/super_glue", "boolq").item.name == "boolq"


def test_the_file_wins_over_a_registered_dataset(plugins, folder):
    (folder / FILE).write_text("mine: {hub: baber/piqa, splits: {validation: p.jsonl}}\n")
    catalog = Catalog(plugins, data_dir=folder)
    assert catalog.find_dataset("baber/piqa", None).item.name == "mine"


def test_a_folder_without_the_file(plugins, tmp_path):
    assert Catalog(plugins, data_dir=tmp_path).datasets.keys() == Catalog(plugins).datasets.keys()


def test_rows_may_share_a_column(plugins, folder, tmp_path):
    """'cluster' names it as it is called in the hub version; here the file calls it 'text'."""
    (folder / FILE).write_text(
        COPA.replace("{label: answer}", "{label: answer, premise: text}\n  cluster: premise")
    )
    rows = [{"text" if key == "premise" else key: value for key, value in row.items()} for row in ROWS]
    (folder / "copa" / "val.jsonl").write_text("".join(json.dumps({**row, "text": f"It rained {row['idx'] // 2}."}) + "\n" for row in rows))  # fmt: skip
    train = folder / "copa" / "train.csv"
    train.write_text(train.read_text().replace("premise", "text"))
    record = gptalt_eval.evaluate(
        "scripted", "copa", plugins=plugins, data_dir=str(folder), output_path=str(tmp_path / "out"), log_samples=True
    )  # fmt: skip
    assert record.run.data["copa"].cluster == "premise"
    [score] = list_scores(record)
    assert (score.items, score.clusters, score.cluster) == (6, 3, "premise")


@pytest.mark.parametrize(
    ("cluster", "hint"),
    [
        ("premis", "Did you mean 'premise'?"),
        ("answer", "The columns are: premise, choice1, choice2, question, idx, label."),
    ],
)
def test_a_shared_column_that_is_not_there(plugins, folder, cluster, hint):
    """Also one that is renamed: tasks see the hub version's names."""
    (folder / FILE).write_text(COPA.replace("licence", f"cluster: {cluster}\n  licence"))
    with pytest.raises(DataError) as caught:
        plan(plugins, folder)
    assert f"val.jsonl, row 1: 'cluster' names no column '{cluster}'.\n{hint}" in str(caught.value)


MISTAKES = {
    "copa: [": "is not valid YAML",
    "": "the file must consist of 'key: value' lines",
    "- copa": "line 1: the file must consist of 'key: value' lines",
    "copa: yes": "line 1: 'copa' must consist of 'key: value' lines",
    COPA.replace("hub:", "hubb:"): "line 2: 'copa': unknown key 'hubb'.\nDid you mean 'hub'?",
    COPA.replace("  hub: aps/super_glue\n", ""): "'copa': 'hub' is missing",
    "copa:\n  hub: aps/super_glue\n": "line 2: 'copa': 'splits' is missing",
    COPA.replace("{validation: copa/val.jsonl, train: copa/train.csv}", "{}"): "'splits' of 'copa' is empty",
    COPA.replace("copa/val.jsonl", "../val.jsonl"): "line 4: ../val.jsonl is not a path below the data folder",
    COPA.replace("copa/val.jsonl", "/copa/val.jsonl"): "/copa/val.jsonl is not a path below the data folder",
    COPA.replace("val.jsonl", "val.parquet"): "copa/val.parquet: unsupported file type.\nSupported: .jsonl",
    COPA.replace("{label: answer}", "answer"): "line 5: 'columns' of 'copa' must consist of 'key: value' lines",
    COPA.replace("{label: answer}", "{label: [answer]}"): "'label' in 'columns' of 'copa' must be text",
    COPA.replace("licence: BSD-2-Clause", "cluster: [premise]"): "line 6: 'cluster' of 'copa' must be text",
    COPA.replace("licence: BSD-2-Clause", "clusters: premise"): "unknown key 'clusters'.\nDid you mean 'cluster'?",
    COPA.replace("config: copa", "config: [copa]"): "line 3: 'config' of 'copa' must be text",
    COPA + COPA: "line 8: 'copa' appears twice in the file",
    COPA + COPA.replace("copa:", "other:", 1): "'copa' and 'other' have the same hub id and config",
    "? [copa]\n: x\n": "line 1: a key in the file must be text",
    COPA.replace("{label: answer}", "{{label: x}: answer}"): "line 5: a key in 'columns' of 'copa' must be text",
    "copa: " + "[" * 5000 + "]" * 5000: "nested too deeply",
    "copa: &a\n  hub: x\n  splits: *a\n": "'splits' in 'splits' of 'copa' must be text",
    "copa: !!python/object/apply:os.mkdir [ran]": "line 1: 'copa' must consist of 'key: value' lines",
    COPA.replace("copa:", "piqa:", 1): "there is already a dataset 'piqa' in gptalt-eval",
}  # fmt: skip


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes_are_named_with_file_and_line(plugins, folder, text):
    (folder / FILE).write_text(text)
    with pytest.raises(GptaltError) as caught:
        plan(plugins, folder)
    assert MISTAKES[text] in str(caught.value) and FILE in str(caught.value)


def test_the_documented_example_is_right(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    (tmp_path / FILE).write_text(page.split("```yaml\n")[1].split("```")[0])
    [dataset] = read_datasets(tmp_path / FILE)
    assert dataset.serves("aps/super_glue", "copa") and dataset.licence == "BSD-2-Clause"


def test_the_documented_layout_is_that_of_the_datasets():
    from gptalt_eval.data.standard import list_datasets

    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    for dataset in list_datasets():
        for split in dataset.splits:
            assert f"`{split.files[0].split('/')[0]}/" in page, dataset.name


def test_the_documented_commands_are_understood():
    import shlex

    from gptalt_eval.commands.cli import gather_commands, make_parser
    from gptalt_eval.testing import make_plugin_set

    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    parser = make_parser(gather_commands(make_plugin_set()), make_plugin_set())
    for line in page.splitlines():
        if line.startswith("$ gptalt-eval "):
            parser.parse_args(shlex.split(line, comments=True)[2:])


def test_all_mistakes_at_once(folder):
    (folder / FILE).write_text(COPA.replace("hub:", "hubb:").replace("val.jsonl", "val.xlsx"))
    with pytest.raises(GptaltError, match=r"(?s)2 problems found.*hubb.*val\.xlsx"):
        read_datasets(folder / FILE)


def test_a_column_that_is_not_there(plugins, folder):
    (folder / FILE).write_text(COPA.replace("label: answer", "label: anwser"))
    with pytest.raises(
        DataError, match=r"val\.jsonl, row 1: there is no column 'anwser'.\nDid you mean 'answer'"
    ):
        plan(plugins, folder)


def test_a_file_that_is_not_there(plugins, folder):
    (folder / "copa" / "val.jsonl").unlink()
    with pytest.raises(DataError, match=r"copa: no 'validation' in .* \(looked for copa/val\.jsonl\)"):
        plan(plugins, folder)


def test_a_line_that_is_cut_off(plugins, folder):
    file = folder / "copa" / "val.jsonl"
    file.write_text(file.read_text()[:-9])
    with pytest.raises(DataError, match=r"val\.jsonl, line 6: truncated or damaged"):
        plan(plugins, folder)


def test_every_format_gives_the_same_rows(tmp_path):
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    (tmp_path / "a.jsonl").write_text(lines)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "a.json").write_text(json.dumps(ROWS))
    for name, mark in (("a.csv", ","), ("a.tsv", "\t")):
        table = [mark.join(ROWS[0]), *(mark.join(map(str, row.values())) for row in ROWS)]
        (tmp_path / name).write_text("\n".join(table))
    for file in tmp_path.iterdir():
        assert list(read_any(file)) == ROWS, file.name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n1\n", "line 2: 1 columns, the header has 2"),
        ("a,a\n1,2\n", "two columns have the same name"),
        ("a\n\udcff", "damaged"),
    ],
)
def test_a_broken_table_is_named_with_its_line(tmp_path, text, expected):
    (tmp_path / "a.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=expected):
        list(read_any(tmp_path / "a.csv"))


def test_a_json_array_of_other_things(tmp_path):
    (tmp_path / "a.json").write_text("[1, 2]")
    with pytest.raises(DataError, match=r"a\.json, row 1: a JSON object was expected"):
        list(datasets_yaml.rename_columns({})((tmp_path / "a.json",), None))


@pytest.mark.parametrize(("text", "expected"), [("7", True), ("-3", True), ("007", False), ("", False), ("1.0", False), ("²", False), ("-0", False)])  # fmt: skip
def test_whole_numbers(text, expected):
    assert is_integer(text) is expected


@given(st.text(max_size=200))
def test_no_text_gives_anything_but_datasets_or_an_error(tmp_path_factory, text):
    file = tmp_path_factory.mktemp("x") / FILE
    file.write_text(text, encoding="utf-8", errors="replace")
    try:
        read_datasets(file)
    except GptaltError as error:
        assert FILE in str(error)


@pytest.mark.parametrize("names", [("any", "one"), ("one", "any")])
def test_the_dataset_of_a_config_goes_before_the_one_of_all(tmp_path, names):
    described = {
        "any": "any: {hub: org/d, splits: {test: a.json}}",
        "one": "one: {hub: org/d, config: c, splits: {test: b.json}}",
    }
    (tmp_path / FILE).write_text("\n".join(described[name] for name in names))
    catalog = Catalog(make_plugin_set(), data_dir=tmp_path)
    assert [catalog.find_dataset("org/d", config).item.name for config in ("c", "x", None)] == [
        "one",
        "any",
        "any",
    ]
