"""The recipe of a language model that is taught to hear. Settings that arXiv 2508.07273 does not give are ours."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from earwitness.core.config import Config
from earwitness.corpora.splits import ByColumn
from earwitness.nn.frontends import FrontendConfig, WhisperConfig
from earwitness.speech_llm.training.adapters import AdapterConfig, SmallAdapterConfig
from earwitness.speech_llm.training.prompt import PromptConfig
from earwitness.speech_llm.training.records import Kind
from earwitness.training.optimisers import AdamWConfig, OptimiserConfig
from earwitness.training.recipe import DataConfig, Recipe
from earwitness.training.schedules import ScheduleConfig, WarmupCosineConfig


class SpeechLlmConfig(Config):
    """The parts of a language model that hears; `model.json` holds them. `encoder` is any front-end that is frozen and
    has no weights of its own, `decoder` the folder of a causal language model.

    Longer audio than `max_seconds` is refused. `metadata`: it was taught with a line of detected emotion.
    """

    encoder: FrontendConfig = WhisperConfig(aggregation="last")
    pad_to_s: float | None = Field(None, gt=0)
    adapter: AdapterConfig = SmallAdapterConfig()
    decoder: Path
    prompt: PromptConfig = PromptConfig()
    max_seconds: float = Field(30.0, gt=0)
    metadata: bool = False


class QuestionData(DataConfig):
    """`records`: `manifests` are JSONL files of training records, whose audio is relative to `audio_root`.
    `sentences`: they are manifests of acted sentences, of which questions are made by rule (`sentences`)."""

    questions: Literal["records", "sentences"] = "records"
    audio_root: Path = Path()


class SpeechLlmRecipe(Recipe):
    """`kinds` are learnt (None: all that there are), drawn by n^`exponent`, `draws` examples an epoch (None: as many as
    there are). `split` puts sentences on sides; records name their own. With `keep_features` what the frozen encoder
    makes of each recording is computed once and kept, else on the fly.
    """

    task: Literal["speech-llm"]
    data: QuestionData
    split: ByColumn = ByColumn()
    network: SpeechLlmConfig
    kinds: tuple[Kind, ...] | None = Field(None, min_length=1)
    exponent: float = Field(0.5, ge=0, le=1)
    draws: int | None = Field(None, ge=1)
    keep_features: bool = True
    max_tokens: int = Field(256, ge=1)  # of an answer
    optimiser: OptimiserConfig = AdamWConfig(lr=1e-4, weight_decay=0.01)
    schedule: ScheduleConfig = WarmupCosineConfig(warmup=0.03)
    licence: str = "Apache-2.0"  # SPDX, of the adapter

    @model_validator(mode="after")
    def _audio_is_heard_whole(self) -> SpeechLlmRecipe:
        if self.data.questions == "sentences" and self.network.metadata:
            raise ValueError("sentences have no recogniser's metadata: write records with `metadata_text`")
        return self
