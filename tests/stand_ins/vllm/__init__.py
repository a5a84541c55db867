"""Stands in for vLLM 0.33 in tests: the names that lm-eval and we use, computed by transformers on the CPU.

Like the engine, it returns the log-probability of the written token with those that were asked for, tells how
many tokens it had in its prefix cache, and reads nothing from it for a prompt's log-probabilities.
"""

from dataclasses import dataclass, field
from types import SimpleNamespace

from sglang.compute import Computer

LOADED = []


@dataclass
class SamplingParams:
    temperature: float = 1.0
    max_tokens: int = 16
    prompt_logprobs: int | None = None
    logprob_token_ids: list[int] | None = None
    detokenize: bool = True
    stop: list[str] = field(default_factory=list)
    skip_special_tokens: bool = True
    spaces_between_special_tokens: bool = True


def TokensPrompt(prompt_token_ids):
    return {"prompt_token_ids": prompt_token_ids}


class LLM:
    def __init__(
        self, model, *, tokenizer=None, tokenizer_mode="auto", trust_remote_code=False, tensor_parallel_size=1,
        dtype="auto", quantization=None, revision=None, tokenizer_revision=None, seed=0,
        gpu_memory_utilization=0.92, max_model_len=None, max_num_seqs=None, enable_lora=False, max_lora_rank=16,
        enable_prefix_caching=True,
    ):  # fmt: skip
        assert isinstance(tensor_parallel_size, int) and 0 < gpu_memory_utilization <= 1
        self.settings = SimpleNamespace(tensor=tensor_parallel_size, share=gpu_memory_utilization)
        self.computer = Computer(model)
        longest = max_model_len or self.computer.model.config.max_position_embeddings
        config = SimpleNamespace(max_model_len=longest, dtype=dtype, quantization=quantization)
        self.llm_engine = SimpleNamespace(model_config=config)
        self.calls = []
        LOADED.append(self)

    def generate(self, prompts, sampling_params, *, use_tqdm=True, lora_request=None):
        self.calls.append([each["prompt_token_ids"] for each in prompts])
        assert all(len(each) < self.llm_engine.model_config.max_model_len for each in self.calls[-1])
        return [
            self.answer(prompt["prompt_token_ids"], settings)
            for prompt, settings in zip(prompts, sampling_params, strict=True)
        ]

    def answer(self, tokens, settings):
        assert settings.temperature == 0
        cached = 0 if settings.prompt_logprobs else self.computer.find_cached(tokens, len(tokens) - 1)
        numbers = self.computer.score(tokens)
        entries = [None]
        for token, row in zip(tokens[1:], numbers, strict=False):
            entries.append(
                {each: SimpleNamespace(logprob=float(row[each])) for each in {int(row.argmax()), token}}
            )
        written = self.computer.write(tokens, settings.max_tokens, settings.stop)
        asked = {*(settings.logprob_token_ids or ()), written[0][0]}
        first = {each: SimpleNamespace(logprob=float(numbers[-1][each])) for each in asked}
        output = SimpleNamespace(
            token_ids=written[0], text=written[1], logprobs=[first] if settings.logprob_token_ids else None
        )
        return SimpleNamespace(
            prompt_logprobs=entries if settings.prompt_logprobs else None,
            outputs=[output],
            num_cached_tokens=cached,
        )
