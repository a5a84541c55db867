"""Tiny image-text models with random weights, and what transformers itself makes of a whole prompt."""

import contextlib
from types import SimpleNamespace

import numpy as np
import torch
import transformers

from gptalt_eval.scoring.picture_trial import AlonePictures
from gptalt_eval.scoring.pictures import Picture, Pictures, find_causal, make_picture

IMAGE = 98  # the id of a picture's feature, for the model itself
VOCABULARY = 99
LIVELY = ("gate", "alpha", "newline", "embedding")  # parts of names of vectors
SIZES = [(16, 16), (20, 32), (32, 24)]  # height and width of LLaVA-NeXT's pictures
GRIDS = [(4, 4), (6, 4), (4, 10), (8, 6)]  # patches of Qwen's


def text(kind="llama", **more):
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
    ids = {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    return {
        "model_type": kind, **sizes, "num_key_value_heads": 2, "max_position_embeddings": 16384, **ids, **more
    }  # fmt: skip


def vision(kind, **more):
    sizes = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
    return {"model_type": kind, **sizes, "image_size": 16, "patch_size": 4, **more}


def finish(model, dtype=torch.float32):
    """Livelier weights than initialised, and none of a gate is zero."""
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if parameter.ndim >= 2 or any(part in name for part in ("gate", "alpha", "newline", "embedding")):
            torch.nn.init.normal_(parameter, std=0.12)
    return model.eval().to(dtype)


class Case:
    """How to make pictures for one kind of model, and how the model reads a whole prompt.

    Args:
        model: the model.
        joined: the dimension in which the pictures of a prompt are put together.
    """

    joined = 0

    def __init__(self, model):
        self.model = finish(model)

    def picture(self, seed):
        generator = torch.Generator().manual_seed(seed)
        return self.count({"pixel_values": torch.randn(1, 3, 16, 16, generator=generator)})

    def count(self, inputs, before=(), after=(), grid=None):
        """A processor knows the number of features from the picture's size."""
        with torch.no_grad():
            made = self.model.get_image_features(**inputs, return_dict=True).pooler_output
        return make_picture(inputs, [*before, *[-1] * len(torch.cat(list(made))), *after], grid)

    def make_inputs(self, ids, pictures, suffix=0):
        """Like those of ``PictureReader``, written out."""
        inputs = {}
        for picture in pictures:
            for name, value in picture.load().items():
                inputs.setdefault(name, []).append(value)
        ids = torch.tensor([[IMAGE if each < 0 else each for each in ids]])
        joined = {name: torch.cat(values, self.joined) for name, values in inputs.items()}
        return {"input_ids": ids, **joined, **(self.list_more(ids) if pictures else {})}

    def list_more(self, ids):
        return {}

    def sample(self, seed):
        return self.picture(1000 + seed)

    @torch.no_grad()
    def read(self, items):
        """Logits of a whole prompt."""
        ids = [token for item in items for token in (item.layout if isinstance(item, Picture) else [item])]
        pictures = [item for item in items if isinstance(item, Picture)]
        inner = getattr(self.model, "language_model", None)
        model = self.model if pictures or not hasattr(inner, "lm_head") else inner
        return model(**self.make_inputs(ids, pictures), use_cache=False).logits[0]


class NextCase(Case):
    def picture(self, seed):
        generator = torch.Generator().manual_seed(seed)
        height, width = SIZES[seed % 3]
        tiles = 1 + -(-height // 16) * -(-width // 16) if (height, width) != (16, 16) else 3
        pixels = torch.zeros(1, 5, 3, 16, 16)  # the processor pads to the most tiles
        pixels[:, :tiles] = torch.randn(1, tiles, 3, 16, 16, generator=generator)
        return self.count({"pixel_values": pixels, "image_sizes": torch.tensor([[height, width]])})


class TileCase(Case):
    """Text is between the tiles of a picture, and all tiles of a prompt are in one row."""

    joined = 1

    def picture(self, seed):
        generator = torch.Generator().manual_seed(seed)
        tiles = 1 + seed % 3
        mask = torch.ones(1, tiles, 16, 16, dtype=torch.long)
        if seed % 2:  # a tile that does not fill its square
            mask[:, -1, 8:] = 0
        pixels = torch.randn(1, tiles, 3, 16, 16, generator=generator)
        places = [-1] * self.model.model.image_seq_len
        layout = [token for tile in range(tiles) for token in (90, 91 + tile, *places)]
        return make_picture({"pixel_values": pixels, "pixel_attention_mask": mask}, [*layout, 90])


class GridCase(Case):
    def picture(self, seed):
        generator = torch.Generator().manual_seed(seed)
        height, width = GRIDS[seed % 4]
        pixels = torch.randn(height * width, 3 * 2 * 4 * 4, generator=generator)
        inputs = {"pixel_values": pixels, "image_grid_thw": torch.tensor([[1, height, width]])}
        # with tokens around it: the model takes pictures side by side for one
        return self.count(inputs, [95], [96], (height // 2, width // 2))

    def list_more(self, ids):
        return {"mm_token_type_ids": (ids == IMAGE).int()}


class InstructCase(Case):
    def picture(self, seed, instruction=0):
        generator = torch.Generator().manual_seed(seed)
        pixels = torch.randn(1, 3, 16, 16, generator=generator)
        ids = torch.randint(1, 60, (1, 7), generator=torch.Generator().manual_seed(instruction))
        mask = torch.ones_like(ids)
        return self.count({"pixel_values": pixels, "qformer_input_ids": ids, "qformer_attention_mask": mask})


class CrossCase(Case):
    """A picture has one place in the text, between two tokens that say so."""

    joined = 1

    def picture(self, seed):
        pixels = torch.randn(1, 1, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
        return make_picture({"pixel_values": pixels}, [95, -1, 95], mark=IMAGE)

    def make_inputs(self, ids, pictures, suffix=0):
        inputs = super().make_inputs(ids, pictures)
        if not pictures:
            inputs["pixel_values"] = torch.zeros(1, 1, 3, 16, 16)
        places = inputs["input_ids"][0] == IMAGE
        nearest = places.cumsum(-1)[:, None] - 1 == torch.arange(max(1, len(pictures)))
        inputs["image_attention_mask"] = (nearest & places.any())[None].long()
        return inputs


class TypedCase(Case):
    def list_more(self, ids):
        return {"token_type_ids": (ids == IMAGE).int()}


def make_llava(**more):
    tower = vision("clip_vision_model", projection_dim=24)
    settings = {"image_token_id": IMAGE, "vision_feature_layer": -2}
    config = transformers.LlavaConfig(text_config=text(**more), vision_config=tower, **settings)
    return Case(transformers.LlavaForConditionalGeneration(config))


def make_llava_next():
    tower = vision("clip_vision_model", projection_dim=24)
    settings = {"image_token_id": IMAGE, "vision_feature_layer": -2}
    points = [[16, 32], [32, 16], [32, 32]]
    config = transformers.LlavaNextConfig(
        text_config=text(), vision_config=tower, image_grid_pinpoints=points, **settings
    )
    return NextCase(transformers.LlavaNextForConditionalGeneration(config))


def make_idefics3(kind="Idefics3"):
    config = getattr(transformers, f"{kind}Config")(
        text_config=text(), vision_config=vision(f"{kind.lower()}_vision"), scale_factor=2,
        image_token_id=IMAGE, pad_token_id=0,
    )  # fmt: skip
    return TileCase(getattr(transformers, f"{kind}ForConditionalGeneration")(config))


QWEN = {
    "Qwen2VL": {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 4, "mlp_ratio": 2},
    "Qwen2_5_VL": {
        "depth": 2, "hidden_size": 32, "out_hidden_size": 32, "num_heads": 4, "intermediate_size": 48,
        "window_size": 16, "fullatt_block_indexes": [1],
    },
    "Qwen3VL": {
        "depth": 3, "hidden_size": 32, "out_hidden_size": 32, "num_heads": 4, "intermediate_size": 48,
        "num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1],
    },
}  # fmt: skip


def make_qwen(kind="Qwen2VL"):
    rope = {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10000.0}
    name = {"Qwen2VL": "qwen2_vl", "Qwen2_5_VL": "qwen2_5_vl", "Qwen3VL": "qwen3_vl"}[kind]
    patches = {"patch_size": 4, "spatial_merge_size": 2, "temporal_patch_size": 2, "in_channels": 3}
    config = getattr(transformers, f"{kind}Config")(
        text_config=text(f"{name}_text", rope_parameters=rope, head_dim=8),
        vision_config=patches | QWEN[kind], image_token_id=IMAGE, video_token_id=97,
        vision_start_token_id=95, vision_end_token_id=96,
    )  # fmt: skip
    return GridCase(getattr(transformers, f"{kind}ForConditionalGeneration")(config))


def make_blip(kind="Blip2", case=Case):
    tower = {key: value for key, value in vision("").items() if key != "model_type"}
    former = {
        "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
        "encoder_hidden_size": 24, "vocab_size": 60,
    }  # fmt: skip
    config = getattr(transformers, f"{kind}Config")(
        text_config=text(), vision_config=tower, qformer_config=former, num_query_tokens=5,
        image_token_index=IMAGE, use_decoder_only_language_model=True,
    )  # fmt: skip
    return case(getattr(transformers, f"{kind}ForConditionalGeneration")(config))


def make_gemma(kinds=("sliding_attention", "full_attention", "sliding_attention")):
    settings = {"head_dim": 8, "sliding_window": 512, "query_pre_attn_scalar": 8, "layer_types": list(kinds)}
    config = transformers.Gemma3Config(
        text_config=text("gemma3_text", **settings), vision_config=vision("siglip_vision_model"),
        mm_tokens_per_image=4, image_token_id=IMAGE,
    )  # fmt: skip
    return TypedCase(transformers.Gemma3ForConditionalGeneration(config))


def make_paligemma():
    """The prompt is seen both ways, and an answer only backwards."""
    config = transformers.PaliGemmaConfig(
        text_config=text("gemma", head_dim=8), vision_config=vision("siglip_vision_model", vision_use_head=False),
        image_token_id=IMAGE, projection_dim=32,
    )  # fmt: skip
    return TypedCase(transformers.PaliGemmaForConditionalGeneration(config))


def make_idefics():
    """Tokens see the nearest picture by cross-attention; the last ids have embeddings of their own."""
    config = transformers.IdeficsConfig(
        vocab_size=VOCABULARY - 4, additional_vocab_size=4, hidden_size=32, intermediate_size=64,
        num_hidden_layers=4, num_attention_heads=4, cross_layer_interval=2, use_resampler=True,
        alpha_initializer="ones", qk_layer_norms=True, max_position_embeddings=512,
        vision_config={
            "embed_dim": 24, "image_size": 16, "intermediate_size": 48, "patch_size": 4,
            "num_hidden_layers": 2, "num_attention_heads": 4,
        },
        perceiver_config={
            "use_resampler": True, "resampler_n_latents": 3, "resampler_depth": 1, "resampler_n_heads": 2,
            "resampler_head_dim": 12,
        },
    )  # fmt: skip
    return CrossCase(transformers.IdeficsForVisionText2Text(config))


def make_mllama():
    """The same, and text before a picture depends on all pictures."""
    rope = {"rope_type": "default", "rope_theta": 10000.0}
    config = transformers.MllamaConfig(
        text_config={
            "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4,
            "num_attention_heads": 4, "num_key_value_heads": 2, "cross_attention_layers": [1, 3],
            "max_position_embeddings": 512, "pad_token_id": 0, "rope_parameters": rope,
        },
        vision_config={
            "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_global_layers": 1,
            "attention_heads": 4, "image_size": 16, "patch_size": 8, "vision_output_dim": 48,
            "max_num_tiles": 2, "intermediate_layers_indices": [1], "supported_aspect_ratios": [[1, 1], [1, 2]],
        },
        image_token_index=IMAGE,
    )  # fmt: skip
    return CrossCase(transformers.MllamaForConditionalGeneration(config))


CASES = {
    "LLaVA": make_llava,
    "LLaVA-NeXT": make_llava_next,
    "Idefics3": make_idefics3,
    "SmolVLM": lambda: make_idefics3("SmolVLM"),
    "Qwen2-VL": make_qwen,
    "Qwen2.5-VL": lambda: make_qwen("Qwen2_5_VL"),
    "Qwen3-VL": lambda: make_qwen("Qwen3VL"),
    "BLIP-2": make_blip,
    "InstructBLIP": lambda: make_blip("InstructBlip", InstructCase),
    "Idefics": make_idefics,
}


def make_requests(case, seed=0):
    """Prompts of tokens and pictures, each with its targets.

    Two shots with pictures, the first common to all; questions with a picture of their own, with that of a
    shot, with one in two questions, without a picture, without shots; and prompts without pictures.
    """
    random = np.random.default_rng(seed)

    def words(count):
        return random.integers(3, 89, count).tolist()

    shots = [[*words(3), case.picture(number), *words(6)] for number in range(3)]
    shared = words(4)
    requests = []
    for question in range(8):
        first, second = ((0, 1), (0, 2))[question % 4 == 3]
        items = [1, *shared, *shots[first], *shots[second], *words(question % 2)]
        if question != 5:
            items += [case.picture({0: 0, 2: 10, 4: 10}.get(question, 10 + question)), *words(5)]
        if question == 6:
            items = [1, *shared, case.picture(0), *words(5)]
        requests += [SimpleNamespace(items=items, targets=words(count)) for count in (1, 1, 3, 2)]
    plain = [1, *shared, *words(9)]
    return requests + [SimpleNamespace(items=plain, targets=words(count)) for count in (1, 2)]


def answer(case, request):
    """The log-probability of a request's targets, by the model's own full forward."""
    logits = case.read([*request.items, *request.targets[:-1]])[-len(request.targets) :]
    return float(logits.double().log_softmax(-1)[range(len(request.targets)), request.targets].sum())


def make_alone(case, pictures=None):
    pictures = pictures or Pictures(case.model)
    return AlonePictures(case.model, contextlib.nullcontext, torch.float32, pictures, case)


class Door:
    """Counts what goes into a model: tokens into its embeddings, pictures into its encoder."""

    def __init__(self, case, patch):
        self.tokens = self.pictures = 0
        embedding = find_causal(case.model).get_input_embeddings()
        self.handle = embedding.register_forward_pre_hook(self.count)
        inner = case.model.base_model  # which the whole model calls, too
        if not hasattr(inner, "get_image_features"):
            inner = inner.vision_model
        name = "get_image_features" if hasattr(inner, "get_image_features") else "forward"
        self.encode = getattr(inner, name)
        patch.setattr(inner, name, self.look, raising=False)

    def count(self, _, given):
        self.tokens += given[0].numel()

    def look(self, *given, **inputs):
        made = self.encode(*given, **inputs)
        self.pictures += len(made.last_hidden_state if made.pooler_output is None else made.pooler_output)
        return made
