"""What both stand-ins compute with: one prompt at a time, and a count of what a prefix cache would save."""

import torch
import transformers as tf


class Computer:
    def __init__(self, folder):
        self.model = tf.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = tf.AutoTokenizer.from_pretrained(folder)
        self.seen = set()

    def find_cached(self, tokens, most):
        """How many tokens at the beginning of a prompt, at most so many, were in an earlier one."""
        parts = [tuple(tokens[:end]) for end in range(1, len(tokens) + 1)]
        found = sum(part in self.seen for part in parts[: max(most, 0)])
        self.seen.update(parts)
        return found

    @torch.no_grad()
    def score(self, tokens):
        return self.model(torch.tensor([tokens])).logits[0].log_softmax(-1)

    def write(self, tokens, most, stops):
        written = []
        text = ""
        while len(written) < most:
            written.append(int(self.score([*tokens, *written])[-1].argmax()))
            text = self.tokenizer.decode(written, skip_special_tokens=False)
            if written[-1] == self.tokenizer.eos_token_id or any(stop in text for stop in stops):
                break
        return written, text
