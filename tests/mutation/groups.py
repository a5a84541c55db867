"""Which tests answer for which modules."""

from __future__ import annotations

from dataclasses import dataclass

CORE = "gptalt_eval"
ELO_TESTS = "plugins/gptalt-eval-plugin-elo/tests"
ELO = "plugins/gptalt-eval-plugin-elo/gptalt_eval_plugin_elo"


@dataclass(frozen=True)
class Group:
    """Modules that are measured together.

    Attributes:
        files: the modules.
        tests: the test files that answer for them.
        preload: what the tests import that is none of ours and slow.
        options: of pytest.
    """

    files: tuple[str, ...]
    tests: tuple[str, ...]
    preload: tuple[str, ...] = ("hypothesis", "numpy")
    options: tuple[str, ...] = ("-m", "not torch and not install")


LM_EVAL = (
    "hypothesis",
    "numpy",
    "scipy.stats",
    "lm_eval.evaluator",
    "lm_eval.models.huggingface",
    "datasets",
)
STATS = ("hypothesis", "numpy", "scipy.stats")

GROUPS = {
    "ranking": Group(
        tuple(f"{CORE}/results/{name}.py" for name in ("ranking", "spread", "sheets")),
        ("tests/results/test_ranking.py", "tests/results/test_sheets.py"),
    ),
    "stats": Group((f"{CORE}/results/stats.py",), ("tests/results/test_stats.py",), STATS),
    "compare": Group(
        (f"{CORE}/results/compare.py", f"{CORE}/results/arms.py", f"{CORE}/commands/compare.py"),
        ("tests/results/test_compare.py",),
        LM_EVAL,
    ),
    "replies": Group((f"{CORE}/contract/replies.py",), ("tests/contract/test_replies.py",)),
    "tree": Group((f"{CORE}/scoring/tree.py",), ("tests/scoring/test_tree.py",)),
    "answers": Group(
        (f"{CORE}/running/lmeval/answers.py",),
        ("tests/running/test_observed.py", "tests/running/test_tampered_answers.py"),
        LM_EVAL,
    ),
    "cuts": Group(
        (f"{CORE}/scoring/chunks.py", f"{CORE}/scoring/cuts.py"),
        ("tests/scoring/test_chunks.py", "tests/scoring/test_pieces.py"),
        (*LM_EVAL, "torch"),
    ),
    "spec": Group(
        (f"{CORE}/contract/spec.py", f"{CORE}/contract/errors.py"),
        ("tests/contract/test_spec.py", "tests/contract/test_errors.py"),
    ),
    "flags": Group(
        (f"{CORE}/commands/flags.py", f"{CORE}/contract/settings.py"),
        ("tests/commands/test_flags.py", "tests/contract/test_settings.py"),
    ),
    "expand": Group(
        (f"{CORE}/planning/expand.py", f"{CORE}/planning/task_data.py"),
        ("tests/planning/test_expand.py", "tests/planning/test_resolve.py"),
    ),
    "data": Group(
        tuple(
            f"{CORE}/data/{name}.py"
            for name in ("locate", "check", "readers", "releases", "datasets_yaml", "standard")
        ),
        ("tests/data",),
        LM_EVAL,
    ),
    "validation": Group(
        tuple(
            f"{CORE}/validation/{name}.py"
            for name in ("metrics", "items", "prompts", "rows", "groups", "splits", "fields", "functions")
        ),
        ("tests/validation",),
    ),
    "record": Group(
        tuple(f"{CORE}/contract/{name}.py" for name in ("record", "run", "typed", "handed", "shapes")),
        tuple(f"tests/contract/test_{name}.py" for name in ("record", "typed", "handed", "shapes")),
    ),
    "runfiles": Group(
        (f"{CORE}/running/runfiles.py", f"{CORE}/running/continuing.py"),
        (
            "tests/running/test_runfiles.py",
            "tests/running/test_continuing.py",
            "tests/contract/test_record.py",
        ),
        LM_EVAL,
    ),
    "provenance": Group((f"{CORE}/contract/provenance.py",), ("tests/contract/test_provenance.py",), LM_EVAL),
    "consent": Group(
        tuple(
            f"{CORE}/planning/consent/{name}.py"
            for name in ("asks", "code", "deeds", "permits", "reads", "trust")
        ),
        (
            "tests/commands/test_strangers_tasks.py",
            "tests/commands/test_trust.py",
            "tests/planning/test_reads.py",
        ),
        LM_EVAL,
    ),
    "items": Group(
        tuple(
            f"{CORE}/results/items/{name}.py"
            for name in ("build", "gathering", "packing", "samples", "pictures")
        ),
        tuple(f"tests/results/test_{name}.py" for name in ("items", "packing", "samples", "pictures")),
        LM_EVAL,
    ),
    "charts": Group(
        tuple(
            f"{CORE}/results/figures/{name}.py"
            for name in ("scales", "drawing", "charts", "scatter", "heatmap")
        ),
        ("tests/results/test_drawing.py", "tests/results/test_charts.py"),
        options=("-m", "not torch and not install", "-k", "not wider and not covers"),  # these need a browser
    ),
    "site": Group(
        (f"{CORE}/results/site/publishing.py", f"{CORE}/commands/report.py"),
        ("tests/results/test_publishing.py", "tests/commands/test_report.py"),
        LM_EVAL,
    ),
    "ratings": Group(
        (f"{ELO}/ratings.py", f"{ELO}/bradley_terry.py", f"{ELO}/regression.py"),
        (f"{ELO_TESTS}/test_ratings.py", f"{ELO_TESTS}/test_bradley_terry.py"),
        STATS,
    ),
    "agreement": Group(
        (f"{ELO}/agreement.py", f"{ELO}/merging.py"), (f"{ELO_TESTS}/test_agreement.py",), STATS
    ),
    "importing": Group(
        (
            f"{ELO}/importing.py",
            f"{ELO}/identity.py",
            f"{ELO}/lines.py",
            f"{ELO}/recognition.py",
            f"{ELO}/winners.py",
        ),
        (f"{ELO_TESTS}/test_importing.py", f"{ELO_TESTS}/test_identity.py", f"{ELO_TESTS}/test_winners.py"),
        STATS,
    ),
}
