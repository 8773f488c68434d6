"""The labelled scores that a request names, joined with their key or protocol, and turned where the user says so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from earwitness.core.errors import DataError, UsageError
from earwitness.core.hashing import sha256_file
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers import read_corpus
from earwitness.evaluation.judging.labelled import Key, LabelledScores, read_labelled
from earwitness.evaluation.results.protocols import Protocol, counted, find_protocol
from earwitness.evaluation.results.requests import ScoreRequest


@dataclass(frozen=True)
class Truth:
    """What the rows of a request truly are: its protocol, the key's manifest where it is one, and notes on reading."""

    request: ScoreRequest
    key: Path | Key | None
    manifest: Manifest | None = None
    protocol: Protocol | None = None
    notes: tuple[str, ...] = ()

    def recordings(self) -> Manifest:
        """Where the recordings lie. Raises `DataError` without a key, or where it is no manifest."""
        if self.manifest is not None:
            return self.manifest
        if not isinstance(self.key, Path):
            raise DataError("the recordings are not known", fix="Give the manifest of the scored files as --key.")
        return Manifest.read(self.key)


def read_truth(request: ScoreRequest) -> Truth:
    """The key of a request. Raises `UsageError` for an unknown protocol, `DataError` for a bad key."""
    if request.protocol is None:
        if request.subset is not None:
            raise UsageError("subsets are those of a protocol", where="--subset", fix="Name the --protocol.")
        return Truth(request, request.key)
    protocol = find_protocol(request.protocol)
    if (protocol.reader is None) != (request.task == "sasv"):
        fix = "Name a protocol of this task, or none."
        raise UsageError(f"{protocol.name} is none of {request.task}", where="--protocol", fix=fix)
    if request.key is None:
        return Truth(request, None, None, protocol)  # score files of some benchmarks state the labels
    if protocol.reader is None:
        return Truth(request, request.key, None, protocol)
    imported = read_corpus(protocol.reader, request.key)
    key = Key.of_manifest(imported.manifest, str(request.key))
    if request.key.is_file():
        key = Key(key.table, key.where, sha256_file(request.key))
    return Truth(request, key, imported.manifest, protocol, imported.notes)


def read_scores(truth: Truth, path: Path) -> tuple[LabelledScores, tuple[str, ...]]:
    """One score file of a request, and notes on its reading.

    Raises `DataError` as `read_labelled` does, and `UsageError` for a subset that is not there.
    """
    scores = read_labelled(truth.request.task, path, truth.key)
    if truth.request.negate:
        scores = scores.negated()
    notes = [*truth.notes, *scores.notes]
    if truth.protocol is not None:
        scores, left_out = counted(truth.protocol, scores, truth.request.subset)
        notes += left_out
    return scores, tuple(notes)
