"""What a text model is asked: questions about one clip, from its decorated words (section 2.9 of the sheet on CPQA).

What the prompt directs a model to is the paper's; its text was not found, so the wording is ours. The words of a
recording are data from outside and stand in a fence that they cannot end.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from earwitness.speech_llm.clients.fencing import fenced, rule
from earwitness.speech_llm.cpqa.clips import Clip, decorated
from earwitness.speech_llm.items import QuestionType

TAG = "notes"
MEANINGS: dict[QuestionType, str] = {
    "C": "what is said",
    "DE": "which emotion the voice conveys",
    "DG": "whether the voice is a man's or a woman's",
    "DS": "how many people speak",
    "CE": "emotion together with what is said, such as why the speaker sounds so, or how a certain remark sounds",
    "CG": "the voice's gender together with what is said",
    "CS": "the number of speakers together with what is said",
}
SYSTEM = f"""You write listening exercises. Of one recording you get notes: its words with times in seconds, the emotion
that was heard in them, and whether the voice is a man's or a woman's. {rule(TAG)}"""
PROMPT = """The recording lasts {duration:.1f} seconds. These are the notes:
{notes}

Write {pairs} different pairs of question and answer, at least {contextual} of which need both the meaning of the
words and the manner of speaking. Types of questions:
{types}

Whoever answers has the sound alone. So never speak of notes, words in writing, labels or times, and ask only what can
be heard. Never ask the same again in other words. Invent nothing that the notes do not support. An answer has one or
two sentences. Questions end with a question mark.

Reply with JSON alone, of this form:
{{"qa": [{{"question": "...", "answer": "...", "type": "{example}", "evidence": [1.5, 4.0], "needs": ["content"]}}]}}
`needs` holds what a listener must attend to (content, emotion, gender, speakers). `evidence` is the stretch in seconds
that the answer rests on."""


def clip_prompt(clip: Clip, pairs: int, contextual: int, types: Sequence[QuestionType]) -> str:
    """The request for one clip."""
    return PROMPT.format(
        duration=clip.duration,
        notes=fenced(decorated(clip), TAG),
        pairs=pairs,
        contextual=contextual,
        types="\n".join(f"- {name}: {MEANINGS[name]}" for name in types),
        example=types[-1],
    )


def reply_schema(types: Sequence[QuestionType]) -> str:
    """The form of a reply as a JSON schema."""
    needs = {"type": "array", "items": {"type": "string", "enum": ["content", "emotion", "gender", "speakers"]}}
    pair = {
        "type": "object",
        "properties": {
            "question": {"type": "string"},
            "answer": {"type": "string"},
            "type": {"type": "string", "enum": list(types)},
            "evidence": {"type": "array", "items": {"type": "number"}},
            "needs": needs,
        },
        "required": ["question", "answer", "type", "evidence", "needs"],
        "additionalProperties": False,
    }
    return json.dumps(
        {
            "type": "object",
            "properties": {"qa": {"type": "array", "items": pair}},
            "required": ["qa"],
            "additionalProperties": False,
        }
    )
