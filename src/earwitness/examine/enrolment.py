"""The claimed speaker, from recordings of known origin."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from earwitness.audio.facts import file_facts
from earwitness.core.errors import AudioError
from earwitness.core.hashing import sha256_file
from earwitness.speaker.diarisation import diarise
from earwitness.speaker.embedder import Embedder, VoicePrint
from earwitness.speaker.references import UNFIT, reference_doubts, speech_seconds
from earwitness.training.calibration import ConditionName
from earwitness.training.conditions import conditions_of


@dataclass(frozen=True)
class Enrolment:
    """The claimed speaker: one print a reference recording, with its path, sha256 and conditions.

    `doubts` are paths of references that may mislead, with the reason in words.
    """

    prints: tuple[VoicePrint, ...]
    sources: tuple[tuple[str, str], ...]
    conditions: tuple[ConditionName, ...]
    doubts: tuple[tuple[str, str], ...]

    @property
    def unfit(self) -> bool:
        """Whether a reference holds no speech, or less than the model was tested with: nothing is settled by it."""
        return any(doubt.startswith(UNFIT) for _, doubt in self.doubts)

    def without(self, sha256: str) -> Enrolment:
        """The references that are not this very file."""
        kept = [place for place, (_, digest) in enumerate(self.sources) if digest != sha256]
        paths = {self.sources[place][0] for place in kept}
        return replace(
            self,
            prints=tuple(self.prints[place] for place in kept),
            sources=tuple(self.sources[place] for place in kept),
            doubts=tuple(found for found in self.doubts if found[0] in paths),
        )


def enrol_references(paths: Iterable[Path], embedder: Embedder) -> Enrolment | None:
    """The claimed speaker from reference recordings; None without any. Raises `AudioError` naming a bad one."""
    prints: list[VoicePrint] = []
    sources: list[tuple[str, str]] = []
    conditions: set[ConditionName] = set()
    doubts: list[tuple[str, str]] = []
    for path in paths:
        try:
            known, facts = embedder.embed_file(path), file_facts(path)
            speech_s = speech_seconds(path)
        except AudioError as error:
            raise AudioError(error.what, where=path, fix="Give another reference recording.") from None
        prints.append(known)
        sources.append((str(path), sha256_file(path)))
        conditions.update(conditions_of(facts))
        said = reference_doubts(known, speech_s, facts, embedder.info, diarise(path, embedder))
        doubts += [(str(path), doubt) for doubt in said]
    if not prints:
        return None
    return Enrolment(tuple(prints), tuple(sources), tuple(sorted(conditions)), tuple(doubts))
