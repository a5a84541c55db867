"""The texts of the voting page, in Chinese and English."""

from __future__ import annotations

NAMES = {"zh": "中文", "en": "English"}
TEXTS = {
    "en": {
        "title": "Which answer is better?",
        "question": "Question",
        "answer": "Answer {side}",
        "expected": "What a good answer contains",
        "left": "A is better",
        "right": "B is better",
        "tie": "Equal",
        "skip": "Skip",
        "undo": "Undo",
        "progress": "{voted} done, {left} left",
        "shortcuts": "Keys: ← A, → B, ↓ equal, S skip, U undo",
        "cut": "{count:,} more characters are not shown.",
        "nothing": "(an empty answer)",
        "saving": "Saving …",
        "retrying": "Not saved yet: the server does not answer. Trying again …",
        "done": "There is nothing left for you to judge. Thank you!",
        "unknown": "This link is not valid. Ask the person who sent it for your own link.",
        "language": "Language",
        "organiser": "Votes so far",
        "annotator": "Annotator",
        "votes": "Votes",
        "overall": "{done} of {wanted} needed votes",
        "download": "Download all votes (JSON lines)",
        "import": "Then: gptalt-eval votes import votes.jsonl, and gptalt-eval elo",
    },
    "zh": {
        "title": "哪个回答更好？",
        "question": "问题",
        "answer": "回答 {side}",
        "expected": "好的回答应包含什么",
        "left": "A 更好",
        "right": "B 更好",
        "tie": "差不多",
        "skip": "跳过",
        "undo": "撤销",
        "progress": "已评 {voted} 题，还剩 {left} 题",
        "shortcuts": "快捷键：← 选 A，→ 选 B，↓ 差不多，S 跳过，U 撤销",
        "cut": "另有 {count:,} 个字符未显示。",
        "nothing": "（空回答）",
        "saving": "正在保存……",
        "retrying": "尚未保存：服务器没有响应，正在重试……",
        "done": "没有需要您评判的题目了，谢谢！",
        "unknown": "此链接无效，请向发给您链接的人索取您的专属链接。",
        "language": "语言",
        "organiser": "目前的投票",
        "annotator": "评判人",
        "votes": "票数",
        "overall": "共需 {wanted} 票，已有 {done} 票",
        "download": "下载全部投票（JSON Lines）",
        "import": "接下来：gptalt-eval votes import votes.jsonl，再运行 gptalt-eval elo",
    },
}


def choose_language(chosen: str, accepted: str) -> str:
    """The chosen language, else the first one that the browser accepts, else English."""
    if chosen in TEXTS:
        return chosen
    for word in accepted.split(","):
        code = word.split(";")[0].strip().lower()[:2]
        if code in TEXTS:
            return code
    return "en"
