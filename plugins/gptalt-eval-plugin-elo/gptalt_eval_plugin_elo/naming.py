"""Answers in which a model names itself: people who judge them know which model it is.

A model names itself where it speaks of itself ("I am ...", "作为...") with the name of a model or its maker,
whether that is its own or not, and where an unusual name of its own stands anywhere.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gptalt_eval_plugin_elo.answers import Answer

#: names of models and of those who made them, as their publishers write them
FAMILIES = (
    ("chatglm glm", "zhipu 智谱 智譜 tsinghua 清华 清華 thudm"),
    ("moss", "fudan 复旦 復旦"),
    ("vicuna", "lmsys"),
    ("alpaca", "stanford 斯坦福"),
    ("koala", "berkeley 伯克利"),
    ("belle", "lianjia 链家 贝壳"),
    ("baize 白泽", ""),
    ("dolly", "databricks"),
    ("openassistant oasst", "laion"),
    ("chatgpt gpt", "openai"),
    ("claude", "anthropic"),
    ("gemini gemma bard palm", "google deepmind 谷歌"),
    ("llama", "meta facebook"),
    ("phi", "microsoft 微软"),
    ("mistral mixtral", ""),
    ("falcon", "tii"),
    ("qwen tongyi 通义 千问", "alibaba 阿里 阿里巴巴 阿里云"),
    ("ernie wenxin 文心 文心一言", "baidu 百度"),
    ("baichuan 百川", ""),
    ("internlm 书生", "商汤 sensetime"),
    ("spark 星火", "iflytek 讯飞"),
    ("yi", "零一万物"),
    ("deepseek", "深度求索"),
    ("minicpm", "面壁 modelbest"),
    ("kimi", "moonshot 月之暗面"),
    ("doubao 豆包", "bytedance 字节跳动"),
    ("hunyuan 混元", "tencent 腾讯"),
    ("pangu 盘古", "huawei 华为"),
    ("grok", "xai"),
    ("smollm", "huggingface"),
    ("rwkv raven", ""),
    ("stablelm", "stability"),
    ("redpajama", "together"),
    ("wizardlm", ""),
    ("zephyr", ""),
    ("tulu olmo", "allenai ai2"),
)
#: names that mean something else too, and so must be said of oneself
ORDINARY = """
moss alpaca koala belle baize dolly claude gemini gemma bard palm llama phi mistral falcon spark ernie kimi
raven zephyr grok orca otter vicuna phoenix dolphin bloom 白泽 书生 星火 百川 盘古 千问 文心 混元
"""
#: parts of models' names that name none
PARTS = """
the chat base instruct large small tiny mini model open chinese english hf sft rlhf dpo lora awq gptq gguf
int fp bit one two three four five six seven eight nine ten new old
"""
ITSELF = (
    r"\bi\s*am\b|\bi'?m\b|\bi\s+was\b|\bi(?:\s+ha|')ve\s+been\b|\bmy\s+name(?:'s|\s+is)\b|\bcall\s+me\b|\bi\s+go\s+by\b|"
    "我(?:的(?:名字|名称|英文名|中文名))?(?:就|其实|只)?(?:是|叫|名叫|名为|由|被称为)|叫我|称我为|本(?:模型|助手|人)(?:是|叫|名为|由)"
)
PERHAPS_ITSELF = r"\bthis\s+is\b|\bas\b(?!\s+the\b)|作为|作為|身为|这里是"
#: words between these and the name
BETWEEN = (
    "(?:[\\s,，:：;、-]|的|一个|一名|一位|一款|一种|由|来自|基于|人工智能|智能|大型|大规模|大|语言|模型|助手|助理|聊天|对话|"
    "机器人|虚拟|开源|中文|双语|预训练|名为|叫做|名叫|叫|做|称为|开发|训练|研发|研究|推出|发布|创造|打造|设计|大学|公司|团队|"
    "实验室|你|您|(?:an?|the|your|just|only|actually|artificial|intelligence|ai|assistant|chatbot|bot|robot|large|"
    "language|models?|llm|conversational|chat|virtual|helpful|friendly|open|source|based|on|called|named|known\\s+as|"
    "trained|fine|tuned|developed|created|built|made|designed|provided|by|at|from|of|in|team|researchers?|university|"
    "company|organization|and|systems)\\b){0,40}?"
)
ABOUT_MODELS = re.compile(r"language\s+model|\bai\b|chat\s?bot|语言模型|大模型|人工智能|机器人|ai助手")
MADE = re.compile(
    rf"\b(?:developed|trained|created|built|made|designed)\b|开发|训练|研发|推出|创造|打造|{ABOUT_MODELS.pattern}"
)
SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")
MARKS = re.compile(r"[*_`~#\"“”«»「」『』《》【】\[\](){}<>]")
CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f]")
LONGEST = 100_000  # characters of an answer that the page shows
#: letters of other alphabets that look like Latin ones
ALIKE = str.maketrans(
    "\u0430\u0441\u0435\u043e\u0440\u0445\u0443\u0456\u0458\u0455\u0501\u04bb\u043a\u043c\u0442\u0432\u043d"
    "\u03b1\u03bf\u03c4\u03bd\u03b9\u03ba\u03c1\u03c5\u03b5\u0131\u0261\u0251\u2019\u2018",
    "aceopxyijsdhkmtbhaotvikpueiga''",
)


class Naming(NamedTuple):
    """Where a model names itself: the question's name in votes, the model, the sentence."""

    question: str
    model: str
    sentence: str


class Names:
    """The names by which models are known.

    Args:
        known: names of models; those of well-known ones need not be among them.
    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        products, makers = (" ".join(column).split() for column in zip(*FAMILIES, strict=True))
        models = join_names({*products, *(word for name in known for word in list_words(name))})
        everyone = join_names({*products, *makers})
        self.models = re.compile(models)
        self.is_model = re.compile(f"(?:{ITSELF}){BETWEEN}{models}")
        self.is_made = re.compile(f"(?:{ITSELF}|{PERHAPS_ITSELF}){BETWEEN}{everyone}")

    def find(self, model: str, prompt: str, answer: str) -> str:
        """The sentence of an answer in which its model names itself; empty: there is none.

        Args:
            model: its name.
            prompt: the question; what it names may be spoken of.
            answer: the answer.
        """
        asked = normalise(prompt)
        own = [word for word in list_own(model) if not re.search(join_names([word]), asked)]
        rare = [word for word in own if len(word) > 3 and word not in ORDINARY.split() and is_product(word)]
        named, unusual = re.compile(join_names(own)), re.compile(join_names(rare))
        as_itself = re.compile(f"(?:{PERHAPS_ITSELF}){BETWEEN}{named.pattern}")
        unasked = not self.models.search(asked)
        for sentence in SENTENCE.split(answer[:LONGEST]):
            text = normalise(sentence)
            if (
                self.is_model.search(text)
                or (unasked and MADE.search(text) and self.is_made.search(text))
                or as_itself.search(text)
                or (ABOUT_MODELS.search(text) and named.search(text))
                or unusual.search(text)
            ):
                return " ".join(sentence.split())
        return ""


def find_named(answers: Iterable[Answer], names: Names) -> list[Naming]:
    """The answers in which a model names itself, in their order."""
    found = (
        Naming(each.key, each.model, names.find(each.model, each.prompt, each.answer)) for each in answers
    )
    return [each for each in found if each.sentence]


def is_product(word: str) -> bool:
    return any(word in products.split() for products, _ in FAMILIES)


def normalise(text: str) -> str:
    """Small Latin letters for all that look like them, without accents, marks and invisible characters."""
    if not text.isascii():
        apart = unicodedata.normalize("NFKD", text.casefold())
        text = "".join(letter for letter in apart if unicodedata.category(letter) not in ("Mn", "Cf"))
        text = text.translate(ALIKE)
    return MARKS.sub(" ", CONTROL.sub("", text.casefold()))


def list_words(name: str) -> Iterator[str]:
    """The word of a model's name that names it, if there is one: ``chatglm`` of ``org/chatglm2-6b-chat``."""
    words = re.findall(r"[^\W\d_]+", normalise(name.rpartition("/")[2]))
    yield from [
        word for word in words if word not in PARTS.split() and (len(word) > 2 or not word.isascii())
    ][:1]


def list_own(model: str) -> list[str]:
    """The names of a model: that of its family, and others of the same family."""
    words = set(re.findall(r"[^\W\d_]+", normalise(model)))
    found = {word for products, _ in FAMILIES for word in products.split() if words & {*products.split()}}
    return sorted(found | {*list_words(model)})


def join_names(names: Iterable[str]) -> str:
    """A pattern for any of some names. Letters of a long one may be apart (``Chat-GLM``)."""
    parts = map(join_letters, sorted(names))
    return f"(?:{'|'.join(parts) or '(?!)'})"


def join_letters(name: str) -> str:
    if not name.isascii():
        return re.escape(name)
    apart = r"[\s.-]?".join(name) if len(name) > 4 else name
    return rf"(?<![a-z0-9]){apart}(?![a-z])"
