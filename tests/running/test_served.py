"""Served models from the command line to the results: the numbers of the model itself, and nothing lost."""

import json
import signal
import subprocess
import sys
import time

import pytest
import short_runs
import tiny
import transformers as tf
from model_server import ModelServer
from short_runs import assert_alike, read_answers, read_run, run_here

from gptalt_eval.commands import cli
from gptalt_eval.running.lmeval import sending

pytestmark = pytest.mark.torch
KEY = "our-test-key-12345"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return short_runs.save_model(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def parts(folder):
    model = tf.LlamaForCausalLM.from_pretrained(folder).eval()
    return {"model": model, "tokenizer": tf.AutoTokenizer.from_pretrained(folder)}


@pytest.fixture
def serve(parts):
    started = []

    def start(**settings):
        started.append(ModelServer(**(parts | {"facts": {"max_model_len": 601}} | settings)))
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(sending, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(sending, "LONGEST_WAIT", 0.05)


def write_command(url, folder, out, *more, **settings):
    return short_runs.write_command(
        "local-completions", out, *more, base_url=url, tokenizer=folder, **settings
    )


def list_prompts(server):
    """What was asked, without the trials."""
    return [
        json.dumps(asked["prompt"])
        for asked in server.asked
        if isinstance(asked["prompt"], list) and len(asked["prompt"]) > 4
    ]


@pytest.fixture(scope="module")
def expected(folder, tmp_path_factory):
    """The answers of the same weights, loaded here."""
    return run_here(folder, tmp_path_factory.mktemp("hf"))


@pytest.mark.parametrize(
    ("settings", "args"),
    [
        ({"gives": "echo"}, {"num_concurrent": 3}),
        ({"gives": "prompt_logprobs"}, {}),
        ({"gives": "echo", "writes_end": False}, {"num_concurrent": 2}),
        ({"gives": "prompt_logprobs"}, {"tokenized_requests": False}),
    ],
)
def test_a_served_model_gives_the_numbers_and_texts_of_the_model_itself(
    folder, serve, expected, tmp_path, settings, args
):
    server = serve(**settings)
    assert cli.main(write_command(server.url, folder, tmp_path, **args)) == 0
    assert_alike(read_answers(tmp_path), expected)
    assert server.busiest <= args.get("num_concurrent", 1)
    scoring = read_run(tmp_path).scoring
    assert scoring.way == "server" and scoring.asked == scoring.tokens > 100


def test_prompts_with_a_common_prefix_are_sent_one_after_the_other(folder, serve, tmp_path):
    server = serve()
    assert cli.main(write_command(server.url, folder, tmp_path, tasks=["--tasks", "piqa,hellaswag"])) == 0
    prompts = [asked["prompt"] for asked in server.asked if asked.get("echo") and len(asked["prompt"]) > 4]
    starts = [tuple(prompt[:12]) for prompt in prompts if isinstance(prompt, list)]
    blocks = [start for start, before in zip(starts[1:], starts, strict=False) if start != before]
    assert len(blocks) == len(set(starts)) - 1, "each prefix comes once"


def test_everything_that_passes_is_tried_again(folder, serve, expected, tmp_path):
    faults = [None, 500, 503, "cut", "drop", ("wait", 0.05), None, None]
    server = serve(faults=lambda number, asked: faults[number % 8] if number > 3 else None)
    assert cli.main(write_command(server.url, folder, tmp_path, num_concurrent=2, max_retries=30)) == 0
    assert_alike(read_answers(tmp_path), expected)


def test_several_servers_share_the_work(folder, serve, expected, tmp_path):
    one = serve()
    other = serve(faults=lambda number, asked: "drop" if 5 < number < 9 else None)
    assert cli.main(write_command(f"{one.url};{other.url}", folder, tmp_path, max_retries=30)) == 0
    assert_alike(read_answers(tmp_path), expected)
    assert len(one.asked) > 10 and len(other.asked) > 10


def test_a_server_that_is_gone_loses_nothing(folder, serve, expected, tmp_path, capsys):
    server = serve(faults=lambda number, asked: 503 if number > 12 else None)
    assert cli.main(write_command(server.url, folder, tmp_path, max_retries=3)) == 1
    text = " ".join(capsys.readouterr().err.split())
    assert "answers with status 503: this one fails, after 3 tries." in text and "gptalt-eval resume" in text
    answered = list_prompts(server)[:9]
    kept = [line for file in tmp_path.rglob("answers*.jsonl") for line in file.read_text().splitlines()]
    assert len(kept) >= 8
    server.faults = lambda number, asked: None
    server.asked.clear()
    run_folder = next(tmp_path.rglob("run.json")).parent
    assert cli.main(["resume", str(run_folder)]) == 0
    assert not set(answered[:8]) & set(list_prompts(server)), "what was answered is not asked again"
    assert_alike(read_answers(tmp_path), expected)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_a_stopped_run_asks_only_for_what_is_missing(folder, serve, expected, tmp_path, sent, code):
    server = serve(seconds=0.05)
    process = subprocess.Popen(
        [sys.executable, "-m", "gptalt_eval", *write_command(server.url, folder, tmp_path, num_concurrent=2)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while len(list_prompts(server)) < 12 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(sent)
    assert process.wait(timeout=30) == code
    kept = sum(len(file.read_text().splitlines()) for file in tmp_path.rglob("answers*.jsonl"))
    before = len(list_prompts(server))
    assert before - kept <= 2 + 1 + 2 * sending.UNREAD and kept > 0
    server.asked.clear()
    assert cli.main(["resume", str(next(tmp_path.rglob("run.json")).parent)]) == 0
    assert_alike(read_answers(tmp_path), expected)
    total = sum(len(answers) for (_, name), answers in expected.items() if name != "flexible-extract")
    assert len(list_prompts(server)) <= total - kept + 1


def test_a_run_is_not_resumed_with_another_model(folder, serve, tmp_path, capsys):
    server = serve(
        faults=lambda number, asked: 503 if number > 12 else None, facts={"max_model_len": 601, "root": "a"}
    )
    assert cli.main(write_command(server.url, folder, tmp_path, max_retries=2)) == 1
    server.faults, server.facts = (lambda number, asked: None), {"max_model_len": 601, "root": "b"}
    capsys.readouterr()
    assert cli.main(["resume", str(next(tmp_path.rglob("run.json")).parent)]) == 2
    assert "served model" in capsys.readouterr().err


def test_a_server_that_comes_back_with_another_model_ends_the_run(folder, serve, tmp_path, capsys):
    server = serve()

    def swap(number, asked):
        if number == 12:
            server.facts = {"max_model_len": 601, "root": "b"}
            return "drop"
        return None

    server.faults = swap
    assert cli.main(write_command(server.url, folder, tmp_path)) == 1
    assert "came back with another model under the name 'tiny'" in " ".join(capsys.readouterr().err.split())


def test_a_prompt_that_is_refused_fails_its_task_only(folder, serve, tmp_path, capsys):
    refused = []

    def refuse(number, asked):
        if isinstance(asked["prompt"], list) and asked.get("stop"):
            refused.append(number)
            return 400
        return None

    server = serve(faults=refuse)
    assert cli.main(write_command(server.url, folder, tmp_path)) == 1
    run = read_run(tmp_path)
    [reason] = run.failed.values()
    assert "status 400: this one fails" in reason and len(refused) == 4, "not tried again"
    assert len(run.done) == 2


@pytest.mark.parametrize("number", [None, float("nan")])
def test_no_number_is_no_score(folder, serve, tmp_path, number):
    def spoil(answer):
        if found := answer["choices"][0].get("logprobs"):
            found["token_logprobs"][-2] = number

    server = serve(faults=lambda at, asked: spoil if at > 10 else None)
    cli.main(write_command(server.url, folder, tmp_path, tasks=["--tasks", "piqa,hellaswag"]))
    assert all(
        "has no number for one of the tokens" in reason for reason in read_run(tmp_path).failed.values()
    )
    assert read_run(tmp_path).failed


def test_the_tokenizer_of_another_model_is_refused(folder, serve, tmp_path, capsys):
    other = tiny.make_tokenizer().train_new_from_iterator(["foxes and foxes, quick quick"], 100)
    other.save_pretrained(tmp_path / "other")
    server = serve()
    command = write_command(server.url, tmp_path / "other", tmp_path / "out", tasks=["--tasks", "piqa"])
    assert cli.main(command) != 0
    assert "reads a text as other tokens than the tokenizer here" in " ".join(capsys.readouterr().err.split())


def test_a_key_reaches_no_file_and_no_message(folder, serve, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def leak(number, asked):
        return 503 if number > 12 else None

    server = serve(key=KEY, faults=leak)
    assert cli.main(write_command(server.url, folder, tmp_path, "--verbosity", "DEBUG", max_retries=2)) == 1
    server.faults = lambda number, asked: None
    assert cli.main(["resume", str(next(tmp_path.rglob("run.json")).parent)]) == 0
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) > 4
    assert [file for file in files if KEY.encode() in file.read_bytes()] == []
    said = capfd.readouterr()
    assert KEY not in said.out + said.err


def test_chats(serve, tmp_path):
    server = serve(answers_text=lambda messages: f"The answer is {len(messages[-1]['content'])}.")
    command = [
        "--model",
        "local-chat-completions",
        "--model_args",
        f"base_url={server.chat_url},num_concurrent=4",
    ]
    command += ["--tasks", "gsm8k", "--num_fewshot", "0,1", "--apply_chat_template", "--data_dir", "sample"]
    assert cli.main([*command, "--limit", "4", "--log_samples", "--output_path", str(tmp_path)]) == 0
    asked = [each["messages"] for each in server.asked if "stop" in each]
    assert len(asked) == 8 and {len(each) for each in asked} == {1, 3}
    answers = [answer for found in read_answers(tmp_path).values() for answer in found]
    assert answers and all(answer.startswith("The answer is ") for answer in answers)


# ------------------------------------------------------------------------------- request by request


PAIRS = [
    ("Question: how many apples", " are left"), ("", "The quick brown fox"), ("Answer: ", "five"), ("Answer:  ", "five apples"),
    ("naïve 狐狸", " 🦊 é"), ("<s>The quick", " brown"), ("x", "y"), ("dog\n\n", "the dog"),
]  # fmt: skip


@pytest.fixture
def clients(folder, serve):
    from lm_eval.api.registry import get_model

    from gptalt_eval.running.lmeval.served_scores import add_server

    hf = get_model("hf")(pretrained=str(folder), dtype="float32", device="cpu")

    def make(gives="echo", **args):
        server = serve(gives=gives)
        given = {"base_url": server.url, "model": "tiny", "tokenizer": str(folder), "max_length": 601} | args
        return add_server(get_model("local-completions"))(**given)

    return hf, make


def make_requests(pairs, kind="loglikelihood"):
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, pair, place, doc_id=place) for place, pair in enumerate(pairs)]


@pytest.mark.parametrize("gives", ["echo", "prompt_logprobs"])
def test_odd_prompts_are_scored_as_by_the_model_itself(clients, gives):
    hf, make = clients
    requests = make_requests(PAIRS)
    expected = hf.loglikelihood(requests, disable_tqdm=True)
    found = make(gives).loglikelihood(requests)
    assert [pair[1] for pair in found] == [pair[1] for pair in expected]
    assert [pair[0] for pair in found] == pytest.approx([pair[0] for pair in expected], abs=1e-3)


def test_the_beginning_of_a_long_prompt_is_cut(clients, folder):
    from lm_eval.api.registry import get_model

    requests = make_requests([("the lazy dog and the fox " * 20, "does not mind"), ("short", " one")])
    short = get_model("hf")(pretrained=str(folder), dtype="float32", device="cpu", max_length=40)
    served = clients[1](max_length=42)  # one token is the server's own, and the last one is not read
    found, expected = served.loglikelihood(requests), short.loglikelihood(requests, disable_tqdm=True)
    assert [pair[0] for pair in found] == pytest.approx([pair[0] for pair in expected], abs=1e-3)
    assert list(served.lost) == [requests[0].args] and served.lost[requests[0].args] > 0


def test_whole_texts_are_scored_in_windows(clients):
    import stock

    hf, make = clients
    texts = ["The quick brown fox jumps over the lazy dog. " * 30, "naïve 狐狸"]
    requests = [stock.make_rolling(text) for text in texts]
    found = make(max_length=602).loglikelihood_rolling(requests)
    expected = hf.loglikelihood_rolling(requests, disable_tqdm=True)
    assert found == pytest.approx(expected, rel=1e-4)


def test_what_is_longer_than_the_context_is_not_scored(clients):
    served = clients[1](max_length=20)
    requests = make_requests([("x", " the lazy dog" * 40), ("x", " y")])
    with pytest.raises(ValueError, match="no answer"):
        served.loglikelihood(requests)
    assert list(served.unscorable) == [requests[0].args]


def test_a_server_encodes_texts_if_there_is_no_tokenizer_here(serve, expected, tmp_path):
    server = serve(tells_tokenizer=True, gives="prompt_logprobs")
    command = short_runs.write_command("local-completions", tmp_path, base_url=server.url, num_concurrent=4)
    assert cli.main(command) == 0
    assert_alike(read_answers(tmp_path), expected)


def test_prompt_styles(folder, serve, tmp_path):
    from model_server import TEMPLATE

    tokenizer = tf.AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(tmp_path / "chatty")
    server = serve()
    more = ["--prompt_style", "standard,system", "--num_fewshot", "0,1"]
    command = write_command(
        server.url, tmp_path / "chatty", tmp_path / "out", *more, tasks=["--tasks", "piqa"]
    )
    assert cli.main(command) == 0
    run = read_run(tmp_path / "out")
    assert len(run.done) == 4 and len(run.cells) == 4
    asked = [
        asked["prompt"] for asked in server.asked if asked.get("echo") and isinstance(asked["prompt"], list)
    ]
    texts = {tokenizer.decode(tokens) for tokens in asked}
    assert sum("user: " in text for text in texts) >= 8 and sum("user: " not in text for text in texts) >= 8
    assert run.usage["prompt_tokens"] >= sum(len(tokens) for tokens in asked if len(tokens) > 4)
