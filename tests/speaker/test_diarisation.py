"""Who speaks when: on made-up windows with known voices, and on real recordings joined with known turns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

from earwitness.audio.reading import load
from earwitness.audio.recording import Segment
from earwitness.audio.speech import speech_segments
from earwitness.evaluation.loading import load_embedder
from earwitness.metrics.diarisation import DiarisationErrors, Turn, diarisation_errors
from earwitness.speaker.comparison import unit
from earwitness.speaker.diarisation import diarise, limit_of, told_apart
from earwitness.speaker.embedder import Embedder
from tiny_models import make_embedder

RATE = 16_000


def windows(turns: list[tuple[float, float, int]], end: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Windows of 1.6 s every 0.4 s; each lies between the voices that it holds, by their seconds in it."""
    rng = np.random.default_rng(seed)
    voices = rng.standard_normal((4, 24))
    starts = np.arange(0, end - 1.6 + 1e-9, 0.4)
    vectors = []
    for start in starts:
        held = [max(0.0, min(start + 1.6, b) - max(start, a)) for a, b, _ in turns]
        vectors.append(sum(w * voices[v] for w, (_, _, v) in zip(held, turns, strict=True)))
    noisy = np.array(vectors) + 0.2 * rng.standard_normal((len(starts), 24))
    return np.stack([starts, starts + 1.6], axis=1), unit(noisy.astype(np.float32))


def as_turns(turns: list[tuple[float, float, int]]) -> list[Turn]:
    return [Turn(a, b, str(v)) for a, b, v in turns]


def test_turns_are_found_within_half_a_window() -> None:
    turns = [(0.0, 6.0, 0), (6.0, 10.0, 1), (10.0, 16.0, 0), (16.0, 20.0, 2)]
    spans, vectors = windows(turns, 20.0)
    found = told_apart(spans, vectors, [Segment(0.0, 20.0)], 0.5, 20.0)
    assert found is not None
    assert found.count == 3
    assert diarisation_errors(as_turns(turns), found.turns, collar_s=0.4).der < 0.02
    assert found.turns[0].speaker == "1"  # who speaks longest
    assert [found.seconds(voice) for voice in (1, 2, 3)] == pytest.approx([12, 4, 4], abs=0.8)
    assert found.turns[0].start_s == 0
    assert found.turns[-1].end_s == 20


def test_one_voice_stays_one_and_pauses_are_nobodys() -> None:
    turns = [(0.0, 12.0, 0)]
    spans, vectors = windows(turns, 12.0)
    found = told_apart(spans, vectors, [Segment(0.0, 4.0), Segment(5.0, 12.0)], 0.5, 12.0)
    assert found is not None
    assert found.count == 1
    assert [(turn.start_s, turn.end_s) for turn in found.turns] == [(0.0, 4.0), (5.0, 12.0)]
    assert told_apart(spans, vectors, [], 0.5, 12.0) is None


def test_a_moment_is_no_voice() -> None:
    turns = [(0.0, 8.0, 0), (8.0, 8.6, 1), (8.6, 16.0, 0)]
    spans, vectors = windows(turns, 16.0)
    found = told_apart(spans, vectors, [Segment(0.0, 16.0)], 0.5, 16.0)
    assert found is not None
    assert found.count == 1


def test_where_it_cannot_be_known(tmp_path: Path, tone) -> None:
    unmeasured = Embedder.load(make_embedder(tmp_path / "model"))
    soundfile.write(tmp_path / "x.wav", tone(4.0), RATE)
    assert limit_of(unmeasured) is None
    assert diarise(tmp_path / "x.wav", unmeasured) is None
    silence = tmp_path / "silence.wav"
    soundfile.write(silence, np.zeros(4 * RATE, np.float32), RATE)
    assert diarise(silence, load_embedder("speaker")) is None


def joined(shared_data: Path, home: Path, counts: list[int], seed: int = 5) -> list[tuple[Path, list[Turn]]]:
    """Recordings of speechocean762's speakers who are not in the cohort, one after the other; where speech lies
    in each is found by the voice activity detector before they are joined."""
    from earwitness.speaker.identities import COHORT_SPEAKERS, keys_in, speaker_key

    known = keys_in(load_embedder("speaker").info.extra[COHORT_SPEAKERS]) or frozenset()
    folder = shared_data / "speechocean762"
    table = pl.read_csv(folder / "manifest.csv", infer_schema=False)
    of_speakers: dict[str, list[str]] = {}
    for path, speaker in table.select("path", "speaker").iter_rows():
        if not {speaker_key(speaker), speaker_key(f"speechocean762:{speaker}")} & known:
            of_speakers.setdefault(speaker, []).append(path)
    names = sorted(name for name, paths in of_speakers.items() if len(paths) >= 3)
    rng = np.random.default_rng(seed)
    made = []
    for number, count in enumerate(counts):
        chosen = rng.choice(names, count, replace=False)
        sounds, turns, at = [], [], 0.0
        for take in range(3):
            for name in rng.permutation(chosen):
                samples = load(folder / of_speakers[name][take], RATE).samples
                samples = samples / np.sqrt(np.mean(samples**2)) * 0.05
                turns += [Turn(at + s.start_s, at + s.end_s, name) for s in speech_segments(samples, RATE)]
                pause = np.zeros(round(rng.uniform(0.1, 0.6) * RATE), np.float32)
                sounds += [samples, pause]
                at += (len(samples) + len(pause)) / RATE
        path = home / f"{number}-{count}.wav"
        soundfile.write(path, np.concatenate(sounds), RATE)
        made.append((path, turns))
    return made


def errors(recordings: list[tuple[Path, list[Turn]]]) -> tuple[DiarisationErrors, list[int]]:
    """Of all together, with a collar of 0.25 s, and by how many each number of voices is wrong."""
    embedder = load_embedder("speaker")
    total, wrong = None, []
    for path, turns in recordings:
        found = diarise(path, embedder)
        assert found is not None
        one = diarisation_errors(turns, found.turns, collar_s=0.25)
        total = one if total is None else total + one
        wrong.append(found.count - one.speakers)
    assert total is not None
    return total, wrong


def test_real_recordings_joined(shared_data: Path, tmp_path: Path) -> None:
    found, wrong = errors(joined(shared_data, tmp_path, [1, 2]))
    print(f"DER {found.der:.1%} (collar 0.25 s), number of voices wrong by {wrong}")
    assert found.der < 0.25
    assert max(map(abs, wrong)) <= 1


@pytest.mark.soak
def test_many_real_recordings_joined(shared_data: Path, tmp_path: Path) -> None:
    found, wrong = errors(joined(shared_data, tmp_path, [1, 2, 2, 3, 3, 4] * 3))
    print(f"DER {found.der:.1%} (collar 0.25 s), number of voices wrong by {wrong}")
    assert found.der < 0.15
    assert np.mean(np.abs(wrong)) < 0.5
