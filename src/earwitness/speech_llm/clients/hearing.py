"""What clients that hear have in common beside the servers of `openai`: how they treat long recordings."""

from __future__ import annotations

from pydantic import Field, model_validator

from earwitness.core.config import Config
from earwitness.speech_llm.clients.interface import SpeechLLM
from earwitness.speech_llm.clients.length import Length, under_policy
from earwitness.speech_llm.clients.openai import OpenAIConfig


class HearingConfig(Config):
    """`max_seconds` is the longest recording that the model hears whole (None: no limit known). `length` says what is
    done with longer ones; `merge` is the text model that joins the answers of `chunk:N`."""

    max_seconds: float | None = Field(None, gt=0)
    length: Length = "full"
    merge: OpenAIConfig | None = None

    @model_validator(mode="after")
    def _merge_has_chunks(self) -> HearingConfig:
        if self.merge is not None and not self.length.startswith("chunk"):
            raise ValueError("`merge` is for `length: chunk:SECONDS`")
        return self

    def heard_by(self, client: SpeechLLM) -> SpeechLLM:
        """The client under this policy."""
        return under_policy(client, self.length, self.merge.build() if self.merge else None)
