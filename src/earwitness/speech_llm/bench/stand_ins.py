"""Models and judges whose worth is known: what a harness says of them shows what the harness is worth.

All are pure functions of what they are given, so that a run with them is the same on every machine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from earwitness.audio.recording import Recording
from earwitness.core.hashing import sha256_samples, sha256_text
from earwitness.speech_llm.clients.interface import Answer, Params

RIGHT, WRONG = 4, 1  # what a wavering judge rates on average: a step from the ends, so that no slip is cut off
_FENCED = re.compile(r"<(question|reference|answer)>(.*)</\1>")


@dataclass(frozen=True)
class StandIn:
    """A model that answers by a function of recordings, prompt and parameters."""

    id: str
    reply: Callable[[Sequence[Recording], str, Params], str]
    max_audios: int = 1
    max_seconds: float | None = None

    def answer(
        self, audios: Sequence[Recording], prompt: str, *, system: str | None = None, params: Params = Params()
    ) -> Answer:
        """What the function says."""
        heard = sum(audio.duration_s for audio in audios)
        return Answer(self.reply(audios, prompt, params), "ok", None, "stop", heard, model=self.id)


def audio_blind() -> StandIn:
    """Answers by the question alone, whatever is heard."""
    return StandIn("audio-blind", lambda audios, prompt, params: f"Surely {sha256_text(prompt)[:8]}.")


@dataclass(frozen=True)
class Oracle:
    """Knows the reference to each question about each recording, and hears which recording it is.

    `references` are by (sha256 of the samples, question). Of what it does not know it says so.
    """

    references: Mapping[tuple[str, str], str]
    id: str = "oracle"
    max_audios: int = 1
    max_seconds: float | None = None

    def answer(
        self, audios: Sequence[Recording], prompt: str, *, system: str | None = None, params: Params = Params()
    ) -> Answer:
        """The reference, word for word."""
        known = [self.references.get((sha256_samples(audio.samples), prompt)) for audio in audios]
        text = next((one for one in known if one), "I cannot tell.")
        return Answer(text, "ok", None, "stop", sum(audio.duration_s for audio in audios), model=self.id)


def exact_judge() -> StandIn:
    """5 where the answer is the reference, else 0."""

    def reply(audios: Sequence[Recording], prompt: str, params: Params) -> str:
        parts = fenced_parts(prompt)
        return _judgement(5 if _is_reference(parts) else 0)

    return StandIn("exact-judge", reply, max_audios=0)


def noisy_judge() -> StandIn:
    """2, 3 or 4 with chances 1/8, 3/4, 1/8, whatever the answer: mean 60, standard deviation exactly 10 on 0..100."""

    def reply(audios: Sequence[Recording], prompt: str, params: Params) -> str:
        return _judgement(3 + _slip(prompt, params))

    return StandIn("noisy-judge", reply, max_audios=0)


def wavering_judge() -> StandIn:
    """`RIGHT` for the reference, else `WRONG`, and with chances 1/8 each one more or one less.

    On 0..100 the means are 80 and 20, and the standard deviation is exactly 10.
    """

    def reply(audios: Sequence[Recording], prompt: str, params: Params) -> str:
        calm = RIGHT if _is_reference(fenced_parts(prompt)) else WRONG
        return _judgement(calm + _slip(prompt, params))

    return StandIn("wavering-judge", reply, max_audios=0)


def fenced_parts(prompt: str) -> dict[str, str]:
    """Question, reference and answer in the prompt of a judge, out of their fences."""
    return {name: str(json.loads(text)) for name, text in _FENCED.findall(prompt)}


def _is_reference(parts: Mapping[str, str]) -> bool:
    return parts["answer"].strip() == parts["reference"].strip()


def _slip(prompt: str, params: Params) -> int:
    """-1, 0 or 1 with chances 1/8, 3/4, 1/8; the same for the same prompt and seed."""
    chance = int(sha256_text(f"{params.seed} {prompt}")[:12], 16) % 8
    return {0: -1, 1: 1}.get(chance, 0)


def _judgement(rating: int) -> str:
    said: dict[str, Any] = {"rationale": "by rule", "rating": rating}
    return json.dumps(said)
