"""One recording, all questions: reads it, asks every model, and collects one report a channel."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from earwitness.audio.facts import SignalFacts, file_facts
from earwitness.audio.reading import RATE, probe, stream
from earwitness.audio.recording import Source
from earwitness.core.allocator import give_back_freed_memory
from earwitness.core.errors import EarwitnessError, UsageError
from earwitness.core.paths import matches
from earwitness.core.records import command_line, versions
from earwitness.corpora.readers import AUDIO_SUFFIXES
from earwitness.deepfake.retrieval.index import Index
from earwitness.evaluation.scoring.galleries import KnownVoices, read_known
from earwitness.examine.channels import channels_to_examine
from earwitness.examine.enrolment import Enrolment, enrol_references
from earwitness.examine.finding import Fact, Finding, Report
from earwitness.examine.genuineness import Genuineness
from earwitness.examine.known_voices import WhoseVoice
from earwitness.examine.models import Answering, load_models
from earwitness.examine.questions import Channel, Question
from earwitness.examine.same_voice import SameVoice
from earwitness.nn.frontends.encoder import keeping_states

LONG_S = 120.0  # from here on networks work on as many windows at once as they ever do, and leave as much behind


@dataclass(frozen=True)
class Outcome:
    """What became of one recording: its reports, or the one line that says why there is none."""

    reports: tuple[Report, ...] = ()
    failure: str | None = None


class Examiner:
    """Models that are loaded once and examine any number of recordings, one question after the other.

    `stretches` and `genuine_speech` are those of `Genuineness`, `known` are voices for `WhoseVoice`.
    """

    def __init__(
        self,
        models: Answering,
        *,
        stretches: bool = False,
        genuine_speech: Index | None = None,
        known: KnownVoices | None = None,
    ) -> None:
        self.models = models
        self.questions: tuple[Question, ...] = (
            Genuineness(models.detector, models.detector_credit, stretches, genuine_speech),
            SameVoice(models.embedder, models.embedder_credit),
            *(() if known is None else (WhoseVoice(known, models.embedder_credit),)),
            *models.further,
        )

    @classmethod
    def load(
        cls,
        chosen: Mapping[str, str] | None = None,
        *,
        stretches: bool = False,
        genuine_speech: Index | None = None,
        known: str | Path | None = None,
        manner: bool = True,
        progress: Callable[[], object] = lambda: None,
    ) -> Examiner:
        """With the shipped models, or those chosen by task: `{"deepfake": "deepfake-small"}`. `known` names known
        voices (`evaluation.scoring.galleries`); `progress` is called for each of their recordings. Without `manner`
        it is not asked how it was said.

        Raises `ModelError`, and `UsageError` and `DataError` as `read_known` does.
        """
        models = load_models(chosen or {}, manner=manner)
        voices = None if known is None else read_known(known, models.embedder, progress=progress)
        return cls(models, stretches=stretches, genuine_speech=genuine_speech, known=voices)

    def enrol(self, references: Iterable[str | Path]) -> Enrolment | None:
        """The claimed speaker from reference recordings; None without any. Raises `AudioError` naming a bad one."""
        return enrol_references((Path(reference) for reference in references), self.models.embedder)

    def examine(self, path: str | Path, enrolment: Enrolment | None = None) -> list[Report]:
        """One report a distinct channel. Raises `AudioError` for what cannot be read."""
        info = probe(path)
        return [self._channel(path, channel, info.channels, enrolment) for channel in channels_to_examine(path, info)]

    def attempt(self, path: str | Path, enrolment: Enrolment | None = None) -> Outcome:
        """`examine`, with a recording that cannot be read told as a failure instead of raised."""
        try:
            return Outcome(tuple(self.examine(path, enrolment)))
        except EarwitnessError as error:
            return Outcome(failure=str(error))

    def _channel(self, path: str | Path, number: int | None, channels: int, enrolment: Enrolment | None) -> Report:
        facts = file_facts(path, number)
        channel = Channel(Path(path), number, facts)
        with keeping_states():
            findings = [finding for question in self.questions for finding in _answers(question, channel, enrolment)]
        source = _source(path, number)
        return Report(
            path=str(path),
            sha256=source.sha256 or "",
            channel=number,
            channels=channels,
            duration_s=facts.duration_s,
            native_rate=source.native_rate or 0,
            container=source.container or "",
            codec=source.codec or "",
            findings=tuple(findings),
            facts=tuple(facts_in_words(facts)),
            references=enrolment.sources if enrolment else (),
            steps=(*source.steps, *self.models.notes),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            command=command_line(),
            versions=versions(),
        )


def _answers(question: Question, channel: Channel, enrolment: Enrolment | None) -> list[Finding]:
    findings = list(question.answer(channel, enrolment))
    if channel.facts.duration_s > LONG_S:
        give_back_freed_memory()
    return findings


def examine(
    path: str | Path, references: Sequence[str | Path] = (), models: Mapping[str, str] | None = None
) -> list[Report]:
    """Examine one recording, with references of the claimed speaker if there are any: one report a distinct channel.

    `models` chooses others than the shipped ones by task. Raises `AudioError` for what cannot be read, `ModelError`.
    """
    examiner = Examiner.load(models)
    return examiner.examine(path, examiner.enrol(references))


def expand(given: Iterable[str]) -> list[Path]:
    """Files, folders (their audio, at any depth) and globs as files, each once, in order.

    Raises `UsageError` for a folder or a glob without any.
    """
    found: dict[Path, None] = {}
    for name in given:
        path = Path(name)
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in AUDIO_SUFFIXES)
            if not inside:
                raise UsageError("holds no audio files", where=name, fix="Name a folder with recordings.")
            found.update(dict.fromkeys(inside))
        elif not path.exists() and glob.has_magic(name):
            if not (named := matches(name)):
                raise UsageError("matches no file", where=name, fix="Check the pattern.")
            found.update(dict.fromkeys(named))
        else:
            found[path] = None
    return list(found)


def _source(path: str | Path, channel: int | None) -> Source:
    """What was done to the file before the models heard it; reading it to its end completes the notes."""
    blocks = stream(path, RATE, channel)
    for _ in blocks:
        pass
    return blocks.source()


def facts_in_words(facts: SignalFacts) -> list[Fact]:
    """The measurements that help to weigh the answers, each with its unit."""

    def number(value: float | None, digits: int = 1) -> str:
        return "not measurable" if value is None else f"{value:.{digits}f}"

    return [
        Fact("duration", number(facts.duration_s, 2), "s"),
        Fact("speech", number(facts.speech_s, 1), "s", f"by {facts.speech_rule}"),
        Fact("level of the speech", number(facts.speech_level_dbfs), "dBFS"),
        Fact("peak", number(facts.peak_dbfs), "dBFS"),
        Fact("clipped samples", f"{100 * facts.clipped_fraction:.2f}", "%"),
        Fact("bandwidth", number(facts.bandwidth_hz, 0), "Hz", "highest frequency with sound"),
        Fact("speech above background", number(facts.snr_db), "dB"),
        Fact("silence before and after", f"{facts.leading_silence_s:.2f} and {facts.trailing_silence_s:.2f}", "s"),
    ]
