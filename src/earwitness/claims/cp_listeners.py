"""Clients of known kind for the claim about CP-Bench: each knows a part of a recording and answers by one rule.

The rule: a choice is as likely as what is known makes it, and the likeliest is the answer, of equal ones that which is
named first. What is not known makes no choice likelier. So a client that knows nothing answers by the question alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from earwitness.audio.recording import Recording
from earwitness.core.errors import DataError
from earwitness.core.hashing import sha256_samples
from earwitness.speech_llm.clients.fencing import unfenced
from earwitness.speech_llm.clients.interface import Answer, Params
from earwitness.speech_llm.mini.building import DESKS

_PHRASES = r"messages (.+?) ((?:in an?|from) .+?)"
_TWO_DESKS = re.compile(rf"Desk 1 takes {_PHRASES} and {_PHRASES}\. Desk 2 takes ")
_TWO_CHOICES = re.compile(r"(?:How does the speaker sound|What is the message|Who speaks): (.+?),? or (.+?)\? Answer")


@dataclass(frozen=True)
class Known:
    """What is known of one recording, in the words of the questions: what it is about ("about a cloth"), and how likely
    each manner ("angry") and each speaker ("a woman") is. None: nothing."""

    about: str | None = None
    manners: Mapping[str, float] | None = None
    speakers: Mapping[str, float] | None = None

    def likelihood(self, phrase: str, other: str) -> float:
        """How likely a phrase is beside another one of its kind; 1 for both where nothing is known of that kind.

        A manner that the recogniser has no name for is as likely as the other one is not.
        """
        if phrase.startswith("about "):
            return 1.0 if self.about is None else float(self.about == phrase)
        one, two = _bare(phrase), _bare(other)
        shares = self.speakers if one.startswith("a ") else self.manners
        if shares is None:
            return 1.0
        return shares[one] if one in shares else 1 - shares.get(two, 0.5)


@dataclass(frozen=True)
class Listener:
    """A client that knows recordings by the sha256 of their samples, and transcripts that it is given to read by
    `topics` (transcript to what it is about). Of a recording that it does not know it hears nothing."""

    id: str
    heard: Mapping[str, Known] = field(default_factory=dict)
    topics: Mapping[str, str] = field(default_factory=dict)
    max_audios: int = 1
    max_seconds: float | None = None

    def answer(
        self, audios: Sequence[Recording], prompt: str, *, system: str | None = None, params: Params = Params()
    ) -> Answer:
        """One of the choices that the question names."""
        read = unfenced(prompt, "transcript")
        known = Known() if read is None else Known(self.topics.get(read))
        for audio in audios:
            known = self.heard.get(sha256_samples(audio.samples), known)
        seconds = sum(audio.duration_s for audio in audios)
        return Answer(chosen(prompt, known), "ok", None, "stop", seconds, model=self.id)


def chosen(prompt: str, known: Known) -> str:
    """The answer to a question of `earwitness bench build` by what is known. Raises `DataError` for another one."""
    if desks := _TWO_DESKS.search(prompt):
        first, manner, second, other = desks.groups()
        words = known.likelihood(f"{first}", second), known.likelihood(second, first)
        voice = known.likelihood(manner, other), known.likelihood(other, manner)
        straight, crossed = words[0] * voice[0] + words[1] * voice[1], words[0] * voice[1] + words[1] * voice[0]
        return DESKS[crossed > straight]
    if choices := _TWO_CHOICES.search(prompt):
        one, two = choices.groups()
        return two if known.likelihood(two, one) > known.likelihood(one, two) else one
    raise DataError("is no question with two choices or two desks", where=prompt[:80])


def _bare(phrase: str) -> str:
    """What is said of the voice: "in an angry voice" is "angry", "from a woman" is "a woman"."""
    return re.sub(r"^(?:in an? (.+) voice|from (.+))$", lambda found: found[1] or found[2], phrase)
