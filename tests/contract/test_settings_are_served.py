"""No flag is accepted and read by nobody."""

import ast
import dataclasses
from pathlib import Path

import gptalt_eval
from gptalt_eval.contract.spec import REFUSED, RunSpec

CORE = Path(gptalt_eval.__file__).parent
#: where settings are read from the user and judged; what stands only there does nothing
ASKED_AND_JUDGED = {CORE / "contract" / name for name in ("spec.py", "settings.py", "faults.py")} | {
    CORE / "commands" / "flags.py"
}


def list_reads(file: Path) -> set[str]:
    """The names after ``spec.`` and ``....spec.`` in a file."""
    reads = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            owner = node.value
            named = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
            if named == "spec":
                reads.add(node.attr)
    return reads


def test_every_setting_is_read_by_what_carries_the_request_out():
    files = set(CORE.rglob("*.py")) - ASKED_AND_JUDGED
    reads = set().union(*map(list_reads, files))
    assert {item.name for item in dataclasses.fields(RunSpec)} - reads == set()
    assert "saves_samples" in reads


def test_the_reads_are_found(tmp_path):
    (tmp_path / "x.py").write_text(
        "a = spec.limit\nb = plan.cells[0].spec.seed[0]\nc = task.samples\nd.spec = spec\n"
    )
    assert list_reads(tmp_path / "x.py") == {"limit", "seed"}


def test_what_is_refused_is_no_setting():
    assert not REFUSED.keys() & {item.name for item in dataclasses.fields(RunSpec)}
    assert all(reason for reason in REFUSED.values())
