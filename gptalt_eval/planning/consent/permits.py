"""Whether the settings in a file may do what they ask for.

Consent comes from the command line, never from the file: ``--trust``, or a run that the user started. It is
remembered for exactly what was listed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.spec import RunSpec, dump_spec, make_spec
from gptalt_eval.machine import consents
from gptalt_eval.machine.storage import follow_links, hash_file, hash_text
from gptalt_eval.planning.consent.asks import SETTINGS, is_inside, list_asks, walk
from gptalt_eval.planning.consent.code import list_code
from gptalt_eval.planning.consent.deeds import Free, find_deeds


def check_settings(
    file: Path, values: Mapping[str, Any], typed: Mapping[str, Any], trusted: bool, writes_there: bool = False
) -> None:
    """Check that what the settings in a file ask for is allowed; nothing is run, sent or read elsewhere.

    Args:
        file: the file.
        values: its settings.
        typed: those of the command line, which override them.
        trusted: whether the user typed ``--trust``.
        writes_there: results go to the file's own folder, wherever ``output_path`` is.

    Raises:
        GptaltError: they are not allowed; lists all of them. Or a setting is wrong.
    """
    samples = {"samples": values["samples"]} if isinstance(values.get("samples"), str) else {}
    read = {key: value for key, value in values.items() if key not in samples}
    spec = make_spec({**read, **typed})
    keys = read.keys() - typed.keys()
    everything = list_asks(spec, keys)
    shown = list_asks(spec, keys - {"output_path"} if writes_there else keys, list_places(file))
    path = samples.get("samples", "{").lstrip()
    if "samples" not in typed and not path.startswith("{"):
        everything.append(f"reads {path} (samples)")
        shown += [] if is_inside(path, list_places(file)[:1]) else everything[-1:]
    if trusted:
        remember(file, everything, spec)
    elif shown and not consents.is_allowed(name_subject(file), hash_asks(everything, spec)):
        lines = "\n".join(f"  {line}" for line in shown)
        raise GptaltError(
            f"{file} asks for more than an evaluation:\n{lines}",
            "Look at this file. If you trust it, add: --trust",
        )


def remember_own(spec: RunSpec, file: Path) -> None:
    """Remember that the user started a run, so that to resume or repeat it needs no ``--trust``.

    Args:
        spec: its request.
        file: where its settings are saved.
    """
    remember(file, list_asks(spec, dump_spec(spec).keys()), spec)


def remember(file: Path, asks: list[str], spec: RunSpec) -> None:
    if asks:
        consents.allow(name_subject(file), hash_asks(asks, spec))


def name_subject(file: Path) -> str:
    return f"settings in {follow_links(file)}"


def hash_asks(asks: list[str], spec: RunSpec) -> str:
    """SHA-256 of what a consent is for: what was listed, and the code on this computer as it is now."""
    return hash_text("\n".join([*asks, *hash_code(spec)]))


def hash_code(spec: RunSpec) -> Iterator[str]:
    """The Python of the tasks that settings trust, and that of the folders that they name."""
    for file in spec.trust_task_code:
        with contextlib.suppress(OSError):
            yield find_deeds(Path(file).expanduser(), Free()).digest()
    named = [value for key in SETTINGS for _, value in walk((key,), getattr(spec, key))]
    for name in [*spec.model.split(","), *(value for value in named if isinstance(value, str))]:
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            folder = Path(name).expanduser()
            yield from map(hash_file, list_code(folder) if folder.is_dir() else ())


def list_places(file: Path) -> list[Path]:
    """Where a file's settings may have things written: below its folder, and below the working folder."""
    beside, working = follow_links(file.parent), follow_links(Path.cwd())
    first = follow_links(file) if beside == Path(beside.anchor) else beside
    return [first, working] if working != Path(working.anchor) else [first]
