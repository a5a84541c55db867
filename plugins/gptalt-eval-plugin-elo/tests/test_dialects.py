"""The same fifty random votes in every dialect give the same votes, and tables any text in any spelling."""

import csv
import io
import json
import random
import shlex

import pytest
from gptalt_eval_plugin_elo import Vote
from gptalt_eval_plugin_elo.answers import read_answers
from gptalt_eval_plugin_elo.commands import read_columns
from gptalt_eval_plugin_elo.formats import list_formats
from gptalt_eval_plugin_elo.importing import import_files, read_votes
from gptalt_eval_plugin_elo.merging import merge_votes
from gptalt_eval_plugin_elo.table import gather_votes
from gptalt_eval_plugin_elo.winners import read_winners
from hypothesis import given, settings
from hypothesis import strategies as st

from gptalt_eval import GptaltError

FIELDS = Vote._fields[:7]
MODELS = ("moss", "模型-6b", "GPT x", "o'neil; co", "glm,130")
SIDES = ("a", "b", "tie", "skip")


def draw(number=50):
    """Random votes, with what a table may have in its cells: separators, quotes, line ends, Chinese."""
    generator = random.Random(11)
    votes = []
    for place in range(number):
        one, other = generator.sample(MODELS, 2)
        question = generator.choice(["q{}", "写诗 {}", 'say "{}"', "two\nlines {}", "a;b,c|{}\td"]).format(
            place
        )
        category = generator.choice(["写作", "maths, easy", "", "code"])
        when = f"2026-01-01T00:00:{place:02}"
        votes.append(
            Vote(question, one, other, generator.choice(SIDES), category, generator.choice("xyz"), when)
        )
    return votes


VOTES = draw()
ROWS = [dict(zip(FIELDS, vote, strict=False)) for vote in VOTES]


def spell(words):
    return [row | {"winner": words[row["winner"]] or row["winner"]} for row in ROWS]


def name_winners():
    """The winner by its name."""
    return [
        row | {"winner": row.get({"a": "model_a", "b": "model_b"}.get(row["winner"]), row["winner"])}
        for row in ROWS
    ]


def make_lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def make_table(rows, delimiter=",", encoding="utf-8", names=None, **settings):
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=delimiter, **settings)
    writer.writerow(names or FIELDS)
    writer.writerows([row[name] for name in FIELDS] for row in rows)
    return stream.getvalue().encode(encoding)


def make_sheet(rows):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append([name.title() for name in FIELDS])
    for row in rows:
        book.active.append([row[name] for name in FIELDS])
    book.create_sheet("empty")
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def make_parquet(rows):
    import pyarrow
    from pyarrow import parquet

    stream = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), stream, row_group_size=7)
    return stream.getvalue()


def make_battles():
    names = {"question": "question_id", "annotator": "judge", "time": "tstamp"}
    words = {"a": "model_a", "b": "model_b", "tie": "tie (bothbad)", "skip": "skipped"}
    return [{names.get(name, name): value for name, value in row.items()} for row in spell(words)]


def make_tasks(minimal=False):
    sides = {"a": "left", "b": "right"}
    tasks = []
    for place, row in enumerate(ROWS):
        data = {
            "question": row["question"],
            "model_a": row["model_a"],
            "model_b": row["model_b"],
            "category": row["category"],
        }
        about = {"created_at": row["time"], "completed_by": row["annotator"]}
        value = {"selected": sides[row["winner"]]} if row["winner"] in sides else {"choices": [row["winner"]]}
        if minimal:
            tasks.append(data | {"id": place, "annotator": row["annotator"], "annotation_id": "", "lead_time": 1.5,
                                 "created_at": row["time"], "pref": value})  # fmt: skip
        else:
            tasks.append({"id": place, "data": data, "annotations": [about | {"result": [{"value": value}]}]})
    return tasks


RENAMED = ("Prompt", "L", "R", "Choice", "Kind", "Who", "When")
NAMED = "question=prompt,model_a=l,model_b=r,winner=choice,category=kind,annotator=who,time=when"
CODES = {"a": "1.0", "b": "2.0", "tie": "0.0", "skip": "-1"}
MARKED = [row | {"winner_model_a": int(row["winner"] == "a"), "winner_model_b": int(row["winner"] == "b"),
                 "winner_tie": int(row["winner"] == "tie"), "winner_skip": int(row["winner"] == "skip"), "question_id": row["question"],
                 "judge": row["annotator"], "tstamp": row["time"]} for row in ROWS]  # fmt: skip
DIALECTS = {
    "our own lines": ("v.jsonl", make_lines(ROWS), {}),
    "an array": ("v.json", json.dumps(ROWS, indent=2).encode(), {}),
    "lines in UTF-16": ("v.jsonl", make_lines(ROWS).decode().encode("utf-16"), {}),
    "an array with a mark": ("v.json", json.dumps(ROWS, ensure_ascii=False).encode("utf-8-sig"), {}),
    "names in capitals": ("v.jsonl", make_lines({name.upper(): row[name] for name in row} for row in ROWS), {}),
    "CSV": ("v.csv", make_table(ROWS), {}),
    "CSV of a German Excel": ("v.csv", make_table(ROWS, ";", "utf-8-sig", quoting=csv.QUOTE_ALL), {}),
    "CSV of a Chinese Excel": ("v.csv", make_table(ROWS, ",", "gb18030"), {}),
    "Excel's Unicode text": ("v.csv", make_table(ROWS, "\t", "utf-16"), {}),
    "TSV": ("v.tsv", make_table(ROWS, "\t"), {}),
    "CSV that says its separator": ("v.csv", b"sep=|\r\n" + make_table(ROWS, "|"), {}),
    "names with blanks": ("v.csv", make_table(ROWS, names=[name.title().replace("_", " ") for name in FIELDS]), {}),
    "other columns": ("v.csv", make_table(ROWS, names=RENAMED), {"columns": read_columns(NAMED)}),
    "LMArena's words": ("v.csv", make_table(spell({"a": "Model_A", "b": "model_b", "tie": "both_bad", "skip": ""} | {"skip": "SKIP"})), {}),
    "won": ("v.csv", make_table(spell({"a": "model_A_win", "b": "model_B_win", "tie": "draw", "skip": "跳过"})), {}),
    "the winner's name": ("v.jsonl", make_lines(name_winners()), {}),
    "codes": ("v.csv", make_table(spell(CODES)), {"given": read_winners("a=1,b=2,tie=0,skip=-1")}),
    "FastChat": ("v.json", json.dumps(make_battles()).encode(), {}),
    "one-hot": ("v.jsonl", make_lines(MARKED), {}),
    "Label Studio": ("v.json", json.dumps(make_tasks()).encode(), {}),
    "Label Studio's JSON-MIN": ("v.json", json.dumps(make_tasks(minimal=True)).encode(), {}),
    "Parquet": ("v.parquet", make_parquet, {}),
    "Excel": ("v.xlsx", make_sheet, {}),
}  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_same_votes_in_every_dialect(tmp_path, dialect):
    name, content, settings = DIALECTS[dialect]
    file = tmp_path / name
    file.write_bytes(content(ROWS) if callable(content) else content)
    [counts] = import_files([file], tmp_path / "v", list_formats(), **settings).values()
    assert (counts.added, counts.rejected) == (50, 0)
    assert list(read_votes(tmp_path / "v")) == VOTES


@pytest.mark.parametrize("swapped", [False, True])
def test_our_own_votes_file_in_every_order_of_columns(tmp_path, swapped):
    file = tmp_path / "v.jsonl"
    file.write_bytes(make_lines(dict(reversed(row.items())) if swapped else row for row in ROWS))
    import_files([file], tmp_path / "v", list_formats())
    assert list(read_votes(tmp_path / "v")) == VOTES


# ---------------------------------------------------------------------- one file of each annotator


def test_a_file_of_each_annotator(tmp_path):
    people = sorted({vote.annotator for vote in VOTES})
    for who in people:
        rows = [{**row, "annotator": ""} for row in ROWS if row["annotator"] == who]
        (tmp_path / f"{who}.csv").write_bytes(make_table(rows))
    files = [tmp_path / f"{who}.csv" for who in people]
    import_files(files, tmp_path / "v", list_formats(), columns=read_columns("annotator={file}"))
    assert sorted(read_votes(tmp_path / "v")) == sorted(VOTES)


def test_a_value_for_all(tmp_path):
    file = tmp_path / "v.json"
    for content in (make_battles(), ROWS, make_tasks()):
        file.write_text(json.dumps(content))
        columns = read_columns("annotator=@anna,category=@x,language=@zh")
        import_files([file], tmp_path / "v", list_formats(), columns=columns)
        expected = [vote._replace(annotator="anna", category="x", language="zh") for vote in VOTES]
        assert list(read_votes(tmp_path / "v")) == expected


def test_a_value_for_what_is_not_in_the_file(tmp_path):
    file = tmp_path / "v.csv"
    file.write_text("question,model_b,winner\nq,y,a\n")
    import_files([file], tmp_path / "v", list_formats(), columns={"model_a": "@x"})
    assert list(read_votes(tmp_path / "v")) == [Vote("q", "x", "y", "a")]
    file.write_text("prompt,model_b,winner\nq,y,b\n")
    import_files([file], tmp_path / "w", list_formats(), columns={"question": "Prompt", "model_a": "@x"})
    assert list(read_votes(tmp_path / "w")) == [Vote("q", "x", "y", "b")]


def test_not_all_can_be_the_same(tmp_path):
    file = tmp_path / "v.jsonl"
    file.write_bytes(make_lines(ROWS))
    with pytest.raises(GptaltError, match="'winner' cannot be the same for all votes"):
        import_files([file], tmp_path / "v", list_formats(), columns={"winner": "@a"})


# ---------------------------------------------------------------------- tables

cells = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=12
)
names = cells.map(str.strip).filter(bool)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(names, names, names, st.sampled_from(SIDES)), min_size=1, max_size=6),
    delimiter=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    ending=st.sampled_from(["\n", "\r\n"]),
    order=st.permutations(FIELDS[:4]),
    case=st.sampled_from([str.lower, str.upper, str.title]),
)
def test_any_text_in_any_table(tmp_path_factory, rows, delimiter, encoding, quoting, ending, order, case):
    """Models have a prefix, so that they are not called like words."""
    expected = [Vote(question, f"m-{one}", f"n-{other}", winner) for question, one, other, winner in rows]
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=delimiter, quoting=quoting, lineterminator=ending)
    writer.writerow(map(case, order))
    writer.writerows([vote._asdict()[name] for name in order] for vote in expected)
    folder = tmp_path_factory.mktemp("t")
    (folder / "v.csv").write_bytes(stream.getvalue().encode(encoding))
    [counts] = import_files([folder / "v.csv"], folder / "v", list_formats()).values()
    assert (counts.added, counts.rejected) == (len(rows), 0)
    assert list(read_votes(folder / "v")) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "question,model_a,model_b,winner,winner\nq,x,y,a,b\n",
            "It cannot be read: 2 columns are called 'winner'.",
        ),
        ("question,model_a,model_b,Winner,WINNER\nq,x,y,a,b\n", None),
        ("prompt;l;r;pick\nq;x;y;a\n", "Its columns: prompt, l, r, pick."),
        ("question,model_a,model_b,winer\nq,x,y,a\n", "Its columns: question, model_a, model_b, winer."),
        ("question\n", "has an unknown format"),
        ("", "has an unknown format"),
    ],
)
def test_tables_that_are_refused(tmp_path, text, said):
    file = tmp_path / "v.csv"
    file.write_text(text)
    if said is None:
        [counts] = import_files([file], tmp_path / "v", list_formats()).values()
        assert (counts.added, counts.reasons) == (0, {"two columns are called 'winner'": 1})
        return
    with pytest.raises(GptaltError) as caught:
        import_files([file], tmp_path / "v", list_formats())
    assert said in caught.value.what
    assert (caught.value.hint == "Name its columns: --columns winner=winer") == ("winer" in text)


def test_an_unknown_file_with_columns_of_other_names_names_the_nearest(tmp_path):
    file = tmp_path / "v.jsonl"
    file.write_text(json.dumps({"Questions": "q", "modelA": "x", "modelB": "y", "victor": "a"}))
    with pytest.raises(GptaltError) as caught:
        import_files([file], tmp_path / "v", list_formats())
    assert "Its columns: Questions, modelA, modelB, victor." in caught.value.what
    assert caught.value.hint == (
        "Name its columns: --columns question=Questions,model_a=modelA,model_b=modelB,winner=COLUMN"
    )


@pytest.mark.parametrize(
    ("head", "hint"),
    [
        ("Question,Model A,Model B,Preference,Rater", "winner=COLUMN"),
        ("id,model,answer,model 2,winner", "question=COLUMN,model_a=COLUMN,model_b=COLUMN"),
        ("Frage,Modell links,Modell rechts,Sieger,Person",
         "question=COLUMN,model_a=COLUMN,model_b=COLUMN,winner=COLUMN"),
        ("prompt,model,text,n,m", "question=COLUMN,model_a=COLUMN,model_b=COLUMN,winner=COLUMN"),
        ("Questions,Model A,MODEL-B,victor,time", "question=Questions,winner=COLUMN"),
    ],
)  # fmt: skip
def test_a_table_that_could_have_the_surveys_answers_lists_its_columns_too(tmp_path, head, hint):
    file = tmp_path / "v.csv"
    file.write_text(head + "\n1,2,3,4,5\n")
    with pytest.raises(GptaltError) as caught:
        import_files([file], tmp_path / "v", list_formats())
    assert caught.value.what.endswith(f"Its columns: {head.replace(',', ', ')}.")
    assert shlex.split(caught.value.hint) == shlex.split(f"Name its columns: --columns {hint}")


def test_answers_are_to_be_voted_on(tmp_path):
    file = tmp_path / "my answers.jsonl"
    row = {"prompt": "q", "model": "x", "answer": "yes", "category": "c", "language": "en"}
    file.write_text(json.dumps(row))
    with pytest.raises(GptaltError, match="has answers, not votes") as caught:
        import_files([file], tmp_path / "v", list_formats())
    assert shlex.split(caught.value.hint)[-3:] == ["serve", "--answers", str(file)]
    assert read_answers(file), "and they can be"
    table = tmp_path / "answers.csv"
    table.write_text(",".join(row) + "\n" + ",".join(row.values()))
    with pytest.raises(GptaltError, match="Its columns: prompt, model, answer"):
        import_files([table], tmp_path / "v", list_formats())


@pytest.mark.parametrize(
    ("encoding", "name"),
    [("cp1252", "Jörg Größe"), ("cp1250", "Łukasz"), ("cp1251", "Аня"), ("big5", "繁體中文的問題")],
)
def test_another_encoding_is_not_read_as_chinese(tmp_path, encoding, name):
    file = tmp_path / "v.csv"
    rows = "question,model_a,model_b,winner,annotator\n{},x,y,a,n\nq,x,y,b,n\n"
    file.write_text(rows.format(name), encoding=encoding)
    [counts] = import_files([file], tmp_path / "v", list_formats()).values()
    assert (counts.added, counts.reasons) == (1, {"not UTF-8, save it as CSV UTF-8": 1})


# ---------------------------------------------------------------------- files that need a package


def make_times():
    import datetime

    import pyarrow

    rows = [{"question_id": "q", "model_a": "x", "model_b": "y", "winner": "both_bad", "anony": False,
             "timestamp": datetime.datetime(2025, 6, 1, 12), "conversation_a": [{"role": "user", "content": "Hi"}]}]  # fmt: skip
    return pyarrow.Table.from_pylist(rows)


def test_values_of_parquet(tmp_path):
    from pyarrow import parquet

    parquet.write_table(make_times(), tmp_path / "v.parquet")
    import_files([tmp_path / "v.parquet"], tmp_path / "v", list_formats())
    assert list(read_votes(tmp_path / "v")) == [
        Vote("q", "x", "y", "tie", "", "", "2025-06-01T12:00:00", blind=False)
    ]


@pytest.mark.parametrize(("ending", "kind"), [("parquet", "Parquet"), ("xlsx", "Excel")])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 damaged", b"PAR1 damaged PAR1", b"question,winner\n"])
def test_damaged_files_are_refused(tmp_path, ending, kind, content):
    if ending == "xlsx":
        pytest.importorskip("openpyxl")
    file = tmp_path / f"v.{ending}"
    file.write_bytes(content)
    with pytest.raises(GptaltError, match=f"cannot be read as {kind}"):
        import_files([file], tmp_path / "v", list_formats())


@pytest.mark.parametrize(("ending", "package"), [("parquet", "pyarrow"), ("xlsx", "openpyxl")])
def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch, ending, package):
    for name in (package, "pyarrow.parquet"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    file = tmp_path / f"v.{ending}"
    file.write_bytes(b"")
    with pytest.raises(GptaltError, match=f"cannot be read without {package}") as caught:
        import_files([file], tmp_path / "v", list_formats())
    assert f"pip install 'gptalt-eval-plugin-elo[{ending}]'" in caught.value.hint


def test_a_workbook_with_several_sheets_is_refused(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for name in ("one", "two"):
        book.create_sheet(name).append(["question", "winner"])
    book.save(tmp_path / "v.xlsx")
    with pytest.raises(GptaltError, match="has several sheets: one, two"):
        import_files([tmp_path / "v.xlsx"], tmp_path / "v", list_formats())


def test_a_workbook_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    (tmp_path / "v.xlsx").write_bytes(make_sheet(ROWS))
    monkeypatch.setattr("gptalt_eval_plugin_elo.sheets.LARGEST", 10_000)
    with pytest.raises(GptaltError, match="larger than 1 GiB when unpacked"):
        import_files([tmp_path / "v.xlsx"], tmp_path / "v", list_formats())


def test_numbers_and_empty_cells_of_a_sheet(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in ([], ["Question", "Model_A", "Model_B", "Winner", None], [7, "x", "y", 1.0, None], [8, "x", "y", 2], [9, "x", "y"],
                [9, "x", "y", 1, "more"]):  # fmt: skip
        book.active.append(row)
    book.save(tmp_path / "v.xlsx")
    given = read_winners("a=1,b=2,tie=@empty")
    [counts] = import_files([tmp_path / "v.xlsx"], tmp_path / "v", list_formats(), given=given).values()
    assert [vote[:4] for vote in read_votes(tmp_path / "v")] == [
        ("7", "x", "y", "a"), ("8", "x", "y", "b"), ("9", "x", "y", "tie"),
        ("9", "x", "y", "a"),
    ]  # fmt: skip
    assert counts.rejected == 0, "a cell in a column without a name says nothing"


def test_a_table_without_questions(tmp_path):
    """``question=@all`` would make one comparison of ninety votes against ten."""
    file = tmp_path / "duels.csv"
    file.write_text("left,right,choice\n" + "x,y,a\n" * 90 + "x,y,b\n" * 10, encoding="utf-8")
    columns = {"question": "@", "model_a": "left", "model_b": "right", "winner": "choice"}
    for expected in (100, 0):
        [counts] = import_files([file], tmp_path / "v", list_formats(), columns=columns).values()
        assert (counts.added, counts.rejected) == (expected, 0)
    votes = list(read_votes(tmp_path / "v"))
    assert {vote.question for vote in votes} == {""} and sum(vote.winner == "a" for vote in votes) == 90
    assert len(merge_votes(gather_votes(votes), "survey")) == 100
