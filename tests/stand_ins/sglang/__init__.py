"""Stands in for SGLang 0.5.23 in tests, computed by transformers on the CPU.

Like the engine, it returns a prompt's log-probabilities from ``logprob_start_len`` on, the first one empty, and
reads its prefix cache up to there only.
"""

from types import SimpleNamespace

from sglang.compute import Computer

LOADED = []


class Engine:
    def __init__(
        self, *, model_path, tokenizer_path=None, tokenizer_mode="auto", load_format="auto", trust_remote_code=False,
        dtype="auto", kv_cache_dtype="auto", device=None, mem_fraction_static=None, tp_size=1, dp_size=1,
        chunked_prefill_size=None,
    ):  # fmt: skip
        assert device == "cuda", "no index: the engine takes as many GPUs as it needs"
        self.settings = SimpleNamespace(tensor=tp_size, share=mem_fraction_static)
        self.computer = Computer(model_path)
        longest = self.computer.model.config.max_position_embeddings
        self.tokenizer_manager = SimpleNamespace(
            tokenizer=self.computer.tokenizer,
            context_len=longest,
            model_config=SimpleNamespace(dtype=dtype, quantization=None),
        )
        self.calls = []
        LOADED.append(self)

    def generate(
        self,
        *,
        input_ids,
        sampling_params,
        return_logprob=False,
        top_logprobs_num=None,
        logprob_start_len=None,
    ):
        self.calls.append(input_ids)
        assert all(len(each) < self.tokenizer_manager.context_len for each in input_ids)
        starts = (
            logprob_start_len if isinstance(logprob_start_len, list) else [logprob_start_len] * len(input_ids)
        )
        return [
            self.answer(tokens, settings, start if return_logprob else -1)
            for tokens, settings, start in zip(input_ids, sampling_params, starts, strict=True)
        ]

    def answer(self, tokens, settings, start):
        assert settings["temperature"] == 0
        cached = self.computer.find_cached(tokens, start if start >= 0 else len(tokens) - 1)
        facts = {"cached_tokens": cached}
        if start >= 0:
            pairs = [
                (token, row) for token, row in zip(tokens[1:], self.computer.score(tokens), strict=False)
            ][start:]
            facts["input_token_logprobs"] = [(None, tokens[start], None)]
            facts["input_token_logprobs"] += [(float(row[token]), token, None) for token, row in pairs]
            facts["input_top_logprobs"] = [
                None,
                *([(float(row.max()), int(row.argmax()), None)] for _, row in pairs),
            ]
        _, text = self.computer.write(tokens, settings["max_new_tokens"], settings.get("stop", []))
        return {"text": text, "meta_info": facts}
