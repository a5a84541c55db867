"""For the tests of plugin authors and our own: a scripted model and a fixed set of plugins, without torch.

In your ``conftest.py``::

    pytest_plugins = ["gptalt_eval.testing"]

    def test_my_task(make_plugins, scripted_model, tmp_path):
        model = scripted_model(likelihood=lambda prompt, answer: -len(answer))
        plugins = make_plugins(my_plugin, models=[model])
        record = gptalt_eval.evaluate(
            "scripted", "my_task", plugins=plugins, data_dir="sample", output_path=str(tmp_path)
        )
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import pytest

from gptalt_eval.commands import subcommands
from gptalt_eval.contract.discovery import load_plugins, register_core
from gptalt_eval.contract.hookspecs import hookimpl
from gptalt_eval.contract.models import Model
from gptalt_eval.contract.plan import Plan
from gptalt_eval.contract.plugins import Plugins
from gptalt_eval.contract.types import Owner
from gptalt_eval.planning import builtin

Likelihood = Callable[[str, str], float]
Generate = Callable[[str], str]


def hash_likelihood(prompt: str, continuation: str) -> float:
    """A log-likelihood that depends only on the characters: the same on every computer."""
    digest = hashlib.sha256(f"{prompt}\0{continuation}".encode()).digest()
    return -1 - int.from_bytes(digest[:4], "big") / 2**32 * 10


def repeat_last_word(prompt: str) -> str:
    return prompt.split()[-1] if prompt.split() else ""


def make_scripted_model(
    likelihood: Likelihood = hash_likelihood, generate: Generate = repeat_last_word, name: str = "scripted"
) -> Model:
    """A model that answers by rule.

    Args:
        likelihood: (prompt, continuation) -> log-likelihood.
        generate: prompt -> text.
        name: its ``--model`` name.
    """

    def create(args: Mapping[str, Any]) -> Any:
        return make_scripted_lm(likelihood, generate)

    return Model(name, "answers by rule, for tests", "Apache-2.0", "gptalt_eval.testing", create=create)


def make_scripted_lm(likelihood: Likelihood = hash_likelihood, generate: Generate = repeat_last_word) -> Any:
    """The lm-eval ``LM`` of :func:`make_scripted_model`."""
    from lm_eval.api.model import LM

    def roll(arguments: tuple[str, ...]) -> Any:
        total = likelihood("", arguments[-1])
        return total if len(arguments) == 1 else (total, False)  # lm-eval 0.5 expects pairs

    class ScriptedLM(LM):  # type: ignore[misc]
        tokenizer_name = "scripted"

        def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
            return [self._answer("loglikelihood", r, (likelihood(*r.args), False)) for r in requests]

        def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
            return [self._answer("loglikelihood_rolling", r, roll(r.args)) for r in requests]

        def generate_until(self, requests: list[Any]) -> list[str]:
            return [self._answer("generate_until", r, cut(generate(r.args[0]), r.args[1])) for r in requests]

        def apply_chat_template(
            self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
        ) -> str:
            turns = "".join(f"<{turn['role']}>{turn['content']}" for turn in chat_history)
            return turns + ("<assistant>" if add_generation_prompt else "")

        def chat_template(self, chat_template: bool | str = False) -> str:
            return "<role>content"

        def _answer(self, request_type: str, request: Any, answer: Any) -> Any:
            self.cache_hook.add_partial(request_type, request.args, answer)
            return answer

    return ScriptedLM()


def cut(text: str, settings: Mapping[str, Any]) -> str:
    """Text up to the first stop string, as from a backend."""
    stops = settings.get("until") or []
    for stop in [stops] if isinstance(stops, str) else stops:
        text = text.split(stop)[0]
    return text


def make_plugin_set(*others: object, models: list[Model] | None = None) -> Plugins:
    """The core and the given plugins, independent of what is installed.

    Args:
        others: plugin modules or objects with ``@hookimpl`` functions.
        models: more models to register, such as a scripted one.
    """
    plugins = register_core(builtin, subcommands)
    if models:
        plugins.register(GivenModels(models), Owner("given-models"))
    for other in others:
        name = getattr(other, "__name__", type(other).__name__)
        plugins.register(other, Owner(name))
    return plugins


class GivenModels:
    """A plugin with the given models."""

    def __init__(self, models: list[Model]) -> None:
        self.models = models

    @hookimpl
    def register_models(self) -> list[Model]:
        return self.models


def check_plugin(plugin: str | ModuleType) -> list[str]:
    """The problems that ``gptalt-eval plugins check`` finds: ``assert check_plugin("medqa") == []``.

    Args:
        plugin: the name of an installed plugin (``pip install -e .``), or its module.

    Raises:
        UnknownNameError: it is not installed.
    """
    from gptalt_eval.commands.conformance import checks

    name = plugin if isinstance(plugin, str) else plugin.__name__
    found = checks.check_plugin(name, load_plugins(builtin, subcommands))
    return [f"{check.name}: {fault.what}\n{fault.cure}" for check in found for fault in check.faults]


@pytest.fixture
def scripted_model() -> Callable[..., Model]:
    """Makes a scripted model: ``scripted_model(likelihood=..., generate=...)``."""
    return make_scripted_model


@pytest.fixture
def make_plugins() -> Callable[..., Plugins]:
    """Makes a set of plugins: ``make_plugins(my_plugin, models=[...])``."""
    return make_plugin_set


@pytest.fixture
def assert_golden(request: pytest.FixtureRequest) -> Callable[[Plan, str], None]:
    """Compares the first prompt of a plan with ``golden/NAME.txt`` next to the test, which somebody checked.

    To accept an intended change: ``GPTALT_UPDATE_GOLDEN=1 pytest``, then read the difference.
    """
    from gptalt_eval.running.lmeval import evaluation

    def compare(plan: Plan, name: str) -> None:
        with evaluation.quiet(None):
            prompt, continuations = evaluation.build_first_requests(plan)
        found = "\n".join([prompt, "=== continuations", *map(repr, continuations)]) + "\n"
        file = request.path.parent / "golden" / f"{name}.txt"
        if os.environ.get("GPTALT_UPDATE_GOLDEN"):
            file.parent.mkdir(exist_ok=True)
            file.write_text(found, encoding="utf-8")
        assert found == file.read_text(encoding="utf-8")

    return compare
