"""ScienceQA: science questions from school, half of them with a picture."""

from __future__ import annotations

gptalt_eval_api = 1  # the version of gptalt-eval's hook API
