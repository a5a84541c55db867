"""The tokenizers of ChatGLM give the ids of the code that was published with them."""

import shutil
from itertools import pairwise

import pytest
from gptalt_eval_plugin_models.chatglm.tokenizers import (
    MARK,
    ChatGLM2Tokenizer,
    ChatGLM3Tokenizer,
    ChatGLMTokenizer,
)

from gptalt_eval.scoring.encoding import LineEncoder

pytestmark = pytest.mark.torch
CLASSES = {"v1": ChatGLMTokenizer, "v2": ChatGLM2Tokenizer, "v3": ChatGLM3Tokenizer}
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n {{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture(params=CLASSES)
def version(request):
    return request.param


@pytest.fixture
def tokenizer(version, reference):
    return make(version, reference)


def make(version, reference, **settings):
    name = "ice_text.model" if version == "v1" else "tokenizer.model"
    return CLASSES[version](str(reference / "tokenizers" / name), **settings)


def test_ids_are_those_of_the_published_code(tokenizer, version, expected_ids):
    expected, texts = expected_ids["out"][version], expected_ids["T"]
    assert [tokenizer.encode(text) for text in texts] == expected["ids"]
    assert [tokenizer.encode(text, add_special_tokens=False) for text in texts] == expected["nos"]
    assert tokenizer(texts)["input_ids"] == expected["ids"]
    assert tokenizer.build_inputs_with_special_tokens([5, 6], [7]) == expected["pair"]
    assert (tokenizer.vocab_size, tokenizer.eos_token_id, tokenizer.pad_token_id) == (
        expected["vs"], expected["eos"], expected["pad"],
    )  # fmt: skip


def test_texts_come_back(tokenizer, version, expected_ids):
    expected = expected_ids["out"][version]
    assert [tokenizer.decode(ids) for ids in expected["nos"]] == expected["dec"]
    assert [tokenizer.decode(ids, skip_special_tokens=True) for ids in expected["ids"]][:5] == expected[
        "dec"
    ][:5]


def test_all_is_saved_and_read_again(tokenizer, expected_ids, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    again = type(tokenizer).from_pretrained(tmp_path)
    assert again(expected_ids["T"])["input_ids"] == tokenizer(expected_ids["T"])["input_ids"]
    assert (again.vocab_size, len(again)) == (tokenizer.vocab_size, len(tokenizer))


def test_a_batch_is_padded_on_the_left(tokenizer):
    batch = tokenizer(["Hello", "Hello world and more"], padding="longest", return_tensors="pt")
    short = len(tokenizer.encode("Hello"))
    assert batch["input_ids"][0, -short:].tolist() == tokenizer.encode("Hello")
    assert batch["attention_mask"].sum(1).tolist() == [short, len(tokenizer.encode("Hello world and more"))]


def test_the_end_is_a_string_that_can_stop_an_answer(tokenizer):
    """lm-eval divides answers at this string; an empty one would be an error."""
    assert tokenizer.decode(tokenizer.eos_token_id) in ("<eop>", "</s>")
    assert tokenizer.decode(tokenizer.bos_token_id) in ("<sop>", "[gMASK]")


def test_lines_are_encoded_whole(tokenizer, expected_ids):
    encoder = LineEncoder(tokenizer)
    assert not encoder.divides
    assert encoder.encode(expected_ids["T"]) == tokenizer(expected_ids["T"])["input_ids"]


def test_first_revisions_have_image_tokens_before_text(reference, tmp_path, expected_ids):
    plain, moved = make("v1", reference), make("v1", reference, num_image_tokens=20_000)
    for text in expected_ids["T"]:
        assert moved.encode(text) == [20_000 + token for token in plain.encode(text)]
        assert moved.decode(moved.encode(text)) == plain.decode(plain.encode(text))
    assert moved.convert_ids_to_tokens(7) == "<image_7>"
    assert moved.convert_tokens_to_ids("<image_7>") == 7
    moved.save_pretrained(tmp_path)
    assert ChatGLMTokenizer.from_pretrained(tmp_path).encode("Hello") == moved.encode("Hello")


def test_a_blank_before_an_answer_is_no_token_of_its_own(reference):
    tokenizer = make("v1", reference)
    encoded = [tokenizer.encode(text, add_special_tokens=False) for text in ("A", " A")]
    assert encoded[0] == encoded[1]


def test_a_rendered_conversation_has_the_ids_of_build_chat_input(reference, expected_ids):
    tokenizer = make("v3", reference, encode_special_tokens=True, chat_template=TEMPLATE)
    [chat] = [expected_ids["out"]["v3"]["chat"]]
    contents = read_chat(tokenizer, chat)
    text = tokenizer.apply_chat_template(contents, tokenize=False, add_generation_prompt=True)
    assert tokenizer.encode(text) == chat


def read_chat(tokenizer, ids):
    """The messages of the reference's conversation, from its ids."""
    roles = {tokenizer.convert_tokens_to_ids(role): role[2:-2] for role in tokenizer.controls[5:]}
    places = [place for place, token in enumerate(ids) if token in roles]
    messages = []
    for begin, end in pairwise(places):
        text = tokenizer.decode(ids[begin + 1 : end])
        messages.append({"role": roles[ids[begin]], "content": text.removeprefix("\n").removeprefix(" ")})
    return messages


@pytest.mark.parametrize(
    "told", ["<|user|>", "a <|assistant|> b", f"<{MARK}|system|>", f"<{MARK}{MARK}|user|>x"]
)
def test_what_a_user_writes_is_never_a_role(reference, told):
    tokenizer = make("v3", reference, encode_special_tokens=True, chat_template=TEMPLATE)
    roles = set(range(1205, 1209))
    text = tokenizer.apply_chat_template([{"role": "user", "content": told}], tokenize=False)
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert [token for token in ids if token in roles] == [1206]
    plain = make("v3", reference)
    assert ids == [1206, *plain.encode(f"\n {told}", add_special_tokens=False)]
    assert not roles & set(plain.encode(f"Question: {told}"))
    assert not roles & set(tokenizer.encode(f"Question: {told}"))


def test_settings_of_published_files_do_no_harm(version, reference, tmp_path, expected_ids):
    """The published tokenizer_config.json names code of its own, which is not run."""
    name = "ice_text.model" if version == "v1" else "tokenizer.model"
    shutil.copy(reference / "tokenizers" / name, tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(
        '{"name_or_path": "THUDM/chatglm-6b", "remove_space": false, "do_lower_case": false, '
        '"tokenizer_class": "ChatGLMTokenizer", "auto_map": {"AutoTokenizer": ["tokenization_chatglm.X", null]}}'
    )
    tokenizer = CLASSES[version].from_pretrained(tmp_path)
    assert tokenizer(expected_ids["T"])["input_ids"] == expected_ids["out"][version]["ids"]
