"""The harness on models of known worth: does it say of them what is true?

oracle        knows every answer: 100 everywhere with the audio, and the audio is used
audio-blind   ignores the audio: no audio gain in any type, and the alarm of identical answers
noisy judge   deviation 10 a judgement: run means of n questions deviate by 10 / sqrt(n)
intervals     three questions a clip that stand or fall together: sqrt(3) times the naive width
"""

from __future__ import annotations

import math
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earwitness.audio.reading import load
from earwitness.core.hashing import sha256_samples
from earwitness.metrics.resampled import Resampling
from earwitness.speech_llm.bench.asking import Asked, Asking, settings_of
from earwitness.speech_llm.bench.judging import Judged, Judging
from earwitness.speech_llm.bench.recordings import Recordings
from earwitness.speech_llm.bench.report import Asked as Wanted
from earwitness.speech_llm.bench.report import Report, make_report
from earwitness.speech_llm.bench.settings import DEAF
from earwitness.speech_llm.bench.stand_ins import Oracle, audio_blind, exact_judge, noisy_judge
from earwitness.speech_llm.bench.statements import signed, statements
from earwitness.speech_llm.clients.interface import SpeechLLM
from earwitness.speech_llm.items import QUESTION_TYPES, Item, item_id

QUESTIONS = {kind: f"A question of type {kind}?" for kind in QUESTION_TYPES}
CLIPS = 12
NOISE_RUNS = 20  # more than in a real run, for a deviation that can be compared


@dataclass(frozen=True)
class Check:
    """One claim, what was found, and whether that agrees with it."""

    claim: str
    found: str
    holds: bool


def self_check() -> list[Check]:
    """All four, in a temporary folder."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        items = made_up_items(root / "audio", CLIPS)
        knowing = run_model(root / "oracle", oracle(items, root / "audio"), items, root / "audio", exact_judge(), 1)
        blind = run_model(root / "blind", audio_blind(), items, root / "audio", exact_judge(), 1)
        noisy = run_model(root / "noisy", audio_blind(), items, root / "audio", noisy_judge(), NOISE_RUNS, ())
    return [*_oracle(knowing), *_blind(blind), _noise(noisy), _honest()]


def made_up_items(folder: Path, clips: int) -> list[Item]:
    """One question of each type about each of some short tones, which are written to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for number in range(clips):
        write_tone(folder / f"clip-{number}.wav", 200 + 37 * number)
        for kind, question in QUESTIONS.items():
            answer = f"{kind} of clip {number}"
            name = item_id(f"clip-{number}", question, answer)
            items.append(Item(name, f"clip-{number}", f"clip-{number}.wav", question, answer, kind))
    return items


def write_tone(path: Path, hz: float, seconds: float = 0.1) -> None:
    """A sine as WAV, 16 kHz."""
    time = np.arange(round(16_000 * seconds)) / 16_000
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((8000 * np.sin(2 * np.pi * hz * time)).astype("<i2").tobytes())


def oracle(items: list[Item], folder: Path) -> Oracle:
    """One that knows these items."""
    hashes = {item.audio: sha256_samples(load(folder / item.audio).samples) for item in items}
    return Oracle({(hashes[item.audio], item.question): item.answer for item in items})


def run_model(
    folder: Path,
    model: SpeechLLM,
    items: list[Item],
    audio: Path,
    judge: SpeechLLM,
    runs: int,
    controls: tuple[str, ...] = DEAF,
) -> Report:
    """Ask, judge, report."""
    named = tuple(name for name in DEAF if name in controls)
    asking = Asking(folder, model, items, Recordings(audio), settings_of(model, items), Asked(named))
    asking.ask(asking.cells())
    judging = Judging(folder, judge, Judged(runs=runs))
    judging.judge_all(judging.cells())
    return make_report(folder, Wanted(resamples=500))


def _oracle(report: Report) -> list[Check]:
    real = report.real
    scores = [*(one.score.value for one in real.types), *(one.score.value for one in real.groups)]
    first = statements(report)[0].text
    return [
        Check("the oracle scores 100 everywhere", f"lowest {min(s or 0 for s in scores):.1f}", set(scores) == {100.0}),
        Check("the oracle uses the audio", first, first.startswith("The audio is used")),
    ]


def _blind(report: Report) -> list[Check]:
    gain = report.audio_gain
    assert gain is not None
    covered = [(one.difference.low or 0) <= 0 <= (one.difference.high or 0) for one in gain.types]
    first = statements(report)[0].text
    return [
        Check(
            "the audio-blind model gains nothing from the audio in any type",
            f"UAS {signed(gain.uas)}; {sum(covered)} of {len(covered)} intervals hold 0",
            len(covered) == len(QUESTION_TYPES) and all(covered),
        ),
        Check(
            "identical answers are noticed",
            f"{len(report.identical)} of {len(QUESTIONS)} questions",
            len(report.identical) == len(QUESTIONS),
        ),
        Check("the report's first line says so", first, first.startswith("The audio seems unused")),
    ]


def _noise(report: Report) -> Check:
    expected = 10 / math.sqrt(CLIPS)
    found = [one.noise.sd or 0.0 for one in report.real.types]
    mean = math.sqrt(float(np.mean(np.square(found))))
    return Check(
        f"run means of {CLIPS} questions deviate by {expected:.2f} under a judge with deviation 10",
        f"{mean:.2f} over {len(found)} types",
        abs(mean / expected - 1) < 0.2,
    )


def _honest() -> Check:
    ratio = float(np.mean([width_ratio(seed) for seed in range(20)]))
    return Check(
        "the clip interval is sqrt(3) times the naive one", f"{ratio:.2f}", abs(ratio / math.sqrt(3) - 1) < 0.1
    )


def width_ratio(seed: int, clips: int = 200, each: int = 3) -> float:
    """Width of the interval over clips by that over questions, where the questions of a clip stand or fall together."""
    values = np.repeat(np.random.default_rng(seed).choice([0.0, 100.0], clips), each)
    widths = []
    for units in (np.repeat(np.arange(clips), each), np.arange(clips * each)):
        resampling = Resampling.over(units.tolist(), 1000, seed)
        interval = resampling.interval(
            float(values.mean()), resampling.means(values[:, None])[:, 0], resampling.clusters
        )
        assert interval is not None
        widths.append(interval.high - interval.low)
    return widths[0] / widths[1]
