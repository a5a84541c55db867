"""Loads a plan's model through lm-eval, and describes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from lm_eval.api.model import LM

from gptalt_eval.contract.errors import GptaltError, did_you_mean
from gptalt_eval.contract.models import Template
from gptalt_eval.contract.plan import Plan
from gptalt_eval.planning.backends import ENGINES
from gptalt_eval.running.lmeval.fingerprint import describe_parts, find_tokenizer, hash_parts
from gptalt_eval.running.lmeval.observed import sends_chats

#: arguments that say where weights are put
OF_WEIGHTS = (
    "parallelize",
    "max_memory_per_gpu",
    "max_cpu_memory",
    "offload_folder",
    "tp_plan",
)


def load_model(
    plan: Plan, fetched: Mapping[str, Any], folders: Mapping[str, str], weightless: bool = False
) -> LM:
    """Load the plan's model.

    Args:
        plan: the plan.
        fetched: what the model's ``fetch`` returned.
        folders: where the repositories that its arguments name are on this computer.
        weightless: only what encodes requests; workers load the weights.

    Raises:
        GptaltError: a chat template was requested that the model does not have, or one of its arguments is a
            setting of other models.
    """
    model, spec = plan.model.item, plan.spec
    args = {**fetched, **plan.model_args, **folders}
    if model.create is not None:
        return model.create(args)
    from lm_eval.api.registry import get_model

    extra = {
        "batch_size": spec.batch_size,
        "max_batch_size": spec.max_batch_size,
        "device": spec.device or "cuda:0",
    }
    if spec.batch_size.isdigit():
        extra["batch_size"] = int(spec.batch_size)
    from gptalt_eval.running.lmeval.engines import add_engine
    from gptalt_eval.running.lmeval.served_scores import add_server
    from gptalt_eval.scoring.backend import add_tree
    from gptalt_eval.scoring.guarded import add_guard
    from gptalt_eval.scoring.picture_backend import add_pictures, sees_pictures
    from gptalt_eval.scoring.weightless import drop_weights

    backend = model.loader.make_class() if model.loader else add_engine(add_server(get_model(model.backend)))
    if sees_pictures(backend):
        extra["batch_size"] = 1 if spec.batch_size.startswith("auto") else extra["batch_size"]  # has no such
        backend = add_pictures(backend, shares=spec.scorer == "tree")
    else:
        backend = add_guard(add_tree(backend) if spec.scorer == "tree" or weightless else backend)
    if model.backend in ENGINES:
        del extra["device"]  # they take all that CUDA_VISIBLE_DEVICES names
    if weightless:
        backend = drop_weights(backend)
        args = {key: value for key, value in args.items() if key not in OF_WEIGHTS}
        extra["device"] = "cpu"
    lm = make_lm(backend, args, extra)
    check_fit(lm)
    check_vocabulary(lm)
    check_adapter(lm, args.get("peft"))
    templates = [cell.spec.apply_chat_template for cell in plan.cells if cell.spec.apply_chat_template]
    if True in templates or not templates:  # else one of the tokenizer's own is named
        use_template(lm, model.template)
    if templates:
        choose_template(lm, spec.model, templates[0])
    return lm


def make_lm(backend: Any, args: Mapping[str, Any], extra: Mapping[str, Any]) -> LM:
    """Make a model; what it does not know among its arguments shows only when its class is called.

    Raises:
        GptaltError: an argument is a setting of other models, or the files of the model would run code.
    """
    try:
        lm: LM = backend.create_from_arg_obj(args, extra)
    except (ImportError, ValueError, UnpicklingError) as error:
        raise explain_code(error, str(args.get("pretrained"))) or error from error
    except TypeError as error:
        unknown = re.search(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
        if not unknown or unknown[2] not in args:
            raise
        raise GptaltError(
            f"--model_args {unknown[2]}=...: {unknown[1]} has no such setting.",
            "Omit it; the settings of a model are in its config.json.",
        ) from error
    return lm


def check_fit(lm: LM) -> None:
    """Check that a checkpoint is that of its model: transformers fills what is missing with random numbers.

    Raises:
        GptaltError: it lacks weights, or has more layers.
    """
    for fit in getattr(lm, "fits", ()):
        for names, what in ((fit.missing, "lack"), (fit.excess, "have more than this model has:")):
            if names:
                text = f"The weights in {fit.place} {what} {names[0]} ({len(names)} in all)."
                raise GptaltError(
                    text, "Check that config.json belongs to these weights; download them again."
                )


def check_vocabulary(lm: LM) -> None:
    """Check that a tokenizer is that of its model; tokens that were added to it need not have a row.

    Raises:
        GptaltError: it has more tokens than the model has rows for them.
    """
    model: Any = getattr(lm, "model", None)
    size = getattr(find_tokenizer(lm), "vocab_size", None)
    is_split = bool(getattr(model, "tp_size", None))  # over several devices, each with a part of the rows
    if not isinstance(size, int) or not hasattr(model, "get_input_embeddings") or is_split:
        return
    rows = getattr(model.get_input_embeddings(), "num_embeddings", None)
    if isinstance(rows, int) and size > rows:
        text = (
            f"The tokenizer has {size:,} tokens, and the model knows {rows:,}: they do not belong together."
        )
        raise GptaltError(text, "Check --model_args tokenizer=..., or download the whole model again.")


def check_adapter(lm: LM, folder: Any) -> None:
    """Check that all of an adapter is in the model: peft leaves out what has no place, without a word.

    Raises:
        GptaltError: it was trained on another base.
    """
    model = getattr(lm, "model", None)
    if not folder or not hasattr(model, "peft_config"):
        return
    from peft import get_peft_model_state_dict
    from peft.utils import load_peft_weights

    stored = load_peft_weights(str(folder), device="cpu").keys()
    held = get_peft_model_state_dict(model, save_embedding_layers=False).keys()
    for names, what in (
        (held - stored, "it lacks"),
        (stored - held, "it has what the model has no place for:"),
    ):
        own = sorted(name for name in names if ".lora_" in name)
        if own:
            text = (
                f"The adapter {folder} does not fit this model: {what} {own[0]} ({len(own)} weights in all)."
            )
            raise GptaltError(text, "Give the base that it was trained on.")


def explain_code(error: Exception, model: str) -> GptaltError | None:
    """What to tell the user if transformers refused to run code of a model's; None: something else failed."""
    text = str(error)
    if isinstance(error, UnpicklingError) and "eights only" in text:
        return GptaltError(
            f"The weights of '{model}' are a pickle that would run code when it is read.",
            "Do not load it. Look for the same weights as .safetensors.",
        )
    if isinstance(error, ImportError) and "kernels" in text:
        return GptaltError(
            f"The configuration of '{model}' names an attention kernel from the hub, which is code: {text}",
            "Without it: --model_args attn_implementation=sdpa",
        )
    if not isinstance(error, ValueError) or "contains custom code" not in text:
        return None
    code = sorted(path.name for path in Path(model).glob("*.py")) if Path(model).is_dir() else []
    named = f": {', '.join(code)} in {model}" if code else ""
    return GptaltError(
        f"'{model}' runs Python code of its own, which is not part of transformers{named}.",
        "Read that code. If you trust it, add --trust_remote_code.",
    )


def use_template(lm: LM, template: Template | None) -> None:
    """Give a model the chat template of its YAML, in place of its tokenizer's."""
    if template is None:
        return  # lm-eval's own `dummy` fetches a tokenizer as soon as it is asked for
    tokenizer = getattr(lm, "tokenizer", None)
    if tokenizer is not None:
        tokenizer.chat_template = template.jinja
        if hasattr(lm, "takes_texts"):  # it has a processor, with a template of its own
            lm.takes_texts = True


def choose_template(lm: LM, model: str, template: bool | str) -> None:
    """Make a model use its chat template, or the one with a given name.

    lm-eval 0.4.13 records the named template in its results, but applies the default one.

    Raises:
        GptaltError: the tokenizer has no template, or none with this name.
    """
    from_processor = not getattr(lm, "takes_texts", True)
    written = getattr(lm.processor if from_processor else lm.tokenizer, "chat_template", None)
    if isinstance(template, str):
        names = list(written) if isinstance(written, Mapping) else []
        if template not in names:
            hint = did_you_mean(template, names) or f"Available: {', '.join(names)}."
            text = f"The tokenizer of '{model}' has no chat template '{template}'."
            raise GptaltError(text, hint if names else "Give --apply_chat_template without a name.")
        lm.chat_template_args = {**lm.chat_template_args, "chat_template": template}
    elif not lm.chat_template(template) and not sends_chats(lm):
        text = f"The tokenizer of '{model}' has no chat template."
        raise GptaltError(text, "Omit --apply_chat_template, or use only --prompt_style standard.")


@dataclass(frozen=True)
class ModelFacts:
    """Facts about a loaded model.

    Attributes:
        fingerprint: SHA-256 over everything that can change an answer: it differs between two models of the
            same name, and after any change of a model.
        parts: the same of each part, by its name.
        parameters: their number; None if unknown.
        dtype: type of the weights.
        device: device of the weights.
    """

    fingerprint: str
    parts: Mapping[str, str] = field(default_factory=dict)
    parameters: int | None = None
    dtype: str = ""
    device: str = ""


def describe_model(lm: LM, plan: Plan) -> ModelFacts:
    built = plan.model.item.name if plan.model.item.create else ""
    parts = describe_parts(lm, built, plan.model_args)
    torch_model: Any = getattr(lm, "model", None)
    if not hasattr(torch_model, "named_parameters"):
        return ModelFacts(hash_parts(parts), parts)
    count = sum(tensor.numel() for _, tensor in torch_model.named_parameters())
    dtype, device = getattr(torch_model, "dtype", ""), getattr(lm, "device", "")
    return ModelFacts(hash_parts(parts), parts, count, str(dtype), str(device))
