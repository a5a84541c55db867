"""Folders of tiny image-text models with random weights, with their processors, as a user downloads them."""

import picture_models
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

MARKS = {"qwen2_vl": "<|image_pad|>"}
ROWS = [f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2)]
IDEFICS = ["<fake_token_around_image>", "<global-img>", "<end_of_utterance>", *ROWS]
QWEN = ["<|vision_start|>", "<|vision_end|>", "<|video_pad|>"]
TEMPLATE = (
    "{% for turn in messages %}[{{ turn.role }}]{% if turn.content is string %}{{ turn.content }}{% else %}"
    "{% for part in turn.content %}{% if part.type == 'image' %}MARK{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)


def make_tokenizer(kind):
    """Every byte is a token, and so is what a picture needs."""
    mark = MARKS.get(kind, "<image>")
    special = [
        "<pad>",
        "<s>",
        "</s>",
        mark,
        *(IDEFICS if kind == "idefics3" else QWEN if kind == "qwen2_vl" else []),
    ]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(
        models.BPE(vocab={word: n for n, word in enumerate([*special[:3], *alphabet])}, merges=[])
    )
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="<pad>",
        extra_special_tokens={"image_token": mark}, chat_template=TEMPLATE.replace("MARK", mark),
    )  # fmt: skip
    made.add_tokens([transformers.AddedToken(token, special=True) for token in special[3:]])
    return made


def make_processor(kind, tokenizer):
    square = {"height": 16, "width": 16}
    if kind == "llava":
        images = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=square)
        return transformers.LlavaProcessor(
            images,
            tokenizer,
            patch_size=4,
            vision_feature_select_strategy="default",
            num_additional_image_tokens=1,
        )
    if kind == "llava_next":
        points = [[16, 32], [32, 16], [32, 32]]
        images = LlavaNextImageProcessorPil(
            size={"shortest_edge": 16}, crop_size=square, image_grid_pinpoints=points
        )
        return transformers.LlavaNextProcessor(
            images,
            tokenizer,
            patch_size=4,
            vision_feature_select_strategy="default",
            num_additional_image_tokens=1,
        )
    images = Idefics3ImageProcessorPil(size={"longest_edge": 32}, max_image_size={"longest_edge": 16})
    return transformers.Idefics3Processor(images, tokenizer, image_seq_len=4)


def make_model(kind, tokenizer):
    size = {"vocab_size": len(tokenizer) + 3}
    mark = tokenizer.convert_tokens_to_ids(MARKS.get(kind, "<image>"))
    config = MAKERS[kind]().model.config
    config.text_config.vocab_size = size["vocab_size"]
    config.image_token_id = mark
    if kind == "qwen2_vl":
        names = {"vision_start": QWEN[0], "vision_end": QWEN[1], "video": QWEN[2]}
        for name, token in names.items():
            setattr(config, f"{name}_token_id", tokenizer.convert_tokens_to_ids(token))
    torch.manual_seed(0)
    return picture_models.finish(transformers.AutoModelForImageTextToText.from_config(config))


MAKERS = {
    "llava": picture_models.make_llava,
    "llava_next": picture_models.make_llava_next,
    "idefics3": picture_models.make_idefics3,
    "qwen2_vl": picture_models.make_qwen,
}


def save_model(kind, folder):
    """A model in a folder, as ``pretrained=`` takes it."""
    tokenizer = make_tokenizer(kind)
    make_model(kind, tokenizer).save_pretrained(folder)
    if kind == "qwen2_vl":  # the whole processor needs torchvision for its videos
        tokenizer.save_pretrained(folder)
        size = {"shortest_edge": 64, "longest_edge": 400}
        Qwen2VLImageProcessorPil(patch_size=4, merge_size=2, size=size).save_pretrained(folder)
        (folder / "preprocessor_config.json").write_text(
            (folder / "preprocessor_config.json")
            .read_text()
            .replace(
                '"image_processor_type"', '"processor_class": "Qwen2VLProcessor",\n  "image_processor_type"'
            )
        )
    else:
        make_processor(kind, tokenizer).save_pretrained(folder)
    return folder
