"""The flags are lm-eval's: their names, their meanings, and how their values are read."""

import argparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptalt_eval.commands.flags import add_run_flags
from gptalt_eval.commands.parser import Parser
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.settings import parse_settings, parse_value, split_outside_brackets
from gptalt_eval.contract.spec import make_spec, read_argv

OURS = {
    "--scorer",
    "--plugins_lock",
    "--prompt_style",
    "--data_dir",
    "--allow-partial-data",
    "--allow_partial_data",
    "--trust_task_code",
    "--workers",
    "--cluster",
    "--gpus_per_worker",
}


def parse(*words):
    parser = Parser(prog="gptalt-eval run")
    add_run_flags(parser)
    return parser.parse_args(words)


def lm_evals_actions():
    from lm_eval._cli.run import Run

    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers()
    Run.create(subparsers)
    return [action for action in subparsers.choices["run"]._actions if action.dest != "help"]


def our_actions():
    parser = Parser()
    add_run_flags(parser)
    return [action for action in parser._actions if action.dest != "help"]


def test_every_flag_of_lm_eval_is_here_with_its_short_form():
    theirs = {flag for action in lm_evals_actions() for flag in action.option_strings}
    ours = {flag for action in our_actions() for flag in action.option_strings}
    assert theirs - ours == set(), "a new release of lm-eval has flags that we lack"
    assert ours - theirs == OURS


def test_every_flag_takes_as_many_words_as_lm_evals():
    theirs = {action.dest: action.nargs for action in lm_evals_actions()}
    ours = {action.dest: action.nargs for action in our_actions()}
    assert {dest: ours[dest] for dest in theirs} == theirs


def test_every_flag_says_what_it_does_and_what_it_takes():
    for action in our_actions():
        flag = action.option_strings[0]
        assert flag.startswith("--"), f"{flag}: the long form is shown first, as lm-eval's help does"
        assert len((action.help or "").split()) >= 3, flag
        takes_a_value = not isinstance(action, argparse._StoreTrueAction)
        assert not takes_a_value or action.metavar or action.choices, flag


def test_defaults_are_lm_evals():
    from lm_eval.config.evaluate_config import DEFAULT_SEED, EvaluatorConfig

    theirs, ours = EvaluatorConfig(), make_spec({})
    assert list(ours.seed) == list(DEFAULT_SEED)
    same = (
        "limit",
        "use_cache",
        "log_samples",
        "write_out",
        "predict_only",
        "apply_chat_template",
        "max_batch_size",
    )
    assert {name: getattr(ours, name) for name in same} == {name: getattr(theirs, name) for name in same}
    assert int(ours.batch_size) == theirs.batch_size


VALUES = st.one_of(
    st.sampled_from(
        ["true", "False", "1", "007", "1.5", "1e-4", "None", "auto", "[1,2]", "{'a': 1}", "'x'", "", "½", "²"]
    ),
    st.text(max_size=12),
)


@given(VALUES)
def test_values_are_read_as_lm_eval_reads_them(text):
    from lm_eval._cli.utils import handle_cli_value_string

    try:
        theirs = handle_cli_value_string(text)
    except Exception:
        return  # where lm-eval falls over there is nothing to agree with
    assert repr(parse_value(text)) == repr(theirs)


@given(st.text(alphabet="ab=,[](){}'\" 1", max_size=30))
def test_pairs_are_split_as_lm_eval_splits_them(text):
    from lm_eval._cli.utils import split_top_level

    assert [part for part in split_outside_brackets(text) if part] == split_top_level(text)


def test_settings_by_comma_space_and_json():
    typed = parse(
        "--model_args", "pretrained=x,dtype=float32", "revision=main", "--gen_kwargs", '{"until": ["\\n"]}'
    )
    assert typed.model_args == {"pretrained": "x", "dtype": "float32", "revision": "main"}
    assert typed.gen_kwargs == {"until": ["\n"]}


def test_settings_keep_lists_whole():
    assert parse_settings("max_seq_lengths=[4096,8192],tokenizer=gpt2") == {
        "max_seq_lengths": [4096, 8192],
        "tokenizer": "gpt2",
    }


def test_names_by_comma_and_space():
    assert parse("--tasks", "piqa,boolq", "race").tasks == ["piqa", "boolq", "race"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--tsks", "piqa"], "--tasks"),
        (["--num_fewshots", "3"], "--num_fewshot"),
        (["--datadir", "x"], "--data_dir"),
    ],
)
def test_a_misspelt_flag_names_the_nearest(words, expected):
    parser = Parser(prog="gptalt-eval run", allow_abbrev=False)
    add_run_flags(parser)
    with pytest.raises(GptaltError, match=expected):
        parser.parse_args(words)


@pytest.mark.parametrize(
    "words",
    [
        ["--limit", "many"],
        ["--num_fewshot", "few"],
        ["--seed", "1,x"],
        ["--seed", "1,2"],
        ["--samples", "{broken"],
        ["--samples", '{"piqa": 3}'],
        ["--model_args", "pretrained"],
        ["--model_args", '{"a": '],
        ["--cache_requests", "perhaps"],
        ["--model"],
    ],
)
def test_values_that_cannot_be_used_are_refused_in_one_message(words):
    with pytest.raises(GptaltError) as caught:
        read_argv(parse(*words))
    assert words[0].strip("-") in str(caught.value)


def test_seeds():
    assert read_argv(parse("--seed", "0,None,8,52")).seed == (0, None, 8, 52)


def test_samples_from_a_file(tmp_path):
    file = tmp_path / "rows.json"
    file.write_text('{"piqa": [0, 3]}')
    assert read_argv(parse("--samples", str(file))).samples == {"piqa": [0, 3]}


def test_bare_template_and_named_template():
    assert parse("--apply_chat_template").apply_chat_template is True
    assert parse("--apply_chat_template", "rag").apply_chat_template == "rag"


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        ("--max_batch_size 8", "max_batch_size", 8),
        ("--limit 0.5", "limit", 0.5),
        ("-L 3", "limit", 3.0),
        ("-f 0,3", "num_fewshot", (0, 3)),
        ("--seed 1", "seed", (1, 1, 1, 1)),
        ("-b auto:2", "batch_size", "auto:2"),
        ("-v info", "verbosity", "INFO"),
        ("--cache_requests", "cache_requests", "true"),
        ("--cache_requests refresh", "cache_requests", "refresh"),
        ("--scorer stock", "scorer", "stock"),
        ("-t a,b c", "tasks", ("a", "b", "c")),
        ("-t a -t b", "tasks", ("a", "b")),
        ("-a a=1 b=x -a b=y", "model_args", {"a": 1, "b": "y"}),
        ("--metadata a=1", "metadata", {"a": 1}),
        ("--prompt_style system,standard", "prompt_style", ("system", "standard")),
        ("-M m", "model", "m"),
        ("-o x", "output_path", "x"),
        ("--fewshot_as_multiturn", "fewshot_as_multiturn", True),
        ("--fewshot_as_multiturn False", "fewshot_as_multiturn", False),
        ("-c x", "use_cache", "x"),
        ("-s", "log_samples", True),
        ("-x", "predict_only", True),
        ("-w", "write_out", True),
        ("--allow-partial-data", "allow_partial_data", True),
        ("--allow_partial_data", "allow_partial_data", True),
        ("--plugins_lock x.lock", "plugins_lock", "x.lock"),
        ("--trust_remote_code", "trust_remote_code", True),
        ("--confirm_run_unsafe_code", "confirm_run_unsafe_code", True),
    ],
)
def test_each_flags_value_has_its_type(words, name, value):
    found = getattr(read_argv(parse(*words.split())), name)
    assert found == value and type(found) is type(value)


def test_what_was_not_typed_is_not_there():
    assert vars(parse()) == {}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--limt", "3"], "There is no option --limt.\nDid you mean '--limit'?"),
        (["--limt=3"], "There is no option --limt=3.\nDid you mean '--limit'?"),
        (["--zzzzzzzz", "-q"], "There is no option --zzzzzzzz.\nSee: gptalt-eval run --help"),
        (
            ["--max_batch_size", "x"],
            "--max_batch_size x: expected an integer.\nSee: gptalt-eval run --help",
        ),
        (
            ["--model_args", "x"],
            "--model_args x: expected key=value, found 'x'.\nSee: gptalt-eval run --help",
        ),
    ],
)
def test_what_is_said_of_a_flag_that_is_wrong(words, message):
    with pytest.raises(GptaltError) as caught:
        read_argv(parse(*words))
    assert str(caught.value) == message
