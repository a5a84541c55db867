"""Whether the user has allowed what the YAMLs of a request do besides asking questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.machine import consents
from gptalt_eval.machine.storage import follow_links
from gptalt_eval.planning.catalog import Catalog
from gptalt_eval.planning.consent.deeds import Deeds, Free, describe_deeds
from gptalt_eval.planning.index import find_lm_eval_tasks

FLAG = "--trust_task_code"


def find_free(catalog: Catalog) -> Free:
    """What YAMLs may use without consent: installed YAMLs, and rows in the folders that the user named."""
    data_dir = [catalog.data_dir] if isinstance(catalog.data_dir, Path) else []
    installed = (find_lm_eval_tasks(), *catalog.plugin_folders)
    return Free(installed, (*catalog.include_paths, *data_dir))


def name_consent(deeds: Deeds) -> str:
    return f"task code {deeds.file}"


def is_trusted(deeds: Deeds, given: Sequence[str]) -> bool:
    """Whether a YAML may do what it does: the user names it now, or has allowed exactly this earlier.

    Args:
        deeds: what it does.
        given: the files of ``--trust_task_code``; they are remembered.
    """
    if not deeds.found:
        return True
    digest = deeds.digest()
    if deeds.file in [follow_links(Path(file).expanduser()) for file in given]:
        consents.allow(name_consent(deeds), digest)
        return True
    return consents.is_allowed(name_consent(deeds), digest)


def describe_refusal(refused: Mapping[str, Deeds]) -> GptaltError:
    """What is asked of the user.

    Args:
        refused: what the YAMLs do that are not trusted, by the name of the task or group.
    """
    files = ",".join(dict.fromkeys(str(deeds.file) for deeds in refused.values()))
    return GptaltError(
        "\n".join(describe_deeds(name, deeds) for name, deeds in refused.items()),
        f"Look at these files. If you trust them, add: {FLAG} {quote(files)}",
    )
