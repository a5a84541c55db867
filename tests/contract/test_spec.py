import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptalt_eval.commands.cli import make_parser
from gptalt_eval.commands.subcommands import list_commands
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.spec import RunSpec, dump_spec, format_command, make_spec, read_argv


def parse(*words):
    namespace = make_parser({command.name: command for command in list_commands()}).parse_args(
        ["run", *words]
    )
    for name in ("chosen", "subparser"):
        delattr(namespace, name)
    return read_argv(namespace)


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
    assert spec.find_faults() == []


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
    assert [str(fault) for fault in parse("--model", "m", "--tasks", "t", "--limit", "0").find_faults()]


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
        ({"limit": 3, "samples": {"piqa": [1]}}, "exclude each other"),
        ({"fewshot_as_multiturn": True}, "chat template"),
        ({"batch_size": "big"}, "--batch_size"),
        ({"batch_size": 0}, "--batch_size"),
    ],
)
def test_faults(settings, expected):
    spec = make_spec({"model": "m", "tasks": "t", **settings})
    assert [fault for fault in spec.find_faults() if expected in str(fault)]


def test_an_empty_request_names_both_things_that_lack():
    assert len(RunSpec().find_faults()) == 2


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
        "system_instruction": st.text(min_size=1, max_size=30).filter(lambda text: not text.startswith("-")),
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
    assert dump_spec(again).keys() == dump_spec(spec).keys()
    assert again.tasks == spec.tasks and again.system_instruction == spec.system_instruction
    assert dict(again.model_args) == dict(spec.model_args)
