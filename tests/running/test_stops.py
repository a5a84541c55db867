"""What ends an answer: the strings of a model's YAML, and its ids if the loaded tokenizer has them."""

import pytest

from gptalt_eval import Template
from gptalt_eval.running.lmeval.stops import find_ends

TEMPLATE = Template("{{ messages }}", stop=("<|user|>", "###"), stop_token_ids=(2, 5, 900))


class Words:
    """A tokenizer with these tokens, of which some are special."""

    def __init__(self, words, special=()):
        self.words, self.all_special_ids = words, special

    def __len__(self):
        return len(self.words)

    def convert_ids_to_tokens(self, number):
        return self.words[number]


PUBLISHED = Words(["a", "b", "</s>", "c", "d", "<|user|>"] + ["w"] * 894 + ["###"], special=(2,))


@pytest.mark.parametrize("is_other", [True, False])
def test_the_published_tokenizer_has_all_ids(is_other):
    ends = find_ends(TEMPLATE, PUBLISHED, is_other)
    assert (ends.stop, ends.ids, ends.explain("sky")) == (TEMPLATE.stop, (2, 5, 900), "")


def test_ids_that_are_words_of_another_tokenizer_do_not_end_answers():
    other = Words(["a", "b", "</s>", "c", "d", "hello"], special=(2,))
    ends = find_ends(TEMPLATE, other, True)
    assert ends.ids == (2,)
    assert ends.explain("sky") == (
        "The ids that end an answer of 'sky' are not those of this tokenizer (5 is 'hello'; 900 is beyond its 6 "
        "tokens): they are not used. Answers end at '<|user|>', '###'."
    )
    assert find_ends(TEMPLATE, other, False).ids == (2, 5)  # the YAML's own: a word can end an answer


def test_a_model_without_a_tokenizer_has_strings_only():
    ends = find_ends(TEMPLATE, None, False)
    assert (ends.stop, ends.ids) == (TEMPLATE.stop, ()) and "900 is beyond its 0 tokens" in ends.explain(
        "sky"
    )
    assert find_ends(Template("x"), None, True).explain("sky") == ""


def test_lm_eval_s_own_dummy_is_asked_for_no_tokenizer(make_plugins, tmp_path):
    """It would fetch one as soon as it is asked."""
    import gptalt_eval

    given = {"data_dir": "sample", "limit": 1, "output_path": str(tmp_path), "plugins": make_plugins()}
    assert gptalt_eval.evaluate("dummy", "piqa", **given).run.status == "complete"
