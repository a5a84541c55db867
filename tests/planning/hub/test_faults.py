"""What is said before anything is downloaded: sizes, space, memory, licence, and what would fit."""

import shutil
from collections import namedtuple

import pytest
from hub_server import Repo

from gptalt_eval.contract.errors import GptaltError, RequestErrors
from gptalt_eval.contract.models import Card, Loader, Model
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.machine.hub import find_storage
from gptalt_eval.planning.candidates import Needs, consider, read_memory
from gptalt_eval.planning.hub import needs
from gptalt_eval.planning.weights import check_weights

BILLION = 10**9
HF = Model("hf", "", "", "")
LOADER = Loader("chatglm", "", lambda: object, lambda _: None, lambda *_: (), lambda name: name == "chatglm")


def make_model(name, parameters, commercial="ask", **more):
    card = Card(commercial, int(parameters))
    return Model(name, "", "its own", "", args={"pretrained": f"org/{name}"}, card=card, **more)


CHATGLM = make_model("chatglm", 6.2 * BILLION, languages=("zh", "en"), loader=LOADER)
CATALOGUE = (
    CHATGLM,
    make_model("llama", 65 * BILLION, languages=("en",)),
    make_model("chatglm-small", BILLION, languages=("zh",)),
    make_model("moss", 1.5 * BILLION, languages=("zh",)),
    make_model("pythia", 2 * BILLION, languages=("en",)),
    Model("unknown", "", "", ""),
)


def refuse(model=HF, others=(), device=None, **args):
    given = {"pretrained": "org/tiny", **args} if model is HF else args
    spec = make_spec({"model": model.name, "tasks": "medqa_zh", "model_args": given, "device": device})
    with pytest.raises(GptaltError) as caught:
        check_weights(model, spec, others)
    return str(caught.value)


@pytest.fixture
def memory(monkeypatch):
    """Sets the bytes of this computer's memory and of its GPUs."""

    def set_memory(found, gpus=()):
        monkeypatch.setattr(needs, "measure_memory", lambda: found)
        monkeypatch.setattr(needs, "measure_gpus", lambda: list(gpus))

    set_memory(10**15)
    return set_memory


@pytest.fixture
def disk(monkeypatch):
    """Sets the free bytes of every disk."""
    usage = namedtuple("usage", "total used free")
    return lambda free: monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**15, 0, free))


@pytest.fixture
def large(hub, disk):
    """A model on the hub that says it is large: nothing of it is ever sent."""
    repo = Repo(
        {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": b"", "pytorch_model.bin": b""}
    )
    hub.repos["org/tiny"] = hub.repos["org/chatglm"] = repo
    disk(10**15)
    sizes = {
        "config.json": 2,
        "tokenizer.json": 2,
        "model.safetensors": 140 * BILLION,
        "pytorch_model.bin": 140 * BILLION,
    }
    describe = repo.describe

    def enlarge(path):
        item = describe(path) | {"size": sizes[path]}
        return item | ({"lfs": item["lfs"] | {"size": sizes[path]}} if "lfs" in item else {})

    repo.describe = enlarge
    repo.info = {"safetensors": {"parameters": {"F16": 70 * BILLION}, "total": 70 * BILLION}}
    repo.sizes = sizes
    return repo


# ------------------------------------------------------------------ the disk


def test_a_disk_that_is_too_small(large, memory, disk):
    disk(100 * BILLION)
    text = refuse()
    assert (
        "'org/tiny': 140.0 GB are to be downloaded" in text
        and "has 100.0 GB free" in text
        and "HF_HOME" in text
    )


def test_what_is_here_already_needs_no_space(large, hub, memory, disk, monkeypatch):
    disk(100 * BILLION)
    large.sizes["model.safetensors"] = 120 * BILLION
    part = (
        find_storage("org/tiny")
        / "blobs"
        / f"{large.describe('model.safetensors')['lfs']['sha256']}.incomplete"
    )
    part.parent.mkdir(parents=True)
    with part.open("wb") as stream:
        stream.truncate(30 * BILLION)  # takes no space
    check_weights(HF, make_spec({"model": "hf", "tasks": "piqa", "model_args": {"pretrained": "org/tiny"}}))


def test_models_share_the_disk(large, hub, memory, disk):
    disk(150 * BILLION)
    hub.repos["org/delta"] = large
    assert "'org/tiny' and 'org/delta': 280.0 GB are to be downloaded" in refuse(delta="org/delta")


def test_all_problems_are_reported_together(large, hub, memory, disk):
    disk(1)
    memory(BILLION)
    text = refuse(tokenizer="org/nothing")
    assert text.startswith("3 problems found:")
    assert all(part in text for part in ("GB free", "GB of memory", "'org/nothing' is not on the hub"))
    assert not [path for path in hub.paths() if "resolve" in path], "something was downloaded"


# ------------------------------------------------------------------ memory


def test_memory_that_is_too_small(large, memory):
    memory(64 * BILLION)
    text = refuse()
    assert "'org/tiny' needs about 140.0 GB of memory (an estimate from 70.0 billion parameters)" in text
    assert "this computer has 64.0 GB" in text
    assert text.endswith("--model_args max_cpu_memory=140GB") and "4 bits" not in text


@pytest.mark.parametrize(
    ("args", "needed"),
    [
        ({"dtype": "float32"}, "280.0 GB of memory in float32"),
        ({"dtype": "float16"}, "140.0 GB of memory in float16"),
        ({"dtype": "auto"}, "140.0 GB of memory (an"),
        ({"load_in_8bit": True}, "70.0 GB"),
        ({"load_in_4bit": True}, "35.0 GB"),
    ],
)
def test_the_dtype_counts(large, memory, args, needed):
    memory(30 * BILLION)
    assert needed in refuse(**args)


def test_a_quantized_model_needs_what_it_has_on_the_disk(large, memory):
    large.info |= {"config": {"quantization_config": {"quant_method": "gptq"}}}
    large.sizes["model.safetensors"] = 36 * BILLION
    memory(30 * BILLION)
    assert "needs about 36.0 GB of memory (an estimate" in refuse(dtype="float16")


def test_16_bits_where_they_fit(large, memory):
    memory(200 * BILLION)
    text = refuse(dtype="float32")
    assert "With 16 bits a weight it fits: --model_args dtype=bfloat16 (140.0 GB)" in text


def test_4_bits_on_a_gpu(large, memory, monkeypatch):
    memory(10**15, [80 * BILLION])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    text = refuse()
    assert "the GPU has 80.0 GB" in text
    assert "--model_args load_in_4bit=true (35.0 GB), after: pip install bitsandbytes" in text
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert "load_in_4bit=true (35.0 GB)\n" in refuse()
    memory(10**15, [30 * BILLION])
    assert "load_in_4bit" not in refuse()


def test_several_gpus(large, memory):
    memory(10**15, [80 * BILLION, 80 * BILLION])
    text = refuse()
    assert "--model_args parallelize=true (160.0 GB)" in text and "max_memory_per_gpu=140GB" in text


def test_the_cpu_although_there_is_a_gpu(large, memory):
    memory(64 * BILLION, [200 * BILLION])
    assert "this computer has 64.0 GB" in refuse(device="cpu")


@pytest.mark.parametrize(
    "args",
    [
        {"parallelize": True},
        {"max_cpu_memory": "140GB"},
        {"max_memory_per_gpu": "131GiB"},
        {"max_cpu_memory": 10**12},
        {"max_cpu_memory": "131 gib"},
        {"max_memory_per_gpu": "131G"},
    ],
)
def test_who_knows_better_says_so(large, memory, args):
    memory(1)
    given = {"pretrained": "org/tiny", **args}
    check_weights(HF, make_spec({"model": "hf", "tasks": "piqa", "model_args": given}))


def test_what_is_said_to_be_there_is_taken_at_its_word(large, memory):
    text = refuse(max_cpu_memory="40GiB")
    assert "the memory that --model_args names has 42.9 GB" in text


def test_the_amount_that_is_to_be_typed_is_enough(large, memory):
    large.info["safetensors"] = {"parameters": {"F16": 70_200_000_000}, "total": 70_200_000_000}
    large.sizes["model.safetensors"] = 140_400_000_000
    memory(64 * BILLION)
    assert "needs about 140.4 GB" in refuse() and "max_cpu_memory=141GB" in refuse()
    given = {"pretrained": "org/tiny", "max_cpu_memory": "141GB"}
    check_weights(HF, make_spec({"model": "hf", "tasks": "piqa", "model_args": given}))


@pytest.mark.parametrize("gigabytes", [12, 13, 13.5, 13.7, 14])
def test_what_is_recommended_is_not_refused(large, memory, gigabytes):
    """One rule says what fits: 6.2 billion weights of 16 bits, and a tenth more, are 13.6 GB."""
    del large.files["model.safetensors"]
    large.sizes["pytorch_model.bin"] = int(12.4 * BILLION)
    large.info = {}
    memory(int(gigabytes * BILLION))
    fits = consider(CHATGLM, Needs(memory=read_memory(f"{gigabytes}GB"))).bits == 16
    assert fits == (gigabytes > 13.6)
    if fits:
        check_weights(CHATGLM, make_spec({"model": "chatglm", "tasks": "piqa"}))
    else:
        assert (
            "needs about 12.4 GB of memory (an estimate from 6.2 billion parameters) and a tenth"
            in refuse(CHATGLM)
        )


def test_a_smaller_model_of_the_catalogue(large, memory):
    memory(3 * BILLION)
    text = refuse(CHATGLM, CATALOGUE)
    assert "A smaller one: --model chatglm-small (2.0 GB)" in text, "of the same family"
    memory(3.4 * BILLION)
    assert "--model moss (3.0 GB)" in refuse(
        CHATGLM, [each for each in CATALOGUE if each.name != "chatglm-small"]
    )
    memory(BILLION)
    assert "A smaller one" not in refuse(CHATGLM, CATALOGUE)


def test_4_bits_of_a_model_with_a_loader(large, memory):
    del large.files["model.safetensors"]
    large.sizes["pytorch_model.bin"] = int(12.4 * BILLION)
    large.info = {}
    memory(10**15, [8 * BILLION])
    text = refuse(CHATGLM)
    assert (
        "gptalt-eval models convert chatglm --to FOLDER, then --model chatglm --model_args pretrained=FOLDER,load_in"
        in text
    )


# ------------------------------------------------------------------ no answer, and no hub


def test_the_card_says_how_large_it_is_if_the_hub_does_not(hub, memory, disk):
    hub.answers["*", "."] = [500] * 99
    disk(10 * BILLION)
    memory(8 * BILLION)
    text = refuse(CHATGLM)
    assert "'org/chatglm': about 12.4 GB are to be downloaded" in text
    assert "needs about 12.4 GB of memory (an estimate from 6.2 billion parameters)" in text


@pytest.mark.parametrize(
    ("commercial", "words"), [("yes", "is allowed"), ("no", "no commercial"), ("ask", "after asking")]
)
def test_one_message_without_a_hub(hub, monkeypatch, commercial, words):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    text = refuse(make_model("chatglm", 6.2 * BILLION, commercial))
    assert text.splitlines() == [
        "The model 'chatglm' (org/chatglm) is not on this computer, and the hub cannot be reached.",
        "Set HF_ENDPOINT to a mirror, and type the same command again.",
        "Or download it elsewhere: hf download org/chatglm --local-dir FOLDER (http://127.0.0.1:9/org/chatglm; "
        "about 12.4 GB at 16 bits a weight (an estimate); licence its own: "
        + {
            "yes": "commercial use is allowed)",
            "no": "no commercial use)",
            "ask": "commercial use only after asking its publisher)",
        }[commercial],
        "Then type: gptalt-eval --model chatglm --tasks medqa_zh --model_args pretrained=FOLDER",
    ]
    assert words in text


def test_a_part_of_a_model_without_a_hub(model, hub, monkeypatch):
    from gptalt_eval.planning.hub.obtain import obtain_files

    obtain_files(HF, {"pretrained": "org/tiny"}, print, print)
    snapshot = next(find_storage("org/tiny").glob("snapshots/*"))
    (snapshot / "model-00002-of-00002.safetensors").unlink()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    text = refuse()
    assert text.startswith(
        "Only a part of the model 'org/tiny' is on this computer, and HF_HUB_OFFLINE is set"
    )
    assert "1 of 2 weight files are missing: model-00002-of-00002.safetensors." in text


def test_two_messages_are_one_error(hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    spec = make_spec(
        {"model": "hf", "tasks": "piqa", "model_args": {"pretrained": "org/a", "tokenizer": "org/b"}}
    )
    with pytest.raises(RequestErrors) as caught:
        check_weights(HF, spec)
    assert len(caught.value.errors) == 2


@pytest.mark.parametrize("sees", [True, False])
def test_a_smaller_one_is_of_the_same_kind_and_can_be_loaded(sees):
    def make(name, parameters, modality, backend="hf"):
        card = Card("yes", parameters, modality=modality)
        return Model(name, name, "MIT", "x", backend=backend, card=card)

    others = [
        make("texts", 10**9, "text"),
        make("pictures", 2 * 10**9, "image-text", "hf-multimodal"),
        make("unloadable", 3 * 10**9, "image-text"),
    ]
    large = make("large", 10**12, *(("image-text", "hf-multimodal") if sees else ("text",)))
    [found] = needs.list_smaller(large, others, needs.Room("the GPU", 2**34), {})
    assert found.startswith(f"A smaller one: --model {'pictures' if sees else 'texts'} ")
