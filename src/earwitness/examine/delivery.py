"""How is it spoken? Measured facts with units, and the range of ordinary recordings beside them: no verdicts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from earwitness.audio.reading import load
from earwitness.examine.enrolment import Enrolment
from earwitness.examine.finding import Finding, Table
from earwitness.examine.questions import Channel
from earwitness.paralinguistic import voice_quality as praat
from earwitness.paralinguistic.prosody import Prosody, file_prosody

QUESTION = "How is it spoken?"
COLUMNS = ("measured", "here", "unit", "usual: 5 %", "usual: 95 %")
PRAAT_S = 120.0  # jitter and the like are measured on so many seconds from the start
USUAL: dict[str, tuple[float, float]] = {
    "pitch, median": (95, 243.3),
    "pitch, 5 % of the time below": (71.9, 201.1),
    "pitch, 5 % of the time above": (124.7, 335.1),
    "pitch, standard deviation": (1.4, 5.4),
    "level of the speech, standard deviation": (5.6, 13.9),
    "voiced": (44, 77),
    "speaking rate, with pauses": (1.8, 4.6),
    "articulation rate, without pauses": (2.49, 4.7),
    "pauses of 0.2 s and more": (0, 2),
    "pauses, share": (0, 33.1),
    "pauses, mean": (0.23, 1.6),
}
"""Where nine in ten recordings of 279 adults lie: benchmarks/prosody_ranges.py (docs/systems/manner.md)."""
LIMITS = (
    "Facts about the sound, not about the person: pitch, pace and pauses depend on text, language, sex, health, mood "
    "and microphone, and nothing follows from a value outside of the usual range.",
    "The usual range is that of short read sentences of adults; free speech differs. Syllables are counted without a "
    "transcript and can be far off in one short recording.",
)


@dataclass(frozen=True)
class Delivery:
    """Asked of every recording. `voice_quality`: whether Praat's measures stand beside the others."""

    voice_quality: bool = False

    def answer(self, channel: Channel, enrolment: Enrolment | None) -> Iterable[Finding]:
        """ "No answer" where there is no speech to measure."""
        found = file_prosody(channel.path, channel.number)
        if found.pitch_hz is None and found.speaking_rate is None:
            yield Finding(QUESTION, None, "no answer", "There is too little speech to measure how it is spoken.")
            return
        rows = [*measured(found), *(self._praat(channel) if self.voice_quality else ())]
        yield Finding(
            question=QUESTION,
            hypotheses=None,
            verdict="answer",
            answer=_answer(found),
            tables=(Table("measured", COLUMNS, tuple(rows), note="Measured, not judged."),),
            limits=LIMITS,
            seconds_used=found.speech_s,
            seconds_total=channel.facts.duration_s,
        )

    def _praat(self, channel: Channel) -> Iterable[tuple[str | float | None, ...]]:
        recording = load(channel.path, channel.facts.rate, channel.number, 0.0, min(PRAAT_S, channel.facts.duration_s))
        found = praat.voice_quality(recording.samples, recording.rate)
        percent = [None if value is None else round(100 * value, 2) for value in (found.jitter, found.shimmer)]
        noise = None if found.harmonicity_db is None else round(found.harmonicity_db, 1)
        yield _row("jitter (local, Praat)", percent[0], "%")
        yield _row("shimmer (local, Praat)", percent[1], "%")
        yield _row("harmonics-to-noise ratio (Praat)", noise, "dB")


def measured(found: Prosody) -> Iterable[tuple[str | float | None, ...]]:
    """A row of `COLUMNS` for each thing that is measured."""
    yield _row("pitch, median", found.pitch_hz, "Hz", 0)
    yield _row("pitch, 5 % of the time below", found.pitch_low_hz, "Hz", 0)
    yield _row("pitch, 5 % of the time above", found.pitch_high_hz, "Hz", 0)
    yield _row("pitch, standard deviation", found.pitch_sd_semitones, "semitones", 1)
    yield _row("level of the speech, standard deviation", found.level_sd_db, "dB", 1)
    yield _row("voiced", None if found.voiced_share is None else 100 * found.voiced_share, "% of the speech", 0)
    yield _row("speaking rate, with pauses", found.speaking_rate, "syllables/s", 1)
    yield _row("articulation rate, without pauses", found.articulation_rate, "syllables/s", 1)
    yield _row("pauses of 0.2 s and more", float(found.pauses), "", 0)
    yield _row("pauses, share", None if found.pause_share is None else 100 * found.pause_share, "%", 0)
    yield _row("pauses, mean", found.pause_s, "s", 2)


def _row(name: str, value: float | None, unit: str, digits: int = 2) -> tuple[str | float | None, ...]:
    low, high = USUAL.get(name, (None, None))
    return (name, None if value is None else round(value, digits), unit, low, high)


def _answer(found: Prosody) -> str:
    parts = []
    if found.pitch_hz is not None:
        parts.append(f"a pitch of about {found.pitch_hz:.0f} Hz")
    if found.articulation_rate is not None:
        parts.append(f"about {found.articulation_rate:.1f} syllables a second")
    if found.speaking_rate is not None:
        parts.append("no pauses" if not found.pauses else f"{found.pauses} pause{'s' if found.pauses > 1 else ''}")
    return f"With {', '.join(parts[:-1])} and {parts[-1]}." if len(parts) > 1 else f"With {parts[0]}."
