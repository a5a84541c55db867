"""The mutants that are made of a few lines, and what becomes of them."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]


@pytest.fixture(autouse=True)
def beside_the_scripts(monkeypatch):
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(FOLDER))
    yield
    for name in {"mutants", "groups", "measure"} - before:
        sys.modules.pop(name, None)


def list_changes(folder, text):
    from mutants import list_mutants

    (folder / "a.py").write_text(text)
    mutants = list_mutants(folder, "a.py")
    for mutant in mutants:
        compile(mutant.source, "a.py", "exec")
    assert len({mutant.source for mutant in mutants}) == len(mutants)
    return [mutant.change for mutant in mutants]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a < 1", ["a <{ -> =} 1", "a {< -> >=} 1", "a < {1 -> 2}"]),
        ("a and not b", ["a and {(not b) -> b}", "a {and (not b) -> or not b}"]),
        ("a + -b", ["a {+ -> -} -b", "a + {- -> }b"]),
        ("x = True", ["x = {True -> False}"]),
        ("x = a if b else ''", ["a if { -> not }b else ''", "a if b else '{ -> XX}'"]),
        ("any(a)", ["{any(a) -> pass}", "{any -> all}(a)"]),
        ("x = int(a)", ["{int(a) -> a}"]),
        ("x = f(a, b, c=d)", ["f(a, b{, c=d -> })", "f({a, b -> b, a}, c=d)"]),
        ("x = a[1:]", ["a[{1 -> }:]", "{1 -> 2}:"]),
        ("x = [a for a in b if c]", ["for a in b{if c -> }"]),
        ("x = 'a|b'", ["x = '{a|b -> }'", "x = '{a| -> }b'", "x = 'a{|b -> }'"]),
        ("def f(n=1):\n    return n", ["n={1 -> 2}", "return {n -> None}"]),
        ("if a:\n    raise E", ["if { -> not }a: raise E", "{raise E -> pass}"]),
        ('"""Doc."""\nimport a\nfrom b import c\n__all__ = ["c"]\nx: int | None', []),
        ("@d(1)\ndef f(a: 'A' = None) -> 'B':\n    '''Doc.'''", []),
        ("zip(a, strict=True)", ["{zip(a, strict=True) -> pass}"]),
    ],
)
def test_what_a_line_may_be_mistaken_for(tmp_path, text, expected):
    assert sorted(list_changes(tmp_path, text)) == sorted(expected)


def test_a_mutant_says_where_it_is(tmp_path):
    from mutants import list_mutants

    (tmp_path / "a.py").write_text("# one\nclass C:\n    def f(self):\n        return 1\n")
    one, other = list_mutants(tmp_path, "a.py")
    assert (one.line, one.function, one.key) == (4, "C.f", "a.py C.f: return {1 -> None}")
    assert other.key == "a.py C.f: return {1 -> 2}" and other.source.endswith("return 2")


def test_a_fault_that_is_noticed_and_one_that_is_not(tmp_path, capsys):
    """A whole measurement, on a module of one line of which half is tested."""
    import measure
    from groups import Group

    (tmp_path / "a.py").write_text("def f(x):\n    return x + 1 if x else 5\n")
    (tmp_path / "test_a.py").write_text("import a\n\ndef test_f():\n    assert a.f(1) == 2\n")
    group = Group(("a.py",), ("test_a.py",), preload=(), options=("-p", "no:xdist"))
    arguments = SimpleNamespace(only="", all=True, seed=0, sample=1)
    equivalent = {
        "a.py f: x + {1 -> 2} if x else 5": "said to be harmless",
        "a.py f: y + {1 -> 2}": "was once",
    }
    outcome = measure.measure("a", group, tmp_path, tmp_path, equivalent, arguments)
    assert [mutant.change for mutant in outcome.survivors] == ["x + 1 if x else {5 -> 6}"]
    assert (outcome.existing, outcome.harmless, outcome.killed) == (5, 0, 4)
    printed = capsys.readouterr().out
    assert "survived  a.py:2  f: x + 1 if x else {5 -> 6}" in printed
    assert "gone      a.py f: y + {1 -> 2}" in printed
    assert measure.format_table({"a": outcome})[-1] == "| a | 5 | 5 | 0 | 4 | 1 | 80 |"
    assert "return x + 1" in (tmp_path / "a.py").read_text(), "the module is put back"


def test_the_groups_name_files_that_are_there():
    from groups import GROUPS

    for name, group in GROUPS.items():
        for file in (*group.files, *group.tests):
            assert (ROOT / file).exists(), (name, file)


def test_what_is_called_harmless_says_why():
    import measure
    from groups import GROUPS

    text = measure.EQUIVALENT.read_text(encoding="utf-8")
    reasons = measure.read_equivalent(text)
    named = [line for line in text.splitlines() if line and line[0] not in " #"]
    assert sorted(reasons) == sorted(set(named)) == sorted(named)
    files = {key.split(" ", 1)[0] for key in reasons}
    assert files <= {file for group in GROUPS.values() for file in group.files}
