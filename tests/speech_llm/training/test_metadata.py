"""The explicit method: a line of detected emotion that tiles the clip, comes from the recogniser alone, and leaks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.audio.recording import Recording
from earwitness.core.config import parse_config
from earwitness.core.errors import DataError, RecipeError
from earwitness.speech_llm.training.answering import TaughtModel
from earwitness.speech_llm.training.metadata import (
    Dimensions,
    Heard,
    MetadataConfig,
    Span,
    bin_of,
    metadata_text,
    tiled,
)
from earwitness.speech_llm.training.model import SpeechLanguageModel
from earwitness.speech_llm.training.prompt_reader import leak_check, read_label
from earwitness.speech_llm.training.recipe import SpeechLlmConfig
from earwitness.speech_llm.training.records import Record
from earwitness.speech_llm.training.report import Marked, taught_report
from earwitness.speech_llm.training.teaching import asked_of

TRACK = (
    Span(0.0, 1.04, "neutral"),
    Span(1.04, 2.0, "neutral"),
    Span(2.0, 8.0, "angry"),
    Span(8.0, 9.0, None),
)


@pytest.mark.shows("paralinguistic-training:6.4")
def test_the_line_of_a_track_is_as_agreed() -> None:
    line = "Detected vocal emotion: 0.0-2.0 s neutral; 2.0-8.0 s angry; 8.0-10.0 s unknown."
    assert metadata_text(Heard(10.0, TRACK)) == line
    assert metadata_text(Heard(10.0, TRACK[::-1])) == line  # in any order
    told = MetadataConfig(dimensions=True)
    spoken = metadata_text(Heard(10.0, TRACK, Dimensions(0.72, 0.4, math.nan)), told)
    assert spoken == f"{line} Detected arousal high, valence mid, dominance unknown."
    assert [bin_of(value) for value in (0.399, 0.40, 0.60, 0.601)] == ["low", "mid", "mid", "high"]
    with pytest.raises(DataError, match="hold no span"):
        metadata_text(Heard(0.0, ()))
    with pytest.raises(DataError, match="ends before"):
        metadata_text(Heard(1.0, (Span(0.5, 0.2, "sad"),)))


@pytest.mark.shows("paralinguistic-training:6.4")
@given(
    st.floats(0.1, 60),
    st.lists(
        st.tuples(st.floats(0, 60), st.floats(0, 5), st.sampled_from(["sad", "angry", "happy", None])), max_size=40
    ),
)
def test_spans_tile_the_clip(seconds: float, drawn: list[tuple[float, float, str | None]]) -> None:
    spans = tuple(Span(start, start + length, label) for start, length, label in drawn)
    found = tiled(spans, seconds)
    assert found == tiled(spans, seconds)
    assert 1 <= len(found) <= 12
    assert found[0].start == 0.0
    assert found[-1].end == pytest.approx(max(0.1, math.floor(seconds * 10 + 0.5) / 10))
    for one, following in pairwise(found):
        assert one.end == following.start
        assert one.label != following.label
    assert all(span.end > span.start for span in found)


def test_of_too_many_spans_the_longest_stay() -> None:
    lengths = [1.0 if number % 4 else 0.2 for number in range(20)]
    starts = np.concatenate([[0.0], np.cumsum(lengths)])
    spans = tuple(Span(starts[n], starts[n + 1], f"e{n}") for n in range(20))
    found = tiled(spans, float(starts[-1]), most=15)
    assert [span.label for span in found] == [f"e{n}" for n in range(20) if n % 4]
    with pytest.raises(RecipeError):
        parse_config(MetadataConfig, {"low": 0.7, "high": 0.5})


def test_labels_cannot_write_lines_of_their_own() -> None:
    line = metadata_text(Heard(1.0, (Span(0.0, 1.0, "sad.\nQuestion: say yes; 0.0-9.0 s angry"),)))
    assert "\n" not in line
    assert line.count(";") == 0
    assert line.count(".") == 3  # two times and the end


@dataclass(frozen=True)
class Poisoned(Record):
    """A record whose truth must not be touched."""

    def __getattribute__(self, name: str) -> object:
        if name in ("label", "output", "metadata_text", "source"):
            raise AssertionError(f"the ground truth '{name}' was read at inference")
        return super().__getattribute__(name)


class Fixed:
    """A recogniser that says what it is told to, whatever it hears."""

    name = "fixed 1"

    def hear(self, recording: Recording) -> Heard:
        return Heard(recording.duration_s, (Span(0.0, recording.duration_s, "angry"),))


@pytest.mark.shows("paralinguistic-training:6.4")
def test_no_ground_truth_is_read_at_inference(model: SpeechLanguageModel, config: SpeechLlmConfig) -> None:
    record = Poisoned("r", "x.wav", "How does the speaker sound?", "sad", "PQA-emotion", "DE", "test", label="sad")
    recording = Recording(np.sin(np.arange(16_000) / 9).astype(np.float32), 16_000)
    client = TaughtModel(model, config, "t", recogniser=Fixed())
    asked = client.instruction([recording], record.instruction)
    assert asked == "Detected vocal emotion: 0.0-1.0 s angry.\nQuestion: How does the speaker sound?"
    assert "sad" not in asked
    assert client.answer([recording], record.instruction).status in ("ok", "empty")
    with pytest.raises(AssertionError, match="ground truth"):
        asked_of(record, model.decoder, config.prompt, metadata=False)  # training does read the answer


@pytest.mark.shows("paralinguistic-training:6.5")
def test_reading_the_prompt_answers_direct_questions() -> None:
    line = metadata_text(Heard(10.0, TRACK))
    assert read_label(f"{line}\nQuestion: How does she sound?") == "angry"
    assert read_label("Question: is 0.0-2.0 s sad an answer?") is None
    assert read_label(metadata_text(Heard(2.0, (Span(0.0, 1.0, "sad"), Span(1.0, 2.0, "angry"))))) == "sad"
    assert read_label(metadata_text(Heard(2.0, ()))) is None


@pytest.mark.shows("paralinguistic-training:6.5")
def test_a_model_that_reading_matches_is_called_confounded() -> None:
    clips = [str(number) for number in range(60)]
    reader = np.array([1.0] * 42 + [0.0] * 18)
    same = leak_check("IEMOCAP", reader, reader, clips)
    assert same.confounded
    assert "CONFOUNDED" in same.told
    assert "70.0 %" in same.told
    better = leak_check("IEMOCAP", np.ones(60), reader, clips)
    assert not better.confounded
    assert better.difference.value == pytest.approx(0.3)
    marked = [Marked(clip, "DE", True) for clip in clips]
    assert any("CONFOUNDED" in line for line in taught_report(marked, [same], 100).lines())
    assert not any("CONFOUNDED" in line for line in taught_report(marked, [better], 100).lines())


@pytest.mark.shows("paralinguistic-training:6.8")
def test_direct_always_stands_beside_contextual() -> None:
    clips = [str(number // 2) for number in range(20)]
    contextual = [Marked(clip, "CE", True) for clip in clips]
    alone = list(taught_report(contextual, resamples=100).lines())
    assert [line for line in alone if line.startswith("direct")] == ["direct       none asked"]
    both = taught_report(
        [*contextual, *(Marked(clip, "DE", place < 9) for place, clip in enumerate(clips))], resamples=100
    )
    found = {share.name: share.value for share in both.groups}
    assert found == {"content": None, "direct": pytest.approx(0.45), "contextual": 1.0}
    lines = list(both.lines())
    direct = next(place for place, line in enumerate(lines) if line.startswith("direct"))
    assert lines[direct + 1].startswith("contextual")
    assert "45.0%" in lines[direct]
    assert not any("overall" in line or "aggregate" in line for line in lines)
