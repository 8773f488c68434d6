"""Unknown voices told apart, corpus by corpus: `python benchmarks/voices_apart.py --data ../shared/data`.

The shipped speaker model on speakers that it never trained on. Clusters: at most 15 recordings a speaker, purity,
coverage and adjusted Rand index. Turns: recordings of one to four of the speakers joined in turn, three each, with
pauses of 0.1 to 0.6 s and all at one level; where speech lies in each is found by the voice activity detector before
they are joined. DER with a collar of 0.25 s, seconds of all recordings together, and by how many the number of voices
is wrong. One person at a time, no overlap, one channel: kinder than a real conversation.

The threshold of the clusters was chosen on speechocean762, and the limit of one voice is a quantile over dev recordings
of all four corpora.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import soundfile

from earwitness.audio.reading import load
from earwitness.audio.speech import speech_segments
from earwitness.core.errors import AudioError
from earwitness.evaluation.loading import load_embedder
from earwitness.metrics.clustering import cluster_figures
from earwitness.metrics.diarisation import Turn, diarisation_errors
from earwitness.speaker.clustering import cluster_voices
from earwitness.speaker.diarisation import diarise
from earwitness.speaker.embedder import Embedder
from earwitness.speaker.identities import COHORT_SPEAKERS, keys_in, speaker_key

RATE, MOST, TAKES = 16_000, 15, 3
CORPORA = ("speechocean762", "game_dialogue", "telephone_prompts", "emodb")
COUNTS = (1, 2, 2, 3, 2, 3, 1, 2, 4, 3, 2, 2)
Voices = dict[str, list[Path]]


def unheard_speakers(data: Path, corpus: str, embedder: Embedder) -> Voices:
    """The recordings of speakers whom the model has not trained on."""
    known = keys_in(embedder.info.extra[COHORT_SPEAKERS]) or frozenset()
    found: Voices = {}
    for folder in (corpus, f"{corpus}_more"):
        if not (data / folder / "manifest.csv").is_file():
            continue
        for path, speaker in pl.read_csv(data / folder / "manifest.csv", infer_schema=False)[
            "path", "speaker"
        ].iter_rows():
            if not {speaker_key(speaker), speaker_key(f"{corpus}:{speaker}")} & known:
                found.setdefault(speaker, []).append(data / folder / path)
    return {speaker: sorted(paths) for speaker, paths in sorted(found.items())}


def clustered(voices: Voices, embedder: Embedder) -> dict[str, Any]:
    """Figures of the clusters of at most `MOST` recordings a speaker, drawn by a fixed seed."""
    rng = np.random.default_rng(1)
    vectors, names = [], []
    for speaker, paths in voices.items():
        for place in sorted(rng.permutation(len(paths))[:MOST]):
            try:
                vectors.append(embedder.embed_file(paths[place]).vector)
                names.append(speaker)
            except AudioError:
                continue  # shorter than a voice needs
    assert embedder.info.calibration is not None
    found = cluster_voices(np.stack(vectors), embedder.comparator, embedder.info.calibration)
    return asdict(cluster_figures(names, found.labels.tolist()))


def joined(voices: Voices, home: Path) -> Iterator[tuple[Path, list[Turn]]]:
    """Recordings with known turns."""
    rng = np.random.default_rng(5)
    names = [name for name, paths in voices.items() if len(paths) >= TAKES]
    for number, count in enumerate(count for count in COUNTS if count <= len(names)):
        chosen = {name: list(rng.permutation(len(voices[name]))) for name in rng.choice(names, count, replace=False)}
        sounds: list[Any] = []
        turns, at = [], 0.0
        for take in range(TAKES):
            for name in rng.permutation(list(chosen)):
                samples = load(voices[name][chosen[name][take]], RATE).samples
                samples = samples / max(1e-6, float(np.sqrt(np.mean(samples**2)))) * 0.05
                turns += [Turn(at + s.start_s, at + s.end_s, str(name)) for s in speech_segments(samples, RATE)]
                sounds += [samples, np.zeros(round(rng.uniform(0.1, 0.6) * RATE), np.float32)]
                at += sum(len(part) for part in sounds[-2:]) / RATE
        path = home / f"{number}.wav"
        soundfile.write(path, np.concatenate(sounds), RATE)
        yield path, turns


def told_apart(voices: Voices, embedder: Embedder) -> dict[str, Any]:
    """Diarisation errors over the joined recordings."""
    total, wrong = None, []
    with tempfile.TemporaryDirectory() as home:
        for path, turns in joined(voices, Path(home)):
            found = diarise(path, embedder)
            errors = diarisation_errors(turns, () if found is None else found.turns, collar_s=0.25)
            total = errors if total is None else total + errors
            wrong.append(errors.found - errors.speakers)
    assert total is not None
    return {"recordings": len(wrong), "der": total.der, **asdict(total), "number_of_voices_wrong_by": wrong}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    embedder = load_embedder("speaker")
    corpora = []
    for corpus in CORPORA:
        voices = unheard_speakers(arguments.data, corpus, embedder)
        both = {"clusters": clustered(voices, embedder), "turns": told_apart(voices, embedder)}
        corpora.append({"name": corpus, "speakers": len(voices), **both})
    print(json.dumps({"model": embedder.info.reference, "corpora": corpora}, indent=2))


if __name__ == "__main__":
    main()
