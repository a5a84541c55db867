"""Cuts the requests of a run into units, and keeps them in files until a worker needs them."""

from __future__ import annotations

import contextlib
import pickle
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, get_args

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.machine.storage import hash_text
from gptalt_eval.machine.temporary import temporary_folder
from gptalt_eval.running.lmeval.evaluation import Requests
from gptalt_eval.running.lmeval.serving import pack_request
from gptalt_eval.running.loaded import LoadedRun
from gptalt_eval.running.prompts import build_all, refuse_tasks, refuse_unscorable
from gptalt_eval.running.spreading.spread import list_keys
from gptalt_eval.scoring.asked import share_prefixes
from gptalt_eval.scoring.stock import read_settings
from gptalt_eval.scoring.tree import Queries, Query
from gptalt_eval.spread.cutting import MOST, Cut, cut_row, cut_tree
from gptalt_eval.spread.work import Kind, Unit

#: what it takes to generate a token, in tokens that are read: they come one after another
GENERATED = 10


class Spool:
    """The requests of units, each in a file: those of a whole survey would fill the memory.

    Args:
        folder: where the files are; nobody else can write to it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, unit: Unit, requests: Sequence[Any], keys: Sequence[str]) -> None:
        packed = pickle.dumps([pack_request(request) for request in requests])
        with explain_room(self.folder):
            (self.folder / unit.name).write_bytes(zlib.compress(packed, 1))
            (self.folder / f"{unit.name}.keys").write_text("\n".join(keys), encoding="utf-8")

    def read(self, unit: Unit) -> bytes:
        """What a worker gets."""
        return (self.folder / unit.name).read_bytes()

    def read_keys(self, unit: Unit) -> list[str]:
        """The key of each request in the file of answers."""
        return (self.folder / f"{unit.name}.keys").read_text(encoding="utf-8").split("\n")


@contextlib.contextmanager
def open_spool() -> Iterator[Spool]:
    """A new spool among the temporary files, which is deleted at the end of the block.

    Raises:
        GptaltError: there is no place for it.
    """
    with contextlib.ExitStack() as stack:
        with explain_room("The folder for temporary files"):
            folder = stack.enter_context(temporary_folder(Path(tempfile.gettempdir()), "gptalt-units-"))
        yield Spool(folder)


@contextlib.contextmanager
def explain_room(place: Path | str) -> Iterator[None]:
    """Say in words that temporary files cannot be written."""
    try:
        yield
    except OSError as error:
        text = f"{place} could not be written: {error.strerror}."
        raise GptaltError(text, "Let TMPDIR name a folder with more room.") from None


class Wanted(NamedTuple):
    """A request, and whether an unfinished task has it."""

    request: Any
    is_open: bool


@dataclass(frozen=True)
class Cutter:
    """Cuts the requests of one run.

    Args:
        run: the run; its model has no weights.
        model: the key of the model among those of all runs.
        most: tokens of a unit.

    Attributes:
        asked: by unit, how many tokens its log-likelihoods would need without shared prefixes.
    """

    run: LoadedRun
    model: str
    most: int = MOST
    asked: dict[str, int] = field(default_factory=dict)

    def cut_all(self, spool: Spool, known: Callable[[Kind, str], bool]) -> Iterator[Unit]:
        """The units in which something is to be answered.

        Args:
            spool: gets their requests.
            known: whether there is an answer already, by the kind and key of the request.
        """
        for kind, group in group_requests(self.collect()).items():
            keys = list(group)
            answered = {key for key in keys if known(kind[0], key)}
            cuts, sizes = self.cut(kind[0], [group[key].request for key in keys])
            for cut in cuts:
                names = [keys[place] for place in cut.places]
                if all(name in answered or not group[name].is_open for name in names):
                    continue
                digest = hash_text("\n".join([self.model, *kind, *names]))
                unit = Unit(digest, self.model, kind[0], cut.tokens, len(names))
                self.asked[unit.name] = sum(sizes[place] for place in cut.places) if sizes else 0
                spool.keep(unit, [group[name].request for name in names], names)
                yield unit

    def collect(self) -> dict[str, Requests]:
        """The requests of all tasks, by label; those of finished ones too: all are cut as one set."""
        refuse_tasks(self.run)
        requests = build_all(self.run, finished=True)
        self.run.display.say("Cutting the requests into units")
        for built in requests.values():
            self.check(built)
        refuse_unscorable(self.run, requests)
        open_ones = {label: self.run.files.is_missing(label) for label in requests}
        failed = self.run.files.run.failed
        return {
            label: [Wanted(request, open_ones[label]) for request in expand(built)]
            for label, built in requests.items()
            if label not in failed
        }

    def check(self, requests: Requests) -> None:
        """Note which requests cannot be scored."""
        lm = self.run.lm.lm
        asked = [each for each in requests if each.request_type == "loglikelihood"]
        if asked and hasattr(lm, "encode_all"):
            for encoded in lm.encode_all(asked):
                lm.check([encoded])

    def cut(self, kind: Kind, requests: Sequence[Any]) -> tuple[list[Cut], list[int]]:
        """Cut requests of a kind; also the tokens that each log-likelihood reads."""
        lm, least = self.run.lm.lm, self.most * 2 // 3
        if kind == "loglikelihood_rolling":
            return cut_row([len(lm.tok_encode(str(each.args[-1]))) for each in requests], self.most), []
        if kind == "loglikelihood" and hasattr(lm, "encode_all"):
            asked = share_prefixes(enumerate(lm.encode_all(requests)), lm.max_length)
            cuts = cut_tree(asked.queries, None, least, self.most)
            return cuts, asked.queries.count_inputs().tolist()
        texts = [each.args[0] if kind == "generate_until" else "".join(each.args[:2]) for each in requests]
        queries, room = Queries(), lm.max_length
        for text in texts:
            tokens = lm.tok_encode(text)[-room:] or [0]
            queries.add(Query(tokens, tokens[-1:]))
        extra = None
        if kind == "generate_until":
            usual = lm.max_gen_toks
            extra = [GENERATED * int(read_settings(each.args[1], usual)["max_gen_toks"]) for each in requests]
        return cut_tree(queries, extra, least, self.most), []


def expand(requests: Requests) -> list[Any]:
    """The requests as often as they are asked."""
    return [request for request in requests for _ in range(request.repeats or 1)]


def group_requests(requests: Mapping[str, Sequence[Wanted]]) -> dict[tuple[Kind, str], dict[str, Wanted]]:
    """Distinct requests by key, in groups that are answered together: by kind, and by generation settings."""
    groups: dict[tuple[Kind, str], dict[str, Wanted]] = {}
    for built in requests.values():
        for kind in get_args(Kind):
            own = [each for each in built if each.request.request_type == kind]
            keys = list_keys(kind, [each.request for each in own])
            for key, (request, is_open) in zip(keys, own, strict=True):
                settings = repr(sorted(request.args[1].items())) if kind == "generate_until" else ""
                group = groups.setdefault((kind, settings), {})
                group[key] = Wanted(request, is_open or (key in group and group[key].is_open))
    return groups
