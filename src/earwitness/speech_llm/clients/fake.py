"""A client that answers as scripted, without a server: for tests, trials and controls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import Field

from earwitness.audio.recording import Recording
from earwitness.speech_llm.clients.answers import client_id, failed
from earwitness.speech_llm.clients.hearing import HearingConfig
from earwitness.speech_llm.clients.interface import Answer, Params, SpeechLLM, Status
from earwitness.speech_llm.clients.openai import PASSING
from earwitness.speech_llm.clients.sound import unanswerable

FakeReply = Callable[[Sequence[Recording], str], "str | Answer"]


class FakeConfig(HearingConfig):
    """Always `reply`, or always a failure where `status` is not "ok"."""

    kind: Literal["fake"] = "fake"
    reply: str = "a reply"
    status: Status = "ok"
    max_audios: int = Field(1, ge=0)

    def build(self) -> SpeechLLM:
        """Needs nothing."""
        reply = self.reply if self.status == "ok" else failed("scripted", self.status)
        name = client_id("fake", self, passing=PASSING)
        return self.heard_by(FakeClient(lambda audios, prompt: reply, name, self.max_audios, self.max_seconds))


class FakeClient:
    """`reply` is a function of the recordings and the prompt; it may give a whole `Answer`."""

    def __init__(
        self, reply: FakeReply, id: str = "fake", max_audios: int = 1, max_seconds: float | None = None
    ) -> None:
        self.reply = reply
        self.id = id
        self.max_audios = max_audios
        self.max_seconds = max_seconds

    def answer(
        self, audios: Sequence[Recording], prompt: str, *, system: str | None = None, params: Params = Params()
    ) -> Answer:
        """What the script says."""
        refused = unanswerable(audios, self.max_audios, self.max_seconds)
        if refused is not None:
            return refused
        said = self.reply(audios, prompt)
        if isinstance(said, Answer):
            return said
        heard = sum(audio.duration_s for audio in audios)
        return Answer(said, "ok", finish_reason="stop", seconds_heard=heard, model="fake", raw=said)
