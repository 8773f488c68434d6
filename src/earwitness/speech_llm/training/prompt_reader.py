"""The leak that metadata in a prompt makes: direct questions about emotion can be answered by reading it.

`read_label` is the baseline that does so: no audio, no model. Wherever metadata is injected it is judged beside the
model, and where the model is not better than reading, the report says so (arXiv 2508.07273 names this confound).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from earwitness.metrics.bootstrap import Interval, Units, paired
from earwitness.speech_llm.training.metadata import PREFIX, UNKNOWN

_LINE = re.compile(re.escape(PREFIX) + r"(?P<spans>[^\n]*?)\.(?:\s|$)")
_SPAN = re.compile(r"(\d+\.\d)-(\d+\.\d) s ([\w\- ]+)")


def read_label(prompt: str) -> str | None:
    """The label that fills most of the time in a prompt's line of metadata (the earliest of equals); None without one.

    >>> read_label("Detected vocal emotion: 0.0-2.0 s sad; 2.0-3.0 s angry.\\nQuestion: How does she sound?")
    'sad'
    """
    line = _LINE.search(prompt)
    time: dict[str, float] = {}
    for start, end, label in _SPAN.findall(line["spans"]) if line else ():
        if label != UNKNOWN:
            time[label] = time.get(label, 0.0) + float(end) - float(start)
    return max(time, key=lambda label: round(time[label], 3), default=None)


@dataclass(frozen=True)
class LeakCheck:
    """Accuracy of a model and of reading its prompt, on the same direct questions; their difference with its interval
    over clips."""

    name: str
    model: Interval
    reader: Interval
    difference: Interval

    @property
    def confounded(self) -> bool:
        """Whether the model is not shown to be better than reading the prompt."""
        return self.difference.low <= 0

    @property
    def told(self) -> str:
        """A line for the report."""
        figures = f"model {100 * self.model.value:.1f} %, reading the prompt {100 * self.reader.value:.1f} %"
        if self.confounded:
            return f"{self.name}: CONFOUNDED ({figures}): these questions can be answered by reading the metadata."
        return f"{self.name}: the model is better than reading its prompt ({figures})."


def leak_check(
    name: str, right: ArrayLike, read_right: ArrayLike, clips: Sequence[str], resamples: int = 1000
) -> LeakCheck:
    """Compare what a model and the reader got right (0 or 1, [N] each) on questions about `clips`.

    Raises `MetricError` for fewer than two clips.
    """
    model, reader = np.asarray(right, np.float64), np.asarray(read_right, np.float64)
    units = Units.of(list(clips), "clip")

    def mean(values: np.ndarray) -> object:
        return lambda counts: float((units.weights(counts) * values).sum() / units.weights(counts).sum())

    found = paired(mean(model), mean(reader), units, resamples)  # type: ignore[arg-type]
    return LeakCheck(name, found.first, found.second, found.difference)
