"""An emotion model as the recogniser whose line stands in the prompt of a language model that hears.

recogniser = EmotionRecogniser(load_emotions("emotion"))
TaughtModelConfig(model="runs/mine/model").build(recogniser)
"""

from __future__ import annotations

from earwitness.audio.recording import Recording
from earwitness.core.errors import AudioError
from earwitness.paralinguistic.emotion import EmotionEstimator
from earwitness.speech_llm.training.metadata import Heard, Span


class EmotionRecogniser:
    """`Recogniser`: the likeliest emotion of each window of a model, or none where it is not sure enough.

    What the model leaves out (silence, too little sound) counts as unknown.
    """

    def __init__(self, estimator: EmotionEstimator) -> None:
        self.estimator = estimator

    @property
    def name(self) -> str:
        """The model with its version and the hash of its weights."""
        return self.estimator.info.reference

    def hear(self, recording: Recording) -> Heard:
        """Nothing but the recording is looked at."""
        try:
            found = self.estimator.estimate(recording.samples, recording.rate)
        except AudioError:
            return Heard(recording.duration_s, ())
        spans = tuple(
            Span(span.start_s, span.end_s, found.classes[int(sure.argmax())] if sure.max() >= found.threshold else None)
            for span, sure in zip(found.spans, found.course, strict=True)
        )
        return Heard(recording.duration_s, spans)
