"""Questions by templates, without any model: plain, and enough to try everything that comes after.

They ask nothing that needs reasoning: what is said at the start, how the voice sounds as a whole and in a certain
remark, and whose voice it is.
"""

from __future__ import annotations

from collections.abc import Iterator

from earwitness.speech_llm.cpqa.clips import Clip, Run, spoken
from earwitness.speech_llm.cpqa.post_filter import Pair

VOICES = {"female": "a woman's", "male": "a man's"}
QUOTED = 6  # words
FEWEST = 3


def template_pairs(clip: Clip) -> Iterator[Pair]:
    """The pairs of a clip, always the same; evidence in seconds of the clip."""
    whole = (0.0, clip.duration)
    emotion, voice = clip.segment.emotion, VOICES.get(clip.segment.gender or "")
    runs = [run for run in clip.runs if len(run.text.split()) >= FEWEST]
    if emotion is not None:
        yield Pair("Which emotion does the voice convey for most of the recording?", _sounds(emotion), "DE", whole)
    if voice is not None:
        yield Pair("Is it a man or a woman whose voice is heard?", f"It is {voice} voice.", "DG", whole)
    if len(clip.words) >= FEWEST:
        first = clip.words[:QUOTED]
        until = max(0.1, first[-1].end - clip.segment.start)
        words = _quote(spoken(first))
        yield Pair("What are the first words that can be made out?", f'They are "{words}".', "C", (0.0, until))
    for run in runs:
        if run.emotion is not None:
            yield Pair(
                f'How does the speaker sound while saying "{_quote(run.text)}"?', _sounds(run.emotion), "CE", _of(run)
            )
    if runs and voice is not None:
        last = runs[-1]
        question = f'Does a man or a woman say the remark "{_quote(last.text)}"?'
        yield Pair(question, f"It is {voice} voice that says so.", "CG", _of(last))


def _sounds(emotion: str) -> str:
    return f"The speaker sounds {emotion}."


def _quote(text: str) -> str:
    return " ".join(text.split()[:QUOTED]).replace('"', "'").rstrip(".,;:!?")


def _of(run: Run) -> tuple[float, float]:
    return run.start, run.end
