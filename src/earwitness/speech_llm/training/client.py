"""The client of our own model folders, as the settings of one: what stands behind it is imported when it is built."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from earwitness.core.config import Config
from earwitness.core.hashing import sha256_data
from earwitness.speech_llm.training.metadata import MetadataConfig, Recogniser

if TYPE_CHECKING:
    from earwitness.speech_llm.training.answering import TaughtModel


class TaughtModelConfig(Config):
    """A model folder of `earwitness train` with the task speech-llm. `decoder`: where the language model lies now, if
    elsewhere than when it was taught; `device` as torch names it."""

    kind: Literal["taught"] = "taught"
    model: Path
    decoder: Path | None = None
    device: str = "cpu"
    metadata: MetadataConfig = Field(default_factory=MetadataConfig)

    def build(self, recogniser: Recogniser | None = None) -> TaughtModel:
        """The model, which puts what `recogniser` hears before each question. Raises `ModelError` as loading does."""
        from earwitness.speech_llm.training.answering import TaughtModel
        from earwitness.speech_llm.training.folder import FROZEN, load_taught

        model, config, info = load_taught(self.model, self.decoder)
        known = self.model_dump(mode="json", exclude={"device", "model", "decoder"})
        parts = config.model_dump(mode="json", exclude={"decoder"})  # a place; what lies there is known by its hash
        told = [info.sha256, info.extra.get(FROZEN), parts, known, None if recogniser is None else recogniser.name]
        name = f"{info.name}-{sha256_data(told)[:12]}"
        return TaughtModel(model.to(self.device), config, name, info.reference, recogniser, self.metadata)
