"""Two prompts for a judge of answers (section 2.12 of the sheet on CPQA, arXiv 2505.13338), in words of ours.

    rubric    the structure of AudioBench's: a scale of 0 to 5 by agreement with a reference answer
    refined   tells the judge that the voice matters, and that a short answer loses nothing

Both ask for JSON with an integer. A reply that holds none is no rating: it is counted and never scored 0, unlike in
AudioBench. What is judged is text from models, so it stands in fences.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from earwitness.speech_llm.clients.fencing import fenced, rule
from earwitness.speech_llm.items import Item
from earwitness.speech_llm.ratings import BEST

SCALE = 100 / BEST
SYSTEM = f"You rate answers about recordings that you cannot hear. {rule('data')}"
_BLOCKS = """Reference answer: {reference}
Answer to rate: {answer}
Question: {question}{labels}
"""
_FORM = """Reply with JSON alone: {"rationale": "one or two sentences", "rating": an integer from 0 to 5}"""
RUBRIC = """
Rate how well the answer agrees with the reference answer to the question:
0 - a refusal, or wrong altogether
1 - next to nothing in common with the reference
2 - about the same thing, yet wrong
3 - right by and large, with details missing or imprecise
4 - right for the most part
5 - the same in substance and detail
"""
REFINED = """
Some questions are about the voice as well as the words: the emotion in it, whether it is a man's or a woman's, how many
people speak, how something is said. Ask yourself three things about the answer, with the reference as the measure:
whether what it says of the content is right; whether what it says of the voice is right; and, where the question calls
for it, whether it connects the two as the reference does. How long the answer is does not matter: a short one that has
what the reference has is worth 5. A refusal is worth 0, and an answer that fails in all three too. Rate from 0 to 5.
"""
PROMPTS: Mapping[str, str] = {"rubric": RUBRIC, "refined": REFINED}
SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {
            "rationale": {"type": "string"},
            "rating": {"type": "integer", "minimum": 0, "maximum": BEST},
        },
        "required": ["rationale", "rating"],
        "additionalProperties": False,
    }
)


def judge_prompt(name: str, item: Item, answer: str, labels_visible: bool = False) -> str:
    """The request. The labels behind the reference are shown only where that is asked for: they are guesses of the very
    models that the questions come from, so a judge who sees them argues in a circle."""
    tags = ", ".join(f"{tag.name}={tag.value}" for tag in item.tags if tag.name in ("emotion", "gender"))
    labels = f"\nLabels of the recording: {fenced(tags, 'data')}" if labels_visible and tags else ""
    blocks = _BLOCKS.format(
        reference=fenced(item.answer, "data"),
        answer=fenced(answer, "data"),
        question=fenced(item.question, "data"),
        labels=labels,
    )
    return f"{blocks}{PROMPTS[name]}{_FORM}"
