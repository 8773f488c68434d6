"""Which synthetic utterances are kept (2.6; all rules and limits are ours): measured once, judged as often as wanted.

Every rule can be switched off (null), and says how many utterances it dropped and whether it could be applied at all.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from earwitness.audio.recording import Samples
from earwitness.audio.speech import EnergyRule
from earwitness.core.config import Config
from earwitness.core.errors import LeakError
from earwitness.speaker.comparison import Vectors, enrol, unit
from earwitness.speaker.identity_expansion.pairs import Pair
from earwitness.speaker.identity_expansion.vectors import SpeakerVectors

FULL_SCALE = 0.999  # samples at or above it are clipped
RULES = ("duration", "clipping", "speech", "likeness", "words", "nearest", "few")


class FilterConfig(Config):
    """Limits of each rule; null switches it off.

    An utterance lasts `seconds`, has at most `clipped` of its samples at full scale, is speech for at least `speech`
    of its length, is at a cosine of at least `likeness` with the vector that it was made from when it is embedded
    again, and has at most `words` word errors a word where a recogniser is there. An identity whose mean is nearer to a
    real speaker other than its parents than to its own vector is dropped whole (`nearest`), and so is one with fewer
    than `few` utterances left.
    """

    seconds: tuple[float, float] | None = (1.0, 15.0)
    clipped: float | None = Field(0.001, ge=0)
    speech: float | None = Field(0.6, ge=0, le=1)
    likeness: float | None = Field(0.5, ge=-1, le=1)
    words: float | None = Field(0.3, ge=0)
    nearest: bool = True
    few: int | None = Field(8, ge=1)


@dataclass(frozen=True)
class Measured:
    """What is known of one synthetic utterance. None: not measured (no encoder, no recogniser)."""

    path: str
    new_id: str
    duration_s: float
    clipped: float
    speech: float
    vector: Vectors | None = None  # embedded again, [D]
    word_errors: float | None = None


@dataclass(frozen=True)
class Judged:
    """The kept utterances by path, how many utterances each rule dropped, and which rules could not be applied."""

    kept: tuple[str, ...]
    dropped: dict[str, int]
    identities: tuple[str, ...]  # with at least one kept utterance
    not_applied: dict[str, str]


@dataclass(frozen=True)
class Aim:
    """Where the identities should lie, in the space of the encoder that embeds utterances again: `targets` and the real
    speakers. For an encoder other than the synthesiser's, targets are the middles of the parents there."""

    targets: SpeakerVectors
    real: SpeakerVectors


def measure(samples: Samples, rate: int) -> tuple[float, float, float]:
    """Duration in seconds, share of clipped samples, share of frames of 10 ms that are speech by their energy."""
    duration_s = len(samples) / rate
    clipped = float(np.mean(np.abs(samples) >= FULL_SCALE)) if len(samples) else 0.0
    rule = EnergyRule()
    frames = rule.build(rate)
    frames.push(samples)
    speaking, _ = rule.speaks(frames.finish())
    return duration_s, clipped, float(speaking.mean()) if len(speaking) else 0.0


def judge(utterances: Sequence[Measured], pairs: Sequence[Pair], aim: Aim | None, config: FilterConfig) -> Judged:
    """Apply the rules in their order. An utterance counts for the first rule that drops it."""
    dropped: Counter[str] = Counter(dict.fromkeys(RULES, 0))
    left: defaultdict[str, list[Measured]] = defaultdict(list)
    for utterance in utterances:
        if rule := _first_broken(utterance, aim, config):
            dropped[rule] += 1
        else:
            left[utterance.new_id].append(utterance)
    parents = {pair.new_id: {pair.parent_a, pair.parent_b} for pair in pairs}
    for new_id, found in list(left.items()):
        if config.nearest and aim is not None and _astray(found, parents.get(new_id, set()), aim):
            dropped["nearest"] += len(left.pop(new_id))
        elif config.few is not None and len(found) < config.few:
            dropped["few"] += len(left.pop(new_id))
    kept = tuple(utterance.path for found in left.values() for utterance in found)
    return Judged(kept, dict(dropped), tuple(left), _not_applied(utterances, aim, config))


def _first_broken(utterance: Measured, aim: Aim | None, config: FilterConfig) -> str | None:
    if config.seconds is not None and not config.seconds[0] <= utterance.duration_s <= config.seconds[1]:
        return "duration"
    if config.clipped is not None and utterance.clipped > config.clipped:
        return "clipping"
    if config.speech is not None and utterance.speech < config.speech:
        return "speech"
    if config.likeness is not None and aim is not None and utterance.vector is not None:
        target = aim.targets.vectors[aim.targets.ids.index(utterance.new_id)]
        if float(unit(utterance.vector) @ target) < config.likeness:
            return "likeness"
    if config.words is not None and utterance.word_errors is not None and utterance.word_errors > config.words:
        return "words"
    return None


def _astray(utterances: Sequence[Measured], parents: set[str], aim: Aim) -> bool:
    """Whether the mean of an identity is nearer to a stranger than to its own vector."""
    vectors = [utterance.vector for utterance in utterances if utterance.vector is not None]
    strangers = [place for place, name in enumerate(aim.real.ids) if name not in parents]
    if not vectors or not strangers:
        return False
    mean = enrol(np.stack(vectors))
    own = float(mean @ aim.targets.vectors[aim.targets.ids.index(utterances[0].new_id)])
    return float((aim.real.vectors[strangers] @ mean).max()) > own


def _not_applied(utterances: Sequence[Measured], aim: Aim | None, config: FilterConfig) -> dict[str, str]:
    """Rules that are switched off, or lack what they need."""
    off = {
        "duration": config.seconds is None,
        "clipping": config.clipped is None,
        "speech": config.speech is None,
        "likeness": config.likeness is None,
        "words": config.words is None,
        "nearest": not config.nearest,
        "few": config.few is None,
    }
    reasons = {rule: "switched off" for rule, is_off in off.items() if is_off}
    if aim is None:
        reasons |= {rule: "no encoder" for rule in ("likeness", "nearest") if rule not in reasons}
    if "words" not in reasons and not any(utterance.word_errors is not None for utterance in utterances):
        reasons["words"] = "no recogniser"
    return reasons


def word_error_rate(said: str, heard: str) -> float:
    """Insertions, deletions and substitutions a word of what was to be said; case and punctuation don't count."""
    wanted, found = _words(said), _words(heard)
    row = list(range(len(found) + 1))
    for i, word in enumerate(wanted, start=1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(found, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1] / max(1, len(wanted))


def _words(text: str) -> list[str]:
    return "".join(c if c.isalnum() else " " if c.isspace() or c == "-" else "" for c in text.lower()).split()


def require_other_model(filter_sha256: str | None, verifier_sha256: str) -> None:
    """Raises `LeakError` where the verifier under test is the model that chose what it learns from."""
    if filter_sha256 == verifier_sha256:
        raise LeakError(
            "the verifier under test is the filter of the expanded set: it would be judged by its own choice",
            fix="Filter with another model, or test another verifier.",
        )


Recogniser = Callable[[Samples, int], str]
"""Samples [N] at a rate in Hz to the words that are heard."""

Sexes = Mapping[str, str]
