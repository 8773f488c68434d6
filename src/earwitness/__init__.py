"""Earwitness: what a recording can testify to.

    import earwitness

    report = earwitness.examine("call.m4a", references=["claimed-speaker.wav"])[0]
    detector = earwitness.load("deepfake")
    print(detector.score(samples, rate).score)          # higher = bona fide

Importing this package is quick: networks and their libraries are loaded when first used.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# huggingface_hub asks its server about the program that uses it, also where all files are to be local ones
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
__all__ = ["EarwitnessError", "__version__", "examine", "load"]

if TYPE_CHECKING:
    from earwitness.core.errors import EarwitnessError
    from earwitness.evaluation.loading import load
    from earwitness.examine.examiner import examine


def __getattr__(name: str) -> Any:
    if name == "examine":
        from earwitness.examine.examiner import examine

        return examine
    if name == "load":
        from earwitness.evaluation.loading import load

        return load
    if name == "EarwitnessError":
        from earwitness.core.errors import EarwitnessError

        return EarwitnessError
    raise AttributeError(f"module 'earwitness' has no attribute '{name}'")
