"""Options of ``hookimpl``, hooks that plugins bring, and the version of the hook API, each with fake plugins."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest

from gptalt_eval import HOOK_API, Hook, Model, Owner, hookimpl
from gptalt_eval.contract.plugins import Plugins

NAMES = ("one", "two", "three")


def make_model(name: str) -> Model:
    return Model(name, "for tests", "Apache-2.0", "nowhere")


def register(**fakes: object) -> Plugins:
    """Without the core: only the fakes, each under the name it is given."""
    plugins = Plugins()
    for name, fake in fakes.items():
        plugins.register(fake, Owner(name))
    return plugins


def list_models(plugins: Plugins) -> list[str]:
    return [model.name for _, model in plugins.contribute("register_models")]


class Gives:
    """Registers a model of its name, with the given options of ``hookimpl``."""

    def __init__(self, name: str, **options: object) -> None:
        self.name = name
        self.register_models = hookimpl(**options)(lambda: [make_model(name)])


# ---------------------------------------------------------------------- the order of calls


@pytest.mark.parametrize("first", NAMES)
def test_tryfirst_comes_before_the_others_wherever_it_was_registered(first):
    fakes = {name: Gives(name, tryfirst=name == first) for name in NAMES}

    assert list_models(register(**fakes)) == [first, *(name for name in NAMES if name != first)]


@pytest.mark.parametrize("last", NAMES)
def test_trylast_comes_after_the_others_wherever_it_was_registered(last):
    fakes = {name: Gives(name, trylast=name == last) for name in NAMES}

    assert list_models(register(**fakes)) == [*(name for name in NAMES if name != last), last]


@pytest.mark.parametrize("option", ["tryfirst", "trylast"])
def test_several_of_one_option_keep_the_order_of_registration(option):
    assert list_models(register(**{name: Gives(name, **{option: True}) for name in NAMES})) == list(NAMES)


def test_observers_are_called_in_the_same_order():
    seen = []

    def watch(name: str, **options: object) -> object:
        class Watch:
            @hookimpl(**options)
            def run_finished(self, record):
                seen.append((name, record))

        return Watch()

    plugins = register(
        last=watch("last", trylast=True), middle=watch("middle"), first=watch("first", tryfirst=True)
    )
    plugins.observe("run_finished", record="a record")

    assert seen == [("first", "a record"), ("middle", "a record"), ("last", "a record")]


# ---------------------------------------------------------------------- the other options


@pytest.mark.parametrize("option", ["wrapper", "hookwrapper"])
def test_a_wrapper_is_refused_with_what_to_write_instead(option):
    class Wraps:
        @hookimpl
        def register_models(self):
            return [make_model("unseen")]

        @hookimpl(**{option: True})
        def run_finished(self, record):
            yield

    plugins = register(wraps=Wraps(), good=Gives("good"))

    (problem,) = plugins.problems
    assert str(problem) == (
        "Plugin 'wraps': run_finished is a wrapper, but hooks are called one by one, so "
        "there is nothing to wrap.\n"
        "Use a plain '@hookimpl' for run_finished; with trylast=True it is called after all others."
    )
    assert list(plugins.owners) == ["good"]
    assert list_models(plugins) == ["good"]


def test_a_wrapper_of_a_hook_that_comes_later_is_refused_too():
    class Wraps:
        @hookimpl(wrapper=True)
        def register_sauces(self):
            yield

    plugins = register(wraps=Wraps(), kitchen=Kitchen())

    assert list(plugins.owners) == ["kitchen"]
    assert "register_sauces is a wrapper" in plugins.problems[0].what


def test_specname_gives_the_function_a_name_of_its_own():
    class Renamed:
        @hookimpl(specname="register_models")
        def list_small_models(self):
            return [make_model("small")]

        @hookimpl(specname="register_models")
        def list_large_models(self):
            return [make_model("large")]

    plugins = register(renamed=Renamed())

    assert plugins.problems == []
    assert sorted(list_models(plugins)) == ["large", "small"]


def test_a_misspelt_specname_is_reported():
    class Renamed:
        @hookimpl(specname="register_model")
        def register_models(self):
            return []

    (problem,) = register(renamed=Renamed()).problems

    assert problem.what == "there is no hook 'register_model', so it is never called."
    assert problem.cure.startswith("Rename it to 'register_models'. ")


def test_the_arguments_of_a_function_with_a_specname_are_checked():
    class Renamed:
        @hookimpl(specname="run_finished")
        def celebrate(self, champagne):
            pass

    (problem,) = register(renamed=Renamed()).problems

    assert problem.what == "run_finished has the wrong arguments: there is no 'champagne'."


def test_an_optional_hook_of_a_plugin_that_is_not_there_is_harmless():
    class Optional:
        @hookimpl(optionalhook=True)
        def register_sauces(self):
            return ["ketchup"]

    plugins = register(optional=Optional())

    assert plugins.problems == []
    assert list(plugins.owners) == ["optional"]


def test_a_hook_of_a_plugin_that_is_not_there_says_how_to_make_it_optional():
    class Needs:
        @hookimpl
        def register_sauces(self):
            return ["ketchup"]

    (problem,) = register(needs=Needs()).problems

    assert problem.what == "there is no hook 'register_sauces', so it is never called."
    assert problem.cure.endswith("that may not be installed, use '@hookimpl(optionalhook=True)'.")


def test_an_object_that_raises_when_its_hooks_are_looked_for():
    class Moody:
        @property
        def mood(self):
            raise RuntimeError("not today")

    plugins = register(moody=Moody(), good=Gives("good"))

    (problem,) = plugins.problems
    assert problem.what == "looking for its hooks raised RuntimeError: not today"
    assert list(plugins.owners) == ["good"]


# ---------------------------------------------------------------------- hooks that a plugin brings


def register_sauces(dish: str) -> Iterable[str]:
    """Contribute sauces."""


def dish_served(dish: str, guests: int) -> None:
    """Observe a dish."""


class Kitchen:
    """Brings two hooks, and implements one of them itself."""

    @hookimpl
    def register_hooks(self):
        return [Hook(register_sauces, str), Hook(dish_served)]

    @hookimpl
    def register_sauces(self, dish):
        return [f"gravy for {dish}"]


class Cook:
    def __init__(self) -> None:
        self.served: list[object] = []

    @hookimpl
    def register_sauces(self):
        return ["ketchup", 5]

    @hookimpl
    def dish_served(self, guests):
        self.served.append(guests)


@pytest.mark.parametrize("order", list(itertools.permutations(["kitchen", "cook", "misspelt"])))
def test_hooks_of_a_plugin_work_whatever_is_loaded_first(order):
    class Misspelt:
        @hookimpl
        def register_sauce(self):
            return []

    cook = Cook()
    fakes = {"kitchen": Kitchen(), "cook": cook, "misspelt": Misspelt()}

    plugins = register(**{name: fakes[name] for name in order})

    (problem,) = plugins.problems
    assert problem.plugin == "misspelt"
    assert problem.cure.startswith("Rename it to 'register_sauces'. ")
    given = {owner.plugin: things for owner, things in plugins.collect("register_sauces", dish="rice")}
    assert given == {"kitchen": ["gravy for rice"], "cook": ["ketchup"]}
    assert plugins.problems[-1].what == "register_sauces returned 5, which is not of type str."
    plugins.observe("dish_served", dish="rice", guests=4)
    assert cook.served == [4]


@pytest.mark.parametrize("order", [("kitchen", "clumsy"), ("clumsy", "kitchen")])
def test_wrong_arguments_are_the_fault_of_who_implements_a_hook_not_of_who_brings_it(order):
    class Clumsy:
        @hookimpl
        def dish_served(self, plate, dish):
            pass

        @hookimpl(specname="dish_served")
        def and_again(self, fork):
            pass

    fakes = {"kitchen": Kitchen(), "clumsy": Clumsy()}

    plugins = register(**{name: fakes[name] for name in order})

    assert list(plugins.owners) == ["kitchen"]
    (problem,) = plugins.problems
    assert problem.plugin == "clumsy"
    assert "has the wrong arguments: there is no" in problem.what
    assert problem.cure == "The hook is dish_served(dish: str, guests: int) -> None."
    plugins.observe("dish_served", dish="rice", guests=4)


def test_a_hook_of_one_name_from_two_plugins():
    class Bistro:
        @hookimpl
        def register_hooks(self):
            return [Hook(dish_served)]

        @hookimpl
        def register_models(self):
            return [make_model("unseen")]

    plugins = register(kitchen=Kitchen(), bistro=Bistro())

    (problem,) = plugins.problems
    assert problem.plugin == "bistro"
    assert problem.what == "it defines the hook 'dish_served', which kitchen already defines."
    assert list(plugins.owners) == ["kitchen"]
    assert list_models(plugins) == []


def test_a_hook_of_the_cores_name_is_refused():
    def register_models() -> Iterable[Model]:
        """Take over."""

    class Usurper:
        @hookimpl
        def register_hooks(self):
            return [Hook(register_models, Model)]

    plugins = register(usurper=Usurper(), good=Gives("good"))

    assert (
        plugins.problems[0].what
        == "it defines the hook 'register_models', which gptalt-eval already defines."
    )
    assert list_models(plugins) == ["good"]


@pytest.mark.parametrize("spec", ["dish_served", 5, None, Kitchen])
def test_a_hook_that_is_described_by_no_function(spec):
    class Odd:
        @hookimpl
        def register_hooks(self):
            return [Hook(spec)]

    plugins = register(odd=Odd(), good=Gives("good"))

    assert (
        "register_hooks raised TypeError: a hook must be described by a function" in plugins.problems[0].what
    )
    assert list_models(plugins) == ["good"]


# ---------------------------------------------------------------------- the version of the hook API


class Declares:
    def __init__(self, version: object) -> None:
        self.gptalt_eval_api = version

    @hookimpl
    def register_models(self):
        return [make_model("declared")]


def test_a_plugin_for_this_version_is_used():
    plugins = register(declares=Declares(HOOK_API))

    assert plugins.problems == []
    assert list_models(plugins) == ["declared"]


def test_a_plugin_that_says_nothing_is_one_for_the_first_version():
    assert register(silent=Gives("silent")).problems == []


@pytest.mark.parametrize(
    ("version", "what", "cure"),
    [
        (HOOK_API + 1, f"version {HOOK_API + 1} of the hook API", "Type: pip install -U gptalt-eval"),
        (HOOK_API - 1, f"version {HOOK_API - 1} of the hook API", "Type: pip install -U declares"),
        ("1.0", "its gptalt_eval_api is '1.0'", f"Write: gptalt_eval_api = {HOOK_API}"),
        (None, "its gptalt_eval_api is None", f"Write: gptalt_eval_api = {HOOK_API}"),
    ],
)
def test_a_plugin_for_another_version_is_set_aside(version, what, cure):
    plugins = register(declares=Declares(version), good=Gives("good"))

    (problem,) = plugins.problems
    assert what in problem.what
    assert problem.cure == cure
    assert list(plugins.owners) == ["good"]
    assert list_models(plugins) == ["good"]


def test_a_later_version_strands_a_plugin_that_says_nothing(monkeypatch):
    monkeypatch.setattr("gptalt_eval.contract.implementations.HOOK_API", 2)

    (problem,) = register(silent=Gives("silent")).problems

    assert "it needs version 1 of the hook API" in problem.what
    assert problem.cure == "Type: pip install -U silent"
