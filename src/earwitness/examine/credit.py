"""Which model answered, with its card: what a finding shows of it."""

from __future__ import annotations

from pathlib import Path

from earwitness.examine.finding import ModelCredit
from earwitness.training.model_folder import CARD, ModelInfo
from earwitness.training.shipped import find_model


def credit_of(name: str, info: ModelInfo) -> ModelCredit:
    """Of a model by name or path. Raises `ModelError` where there is none."""
    card = Path(find_model(name)) / CARD
    return ModelCredit(info.name, info.version, info.sha256, info.licence, card.read_text(encoding="utf-8"))
