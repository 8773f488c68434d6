"""Records whose audio is made: speech spoilt on purpose, and what it was before (arXiv 2502.16584, section on data).

The paper gives no ranges; these are ours: SNR U(-5, 20) dB, T60 0.2 to 1.0 s, clipping at 0.1 to 0.5 of the peak, 8 to
16 kHz, gaps of 0.1 to 1.0 s, two voices at U(-5, 5) dB. What was asked for and what came out stand in `other`, with
the sha256 of the samples. All is drawn by seed, task and clip alone, so the same seed gives the same audio.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from earwitness.audio.perturb.base import item_rng, uniform
from earwitness.audio.perturb.noise import at_snr, coloured_noise
from earwitness.audio.perturb.reverb import reverberate, synthetic_response
from earwitness.audio.reading import RATE, load
from earwitness.audio.recording import Samples
from earwitness.audio.speech import SileroRule, speech_segments
from earwitness.core.errors import AudioError, UsageError
from earwitness.core.hashing import sha256_samples
from earwitness.corpora.inspection import Problem
from earwitness.corpora.making import write_flac
from earwitness.corpora.mixtures import Scene, mix
from earwitness.corpora.splits.grouping import draw
from earwitness.speech_llm.flan.converting import Clip, Clips, audio
from earwitness.speech_llm.flan.instructions import template
from earwitness.speech_llm.flan.reading import AudioPlace
from earwitness.speech_llm.flan.records import Record, made
from earwitness.speech_llm.flan.spans import span
from earwitness.speech_llm.flan.taxonomy import task_named

NARROW_RATE = 8_000
SHORTEST_S, LONGEST_S = 0.5, 20.0
_PEAK = 0.999


@dataclass(frozen=True)
class SimulateOptions:
    """Ranges of what is drawn; `per_task` recordings of each task, `only` names tasks (empty: all)."""

    only: tuple[str, ...] = ()
    per_task: int = 100
    snr_db: tuple[float, float] = (-5.0, 20.0)
    t60_s: tuple[float, float] = (0.2, 1.0)
    clip: tuple[float, float] = (0.1, 0.5)
    gap_s: tuple[float, float] = (0.1, 1.0)
    sir_db: tuple[float, float] = (-5.0, 5.0)
    seed: int = 0


@dataclass(frozen=True)
class Spoilt:
    """What a simulation makes: what is heard [N] at `rate`, what it was [M] at 16 kHz (or an answer in words), further
    parts of the input by label, whose recordings, and what is known of it."""

    heard: Samples
    clean: Samples | None = None
    answer: str | None = None
    rate: int = RATE
    parts: tuple[tuple[str, Clip], ...] = ()
    used: tuple[Clip, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Bench:
    """What a simulation works with: the recording, a generator, the ranges, and recordings of others."""

    clip: Clip
    samples: Samples
    rng: np.random.Generator
    options: SimulateOptions
    clips: Clips

    def load(self, clip: Clip) -> Samples:
        """Another recording at 16 kHz. Raises `AudioError`."""
        return _load(self.clips.places[clip.id])

    def one_of(self, which: Callable[[Clip], bool]) -> Clip:
        """A drawn recording of the same corpus and side. Raises `AudioError` where there is none."""
        group = [clip for clip in self.clips.groups[self.clip.corpus, self.clip.split] if which(clip) and _fits(clip)]
        if not group:
            raise AudioError("there is no other recording that fits", where=self.clip.id)
        return group[int(self.rng.integers(len(group)))]

    def another_voice(self) -> Clip:
        """A recording of another human speaker."""
        own = self.clip.row.speaker
        return self.one_of(lambda clip: clip.human and clip.row.speaker is not None and clip.row.speaker != own)


def _noisy(bench: Bench) -> tuple[Samples, Samples, dict[str, Any]]:
    asked = uniform(bench.rng, *bench.options.snr_db)
    colour = ("white", "pink", "brown")[int(bench.rng.integers(3))]
    noise = coloured_noise(len(bench.samples), RATE, colour, bench.rng)  # type: ignore[arg-type]
    heard, clean = _within(np.asarray(at_snr(bench.samples, noise, asked), np.float32), bench.samples)
    return heard, clean, {"snr_db": asked, "measured_snr_db": ratio_db(clean, heard - clean), "noise": colour}


def _denoising(bench: Bench) -> Spoilt:
    heard, clean, facts = _noisy(bench)
    return Spoilt(heard, clean, facts=facts)


def _snr_estimation(bench: Bench) -> Spoilt:
    heard, _, facts = _noisy(bench)
    return Spoilt(heard, answer=f"Ratio: {facts['measured_snr_db']:.1f} dB", facts=facts)


def _dereverberation(bench: Bench) -> Spoilt:
    t60_s, direct_db = uniform(bench.rng, *bench.options.t60_s), uniform(bench.rng, -3.0, 9.0)
    response = synthetic_response(RATE, t60_s, direct_db, bench.rng)
    dry = bench.samples * np.float32(1 / np.sqrt(np.square(response).sum()))  # the direct path as it is in the room
    heard, clean = _within(np.asarray(reverberate(bench.samples, response), np.float32), dry)
    return Spoilt(heard, clean, facts={"t60_s": t60_s, "direct_db": direct_db})


def _declipping(bench: Bench) -> Spoilt:
    share = uniform(bench.rng, *bench.options.clip)
    clean = bench.samples
    level = np.float32(share * float(np.abs(clean).max()))
    heard = np.clip(clean, -level, level)
    facts = {"clip_of_peak": share, "clip_level": float(level), "clipped": float(np.mean(np.abs(clean) > level))}
    return Spoilt(heard, clean, facts=facts)


def _bandwidth_extension(bench: Bench) -> Spoilt:
    narrow = np.asarray(soxr.resample(bench.samples, RATE, NARROW_RATE), np.float32)
    heard, clean = _within(narrow, bench.samples)
    return Spoilt(heard, clean, rate=NARROW_RATE, facts={"rate": NARROW_RATE, "clean_rate": RATE})


def _inpainting(bench: Bench) -> Spoilt:
    longest = min(bench.options.gap_s[1], len(bench.samples) / RATE / 2)
    width = round(uniform(bench.rng, min(bench.options.gap_s[0], longest), longest) * RATE)
    first = int(bench.rng.integers(len(bench.samples) - width + 1))
    heard = bench.samples.copy()
    heard[first : first + width] = 0
    return Spoilt(heard, bench.samples, facts={"gap_start_s": first / RATE, "gap_end_s": (first + width) / RATE})


def _extraction(bench: Bench) -> Spoilt:
    own = bench.clip
    sample = bench.one_of(lambda clip: clip.human and clip.row.speaker == own.row.speaker and clip.id != own.id)
    other = bench.another_voice()
    asked = uniform(bench.rng, *bench.options.sir_db)
    voice = np.resize(bench.load(other), len(bench.samples))
    heard, clean = _within(np.asarray(at_snr(bench.samples, voice, asked), np.float32), bench.samples)
    facts = {"sir_db": asked, "measured_sir_db": ratio_db(clean, heard - clean)}
    return Spoilt(heard, clean, parts=(("reference speaker sample", sample),), used=(other,), facts=facts)


def _diarization(bench: Bench) -> Spoilt:
    """Two voices in turn; times follow from how they were mixed, pauses of a frame or more left out."""
    other = bench.another_voice()
    seconds = round(float(bench.rng.uniform(4.0, 8.0)), 1)
    scene = Scene("concat", round(float(bench.rng.uniform(0.4, 0.6)), 2), seconds, silence=0.15)
    mixture = mix(bench.samples, [bench.load(other)], scene, RATE, bench.rng)
    turns = sorted([*_turns(mixture.lead, 0), *_turns(mixture.others, 1)])
    order = list(dict.fromkeys(who for _, _, who in turns))
    lines = [f"{start:.2f}-{end:.2f} s speaker {order.index(who) + 1}" for start, end, who in turns]
    return Spoilt(mixture.samples, answer=f"Turns: {'; '.join(lines)}", used=(other,), facts={"rho": scene.rho})


def _turns(
    flags: np.ndarray[Any, np.dtype[np.bool_]], who: int, pause_s: float = 0.3
) -> Iterator[tuple[float, float, int]]:
    """Stretches of a voice, those that a short pause parts taken together."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))).reshape(-1, 2) / RATE
    start: float | None = None
    for number, (first, last) in enumerate(edges.tolist()):
        start = first if start is None else start
        if number + 1 == len(edges) or edges[number + 1, 0] - last > pause_s:
            yield start, last, who
            start = None


def _voice_activity(bench: Bench) -> Spoilt:
    """Of the recording as it is, with silence before, between and behind; the times are those of a rule."""
    quiet = [np.zeros(round(float(bench.rng.uniform(0.3, 1.2)) * RATE), np.float32) for _ in range(2)]
    floor = np.float32(1e-3) * bench.rng.standard_normal(len(bench.samples) + sum(map(len, quiet)), np.float32)
    heard, _ = _within(np.concatenate([quiet[0], bench.samples, quiet[1]]) + floor, bench.samples)
    rule = SileroRule()
    found = speech_segments(bench.samples, RATE, rule)
    before = len(quiet[0]) / RATE
    times = "; ".join(f"{one.start_s + before:.2f}-{one.end_s + before:.2f} s" for one in found) or "none"
    return Spoilt(heard, answer=f"Speech: {times}", facts={"rule": rule.name, "silence_before_s": before})


MIXED = ("Speaker Extraction", "Speaker Diarization")
SIMULATIONS: Mapping[str, Callable[[Bench], Spoilt]] = {
    "Denoising": _denoising,
    "Dereverberation": _dereverberation,
    "Declipping": _declipping,
    "Speech Bandwidth Extension": _bandwidth_extension,
    "Signal-to-noise Ratio Estimation": _snr_estimation,
    "Speaker Extraction": _extraction,
    "Speaker Diarization": _diarization,
    "Voice Activity Detection": _voice_activity,
    "Audio Inpainting": _inpainting,
}
"""The tasks whose audio is made here."""


@dataclass(frozen=True)
class Simulated:
    """A record, and where its new recordings lie."""

    record: Record
    places: Mapping[str, AudioPlace]


def simulated(clips: Clips, folder: Path, options: SimulateOptions) -> Iterator[Simulated | Problem]:
    """Records with new recordings as FLAC under `folder`; a file that is there already is not written again. What
    cannot be made is a `Problem`. Raises `UsageError` for a task that is not simulated."""
    for name in _names(options):
        for clip in _chosen(clips, name, options):
            try:
                yield _one(name, clip, clips, folder, options)
            except AudioError as error:
                yield Problem(f"{name}, {clip.id}", str(error))


def count_of(clips: Clips, options: SimulateOptions) -> int:
    """How many `simulated` makes."""
    return sum(len(_chosen(clips, name, options)) for name in _names(options))


def spoil(task: str, clip: Clip, clips: Clips, options: SimulateOptions) -> Spoilt:
    """What a task's simulation makes of one clip. Raises `AudioError`."""
    samples = _load(clips.places[clip.id])
    rng = item_rng(options.seed, 0, f"{task}/{clip.id}")
    return SIMULATIONS[task](Bench(clip, samples, rng, options, clips))


def ratio_db(signal: Samples, noise: Samples) -> float:
    """10 log10 of the powers' ratio."""
    powers = [float(np.mean(np.square(part, dtype=np.float64))) for part in (signal, noise)]
    return 10 * float(np.log10(powers[0] / powers[1]))


def _names(options: SimulateOptions) -> Sequence[str]:
    names = [task_named(name).minor for name in options.only] or list(SIMULATIONS)
    if unknown := [name for name in names if name not in SIMULATIONS]:
        raise UsageError(f"'{unknown[0]}' is not simulated", fix=f"Tasks: {'; '.join(SIMULATIONS)}.")
    return names


def _chosen(clips: Clips, task: str, options: SimulateOptions) -> list[Clip]:
    """Human recordings in an order drawn for the task: those of a known length that fits, with the company it needs."""
    company = {
        key: Counter(clip.row.speaker for clip in group if clip.human and _fits(clip))
        for key, group in clips.groups.items()
    }

    def fits(clip: Clip) -> bool:
        speakers = company[clip.corpus, clip.split]
        lonely = (task in MIXED and len(speakers) < 2) or (
            task == "Speaker Extraction" and speakers[clip.row.speaker] < 2
        )
        return not lonely and _fits(clip)

    human = [clip for clip in clips.clips if clip.human and clip.row.speaker is not None and fits(clip)]
    return sorted(human, key=lambda clip: draw(options.seed, f"{task}/{clip.id}"))[: options.per_task]


def _fits(clip: Clip) -> bool:
    """Whether its length can be worked on, as far as its row says."""
    row = clip.row
    end = row.duration_s if row.end is None else row.end
    return end is None or SHORTEST_S <= end - (row.start or 0.0) <= LONGEST_S


def _one(task: str, clip: Clip, clips: Clips, folder: Path, options: SimulateOptions) -> Simulated:
    made_here = spoil(task, clip, clips, options)
    stem = f"{clip.id}.{task.lower().replace(' ', '-')}.{options.seed}"
    files = {f"{stem}.in": (made_here.heard, made_here.rate)}
    if made_here.clean is not None:
        files[f"{stem}.out"] = (made_here.clean, RATE)
    places = {}
    for name, (samples, rate) in files.items():
        places[name] = AudioPlace(folder / f"{name}.flac")
        if not places[name].path.is_file():
            write_flac(places[name].path, samples, rate)
    record = _record(
        task, clip, made_here, stem, {name: sha256_samples(samples) for name, (samples, _) in files.items()}
    )
    return Simulated(record, places)


def _record(task: str, clip: Clip, spoilt: Spoilt, stem: str, hashes: Mapping[str, str]) -> Record:
    parts = [*(audio(part, label) for label, part in spoilt.parts), f"audio: {span(f'{stem}.in')}"]
    used = [clip, *(part for _, part in spoilt.parts), *spoilt.used]
    other = {
        "speakers": sorted({one.row.speaker for one in used if one.row.speaker is not None}),
        "licences": sorted({one.row.licence for one in used if one.row.licence is not None}),
        "made_from": [one.id for one in used],
        **spoilt.facts,
        "sha256": dict(hashes),
    }
    output = spoilt.answer if spoilt.answer is not None else span(f"{stem}.out")
    return made(task_named(task), template(task), "\n".join(parts), output, clip.split, [clip.corpus], other)


def _load(place: AudioPlace) -> Samples:
    """At 16 kHz. Raises `AudioError` for what is silent, too short or too long to work on."""
    samples = load(place.path, RATE, start_s=place.start, end_s=place.end).samples
    seconds = len(samples) / RATE
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise AudioError(f"lasts {seconds:.1f} s; {SHORTEST_S:g} to {LONGEST_S:g} s are worked on", where=place.path)
    if float(np.abs(samples).max()) < 1e-3:
        raise AudioError("is silent: there is nothing to work on", where=place.path)
    return samples


def _within(heard: Samples, clean: Samples) -> tuple[Samples, Samples]:
    """Both by one gain, so that neither is clipped by its file."""
    peak = max(float(np.abs(heard).max()), float(np.abs(clean).max()))
    gain = np.float32(min(1.0, _PEAK / peak))
    return heard * gain, clean * gain
