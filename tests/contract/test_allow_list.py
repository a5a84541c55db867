"""The allow-list names distributions: nothing else is imported, whatever name it gives itself."""

import sys

import pytest
from distributions import write_distribution

import gptalt_eval
from gptalt_eval.commands import cli
from gptalt_eval.contract.discovery import complete_name, load_plugins
from gptalt_eval.contract.errors import UnknownNameError
from gptalt_eval.contract.plugins import ALLOW_LIST
from gptalt_eval.planning import builtin
from gptalt_eval.testing import check_plugin


class Site:
    """A folder of installed plugins, each of which leaves a file when it is imported."""

    def __init__(self, folder, marks):
        self.folder = folder
        self.marks = marks
        folder.mkdir()
        marks.mkdir()

    def install(self, distribution, *points):
        module = distribution.replace("-", "_").replace(".", "_").lower()
        source = f"import pathlib\npathlib.Path({str(self.marks / module)!r}).touch()\n"
        write_distribution(self.folder, distribution, dict.fromkeys(points, module), {f"{module}.py": source})
        if module != gptalt_eval.__name__:  # whose distribution one of them claims to be
            sys.modules.pop(module, None)  # of another test, whose module would be taken for this one

    def imported(self):
        return {mark.name for mark in self.marks.iterdir()}


@pytest.fixture
def site(tmp_path, monkeypatch):
    site = Site(tmp_path / "site", tmp_path / "marks")
    monkeypatch.syspath_prepend(site.folder)
    yield site
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(site.folder)):
            del sys.modules[name]


def load(listed):
    return load_plugins(builtin, environ={} if listed is None else {ALLOW_LIST: listed})


IMPOSTOR = (
    "Plugin 'evil': it calls itself 'sky', which GPTALT_EVAL_LOAD_PLUGINS lists for gptalt-eval-plugin-sky.\n"
    "It was not loaded. If you want it, list its distribution: evil"
)


@pytest.mark.parametrize("listed", ["sky", "gptalt-eval-plugin-sky", "SKY", "gptalt_eval.plugin_sky"])
@pytest.mark.parametrize("own", [True, False], ids=["beside it", "without it"])
def test_another_distribution_with_an_allowed_name_is_not_imported(listed, own, site):
    site.install("evil", "sky")
    if own:
        site.install("gptalt-eval-plugin-sky", "sky")
    plugins = load(listed)
    assert site.imported() == ({"gptalt_eval_plugin_sky"} if own else set())
    assert ("sky" in plugins.owners) is own
    said = [str(problem) for problem in plugins.problems]
    if listed == "sky":
        assert said == [IMPOSTOR]
    elif own:
        assert said == []
    else:
        [text] = said
        assert text.startswith(
            f"Plugin '{listed}': GPTALT_EVAL_LOAD_PLUGINS lists it, but it is not installed."
        )


def test_with_the_consent_it_is_imported(site):
    site.install("evil", "sky")
    plugins = load("evil")
    assert (str(plugins.owners["sky"]), plugins.problems) == ("evil", [])
    assert site.imported() == {"evil"}


@pytest.mark.parametrize(
    "name", ["sky", "gptalt-eval-plugin-sky-", "gptalt-eval-plugin-sky2", "eval-plugin-sky", "gptalt-eval"]
)
def test_a_short_name_is_that_of_the_plugin_and_not_of_what_is_called_like_it(name, site):
    site.install(name, "cloud")
    site.install("gptalt-eval-plugin-sky", "sky")
    load("sky")
    assert site.imported() == {"gptalt_eval_plugin_sky"}


def test_a_distribution_may_be_called_as_it_likes(site):
    site.install("waves", "sea")
    assert "sea" in load("waves").owners
    assert site.imported() == {"waves"}


def test_of_two_plugins_with_one_name_the_one_with_this_distribution_is_used(site):
    site.install("a-first-one", "sky")
    site.install("gptalt-eval-plugin-sky", "sky")
    plugins = load(None)
    assert str(plugins.owners["sky"]) == "gptalt-eval-plugin-sky"
    [problem] = plugins.problems
    assert (problem.plugin, problem.what) == (
        "a-first-one", "the name is taken by gptalt-eval-plugin-sky."
    )  # fmt: skip


@pytest.mark.parametrize("listed", [None, "gptalt-eval", "gptalt-eval,hidden"])
def test_nothing_passes_as_a_part_of_the_core(listed, site):
    site.install("gptalt-eval", "hidden")
    plugins = load(listed)
    assert site.imported() == set()
    assert [problem.what for problem in plugins.problems if problem.plugin == "gptalt-eval"] == [
        "gptalt-eval has no plugin of this name, so it is somebody else's."
    ]


@pytest.mark.parametrize("name", ["sky", "evil"])
def test_an_impostor_is_not_imported_to_be_checked(name, site, monkeypatch):
    site.install("evil", "sky")
    monkeypatch.setenv(ALLOW_LIST, "sky")
    with pytest.raises(UnknownNameError) as raised:
        check_plugin(name)
    assert raised.value.what == "GPTALT_EVAL_LOAD_PLUGINS does not include the plugin 'evil'."
    assert raised.value.hint == f"Type: GPTALT_EVAL_LOAD_PLUGINS=evil gptalt-eval plugins check {name}"
    assert site.imported() == set()


def test_the_listing_says_who_was_not_loaded(site, monkeypatch, capsys):
    site.install("evil", "sky")
    monkeypatch.setenv(ALLOW_LIST, "sky")
    assert cli.main(["plugins"]) == 0
    assert IMPOSTOR in capsys.readouterr().err
    assert site.imported() == set()


@pytest.mark.parametrize(
    ("name", "installed", "meant"),
    [
        ("sky", (), "gptalt-eval-plugin-sky"),
        ("sky", ("sky",), "sky"),
        ("sky", ("sky", "gptalt-eval-plugin-sky"), "gptalt-eval-plugin-sky"),
        ("Gptalt_Eval.plugin-sky", (), "gptalt-eval-plugin-sky"),
    ],
)
def test_what_a_name_stands_for(name, installed, meant):
    assert complete_name(name, installed) == meant
