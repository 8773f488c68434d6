"""Which utterances each new identity speaks: texts, or recordings of its parents, each once before any comes again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from earwitness.audio.perturb.base import item_rng
from earwitness.core.hashing import sha256_text
from earwitness.corpora.making import Original
from earwitness.corpora.manifest import Manifest, Row
from earwitness.speaker.comparison import Vectors
from earwitness.speaker.identity_expansion.config import ExpansionConfig
from earwitness.speaker.identity_expansion.embedding import length_of
from earwitness.speaker.identity_expansion.pairs import Pair
from earwitness.speaker.identity_expansion.sentences import SENTENCES
from earwitness.speaker.identity_expansion.vectors import SpeakerVectors

LONGEST_TEXT, SHORTEST_TEXT = 200, 10  # characters: about 12 s and about 1 s


@dataclass(frozen=True)
class Task:
    """One utterance to be made. `path` is where it goes, against the output folder: NEW_ID/TEXT_SEED.flac.

    `source` is the row whose recording is converted (None: the text is spoken), and `source_vector` its speaker's.
    """

    path: str
    new_id: str
    text: str
    seed: int
    vector: Vectors
    source: Row | None = None
    original: Original | None = None
    source_vector: Vectors | None = None


def plan(
    pairs: Sequence[Pair],
    vectors: SpeakerVectors,
    parents: SpeakerVectors,
    rows: Manifest,
    config: ExpansionConfig,
    converts: bool,
) -> list[Task]:
    """The utterances of every identity, in order. What one says depends on the seed and its id, not on others."""
    if not converts:
        texts = texts_of(rows)
        return [task for pair in pairs for task in _spoken(pair, vectors, texts, config)]
    recordings = _by_speaker(rows, config.length_s)
    return [task for pair in pairs for task in _converted(pair, vectors, parents, rows, recordings, config)]


def texts_of(rows: Manifest) -> list[str]:
    """The distinct transcripts of a usual length, sorted; our own sentences where there are fewer than 20."""
    found = {" ".join(text.split()) for text in rows.table["transcript"].drop_nulls()}
    usual = sorted(text for text in found if SHORTEST_TEXT <= len(text) <= LONGEST_TEXT)
    return usual if len(usual) >= 20 else list(SENTENCES)


def _spoken(pair: Pair, vectors: SpeakerVectors, texts: Sequence[str], config: ExpansionConfig) -> list[Task]:
    rng = item_rng(config.seed, 2, pair.new_id)
    tasks = []
    for place in in_rounds(len(texts), config.utterances, rng):
        seed = int(rng.integers(1 << 31))
        path = f"{pair.new_id}/{sha256_text(texts[place])[:8]}_{seed}.flac"
        tasks.append(Task(path, pair.new_id, texts[place], seed, vectors.scaled(pair.new_id)))
    return tasks


def _converted(
    pair: Pair,
    vectors: SpeakerVectors,
    parents: SpeakerVectors,
    rows: Manifest,
    recordings: Mapping[str, list[Row]],
    config: ExpansionConfig,
) -> list[Task]:
    rng = item_rng(config.seed, 2, pair.new_id)
    both = [row for name in sorted({pair.parent_a, pair.parent_b}) for row in recordings.get(name, [])]
    tasks = []
    for place in in_rounds(len(both), config.utterances if both else 0, rng):
        row, seed = both[place], int(rng.integers(1 << 31))
        path = f"{pair.new_id}/{sha256_text(row.id)[:8]}_{seed}.flac"
        source = parents.scaled(str(row.speaker))
        text, original = row.transcript or "", Original.of(rows, row)
        tasks.append(Task(path, pair.new_id, text, seed, vectors.scaled(pair.new_id), row, original, source))
    return tasks


def _by_speaker(rows: Manifest, length_s: tuple[float, float]) -> dict[str, list[Row]]:
    """Each speaker's recordings of the right length, by id."""
    found: dict[str, list[Row]] = {}
    for row in sorted(rows.rows(), key=lambda row: row.id):
        length = length_of(rows, row)
        if length is not None and length_s[0] <= length <= length_s[1]:
            found.setdefault(str(row.speaker), []).append(row)
    return found


def in_rounds(count: int, wanted: int, rng: np.random.Generator) -> list[int]:
    """`wanted` of the numbers below `count`: all in random order, then all again."""
    rounds = [rng.permutation(count) for _ in range(-(-wanted // max(1, count)))]
    return [int(place) for place in np.concatenate(rounds)[:wanted]] if rounds else []
