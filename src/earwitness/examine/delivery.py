"""How is it spoken? Measured facts with units, and the range of ordinary recordings beside them: no verdicts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from earwitness.audio.reading import load
from earwitness.core.errors import AudioError, MissingPartError
from earwitness.examine.enrolment import Enrolment
from earwitness.examine.finding import Finding, Table
from earwitness.examine.questions import Channel
from earwitness.nn.pretrained.mos import MosEstimator, load_mos
from earwitness.paralinguistic import voice_quality as praat
from earwitness.paralinguistic.prosody import Prosody, file_prosody

QUESTION = "How is it spoken?"
COLUMNS = ("measured", "here", "unit", "usual: 5 %", "usual: 95 %")
OF_REFERENCES = ("claimed speaker: least", "claimed speaker: most")
Cells = tuple[str | float | None, ...]
FIRST_S = 120.0  # jitter and the like, and the quality of listening, are measured on so many seconds from the start
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
    "jitter (local, Praat)": (1.37, 3.71),
    "shimmer (local, Praat)": (6.5, 14.72),
    "harmonics-to-noise ratio (Praat)": (6.48, 15.32),
    "quality of listening, estimated (dnsmos)": (3.2, 4.0),
}
"""Where nine in ten recordings of 279 adults lie: benchmarks/prosody_ranges.py (docs/systems/manner.md)."""
LIMITS = (
    "Facts about the sound, not about the person: pitch, pace and pauses depend on text, language, sex, health, mood "
    "and microphone, and nothing follows from a value outside of the usual range.",
    "The usual range is that of short read sentences of adults; free speech differs. Syllables are counted without a "
    "transcript and can be far off in one short recording.",
    "Jitter, shimmer and harmonics-to-noise ratio, where shown, are of running speech: they say as much about the "
    "recording as about the voice, and the limits that clinics use for held vowels do not hold here.",
    "The quality of listening is a network's guess at the mean of listeners' ratings of noise and distortion, and says "
    "nothing about the speaker.",
)


@dataclass(frozen=True)
class Delivery:
    """Asked of every recording. `voice_quality`: whether Praat's measures stand beside the others; `mos` estimates how
    listeners would rate the recording."""

    voice_quality: bool = False
    mos: MosEstimator | None = None

    @classmethod
    def of_installed(cls) -> Delivery:
        """With what the installed packages measure."""
        mos = None
        with contextlib.suppress(MissingPartError):
            mos = load_mos("dnsmos")
        return cls(praat.available(), mos)

    def answer(self, channel: Channel, enrolment: Enrolment | None) -> Iterable[Finding]:
        """ "No answer" where there is no speech to measure."""
        found = file_prosody(channel.path, channel.number)
        if found.pitch_hz is None and found.speaking_rate is None:
            yield Finding(QUESTION, None, "no answer", "There is too little speech to measure how it is spoken.")
            return
        rows = [*measured(found), *self._further(channel)]
        references = () if enrolment is None else tuple(path for path, _ in enrolment.sources)
        if references:
            rows = _beside(rows, [tuple(measured(_prosody(path))) for path in references])
        yield Finding(
            question=QUESTION,
            hypotheses=None,
            verdict="answer",
            answer=_answer(found),
            tables=(_table(rows, len(references)),),
            limits=LIMITS,
            seconds_used=found.speech_s,
            seconds_total=channel.facts.duration_s,
        )

    def _further(self, channel: Channel) -> Iterable[Cells]:
        if not self.voice_quality and self.mos is None:
            return
        length_s = min(FIRST_S, channel.facts.duration_s)
        recording = load(channel.path, channel.facts.rate, channel.number, 0.0, length_s)
        if self.voice_quality:
            yield from _praat(praat.voice_quality(recording.samples, recording.rate))
        if self.mos is not None:
            with contextlib.suppress(AudioError):  # too short to be rated
                score = self.mos.score(recording.samples, recording.rate).score
                yield _row(f"quality of listening, estimated ({self.mos.name})", score, "MOS, 1 to 5", 1)


@lru_cache(maxsize=64)  # the references are the same for every recording and channel
def _prosody(path: str) -> Prosody:
    return file_prosody(path)


def _beside(rows: Iterable[Cells], references: Sequence[tuple[Cells, ...]]) -> list[Cells]:
    """Rows with the least and the most of what was measured in the references, where it was."""
    found = []
    for row in rows:
        same = [cells[1] for table in references for cells in table if cells[0] == row[0]]
        values = [value for value in same if isinstance(value, float)]
        found.append((*row, min(values, default=None), max(values, default=None)))
    return found


def _table(rows: Iterable[Cells], references: int) -> Table:
    if not references:
        return Table("measured", COLUMNS, tuple(rows), note="Measured, not judged.")
    note = f"Measured, not judged. The claimed speaker's own range is that of {references} reference(s)."
    return Table("measured", (*COLUMNS, *OF_REFERENCES), tuple(rows), note=note)


def _praat(found: praat.VoiceQuality) -> Iterable[Cells]:
    percent = [None if value is None else round(100 * value, 2) for value in (found.jitter, found.shimmer)]
    noise = None if found.harmonicity_db is None else round(found.harmonicity_db, 1)
    yield _row("jitter (local, Praat)", percent[0], "%")
    yield _row("shimmer (local, Praat)", percent[1], "%")
    yield _row("harmonics-to-noise ratio (Praat)", noise, "dB")


def measured(found: Prosody) -> Iterable[Cells]:
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


def _row(name: str, value: float | None, unit: str, digits: int = 2) -> Cells:
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
