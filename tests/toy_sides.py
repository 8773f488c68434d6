"""A corpus of three sides that a detector can be trained on in a moment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import soundfile

FAMILIES = {"train": "melgan", "dev": "flow", "test": "world"}


def make_sides(folder: Path, speechlike: Callable[..., Any]) -> tuple[Path, Path]:
    """Three sides of eight real recordings of four voices, and of eight copies of them by two systems of one family.

    Gives the manifest, and the table of the sides.
    """
    (folder / "audio").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for side, family in FAMILIES.items():
        for number in range(8):
            name, voice = f"{side}-{number}", "known" if number < 2 else f"{side}-{number // 2}"
            real = speechlike(0.9, seed=len(rows))
            copy = np.round(real * 24) / 24 + 0.004 * rng.standard_normal(len(real)).astype(np.float32)
            common = {"speaker": voice, "source_recording": name, "corpus": "made", "licence": "CC0-1.0", "side": side}
            for label, samples in (("bonafide", real), ("spoof", copy)):
                path = f"audio/{name}-{label}.wav"
                soundfile.write(folder / path, samples, 16_000)
                made: dict[str, Any] = (
                    {"system": f"{family}-{number % 2}", "family": family} if label == "spoof" else {}
                )
                language = "pl" if number % 2 else "de"
                if side == "test" and number >= 6 and label == "spoof":
                    made["source_recording"] = None  # no twin that anybody knows of
                rows.append({"path": path, "label": label, "duration_s": 0.9, "language": language, **common, **made})
    table = pl.DataFrame(rows, infer_schema_length=None)
    table.drop("side").write_csv(folder / "manifest.csv")
    table.select(pl.col("path").alias("id"), pl.col("side").alias("split")).write_csv(folder / "split.csv")
    return folder / "manifest.csv", folder / "split.csv"
