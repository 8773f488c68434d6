"""Frozen parts that all tests of teaching share."""

from __future__ import annotations

from pathlib import Path

import pytest

from earwitness.nn.frontends import WhisperConfig
from earwitness.speech_llm.training.folder import build_model
from earwitness.speech_llm.training.model import SpeechLanguageModel
from earwitness.speech_llm.training.recipe import SpeechLlmConfig
from tiny_llm import ADAPTER, make_decoder, make_whisper


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `decoder` and `whisper`."""
    folder = tmp_path_factory.mktemp("frozen")
    make_decoder(folder / "decoder")
    make_whisper(folder / "whisper")
    return folder


@pytest.fixture
def config(parts: Path) -> SpeechLlmConfig:
    """A model whose parts are tiny."""
    encoder = WhisperConfig(source=str(parts / "whisper"), aggregation="last")
    return SpeechLlmConfig(encoder=encoder, adapter=ADAPTER, decoder=parts / "decoder")


@pytest.fixture
def model(config: SpeechLlmConfig) -> SpeechLanguageModel:
    """The same, built."""
    return build_model(config)
