"""Voice prints for use elsewhere: `.npz` (arrays `id`, `vector` [n, D] and `variance` [n, D]) or `.parquet` (columns of
the same names, vectors as lists). No pickles: `numpy.load(path)` reads it as it is.

A variance is there where the model states one. What cannot be heard is not in it; the table beside it tells why.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from earwitness.core.engines import Engine, LocalEngine
from earwitness.core.errors import UsageError
from earwitness.core.writing import part_of, refuse_unfinished, write_atomically
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.tables import write_table
from earwitness.evaluation.scoring.print_files import FACTS, hear_prints, variances_in, vectors_in
from earwitness.evaluation.scoring.scorers import Tally
from earwitness.speaker.embedder import Embedder

FORMS = (".npz", ".parquet")


def check_form(path: Path) -> None:
    """Raise `UsageError` for a file of another form."""
    if path.suffix not in FORMS:
        raise UsageError(f"'{path.suffix}' is no form of voice prints", where=path, fix=f"Use {' or '.join(FORMS)}.")


def export_prints(
    manifest: Manifest,
    embedder: Embedder,
    output: str | Path,
    *,
    embeddings: Path,
    resume: bool = False,
    engine: Engine = LocalEngine(),
    progress: Callable[[], object] = lambda: None,
) -> Tally:
    """Write the voice prints of the manifest's rows to `embeddings`, and a row for each into the table `output`: what
    was heard and measured of it, or its error. Raises `UsageError` where it cannot write, and where rows of an
    interrupted run lie there."""
    output = Path(output)
    check_form(embeddings)
    part_of(output)  # refuses an unknown format before the work
    prints = output.with_name(f"{output.name}.prints.jsonl")
    if not resume:
        refuse_unfinished(prints)
        refuse_unfinished(part_of(prints))
    kept = hear_prints(manifest, prints, embedder, resume=resume, engine=engine, progress=progress)
    rows = kept.of(manifest.table["id"].to_list()).with_columns(path=manifest.table["path"])
    heard = rows.filter(pl.col("print").is_not_null())
    if not heard.height:
        raise UsageError("no recording can be heard, so there are no voice prints", where=output, fix=kept.failures[0])
    _write(heard, embeddings)
    columns = ("id", "path", "seconds_used", "seconds_total", *FACTS, "several", "windows", "model", "error")
    write_table(rows.select(columns), output)
    prints.unlink()
    return Tally(len(manifest), rows["error"].count(), 0, kept.failures, (f"voice prints: {embeddings}",))


def _write(heard: pl.DataFrame, path: Path) -> None:
    arrays = {"id": np.array(heard["id"].to_list(), dtype=np.str_), "vector": vectors_in(heard["print"])}
    if (variances := variances_in(heard)) is not None:
        arrays["variance"] = variances
    data = io.BytesIO()
    if path.suffix == ".npz":
        np.savez(data, allow_pickle=False, **arrays)
    else:
        as_lists = {n: pl.Series(n, a.tolist(), dtype=pl.List(pl.Float32)) for n, a in arrays.items() if n != "id"}
        pl.DataFrame({"id": heard["id"], **as_lists}).write_parquet(data)
    write_atomically(path, data.getvalue())
