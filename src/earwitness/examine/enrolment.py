"""The claimed speaker, from recordings of known origin."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from earwitness.audio.facts import file_facts
from earwitness.core.errors import AudioError
from earwitness.core.hashing import sha256_file
from earwitness.speaker.embedder import Embedder, VoicePrint
from earwitness.speaker.voices import several_voices
from earwitness.training.calibration import ConditionName
from earwitness.training.conditions import conditions_of


@dataclass(frozen=True)
class Enrolment:
    """The claimed speaker: one print a reference recording, with its path, sha256 and conditions."""

    prints: tuple[VoicePrint, ...]
    sources: tuple[tuple[str, str], ...]
    conditions: tuple[ConditionName, ...]
    mixed: tuple[str, ...]  # paths in which several voices are heard


def enrol_references(paths: Iterable[Path], embedder: Embedder) -> Enrolment | None:
    """The claimed speaker from reference recordings; None without any. Raises `AudioError` naming a bad one."""
    prints: list[VoicePrint] = []
    sources: list[tuple[str, str]] = []
    conditions: set[ConditionName] = set()
    mixed: list[str] = []
    for path in paths:
        try:
            known = embedder.embed_file(path)
        except AudioError as error:
            raise AudioError(error.what, where=path, fix="Give another reference recording.") from None
        prints.append(known)
        sources.append((str(path), sha256_file(path)))
        conditions.update(conditions_of(file_facts(path)))
        if several_voices(known, embedder.info):
            mixed.append(str(path))
    if not prints:
        return None
    return Enrolment(tuple(prints), tuple(sources), tuple(sorted(conditions)), tuple(mixed))
