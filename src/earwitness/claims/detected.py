"""A recogniser of emotions for the claim about metadata in prompts: it never hears what it speaks of before.

A logistic regression on each second of kept frames. Training rows are told of by one that learnt from the other
training speakers, dev and test rows by one that learnt from all training speakers: so the lines are as good, or as
poor, in training as they are at inference.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earwitness.claims.asked import AskedMaterial, Frames
from earwitness.claims.material import Places
from earwitness.metrics.scores import Floats
from earwitness.speech_llm.training.metadata import Heard, Span, metadata_text

SECOND = 50  # frames
RIDGE = 0.003  # inverse strength of the penalty
SUREST = 0.4  # a probability below it is an abstention
NAME = "logistic regression on 1 s means of the second hidden state, cross-fitted over training speakers"


def detected_lines(material: AskedMaterial, frames: Frames, seed: int) -> list[str]:
    """The line of metadata of every row, for the sides of a seed."""
    windows = [_means(frames.of(row)) for row in range(len(frames.counts))]
    train = material.sides(seed).train
    speakers, emotions = material.speakers, np.array(material.emotions)
    lines = [""] * len(windows)

    def tell(rows: Places, learnt: Places) -> None:
        for row, line in zip(rows, _told(windows, emotions, rows, learnt, frames.counts), strict=True):
            lines[row] = line

    for speaker in sorted(set(speakers[train])):
        tell(train[speakers[train] == speaker], train[speakers[train] != speaker])
    tell(np.setdiff1d(np.arange(len(windows)), train), train)
    return lines


def _told(
    windows: list[Floats], emotions: NDArray[np.str_], rows: Places, learnt: Places, counts: NDArray[np.int64]
) -> list[str]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=RIDGE, max_iter=100))
    given = np.concatenate([windows[row] for row in learnt])
    model.fit(given, np.repeat(emotions[learnt], [len(windows[row]) for row in learnt]))
    found = []
    every = model.predict_proba(np.concatenate([windows[row] for row in rows]))
    for row, sure in zip(rows, np.split(every, np.cumsum([len(windows[row]) for row in rows])[:-1]), strict=True):
        labels = [str(model.classes_[best.argmax()]) if best.max() >= SUREST else None for best in sure]
        seconds = float(counts[row]) / SECOND
        spans = tuple(Span(float(n), min(float(n + 1), seconds), label) for n, label in enumerate(labels))
        found.append(metadata_text(Heard(seconds, spans)))
    return found


def _means(frames: NDArray[np.float32]) -> Floats:
    """The mean frame of each second [W, D]; a rest under half a second belongs to the last."""
    starts = list(range(0, max(1, len(frames) - SECOND // 2), SECOND))
    ends = [*starts[1:], len(frames)]
    return np.stack([frames[start:end].mean(axis=0) for start, end in zip(starts, ends, strict=True)]).astype(
        np.float64
    )
