from transformers import AutoTokenizer


def get_tokenizer(name, *, tokenizer_mode, trust_remote_code, revision, **settings):
    return AutoTokenizer.from_pretrained(name, **settings)
