import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptalt_eval.commands.cli import make_parser
from gptalt_eval.commands.subcommands import register_commands
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.faults import find_faults
from gptalt_eval.contract.settings import parse_settings
from gptalt_eval.contract.spec import (
    READERS,
    REFUSED,
    RunSpec,
    dump_spec,
    format_command,
    format_settings,
    make_spec,
    read_argv,
    read_config,
)
from gptalt_eval.testing import make_plugin_set


def parse(*words):
    parser = make_parser({command.name: command for command in register_commands()}, make_plugin_set())
    return read_argv(parser.parse_args(["run", *words]))


def test_from_argv():
    spec = parse(
        "--model",
        "smollm2",
        "--tasks",
        "piqa",
        "--limit",
        "5",
        "--num_fewshot",
        "0,3",
        "--batch_size",
        "auto:2",
    )
    assert spec == RunSpec(model="smollm2", tasks=("piqa",), limit=5, num_fewshot=(0, 3), batch_size="auto:2")
    assert find_faults(spec) == []


def test_config_file_is_overridden_by_what_is_typed(tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text(
        "model: smollm2\ntasks: piqa, boolq\nnum_fewshot: 3\nmodel_args: dtype=float32\nseed: 5\nlimit: 10\n"
    )
    spec = parse("--config", str(config), "--limit", "2")
    assert spec.tasks == ("piqa", "boolq")
    assert spec.num_fewshot == (3,)
    assert spec.model_args == {"dtype": "float32"}
    assert spec.seed == (5, 5, 5, 5)
    assert spec.limit == 2


def test_a_limit_of_zero_is_not_lost():
    assert [str(fault) for fault in find_faults(parse("--model", "m", "--tasks", "t", "--limit", "0"))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tsks: piqa", "tasks"),
        ("- piqa", "no settings"),
        ("a: [", "not valid YAML"),
        ("num_fewshot: many", "num_fewshot"),
        ("seed: [1, 2]", "seed"),
    ],
)
def test_a_config_that_cannot_be_used(tmp_path, text, expected):
    config = tmp_path / "run.yaml"
    config.write_text(text)
    with pytest.raises(GptaltError, match=expected):
        parse("--config", str(config))


def test_a_config_that_is_not_there():
    with pytest.raises(GptaltError, match="cannot be read"):
        parse("--config", "/no/such/file.yaml")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"num_fewshot": -1}, "--num_fewshot -1"),
        ({"limit": -3}, "--limit"),
        ({"limit": 3, "samples": {"piqa": [1]}}, "cannot be used together"),
        ({"fewshot_as_multiturn": True}, "chat template"),
        ({"batch_size": "big"}, "--batch_size"),
        ({"batch_size": 0}, "--batch_size"),
    ],
)
def test_faults(settings, expected):
    spec = make_spec({"model": "m", "tasks": "t", **settings})
    assert [fault for fault in find_faults(spec) if expected in str(fault)]


def test_an_empty_request_names_both_things_that_lack():
    assert len(find_faults(RunSpec())) == 2


SPECS = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["smollm2", "hf"]),
        "tasks": st.lists(st.sampled_from(["piqa", "mmlu_*", "race"]), min_size=1),
    },
    optional={
        "num_fewshot": st.lists(st.integers(0, 30), min_size=1, max_size=4),
        "limit": st.one_of(st.integers(1, 10**6), st.floats(0.01, 0.99)),
        "batch_size": st.sampled_from(["1", "auto", "auto:4"]),
        "model_args": st.dictionaries(
            st.sampled_from(["pretrained", "dtype"]), st.sampled_from(["a b", "float32", "中文"])
        ),
        "system_instruction": st.text(
            st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=30
        ).filter(lambda text: not text.startswith("-")),
        "apply_chat_template": st.just(True),
        "log_samples": st.just(True),
        "data_dir": st.just("sample"),
    },
)


@given(SPECS)
def test_dumped_specs_come_back_the_same(values):
    spec = make_spec(values)
    assert make_spec(dump_spec(spec)) == spec


@given(SPECS)
def test_the_formatted_command_makes_the_same_request(values):
    import shlex

    spec = make_spec(values)
    again = parse(*shlex.split(format_command(spec))[1:])
    assert again == spec


def test_nothing_is_allowed_that_was_not_asked_for():
    spec = make_spec({})
    assert spec == RunSpec()
    flags = (
        "allow_partial_data",
        "trust_remote_code",
        "confirm_run_unsafe_code",
        "predict_only",
        "log_samples",
    )
    assert [getattr(spec, name) for name in flags] == [False] * len(flags)
    assert spec.trust_task_code == ()
    assert (spec.scorer, spec.batch_size, spec.seed) == ("tree", "1", (0, 1234, 1234, 1234))


@pytest.mark.parametrize(
    ("settings", "saves"),
    [
        ({}, True),
        ({"output_path": "x"}, False),
        ({"output_path": "x", "log_samples": True}, True),
        ({"output_path": "x", "predict_only": True}, True),
        ({"output_path": "x", "prompt_style": "system"}, False),
        ({"output_path": "x", "prompt_style": "system,standard"}, True),
        ({"output_path": "x", "num_fewshot": 3}, False),
        ({"output_path": "x", "num_fewshot": "0,3"}, True),
    ],
)
def test_when_samples_are_saved(settings, saves):
    assert make_spec(settings).saves_samples is saves


@pytest.mark.parametrize(
    ("settings", "what", "hint"),
    [
        ({"model": None}, "No model was given.", "--model smollm2"),
        ({"tasks": []}, "No tasks were given.", "--tasks piqa"),
        ({"num_fewshot": [3, -1]}, "--num_fewshot 3,-1: it must not be negative.", "0 or more"),
        ({"limit": 0}, "--limit 0: nothing would run.", "a fraction below 1"),
        ({"limit": -0.5}, "--limit -0.5: nothing would run.", "a fraction below 1"),
        ({"limit": 3, "samples": {"t": [1]}}, "--limit and --samples cannot be used together.", "Omit one of them"),
        ({"fewshot_as_multiturn": True}, "--fewshot_as_multiturn needs a chat template.", "--apply_chat_template"),
        ({"prompt_style": "x", "apply_chat_template": True}, "--prompt_style already sets the chat template", "Omit"),
        ({"prompt_style": "x", "system_instruction": "Be brief."}, "--prompt_style already sets the chat template", "Omit"),
        ({"scorer": "tre"}, "--scorer tre: unknown scorer.", "Did you mean 'tree'?"),
        ({"scorer": "qqqq"}, "--scorer qqqq: unknown scorer.", "Available: tree, stock."),
        *(
            ({"batch_size": text}, f"--batch_size {text}: not a batch size.", "'auto:N'")
            for text in ("0", "-1", "auto:x", "auto:0", "x", "", "auto2", "²", "8 ")
        ),
        ({"limit": "nan"}, "--limit nan: nothing would run.", "a fraction below 1"),
        ({"limit": "inf"}, "--limit inf: nothing would run.", "a fraction below 1"),
        ({"samples": {}}, "--samples: each task needs at least one row", '{"piqa": [0, 5]}'),
        ({"samples": {"t": []}}, "--samples: each task needs at least one row", '{"piqa": [0, 5]}'),
        ({"samples": {"t": [3, -1]}}, "--samples: each task needs at least one row", '{"piqa": [0, 5]}'),
        ({"max_batch_size": 0, "batch_size": "auto"}, "--max_batch_size 0: it must be at least 1.", "1 or more"),
        ({"max_batch_size": 8}, "--max_batch_size only applies to --batch_size auto.", "--batch_size auto"),
        ({"seed": -1}, "--seed -1,-1,-1,-1: the second one, numpy's, must be from 0 to", "or None"),
        ({"seed": [0, 2**32, 0, 0]}, "--seed 0,4294967296,0,0: the second one, numpy's, must be", "or None"),
        ({"wandb_config_args": "a=1"}, "--wandb_config_args has no effect without --wandb_args.", "project=NAME"),
        ({"hf_hub_log_args": "hub_results_org=me"}, "--hf_hub_log_args: nothing would be pushed.", "push_results_to_hub=True"),
        ({"hf_hub_log_args": "push_samples_to_hub=True"}, "--hf_hub_log_args push_samples_to_hub=True needs", "--log_samples"),
        ({"hf_hub_log_args": "push_results_to_hub=True,token=hf_x"}, "--hf_hub_log_args token=...: the token would be saved", "HF_TOKEN"),
        ({"hf_hub_log_args": "push_results_to_hub=True,output_path=x"}, "--hf_hub_log_args output_path=...", "Omit it"),
    ],
)  # fmt: skip
def test_each_fault_by_itself(settings, what, hint):
    """One fault, its line first and its hint after it."""
    [fault] = find_faults(make_spec({"model": "m", "tasks": "t", **settings}))
    assert fault.what.startswith(what) and hint in fault.hint
    assert str(fault) == f"{fault.what}\n{fault.hint}"


@pytest.mark.parametrize(
    "settings",
    [
        {"num_fewshot": 0}, {"limit": 1}, {"limit": 0.01}, {"samples": {"t": [0]}}, {"fewshot_as_multiturn": True, "apply_chat_template": True},
        {"fewshot_as_multiturn": False}, {"prompt_style": "x"}, {"system_instruction": "x", "apply_chat_template": True},
        {"seed": [-1, 0, -1, -1]}, {"seed": None}, {"seed": [0, 2**32 - 1, 0, 0]}, {"max_batch_size": 8, "batch_size": "auto:2"},
        {"wandb_args": "project=x", "wandb_config_args": "a=1"}, {"trackio_args": "project=x"},
        {"hf_hub_log_args": "push_results_to_hub=True"}, {"hf_hub_log_args": "push_samples_to_hub=True", "log_samples": True},
        {"check_integrity": False}, {"scorer": "stock"}, {"batch_size": 1}, {"batch_size": "auto"}, {"batch_size": "auto:3"}, {"batch_size": 64},
    ],
)  # fmt: skip
def test_what_is_no_fault(settings):
    assert find_faults(make_spec({"model": "m", "tasks": "t", **settings})) == []


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"model": ["a", "b,c"]}, {"model": "a,b,c"}),
        ({"model": "a,b"}, {"model": "a,b"}),
        ({"tasks": ["a", "b,c"]}, {"tasks": ("a", "b", "c")}),
        ({"num_fewshot": "0, 3"}, {"num_fewshot": (0, 3)}),
        ({"num_fewshot": [1]}, {"num_fewshot": (1,)}),
        ({"seed": 5}, {"seed": (5, 5, 5, 5)}),
        ({"seed": [1, 2, 3]}, {"seed": (1, 2, 3, 1234)}),
        ({"seed": "1,2,3,none"}, {"seed": (1, 2, 3, None)}),
        ({"samples": '{"t": ["1"]}'}, {"samples": {"t": [1]}}),
        ({"batch_size": 8}, {"batch_size": "8"}),
        (
            {"gen_kwargs": "max_gen_toks=64,do_sample=true"},
            {"gen_kwargs": {"max_gen_toks": 64, "do_sample": True}},
        ),
        ({"metadata": "a=1"}, {"metadata": {"a": 1}}),
        ({"model_args": {"dtype": "float32"}}, {"model_args": {"dtype": "float32"}}),
        ({"gen_kwargs": None, "limit": None}, {"gen_kwargs": {}, "limit": None}),
        ({"seed": None}, {"seed": (None,) * 4}),  # lm-eval: nothing is seeded
        ({"limit": "5", "log_samples": "false"}, {"limit": 5.0, "log_samples": False}),
    ],
)
def test_plain_values_become_the_types_of_a_request(settings, expected):
    spec = make_spec(settings)
    found = {key: getattr(spec, key) for key in expected}
    assert found == expected and {key: type(value) for key, value in found.items()} == {
        key: type(value) for key, value in expected.items()
    }
    assert make_spec({**dump_spec(spec)}) == spec


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"tsks": "piqa"}, "There is no setting 'tsks'.\nDid you mean 'tasks'?"),
        ({"num_fewshot": "x"}, "--num_fewshot x: expected an integer.\nSee: gptalt-eval run --help"),
        (
            {"seed": [1, 2]},
            "--seed: give one seed, or four: Python, numpy, torch, few-shot.\nSee: gptalt-eval run --help",
        ),
        ({"gen_kwargs": "a"}, "--gen_kwargs a: expected key=value, found 'a'.\nSee: gptalt-eval run --help"),
        ({"gen_kwargs": 3}, "--gen_kwargs 3: expected key=value, or a mapping.\nSee: gptalt-eval run --help"),
        ({"limit": "abc"}, "--limit abc: expected a number.\nSee: gptalt-eval run --help"),
        (
            {"log_samples": "flase"},
            "--log_samples flase: expected true or false.\nSee: gptalt-eval run --help",
        ),
        (
            {"check_integrity": True},
            "--check_integrity: no release of lm-eval includes the tests that it runs.\nOmit it.",
        ),
    ],
)
def test_settings_that_cannot_be_used(settings, expected):
    with pytest.raises(GptaltError) as caught:
        make_spec(settings)
    assert str(caught.value) == expected


def test_the_command_line_of_a_request():
    spec = make_spec(
        {
            "model": "hf", "tasks": "a,b", "model_args": {"pretrained": "x y", "dtype": "中"}, "limit": 5.0, "log_samples": True,
            "system_instruction": "It's", "num_fewshot": "0,3", "max_batch_size": 64,
        }
    )  # fmt: skip
    assert format_command(spec) == (
        "gptalt-eval --model hf --tasks a,b --model_args 'pretrained=x y,dtype=中' --num_fewshot 0,3 "
        "--max_batch_size 64 --limit 5 --log_samples --system_instruction 'It'\"'\"'s'"
    )
    assert format_command(RunSpec(limit=0.25), "my program") == "'my program' --limit 0.25"


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({"pretrained": "FOLDER"}, "pretrained=FOLDER"),
        ({"pretrained": "o/n", "trust": True, "n": 3}, "pretrained=o/n,trust=true,n=3"),
        ({"pretrained": "a,b"}, '{"pretrained": "a,b"}'),  # what would be read otherwise
        ({"revision": "1"}, '{"revision": "1"}'),
        ({"max": "true"}, '{"max": "true"}'),
        ({"none": None}, '{"none": null}'),
    ],
)
def test_settings_are_shown_as_they_are_typed(settings, shown):
    assert format_settings(settings) == shown
    assert parse_settings(shown) == settings


def test_where_a_config_file_is_wrong(tmp_path):
    file = tmp_path / "run.yaml"
    with pytest.raises(GptaltError) as caught:
        parse("--config", str(file))
    assert str(caught.value) == f"--config: {file} cannot be read: No such file or directory."
    for text, expected in (
        ("- piqa", "contains no settings.\nWrite one 'flag: value' per line."),
        ("", "contains no settings.\nWrite one 'flag: value' per line."),
        ("a: [", "is not valid YAML: while parsing a flow node expected the node content"),
    ):
        file.write_text(text)
        with pytest.raises(GptaltError) as caught:
            parse("--config", str(file))
        assert str(caught.value).startswith(f"--config: {file} {expected}")
    file.write_bytes(b"model: \xff\xfe")
    with pytest.raises(GptaltError, match="is not valid YAML: 'utf-8' codec"):
        parse("--config", str(file))


def test_false_and_nothing_on_the_command_line_do_not_hide_the_config(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("model: m\ntasks: t\nlog_samples: true\nlimit: 3\ntrust_remote_code: true")
    spec = parse("--config", str(file))
    assert (spec.log_samples, spec.limit, spec.trust_remote_code) == (True, 3, True)
    assert parse("--config", str(file), "--limit", "0").limit == 0


def test_false_and_zero_that_were_typed_are_not_lost():
    assert parse("--apply_chat_template", "--fewshot_as_multiturn", "false").fewshot_as_multiturn is False
    assert parse("--max_batch_size", "0").max_batch_size == 0
    assert parse("--seed", "None").seed == (None,) * 4
    assert parse().fewshot_as_multiturn is None


def test_every_setting_has_a_reader():
    assert READERS.keys() == {item.name for item in dataclasses.fields(RunSpec)}
    assert not READERS.keys() & REFUSED.keys()


def test_a_setting_whose_name_is_no_text():
    with pytest.raises(GptaltError, match="There is no setting '5'"):
        make_spec({5: 6})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model: a\ntasks: x\nmodel: b\n", "'model' appears twice, again in line 3"),
        ("model_args:\n  dtype: a\n  x: 1\n  dtype: b\n", "'dtype' appears twice, again in line 4"),
        ("{limit: 1, tasks: x, limit: 2}", "'limit' appears twice, again in line 1"),
        ("samples: {piqa: [1], piqa: [2]}", "'piqa' appears twice"),
    ],
)
def test_a_key_that_appears_twice_in_a_file_is_refused(tmp_path, text, said):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(GptaltError, match=said):
        read_config(tmp_path / "x.yaml")


def test_a_key_may_appear_once_at_each_place(tmp_path):
    (tmp_path / "x.yaml").write_text(
        "model_args: {dtype: a}\ngen_kwargs: {dtype: b}\ntasks: [dtype, dtype]\n"
    )
    assert read_config(tmp_path / "x.yaml")["tasks"] == ["dtype", "dtype"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model_args", "dtype=a,x=1,dtype=b"),
        ("gen_kwargs", '{"temperature": 0, "temperature": 1}'),
        ("metadata", '{"a": {"b": 1, "b": 2}}'),
        ("samples", '{"piqa": [1], "piqa": [2]}'),
    ],
)
def test_a_setting_that_appears_twice_is_refused(key, value):
    with pytest.raises(GptaltError, match=r"appears twice|give JSON"):
        make_spec({key: value})
