"""vLLM and SGLang in this process, with stand-ins that compute on the CPU: what the real ones do is not tested."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import short_runs
import transformers as tf
from lm_eval.api.instance import Instance
from lm_eval.api.registry import get_model
from short_runs import assert_alike, read_answers, read_run, run_here

from gptalt_eval.commands import cli
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.planning import engines as planning
from gptalt_eval.running.lmeval import engines

pytestmark = pytest.mark.torch
KEPT = {}  # the stand-ins: lm-eval imports an engine once, and other tests must not find it
STAND_INS = Path(__file__).parents[1] / "stand_ins"
CHAT = "{% for message in messages %}<{{ message.role }}> {{ message.content }}\n{% endfor %}<assistant>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return short_runs.save_model(tmp_path_factory.mktemp("weights"), CHAT)


@pytest.fixture(params=["vllm", "sglang"])
def engine(request, monkeypatch):
    """An engine that is installed, on a computer with a GPU: its module."""
    monkeypatch.syspath_prepend(str(STAND_INS))
    monkeypatch.setattr(planning, "count_devices", lambda kind: 2)
    sys.modules.update(KEPT)
    yield importlib.import_module(request.param)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("vllm", "sglang")]:
        KEPT[name] = sys.modules.pop(name)


def write_command(name, folder, out, *more, **settings):
    return short_runs.write_command(name, out, *more, pretrained=folder, **settings)


def run(module, folder, out, *more, **settings):
    before = len(module.LOADED)
    assert (
        cli.main(write_command(module.__name__, folder, out, "--batch_size", "auto", *more, **settings)) == 0
    )
    [loaded] = module.LOADED[before:]
    return loaded


@pytest.fixture(scope="module")
def expected(folder, tmp_path_factory):
    """The answers of the same weights, computed by lm-eval's own backend."""
    return run_here(folder, tmp_path_factory.mktemp("hf"))


def test_an_engine_gives_the_numbers_and_texts_of_the_model_itself(engine, folder, expected, tmp_path):
    loaded = run(engine, folder, tmp_path)
    assert_alike(read_answers(tmp_path), expected)
    assert len(loaded.calls) == 2, "the options of all tasks in one call, and the texts in one"
    run_json = read_run(tmp_path)
    assert run_json.scoring.way == engine.__name__ and run_json.scoring.asked >= run_json.scoring.tokens > 100
    assert engine.__name__ in json.dumps(dict(run_json.versions))


def load(engine, folder, **settings):
    name = engine.__name__
    device = {} if name == "vllm" else {"device": "cuda"}
    return engines.add_engine(get_model(name))(
        pretrained=str(folder), batch_size="auto", **device, **settings
    )


def ask(context, *options):
    return [Instance("loglikelihood", {}, (context, option), number) for number, option in enumerate(options)]


def test_an_option_of_one_token_is_asked_for_once_for_its_prompt(engine, folder):
    lm = load(engine, folder)
    words = [token for token in lm.tokenizer.get_vocab() if token.startswith("Ġ") and len(token) > 2][:130]
    options = [token.replace("Ġ", " ") for token in words]
    context = "Question: how many apples are left if seven of twelve are eaten?\nAnswer:"
    found = lm.loglikelihood(ask(context, *options, " no no"))
    tokens = lm.tok_encode(context)
    rows = lm.model.computer.score(tokens)
    [pair] = [number for number, option in enumerate(options) if option == " no"]
    ids = [lm.tokenizer.convert_tokens_to_ids(word) for word in words]
    again = lm.model.computer.score([*tokens, ids[pair]])[-1]
    for id_, (value, is_best) in zip(ids, found, strict=False):
        assert value == pytest.approx(float(rows[-1][id_]), abs=1e-4) and is_best == (
            rows[-1].argmax() == id_
        )
    assert found[-1][0] == pytest.approx(float(rows[-1][ids[pair]] + again[ids[pair]]), abs=1e-4)
    [prompts] = lm.model.calls
    assert len(prompts) == (2 if engine.__name__ == "vllm" else len(options) + 1)
    assert len(options) > 20


def test_an_engine_that_leaves_numbers_out_is_refused(engine, folder, monkeypatch):
    lm = load(engine, folder)
    generate = lm.model.generate

    def leave_out(*args, **settings):
        outputs = generate(*args, **settings)
        for output in outputs:
            if engine.__name__ == "vllm":
                output.prompt_logprobs = output.prompt_logprobs and output.prompt_logprobs[2:]
            else:
                output["meta_info"]["input_token_logprobs"].pop()
        return outputs

    monkeypatch.setattr(lm.model, "generate", leave_out)
    with pytest.raises(GptaltError, match="gives no log-probabilities"):
        lm.loglikelihood(ask("The quick brown fox", " jumps over the lazy dog"))


def test_several_copies_of_vllm_answer_all_in_one_call(engine, folder):
    """lm-eval 0.4.13 loads the model again for each call."""
    lm = load(engine, folder)
    lm.data_parallel_size = 2
    lengths = [len(part) for part in lm.cut(range(3000))]
    assert lengths == ([3000] if engine.__name__ == "vllm" else [1024, 1024, 952])


def test_a_named_template_of_the_tokenizer_is_used(engine, folder, tmp_path):
    tokenizer = tf.AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = {"default": CHAT, "loud": CHAT.replace("<assistant>", "<ASSISTANT>")}
    lm = load(engine, folder)
    lm.tokenizer = tokenizer
    assert lm.chat_template("loud").endswith("<ASSISTANT>") and lm.chat_template(True) == CHAT
    lm.chat_template_args = {"chat_template": "loud"}
    turns = [{"role": "user", "content": "Hi"}]
    assert lm.apply_chat_template(turns) == "<user> Hi\n<ASSISTANT>"


def test_prompts_with_a_common_prefix_are_neighbours(engine, folder, tmp_path):
    [prompts, *_] = run(engine, folder, tmp_path, tasks=["--tasks", "piqa,hellaswag"]).calls
    starts = [tuple(prompt[:12]) for prompt in prompts]
    blocks = [start for start, before in zip(starts[1:], starts, strict=False) if start != before]
    assert len(blocks) == len(set(starts)) - 1, "each prefix comes once"


def test_what_is_answered_is_not_asked_again(engine, folder, expected, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(engines, "BATCH", 5)
    kind = engine.LLM if engine.__name__ == "vllm" else engine.Engine
    generate = kind.generate

    def fail(self, *args, **settings):
        if len(self.calls) == 5:
            raise KeyboardInterrupt
        return generate(self, *args, **settings)

    monkeypatch.setattr(kind, "generate", fail)
    command = write_command(engine.__name__, folder, tmp_path, "--batch_size", "auto")
    assert cli.main(command) == 130
    answered = {tuple(prompt) for call in engine.LOADED[-1].calls for prompt in call}
    monkeypatch.setattr(kind, "generate", generate)
    assert cli.main(["resume", str(next(tmp_path.rglob("run.json")).parent)]) == 0
    again = {tuple(prompt) for call in engine.LOADED[-1].calls for prompt in call}
    assert len(answered) > 15 and not answered & again
    assert_alike(read_answers(tmp_path), expected)


def test_a_killed_run_keeps_the_texts_of_all_calls_but_the_last(engine, folder, tmp_path, monkeypatch):
    """lm-eval's vLLM class stores texts under settings that were not requested: none would be found again."""
    kind = engine.LLM if engine.__name__ == "vllm" else engine.Engine
    generate = kind.generate

    def fail(self, *args, **settings):
        if len(self.calls) == 3:
            raise KeyboardInterrupt
        return generate(self, *args, **settings)

    monkeypatch.setattr(kind, "generate", fail)
    tasks = ["--tasks", "gsm8k", "--num_fewshot", "0", "--gen_kwargs", "max_gen_toks=12"]
    command = write_command(engine.__name__, folder, tmp_path, "--batch_size", "1", tasks=tasks)
    assert cli.main(command) == 130
    monkeypatch.setattr(kind, "generate", generate)
    assert cli.main(["resume", str(next(tmp_path.rglob("run.json")).parent)]) == 0
    assert len(engine.LOADED[-1].calls) == 1, "three of four texts were kept"


def test_chats_have_the_template_of_the_tokenizer(engine, folder, tmp_path):
    chat = ("--apply_chat_template", "--system_instruction", "Be brief.")
    expected = run_here(folder, tmp_path / "hf", *chat)
    run(engine, folder, tmp_path / "engine", *chat)
    assert_alike(read_answers(tmp_path / "engine"), expected)


def test_prompts_that_are_too_long_are_cut_and_counted(engine, folder, tmp_path):
    tasks = ["--tasks", "gsm8k", "--num_fewshot", "4", "--gen_kwargs", "max_gen_toks=12"]
    loaded = run(engine, folder, tmp_path, tasks=tasks)
    assert max(len(prompt) for call in loaded.calls for prompt in call) == 588
    [cut] = read_run(tmp_path).cut.values()
    assert cut.requests == 4


def test_arguments_reach_the_engine(engine, folder, tmp_path):
    given = {"tensor_parallel_size": 2, "gpu_memory_utilization": 0.5, "max_model_len": 300}
    if engine.__name__ == "sglang":
        given = {"tp_size": 2, "mem_fraction_static": 0.5, "max_model_len": 300}
    loaded = run(engine, folder, tmp_path, **given)
    assert vars(loaded.settings) == {"tensor": 2, "share": 0.5}
    assert max(len(prompt) for call in loaded.calls for prompt in call) < 300


def test_the_engine_is_a_part_of_the_fingerprint(engine, folder, tmp_path):
    run(engine, folder, tmp_path / "one")
    run(engine, folder, tmp_path / "same")
    run(engine, folder, tmp_path / "other", dtype="float16")
    one, same, other = (read_run(tmp_path / name).model for name in ("one", "same", "other"))
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert {part for part in one.parts if one.parts[part] != other.parts[part]} == {"arguments", "engine"}


def test_styles_and_shots_are_asked_for_together(engine, folder, tmp_path):
    tasks = ["--tasks", "piqa,hellaswag", "--num_fewshot", "0,1", "--prompt_style", "standard,system"]
    expected = run_here(folder, tmp_path / "hf", tasks=tasks)
    loaded = run(engine, folder, tmp_path / "engine", tasks=tasks)
    assert_alike(read_answers(tmp_path / "engine"), expected)
    [prompts] = loaded.calls
    assert len(prompts) == 96 and len({*map(tuple, prompts)}) == 96, "nothing is computed twice"


def test_a_model_that_the_engine_cannot_load(engine, folder, tmp_path, monkeypatch, capsys):
    def fail(self, **settings):
        raise RuntimeError("Engine core initialization failed.\x1b[31m See above.\nMore.")

    kind = engine.LLM if engine.__name__ == "vllm" else engine.Engine
    monkeypatch.setattr(kind, "__init__", fail)
    assert cli.main(write_command(engine.__name__, folder, tmp_path)) == 2
    text = " ".join(capsys.readouterr().err.split())
    assert (
        "cannot load this model: Engine core initialization failed." in text
        and engine.__name__ in text.lower()
    )
    assert "For less memory: --model_args" in text
    assert "Traceback" not in text and "\x1b" not in text and "More" not in text


def test_workers_are_not_for_engines(engine, folder, tmp_path, capsys):
    assert cli.main(write_command(engine.__name__, folder, tmp_path, "--workers", "2")) == 2
    text = " ".join(capsys.readouterr().err.split())
    copies = "data_parallel_size" if engine.__name__ == "vllm" else "dp_size"
    assert f"--model_args {copies}=2" in text
