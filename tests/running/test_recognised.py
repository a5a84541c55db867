"""What a hub id contains shows when it was downloaded: the run goes on with the right loader, or stops."""

from types import SimpleNamespace

import pytest
from model_folders import write_model

from gptalt_eval import Card, GptaltError, Loader, Model, Template, hookimpl
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.planning.resolve import resolve
from gptalt_eval.running.recognised import explain_scorer, explain_size, recognise
from gptalt_eval.testing import make_plugin_set


def identify(config):
    return config.get("layout")


def describe_repair(folder, config):
    return "keeps rows apart" if config.get("model_type") == "rwkv" else ""


LOADER = Loader("glm", "x", lambda: None, identify, lambda *_: (), repairs=describe_repair)


class Glm:
    """A plugin with two editions of a model, one loader, and a model that transformers loads."""

    @hookimpl
    def register_loaders(self):
        return [LOADER]

    @hookimpl
    def register_models(self):
        template = Template("{{ messages }}", "first_user")
        common = {"licence": "MIT", "home": "x", "template": template}
        return [
            Model("glm", "x", args={"pretrained": "org/glm"}, loader=LOADER, **common),
            Model("glm2", "x", args={"pretrained": "org/glm2"}, loader=LOADER, **common),
            Model(
                "neo",
                "x",
                args={"pretrained": "org/neo"},
                card=Card("yes", 1, model_type="gpt_neox"),
                **common,
            ),
        ]


@pytest.fixture
def download(tmp_path, monkeypatch):
    monkeypatch.setattr("gptalt_eval.planning.weights.find_source_faults", lambda *_: ())
    plugins = make_plugin_set(Glm())

    def recognise_it(model, args=None, **config):
        spec = make_spec({"model": model, "model_args": args or {}, "tasks": "piqa", "data_dir": "sample"})
        plan = resolve(spec, plugins)
        found, said = recognise(plan, plugins, write_model(tmp_path / "it", config=config))
        return found.model.item, said

    return recognise_it


@pytest.mark.parametrize("name", ["me/rwkv", "hf"])
def test_a_downloaded_model_gets_the_loader_that_it_needs(download, name):
    model, said = download(name, {"pretrained": "me/rwkv"} if name == "hf" else None, model_type="rwkv")
    assert (model.name, model.loader, model.template) == (name, LOADER, None)
    assert said == "me/rwkv is loaded by the loader 'glm', which keeps rows apart."


@pytest.mark.parametrize("layout", ["glm", "glm2"])
def test_what_was_recognised_before_stays(download, layout):
    model, said = download(f"org/{layout}", model_type="chatglm", layout=layout)
    assert (model.name, model.loader, said) == (f"org/{layout}", LOADER, "")


def test_another_model_than_the_named_one_stops_the_run(download):
    with pytest.raises(GptaltError) as caught:
        download("glm", {"pretrained": "me/x"}, model_type="chatglm", layout="glm2")
    assert str(caught.value) == (
        "me/x contains a model like 'glm2', not 'glm'.\nStart again: its files are here now."
    )
    with pytest.raises(GptaltError, match="of the type 'bloom', and 'neo' is of the type 'gpt_neox'"):
        download("neo", {"pretrained": "me/x"}, model_type="bloom")
    assert download("neo", {"pretrained": "me/x"}, model_type="gpt_neox")[1] == ""


@pytest.mark.parametrize(
    ("count", "args", "quantized", "is_said"),
    [
        (7_000_000, {"pretrained": "me/neo"}, False, True),
        (6_500_000_000, {"pretrained": "me/neo"}, False, False),
        (13_000_000_000, {"pretrained": "me/neo"}, False, True),
        (None, {"pretrained": "me/neo"}, False, False),
        (3_500_000_000, {"pretrained": "me/neo"}, True, False),  # several weights in one number
        (7_000_000, {}, False, False),
    ],
)
def test_weights_of_another_size_than_the_named_model_are_said(count, args, quantized, is_said):
    model = Model("neo", "x", "MIT", "x", card=Card("yes", 6_700_000_000))
    plan = SimpleNamespace(model=SimpleNamespace(item=model), spec=SimpleNamespace(model_args=args))
    lm = SimpleNamespace(config=SimpleNamespace(quantization_config={"bits": 4} if quantized else None))
    said = explain_size(plan, lm, count)
    text = f"The weights have {count or 0:,} parameters, and the published 'neo' has 6,700,000,000: these are not its scores."
    assert said == (text if is_said else "")


def test_a_slower_scorer_is_said_in_words():
    def explain(engine, reason):
        choice = SimpleNamespace(engine=engine, reason=reason)
        return explain_scorer(SimpleNamespace(choice=choice, scorer_name="lm-eval's own scorer"))

    engine = SimpleNamespace(way="contexts")
    assert explain(None, "it is asked for") == (
        "lm-eval's own scorer computes this model's log-likelihoods: it is asked for."
    )
    said = explain(engine, "mask: ValueError: zip() argument 2 is longer; branches: ValueError: x")
    assert "'contexts'" in said and "run.json" in said and "ValueError" not in said
    assert explain(engine, "") == ""
    assert explain_scorer(SimpleNamespace()) == ""
