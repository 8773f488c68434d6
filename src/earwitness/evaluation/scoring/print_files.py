"""Voice prints of a manifest's rows, kept in a file beside an output until all that needs them is done.

id, print, variance                base64 of little-endian float32 [D]; the variance where the network states one
seconds_used, seconds_total
speech_s, snr_db, bandwidth_hz     measured of the recording (`audio.facts`)
several                            whether more than one voice is probably heard
windows, model, error
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from earwitness.audio.facts import SignalFacts, file_facts, signal_facts
from earwitness.core.engines import Engine, LocalEngine
from earwitness.core.writing import ResumableRows, read_rows
from earwitness.corpora.manifest import Manifest, Row
from earwitness.evaluation.scoring.scorers import Hearing
from earwitness.speaker.comparison import Vectors
from earwitness.speaker.embedder import Embedder, VoicePrint
from earwitness.speaker.voices import several_voices

FACTS = ("speech_s", "snr_db", "bandwidth_hz")
PRINT_COLUMNS: dict[str, type] = {
    **{"id": str, "print": str, "variance": str, "seconds_used": float, "seconds_total": float},
    **dict.fromkeys(FACTS, float),
    **{"several": bool, "windows": str, "model": str, "error": str},
}


@dataclass(frozen=True)
class Voice:
    """A voice print, and what was measured of its recording."""

    print_: VoicePrint
    facts: SignalFacts

    @property
    def seconds_used(self) -> float:
        """Heard of it."""
        return self.print_.seconds_used

    @property
    def seconds_total(self) -> float:
        """How long it is."""
        return self.print_.seconds_total


@dataclass(frozen=True)
class Prints:
    """The rows of a print file, and the first errors of this run in words."""

    table: pl.DataFrame
    failures: tuple[str, ...]

    def of(self, ids: Sequence[str]) -> pl.DataFrame:
        """The rows of these ids, in their order."""
        order = pl.DataFrame({"id": ids}, schema={"id": pl.String})
        return order.join(self.table, on="id", how="left", maintain_order="left")


def hear_prints(
    manifest: Manifest,
    path: Path,
    embedder: Embedder,
    *,
    rows: Sequence[Row] | None = None,
    resume: bool = False,
    engine: Engine = LocalEngine(),
    progress: Callable[[], object] = lambda: None,
) -> Prints:
    """The voice prints of rows (all of the manifest's), kept in `path`; with `resume` what lies there is not heard
    again. Raises `UsageError` where rows of an interrupted run or of another model lie there."""
    known = {"windows": embedder.info.windows.name, "model": embedder.info.reference}

    def hear(samples: Any, rate: int) -> Voice:
        return Voice(embedder.embed(samples, rate), signal_facts(samples, rate))

    def hear_file(file: Path, channel: int | None, start_s: float, end_s: float | None) -> Voice:
        return Voice(embedder.embed_file(file, channel, start_s, end_s), file_facts(file, channel, start_s, end_s))

    def columns(heard: Voice) -> dict[str, Any]:
        print_, facts = heard.print_, heard.facts
        return {
            "print": _text_of(print_.vector),
            "variance": None if print_.variance is None else _text_of(print_.variance),
            "several": several_voices(print_, embedder.info),
            **{name: getattr(facts, name) for name in FACTS},
        }

    hearing = Hearing(manifest.place, embedder.info.rate, hear, hear_file, columns, known)
    with ResumableRows(path, "id", PRINT_COLUMNS, resume=resume, same=known) as table:
        heard = hearing.fill(table, manifest.rows() if rows is None else rows, engine, progress)
    return Prints(read_rows(path, PRINT_COLUMNS), heard.failures)


def vectors_in(texts: pl.Series) -> Vectors:
    """[n, D]; zeros where there is no print. At least one there must be."""
    found = [None if text is None else np.frombuffer(base64.b64decode(text), "<f4") for text in texts]
    blank = np.zeros_like(next(vector for vector in found if vector is not None))
    return np.stack([blank if vector is None else vector for vector in found])


def variances_in(prints: pl.DataFrame) -> Vectors | None:
    """[n, D]; None where the model states none."""
    return None if prints["variance"].is_null().all() else vectors_in(prints["variance"])


def _text_of(values: Vectors) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode("ascii")
