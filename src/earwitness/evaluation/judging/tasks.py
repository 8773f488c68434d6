"""What scores can be about."""

from __future__ import annotations

from typing import Literal

Task = Literal["deepfake", "speaker", "sasv"]
