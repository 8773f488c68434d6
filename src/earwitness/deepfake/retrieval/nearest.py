"""The genuine recordings that a person should listen to beside a questioned one, and how often the speaker agrees."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.core.errors import AudioError
from earwitness.deepfake.retrieval.database import Database, Retrieved
from earwitness.deepfake.retrieval.guard import Excluded, Identity
from earwitness.deepfake.retrieval.hearing import Features, Halves, Segment
from earwitness.deepfake.retrieval.searching import NONE, Floats, prepared
from earwitness.deepfake.retrieval.store import Origin


@dataclass(frozen=True)
class Neighbour:
    """A genuine recording by the segment of it that is most like a segment of the asking one.

    `similarity` is the mean over layers; `layers` (from 1) are those in which any segment of the recording is among the
    nearest that were looked at; `start_s` and `end_s` the asking segment.
    """

    origin: Origin
    similarity: float
    layers: tuple[int, ...]
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Answer:
    """The nearest recordings, most similar first. `candidates` segments were compared with `segments` asking ones;
    `same_speaker`: layer by layer, the share of the k nearest segments that the asking speaker speaks in (None: not
    known)."""

    neighbours: tuple[Neighbour, ...]
    segments: int
    candidates: int
    excluded: Excluded
    same_speaker: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Asking:
    """A recording, heard: the embeddings [n, L, F] of its segments, and what is known of it."""

    segments: tuple[Segment, ...]
    embeddings: Halves
    identity: Identity
    speaker: str | None = None

    @classmethod
    def heard(cls, parts: Iterable[Features], identity: Identity, speaker: str | None = None) -> Asking:
        """With the hashes of what was heard in its identity. Raises `AudioError` where nothing was."""
        segments: list[Segment] = []
        embeddings: list[Halves] = []
        for part in parts:  # short features are not kept: a recording may last for hours
            segments += part.segments
            embeddings.append(part.embeddings)
        if not segments:
            raise AudioError("holds no sound")
        sounds = frozenset(segment.sound for segment in segments)
        known = Identity(identity.id, identity.source, identity.sha256, sounds)
        return cls(tuple(segments), np.concatenate(embeddings), known, speaker)


def nearest_recordings(database: Database, asking: Asking, k: int) -> Answer:
    """The k recordings nearest to any segment of the asking one, where there are as many: as many segments are looked
    at in each layer as that takes. Raises what `Database.retrieve` raises."""
    queries, width = asking.embeddings, k
    found = first = database.retrieve(queries, [asking.identity] * len(queries), width)
    while width < len(database) and len(_layers_of(database, found)) < k:
        width *= 4
        found = database.retrieve(queries, [asking.identity] * len(queries), width)
    layers = _layers_of(database, found)
    best: dict[str, tuple[float, int, int]] = {}
    for query in range(len(queries)):
        rows = np.unique(found.nearest.rows[query])
        rows = rows[rows != NONE]
        similarities = _similarities(database, queries[query], rows)
        for row, similarity in zip(rows.tolist(), similarities.tolist(), strict=True):
            name = database.origins[row].id
            best[name] = max(best.get(name, (-np.inf, 0, 0)), (similarity, row, query))
    ranked = sorted(best.items(), key=lambda item: (-item[1][0], item[0]))[:k]
    excluded = found.excluded[0]
    return Answer(
        neighbours=tuple(
            Neighbour(
                database.origins[row],
                similarity,
                layers[name],
                asking.segments[query].start_s,
                asking.segments[query].end_s,
            )
            for name, (similarity, row, query) in ranked
        ),
        segments=len(queries),
        candidates=len(database) - len(excluded),
        excluded=excluded,
        same_speaker=same_speaker(database, first, [asking.speaker] * len(queries)),
    )


def same_speaker(database: Database, found: Retrieved, speakers: list[str | None]) -> tuple[float, ...] | None:
    """Layer by layer, the share of neighbours with the speaker of their query [Q]; queries and neighbours of unknown
    speakers do not count. None where nothing counts."""
    known = np.array([origin.speaker or "" for origin in database.origins])
    rows = found.nearest.rows
    theirs = np.where(rows != NONE, known[np.maximum(rows, 0)], "")
    asked = np.array([speaker or "" for speaker in speakers])[:, None, None]
    counted = (theirs != "") & (asked != "")
    if not counted.any():
        return None
    return tuple(float((theirs == asked)[:, n][counted[:, n]].mean()) for n in range(rows.shape[1]))


def _layers_of(database: Database, found: Retrieved) -> dict[str, tuple[int, ...]]:
    """The layers in which a recording is among the nearest, by its id."""
    layers: dict[str, set[int]] = {}
    for layer in range(found.nearest.rows.shape[1]):
        for row in np.unique(found.nearest.rows[:, layer]):
            if row != NONE:
                layers.setdefault(database.origins[row].id, set()).add(layer + 1)
    return {name: tuple(sorted(numbers)) for name, numbers in layers.items()}


def _similarities(database: Database, query: NDArray[np.float16], rows: NDArray[np.int64]) -> Floats:
    """Of one query [L, F] to some segments, the mean over layers."""
    total = np.zeros(len(rows), np.float32)
    for layer in range(len(query)):
        own = prepared(query[None, layer], database.similarity)[0]
        others = prepared(database.embeddings[rows, layer], database.similarity)
        if database.similarity == "cosine":
            total += others @ own
        else:
            total -= np.square(others - own).sum(axis=1)
    return total / np.float32(len(query))
