"""Whom a model or a cohort knows, kept without names: hashes that can be compared with the speakers of a trial list."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from earwitness.core.hashing import sha256_text

TRAINING_SPEAKERS = "training_speakers"  # where a model's description keeps them (in `extra`)
COHORT_SPEAKERS = "cohort_speakers"


def speaker_key(name: str) -> str:
    """Twelve hex digits of the sha256 of a speaker's name."""
    return sha256_text(name)[:12]


def speaker_keys(names: Iterable[str]) -> list[str]:
    """The keys of speakers, each once, in order of the keys."""
    return sorted({speaker_key(name) for name in names})


def known_among(keys: Collection[str], names: Iterable[str]) -> list[str]:
    """Those of the names whose keys are among `keys`, sorted."""
    return sorted(name for name in set(names) if speaker_key(name) in keys)


def keys_in(extra: object) -> frozenset[str] | None:
    """The keys that a model's description holds in one entry of `extra`; None where it has no such list."""
    return frozenset(str(key) for key in extra) if isinstance(extra, list) else None
