"""Names that plugins register: each once, or nobody's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gptalt_eval.contract.errors import GptaltError, PluginError, UnknownNameError, did_you_mean, nearest
from gptalt_eval.contract.types import Installed, Owned, Owner, T
from gptalt_eval.planning import known as known_plugins


@dataclass
class Claims:
    """Who registers which name; what two plugins register, neither of them gets.

    Args:
        plugins: those that are blamed.
    """

    plugins: Installed
    clashes: dict[tuple[str, str], tuple[Owner, ...]] = field(default_factory=dict)

    def add(self, found: dict[str, Owned[T]], noun: str, name: str, owned: Owned[T]) -> None:
        """Add a name to those of its kind, unless it is taken, which is the problem of the second plugin."""
        if name not in found:
            found[name] = owned
            return
        first = found[name].owner
        if first == owned.owner:
            text = f"it registers the {noun} '{name}' twice; the first one is used."
            self.plugins.blame(first, text, "Remove or rename one of them.")
            return
        self.clashes[noun, name] = (first, owned.owner)
        text = f"the {noun} '{name}' is also registered by {first}; neither is used."
        self.plugins.blame(
            owned.owner, text, f"Uninstall one of the two ({first}, {owned.owner}), or rename one {noun}."
        )

    def replace(
        self, found: dict[str, Owned[T]], replaced: dict[str, Owned[T]], noun: str, name: str, owned: Owned[T]
    ) -> None:
        """Add a name of the user's own, which displaces those of plugins and settles their clashes."""
        if name in found:
            replaced[name] = found[name]
        self.clashes.pop((noun, name), None)
        found[name] = owned

    def refuse_clash(self, noun: str, name: str, gathered: Mapping[str, object]) -> None:
        """Refuse a name that two plugins register.

        Raises:
            PluginError: they do.
        """
        assert gathered is not None  # clashes are known only after gathering
        clash = self.clashes.get((noun, name))
        if clash:
            raise PluginError(
                f"Two plugins register the {noun} '{name}': {clash[0]} and {clash[1]}.",
                f"Load only one of them, for example: GPTALT_EVAL_LOAD_PLUGINS={clash[0]}",
            )


def describe_unknown(plugins: Installed, kind: str, name: str, known: Iterable[str]) -> GptaltError:
    """What to tell the user about an unknown name: the nearest one, or the plugin to install.

    Args:
        kind: ``tasks`` or ``models``.
        known: the names that there are.
    """
    provider = known_plugins.find_provider(kind, name)
    if provider:
        what = known_plugins.describe_provider(kind, name, provider)
        broken = [problem for problem in plugins.problems if problem.plugin.endswith(f"plugin-{provider}")]
        if broken:
            return PluginError(f"{what} {broken[0].what}", broken[0].cure)
        return UnknownNameError(what, f"Install it: gptalt-eval install {provider}")
    here = list(known)
    elsewhere = {n: p for p, plugin in known_plugins.KNOWN.items() for n in getattr(plugin, kind)}
    close = nearest(name, [*here, *elsewhere], 1)
    hint = did_you_mean(name, [*here, *elsewhere]) or f"See: gptalt-eval ls {kind}"
    if close and close[0] in elsewhere and close[0] not in here:
        hint += f"\n'{close[0]}' comes with a plugin. Install it: gptalt-eval install {elsewhere[close[0]]}"
    if kind == "models":
        hint += (
            f"\nAny transformers model works too: --model OWNER/{name} (its page names the owner), "
            "or --model hf --model_args pretrained=HUB_ID_OR_FOLDER"
        )
    if plugins.problems:
        faulty = ", ".join(sorted({problem.plugin for problem in plugins.problems}))
        hint += f"\nIf it belongs to a plugin with a problem ({faulty}), see: gptalt-eval plugins"
    return UnknownNameError(f"There is no {kind[:-1]} '{name}'.", hint)
