"""Several processes share one tree: same answers, each row once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.torch

SCRIPT = """
import json, sys
import torch.distributed as dist
import prefix_lm, tiny
from accelerate import PartialState
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from gptalt_eval.scoring.backend import add_tree

PartialState(cpu=True)
rank, world = dist.get_rank(), dist.get_world_size()
lm = add_tree(KIND)(pretrained=MODEL, tokenizer=tiny.make_tokenizer())
lm._rank, lm._world_size = rank, world
contexts = [f"{first} The quick brown fox number {n}" for first in tiny.SENTENCES for n in range(6)]
pairs = [(context, end) for context in contexts for end in (" jumps", " over the dog", " five")]
own = [Instance("loglikelihood", {}, pair, 0, doc_id=0) for pair in pairs[rank::world]]
passed = []
lm.progress = lambda progress: passed.append(progress.computed)
answers = lm.loglikelihood(own, disable_tqdm=True)
with open(f"{sys.argv[1]}/{rank}.json", "w") as file:
    json.dump({"rank": rank, "answers": answers, "computed": passed[-1]}, file)
"""


def run_twice(text, tmp_path):
    """What each of two processes of a script writes."""
    script = tmp_path / "score.py"
    script.write_text(text)
    words = [
        "-m",
        "torch.distributed.run",
        "--nproc_per_node=2",
        "--master_port=0",
        "--standalone",
        str(script),
        str(tmp_path),
    ]
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
    }
    outcome = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, env=environment, timeout=300
    )
    assert outcome.returncode == 0, outcome.stderr[-3000:]
    return [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize("name", ["llama", "rwkv", "prefix-LM"])
def test_two_processes_answer_as_one_does(tmp_path, name):
    import prefix_lm
    import tiny
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    from gptalt_eval.scoring.backend import add_tree

    kind, model = ("HFLM", f"tiny.make_model({name!r})")
    if name == "prefix-LM":
        kind, model = "prefix_lm.Encoding", "prefix_lm.make_model()"
    told = run_twice(SCRIPT.replace("KIND", kind).replace("MODEL", model), tmp_path)

    lm = add_tree(prefix_lm.Encoding if name == "prefix-LM" else HFLM)(
        pretrained=prefix_lm.make_model() if name == "prefix-LM" else tiny.make_model(name),
        tokenizer=tiny.make_tokenizer(),
    )
    contexts = [f"{first} The quick brown fox number {n}" for first in tiny.SENTENCES for n in range(6)]
    pairs = [(context, end) for context in contexts for end in (" jumps", " over the dog", " five")]
    alone = lm.loglikelihood(
        [Instance("loglikelihood", {}, pair, 0, doc_id=0) for pair in pairs], disable_tqdm=True
    )
    total = lm.choice.engine.computed
    for each in told:
        wanted = alone[each["rank"] :: 2]
        assert len(each["answers"]) == len(wanted)
        for (found, greedy), (logprob, likely) in zip(each["answers"], wanted, strict=True):
            assert found == pytest.approx(logprob, abs=1e-4)
            assert greedy == likely
    shares = [each["computed"] for each in told]
    assert total <= sum(shares) < 1.2 * total  # the work is divided, not doubled
    assert max(shares) < 1.5 * min(shares)


FAULTY_SCRIPT = """
import json, sys
import torch.distributed as dist
import tiny
from accelerate import PartialState
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from gptalt_eval.scoring.backend import add_tree

PartialState(cpu=True)
rank, world = dist.get_rank(), dist.get_world_size()
lm = add_tree(HFLM)(pretrained=tiny.make_model("llama"), tokenizer=tiny.make_tokenizer(), max_length=28)
lm._rank, lm._world_size = rank, world
pairs = [(tiny.SENTENCES[rank][:size], " five") for size in (10, 20, 30)] + [("The dog:", "" if rank else " five")]
own = [Instance("loglikelihood", {}, pair, 0, doc_id=0) for pair in pairs]
batches = lm.stream_loglikelihood(own)
found = {"refused": lm.add_up(len(lm.unscorable)), "own": len(lm.unscorable)}
answered = sorted(place for batch in batches for place, _ in batch)
with open(f"{sys.argv[1]}/{rank}.json", "w") as file:
    json.dump(found | {"answered": answered}, file)
"""


def test_a_request_that_one_process_cannot_score_stops_neither(tmp_path):
    first, second = run_twice(FAULTY_SCRIPT, tmp_path)
    assert first == {"refused": 1, "own": 0, "answered": [0, 1, 2, 3]}
    assert second == {"refused": 1, "own": 1, "answered": [0, 1, 2]}
