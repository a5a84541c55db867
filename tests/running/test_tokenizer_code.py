"""lm-eval's tasks that load the model's tokenizer themselves run its code only with --trust_remote_code."""

import json
import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("has_consent", [False, True])
@pytest.mark.parametrize("is_imported", [False, True])
def test_a_task_runs_no_tokenizers_code_without_consent(has_consent, is_imported, tmp_path):
    """As lm-eval's ruler and babilong load it: with ``trust_remote_code=True``, whatever the user said."""
    mark = tmp_path / "MARK"
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "tokenization_evil.py").write_text(
        f"from pathlib import Path\nPath({str(mark)!r}).touch()\nfrom transformers import PreTrainedTokenizer\n\n\n"
        "class Evil(PreTrainedTokenizer):\n    pass\n"
    )
    (tmp_path / "model" / "tokenizer_config.json").write_text(
        json.dumps(
            {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["tokenization_evil.Evil", None]}}
        )
    )
    code = (
        "import contextlib\n"
        + ("import transformers.models.auto.tokenization_auto\n" if is_imported else "")
        + "from gptalt_eval.running.lmeval import guards\n"
        f"with guards.refuse_code({has_consent}), contextlib.suppress(Exception):\n"
        "    from transformers import AutoTokenizer\n"
        f"    AutoTokenizer.from_pretrained({str(tmp_path / 'model')!r}, trust_remote_code=True)\n"
    )
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, capture_output=True)
    assert mark.exists() is has_consent
