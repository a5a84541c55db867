"""Models of ours that are built without a checkpoint, as for a trial or a benchmark."""

import pytest
import torch
from gptalt_eval_plugin_models.chatglm.glm import ChatGLM2ForCausalLM
from gptalt_eval_plugin_models.chatglm.prefix_lm import ChatGLMConfig, ChatGLMForCausalLM
from gptalt_eval_plugin_models.rwkv.model import BatchedRwkvForCausalLM
from transformers import GlmConfig, GlmForCausalLM, RwkvConfig, RwkvForCausalLM

pytestmark = pytest.mark.torch
RWKV = RwkvConfig(vocab_size=60, hidden_size=32, num_hidden_layers=3, context_length=64)
GLM = GlmConfig(
    vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    intermediate_size=48, head_dim=8, pad_token_id=0,
)  # fmt: skip
CHATGLM = ChatGLMConfig(
    vocab_size=60, hidden_size=32, num_layers=2, num_attention_heads=4, inner_hidden_size=64,
    bos_token_id=3, eos_token_id=5, pad_token_id=2, gmask_token_id=4, mask_token_id=6,
)  # fmt: skip
MAKERS = {
    "rwkv": lambda: BatchedRwkvForCausalLM(RWKV),
    "chatglm": lambda: ChatGLMForCausalLM(CHATGLM),
    "chatglm2": lambda: ChatGLM2ForCausalLM(GLM),
}


@pytest.fixture
def full_of_nan():
    """Memory that nobody has written to contains NaN."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("name", MAKERS)
@torch.no_grad()
def test_no_weight_is_left_as_it_was_in_memory(full_of_nan, name):
    assert torch.empty(3).isnan().all(), "torch no longer fills memory: the test shows nothing"
    model = MAKERS[name]().eval()
    tensors = dict([*model.named_parameters(), *model.named_buffers()])
    assert [each for each, tensor in tensors.items() if not tensor.isfinite().all()] == []
    logits = model(torch.tensor([[7, 8, 9, 10, 11]])).logits
    assert logits.isfinite().all() and logits.std() > 0


@pytest.mark.parametrize(
    ("name", "make"), [("rwkv", lambda: RwkvForCausalLM(RWKV)), ("chatglm2", lambda: GlmForCausalLM(GLM))]
)
def test_what_transformers_has_too_begins_alike(name, make):
    """Random weights have other values, but are spread alike; what is not random is the same."""
    theirs, ours = make().state_dict(), MAKERS[name]().state_dict()
    assert ours.keys() == theirs.keys()
    for each, tensor in theirs.items():
        if "time_" in each:
            assert torch.equal(ours[each], tensor)
        assert float(ours[each].norm()) == pytest.approx(float(tensor.norm()), rel=0.2)
