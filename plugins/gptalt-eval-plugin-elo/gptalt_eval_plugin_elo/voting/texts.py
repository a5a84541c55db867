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
        "agreement": "Agreement (pairs)",
        "seconds": "Seconds per vote",
        "left_share": "Left",
        "right_share": "Right",
        "without": "Leave out",
        "signs": "Agreement is with the others on the same answers: 1 for equal votes, 0.5 if one is a tie, "
        "0 for opposite ones. Seconds: the median from one vote to the next. Little agreement, few seconds, "
        "or nearly always the same side can be signs of carelessness.",
        "choose": "Show the command",
        "ratings": "Ratings by all votes:",
        "before_after": "Ratings with all votes, and without those of the chosen annotators:",
        "named": "Answers in which a model names itself: {count:,}",
        "more": "{count:,} more are not shown.",
        "leave_out": "Votes on them are not blind. To ask for none: votes serve --leave_out_named",
        "full": "This cannot be saved at the moment. Your earlier votes are safe. Please try again later.",
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
        "agreement": "一致率（对数）",
        "seconds": "每票秒数",
        "left_share": "左",
        "right_share": "右",
        "without": "排除",
        "signs": "一致率：与他人对同一组回答的评判相比，相同为 1，仅一方为平局计 0.5，相反为 0。"
        "每票秒数：相邻两票间隔的中位数。一致率低、用时只有几秒或几乎总选同一侧，可能说明评判不认真。",
        "choose": "显示命令",
        "ratings": "按全部投票计算评分：",
        "before_after": "含全部投票的评分，以及排除所选评判人之后的评分：",
        "named": "有 {count:,} 个回答中模型说出了自己的名字",
        "more": "另有 {count:,} 个未显示。",
        "leave_out": "对这些回答的评判不是盲评。若要跳过它们：gptalt-eval votes serve --leave_out_named",
        "full": "目前无法保存。您之前的投票都已保存，请稍后再试。",
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
