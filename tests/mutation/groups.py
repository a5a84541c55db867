"""Which tests answer for which modules."""

from __future__ import annotations

from dataclasses import dataclass

CORE = "gptalt_eval"
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
    "stats": Group((f"{CORE}/results/stats.py",), ("tests/results/test_stats.py",), STATS),
    "compare": Group(
        (f"{CORE}/results/compare.py", f"{CORE}/results/arms.py", f"{CORE}/commands/compare.py"),
        ("tests/results/test_compare.py",),
        LM_EVAL,
    ),
    "replies": Group((f"{CORE}/contract/replies.py",), ("tests/contract/test_replies.py",)),
    "tree": Group((f"{CORE}/scoring/tree.py",), ("tests/scoring/test_tree.py",)),
    "answers": Group((f"{CORE}/running/lmeval/answers.py",), ("tests/running/test_answers.py",), LM_EVAL),
}
