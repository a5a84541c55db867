"""vLLM and SGLang in this process: lm-eval's classes, asked for all tasks together.

lm-eval 0.4.13 asks task by task for the numbers of whole prompts, which keeps both engines from reading their
prefix caches; stores generated texts under settings that were not requested; and finds no chat template with
SGLang.
"""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lm_eval.api.instance import Instance

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.machine.plain import show_plain
from gptalt_eval.running.lmeval import seams
from gptalt_eval.running.lmeval.streamed import StreamedLM, order_by_prefix
from gptalt_eval.scoring import stock
from gptalt_eval.scoring.asked import Asked
from gptalt_eval.scoring.engine import Progress
from gptalt_eval.scoring.guarded import Scored

BATCH = 1024  # requests in a call with --batch_size auto: an interruption costs the answers of one
MOST = 128  # tokens whose probabilities vLLM tells at once
Question = tuple[list[int], int]  # tokens, and the index of the first one that is scored


def add_engine(backend: type[Any]) -> type[Any]:
    """The engine with our way of asking; other classes are unchanged."""
    engine = {"VLLM": AskedVLLM, "SGLangLM": AskedSGLang}.get(backend.__name__)
    return type(f"Asked{backend.__name__}", (engine, backend), {}) if engine else backend


class EngineLM(StreamedLM):
    """Asks an engine; lm-eval's class is the next base class.

    Attributes:
        described: the engine, and the settings that it chose by itself and that change answers.
    """

    name: str
    title: str
    savers: str  # arguments with which it needs less memory
    scorer_name = "the engine"
    rank: int
    tokenizer: Any
    batch_size: Any
    data_parallel_size: int
    max_gen_toks: int
    tok_encode: Any
    _model_generate: Any

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except (RuntimeError, ValueError, OSError, AssertionError) as error:
            if "custom code" in str(error):
                raise
            reason = show_plain(str(error).strip().partition("\n")[0]) or type(error).__name__
            hint = f"Its own messages are above. For less memory: --model_args {self.savers}."
            raise GptaltError(f"{self.title} cannot load this model: {reason}", hint) from error
        self.begin(self.name)
        self.unscorable, self.lost = {}, {}
        self.chat_template_args: dict[str, Any] = dict(getattr(self, "chat_template_args", None) or {})
        self.described = {"engine": f"{self.name} {importlib.metadata.version(self.name)}"}
        self.described |= {key: str(value) for key, value in self.describe().items()}

    def describe(self) -> Mapping[str, Any]:
        """What the engine chose."""
        raise NotImplementedError

    def ask(self, questions: Sequence[Question]) -> tuple[list[Scored], int]:
        """The answers to some questions, in one call; and how many tokens were computed for them."""
        raise NotImplementedError

    @property
    def room(self) -> int:
        return self.max_length - 2  # the engine must also write a token

    def add_up(self, number: int) -> int:
        """The sum of a number over all processes: the engine's own ones do not count."""
        return number

    def cut(self, order: Sequence[int]) -> Iterator[Sequence[int]]:
        """What is asked for in one call each."""
        size = BATCH if self.batch_size == "auto" else int(self.batch_size)
        if self.name == "vllm" and self.data_parallel_size > 1:
            size = len(order)  # lm-eval loads the model again for each call
        return (order[begin : begin + size] for begin in range(0, len(order), max(size, 1)))

    def apply_chat_template(self, chat_history: Any, add_generation_prompt: bool = True) -> str:
        """A conversation as a text, by the tokenizer's template."""
        thinks = getattr(self, "enable_thinking", None)
        settings = {} if thinks is None else {"enable_thinking": thinks}
        written: str = self.tokenizer.apply_chat_template(
            chat_history, tokenize=False, add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt, **settings, **self.chat_template_args,
        )  # fmt: skip
        return written

    def stream_tokens(self, asked: Asked) -> Iterator[list[tuple[int, Scored]]]:
        """The answers of a call at a time, in the order of the prefix tree."""
        order = order_by_prefix(asked.queries)
        sizes = (asked.queries.count_inputs() + 1).tolist()
        sent, computed, total, began = 0, 0, sum(sizes), time.perf_counter()
        for numbers in self.cut(order):
            encoded = [asked.read(number) for number in numbers]
            answers, count = self.ask(
                [([*context, *continuation], len(context)) for _, context, continuation in encoded]
            )
            computed += count
            sent += sum(sizes[number] for number in numbers)
            seconds = time.perf_counter() - began
            done = max(computed, 1)
            self.progress(
                Progress(done if sent == total else sent, done if sent == total else total, total, seconds)
            )
            for (arguments, _, _), answer in zip(encoded, answers, strict=True):
                if arguments is not None:
                    self.cache_hook.add_partial("loglikelihood", arguments, answer)
            places = [asked.places[number] for number in numbers]
            yield list(zip(places, answers, strict=True))

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """The texts, kept when a call returns; those with the same beginning are asked for together."""
        order = sorted(range(len(requests)), key=lambda place: str(requests[place].args[0]))
        answers: dict[int, str] = {}
        hook = self.cache_hook
        for places in self.cut(order):
            asked = [requests[place] for place in places]
            self.note_cut(asked)
            seams.report_answers(self, lambda *_: None)  # lm-eval's own has other settings as its key
            try:
                texts = super().generate_until(asked, disable_tqdm=disable_tqdm)  # type: ignore[misc]
            finally:
                self.cache_hook = hook
            for place, text in zip(places, texts, strict=True):
                answers[place] = text
                hook.add_partial("generate_until", requests[place].args, text)
        return [answers[place] for place in range(len(requests))]

    def note_cut(self, requests: Sequence[Instance]) -> None:
        """Note of which prompts the engine gets only the end."""
        for request, tokens in zip(
            requests, self.tok_encode([each.args[0] for each in requests]), strict=True
        ):
            longest = int(stock.read_settings(request.args[1], self.max_gen_toks)["max_gen_toks"])
            if (excess := len(tokens) + longest - self.max_length) > 0:
                self.lost[request.args[0]] = excess


class AskedVLLM(EngineLM):
    """vLLM: what is one token is asked for as the next one of its prompt, which may be in the prefix cache.

    All options of a question with letters are one prompt then. Longer ones are asked for as parts of prompts,
    which vLLM computes from scratch each time.
    """

    name, title = "vllm", "vLLM"
    savers = "max_model_len, gpu_memory_utilization or tensor_parallel_size"

    def describe(self) -> Mapping[str, Any]:
        if self.data_parallel_size > 1:
            return {}
        config = self.model.llm_engine.model_config  # type: ignore[attr-defined]
        return {"dtype": config.dtype, "quantization": config.quantization, "length": config.max_model_len}

    def ask(self, questions: Sequence[Question]) -> tuple[list[Scored], int]:
        from vllm import SamplingParams  # type: ignore[import-not-found]

        whole: list[int] = []
        followed: dict[tuple[int, ...], list[list[int]]] = {}
        for number, (tokens, begin) in enumerate(questions):
            if len(tokens) - begin > 1 or not hasattr(SamplingParams, "logprob_token_ids"):
                whole.append(number)
                continue
            groups = followed.setdefault(tuple(tokens[:begin]), [[]])
            if len(groups[-1]) == MOST:
                groups.append([])
            groups[-1].append(number)
        prompts = [questions[number][0] for number in whole]
        settings = [SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=1, detokenize=False)] * len(
            whole
        )
        parts = [(prompt, group) for prompt, groups in followed.items() for group in groups]
        for prompt, group in parts:
            ids = sorted({questions[number][0][-1] for number in group})
            prompts.append(list(prompt))
            settings.append(
                SamplingParams(temperature=0, max_tokens=1, logprob_token_ids=ids, detokenize=False)
            )
        outputs = self._model_generate(requests=prompts, generate=True, sampling_params=settings)
        answers: dict[int, Scored] = {}
        for number, output in zip(whole, outputs, strict=False):
            answers[number] = read_whole(*questions[number], output)
        for (_, group), output in zip(parts, outputs[len(whole) :], strict=True):
            for number in group:
                answers[number] = read_next(questions[number][0][-1], output.outputs[0])
        cached = sum(getattr(output, "num_cached_tokens", None) or 0 for output in outputs)
        return [answers[number] for number in range(len(questions))], sum(map(len, prompts)) - cached


def read_whole(tokens: Sequence[int], begin: int, output: Any) -> Scored:
    """The log-likelihood of a prompt's tokens from an index on."""
    entries = output.prompt_logprobs
    if entries is None or len(entries) != len(tokens):
        raise GptaltError("vLLM gives no log-probabilities for all tokens of a prompt.")
    total, greedy = 0.0, True
    for token, entry in zip(tokens[begin:], entries[begin:], strict=True):
        value = float(entry[token].logprob)
        total += value
        greedy = greedy and value >= max(float(each.logprob) for each in entry.values())
    return total, greedy


def read_next(token: int, written: Any) -> Scored:
    """The log-likelihood of a token as the next one of a prompt."""
    return float(written.logprobs[0][token].logprob), written.token_ids[0] == token


class AskedSGLang(EngineLM):
    """SGLang: asked for log-probabilities from the end of the context on, so that it can read its cache."""

    name, title = "sglang", "SGLang"
    savers = "mem_fraction_static or tp_size"
    chat_template: Any

    def __init__(self, add_bos_token: bool | None = None, **settings: Any) -> None:
        super().__init__(add_bos_token=add_bos_token, **settings)

    def describe(self) -> Mapping[str, Any]:
        config = self.model.tokenizer_manager.model_config  # type: ignore[attr-defined]
        return {
            "dtype": getattr(config, "dtype", ""),
            "quantization": getattr(config, "quantization", None),
            "length": self.max_length,
        }

    @property
    def tokenizer_name(self) -> str:
        return str(getattr(self.tokenizer, "name_or_path", "")).replace("/", "__")

    def chat_template(self, chat_template: bool | str = False) -> str | None:  # type: ignore[no-redef]
        """The tokenizer's template; lm-eval's class says that there is none."""
        written = getattr(self.tokenizer, "chat_template", None)
        if isinstance(written, Mapping):
            written = written.get(chat_template if isinstance(chat_template, str) else "default")
        return written if chat_template else None

    def tok_encode(self, string: Any, add_special_tokens: bool | None = None, **_: Any) -> Any:
        """The tokens of a text, as lm-eval's ``hf`` has them: with what the tokenizer puts before a text."""
        if not isinstance(string, str):
            return [self.tok_encode(each, add_special_tokens) for each in string]
        special = self.add_bos_token if add_special_tokens is None else add_special_tokens  # type: ignore[attr-defined]
        bos = self.tokenizer.decode([self.prefix_token_id])
        if special is not False and bos and string.startswith(bos):
            special = False
        return list(
            self.tokenizer.encode(string, **({} if special is None else {"add_special_tokens": special}))
        )

    def ask(self, questions: Sequence[Question]) -> tuple[list[Scored], int]:
        outputs = self._model_generate(
            requests=[tokens for tokens, _ in questions], return_logprob=True, top_logprobs_num=1,
            logprob_start_len=[begin - 1 for _, begin in questions],
        )  # fmt: skip
        facts = [output["meta_info"] for output in outputs]
        answers = [read_end(*question, each) for question, each in zip(questions, facts, strict=True)]
        computed = sum(len(tokens) for tokens, _ in questions)
        return answers, computed - sum(each.get("cached_tokens") or 0 for each in facts)


def read_end(tokens: Sequence[int], begin: int, facts: Mapping[str, Any]) -> Scored:
    """The log-likelihood of the tokens from an index on, from an answer that begins with the one before."""
    entries, tops = facts["input_token_logprobs"][1:], facts["input_top_logprobs"][1:]
    if len(entries) != len(tokens) - begin or len(tops) != len(entries):
        raise GptaltError("SGLang gives no log-probabilities for the tokens of an option.")
    total, greedy = 0.0, True
    for token, (value, _, _), top in zip(tokens[begin:], entries, tops, strict=True):
        total += float(value)
        greedy = greedy and max(top, key=lambda each: each[0])[1] == token
    return total, greedy
