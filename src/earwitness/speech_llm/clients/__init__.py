"""Clients of models that answer: `interface` is the contract, `read_client` makes one from a YAML file.

A family of its own: `ClientConfig` by `kind`. Every client's `id` is a readable name with a hash of its settings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from earwitness.core.config import parse_config, read_yaml
from earwitness.speech_llm.clients.cascade import CascadeConfig
from earwitness.speech_llm.clients.command import CommandConfig
from earwitness.speech_llm.clients.fake import FakeConfig
from earwitness.speech_llm.clients.interface import Answer, Params, SpeechLLM, Usage
from earwitness.speech_llm.clients.openai import OpenAIConfig
from earwitness.speech_llm.clients.transformers_models import TransformersConfig
from earwitness.speech_llm.training.client import TaughtModelConfig

ClientConfig = Annotated[
    OpenAIConfig | TransformersConfig | TaughtModelConfig | CascadeConfig | CommandConfig | FakeConfig,
    Field(discriminator="kind"),
]


def read_client_config(path: str | Path) -> ClientConfig:
    """The settings in a YAML file. Raises `RecipeError`."""
    config: ClientConfig = parse_config(ClientConfig, read_yaml(path), where=path)
    return config


def read_client(path: str | Path) -> SpeechLLM:
    """The client of a YAML file. Raises `RecipeError` for its settings, `UsageError` where its key is not set."""
    return read_client_config(path).build()


__all__ = ["Answer", "ClientConfig", "Params", "SpeechLLM", "Usage", "read_client", "read_client_config"]
