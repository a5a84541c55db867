"""Caches of Hugging Face's libraries that other users can change, as in many laboratories.

Code from them is not run. Weights and rows from them are used, and the results say so: they may not be the
published ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.plan import PlannedTask
from gptalt_eval.machine.hub import (
    find_datasets_cache,
    find_home,
    find_hub_cache,
    find_modules,
    find_snapshot,
    find_storage,
)
from gptalt_eval.machine.storage import find_shared, follow_links
from gptalt_eval.planning.hub.modelscope import find_copy
from gptalt_eval.planning.hub.sources import Source


def check_modules() -> None:
    """Check that nobody else can change the code that is loaded for models and metrics.

    Raises:
        GptaltError: they can; says what to type.
    """
    shared = find_shared(find_modules(), find_root(find_modules()))
    if shared is not None:
        raise GptaltError(
            f"Other users can write to {shared}, from which Python code would be loaded.",
            "Type: export HF_MODULES_CACHE=FOLDER, with a folder of your own",
        )


def find_code_faults(sources: Iterable[Source]) -> Iterator[GptaltError]:
    """Code of models that other users can change before it is run.

    Args:
        sources: the repositories whose code the user trusts.
    """
    try:
        check_modules()
    except GptaltError as error:
        yield error
    for source in sources:
        shared = find_shared_files(source, "*.py")
        if shared is not None:
            yield GptaltError(
                f"Other users can write to {shared}, from which the code of '{source.id}' would be loaded.",
                "Type: export HF_HUB_CACHE=FOLDER, with a folder of your own",
            )


def explain_shared(sources: Iterable[Source], tasks: Iterable[PlannedTask]) -> Iterator[str]:
    """What is used from caches that others can change, one sentence for each model, and one for rows."""
    for source in sources:
        shared = find_shared_files(source, "*")
        if shared is not None:
            yield (
                f"Other users can write to {shared}, where '{source.id}' is kept. Its files were compared "
                "with the hub's hashes only if the hub could be reached."
            )
    caches = [find_shared(place, find_root(place)) for place in (find_datasets_cache(), find_hub_cache())]
    rows = [task.name for task in tasks if task.data.origin == "hub"] if any(caches) else []
    if rows:
        named = ", ".join(rows[:3]) + (f" and {len(rows) - 3} more" if len(rows) > 3 else "")
        place = next(filter(None, caches))
        yield f"Other users can write to {place}: the rows of {named} may not be the published ones."


def find_shared_files(source: Source, pattern: str) -> Path | None:
    """The first folder or file of a repository in its cache that others can change; None: there is none."""
    if source.is_modelscope:
        copy = find_copy(source)
        root = copy.parents[1] if copy else None
    else:
        copy = find_snapshot(source.id, source.revision)
        root = find_root(find_hub_cache())
    places = [find_storage(source.id)] if copy is None else [copy, *sorted(copy.rglob(pattern))]
    if root is None:
        return None
    # what the client keeps is behind links
    both = (each for place in places for each in (place, follow_links(place)))
    return next(filter(None, (find_shared(each, root) for each in both)), None)


def find_root(cache: Path) -> Path:
    """The folder from which on a cache is Hugging Face's: others can exchange what is in it."""
    home = find_home()
    return home if cache.is_relative_to(home) else cache
