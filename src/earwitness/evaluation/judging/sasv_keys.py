"""Keys of spoofing-aware speaker verification: which trial is a target, a nontarget or a spoof.

    D_0062 D_0000000001 F A11 spoof                ASVspoof 5, track 2: claimed speaker, file, sex, attack, label
    spk<tab>filename<tab>cm-label<tab>asv-label    its evaluation package, with this header
    enrol,test,label[,system,...]                  any CSV, Parquet or JSONL table of ours

A label is target, nontarget or spoof.
"""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl

from earwitness.core.errors import DataError
from earwitness.core.plain_files import require_plain
from earwitness.core.writing import TABLE_FORMATS
from earwitness.corpora.readers.asvspoof5 import TRIAL
from earwitness.corpora.readers.lists import read_list
from earwitness.corpora.tables import read_table

_PACKAGE = {"spk": "enrol", "filename": "test", "asv-label": "label"}
_TRACK2 = {"speaker": "enrol"}


def read_sasv_key(path: str | Path) -> pl.DataFrame:
    """A key with `enrol`, `test`, `label`, and whatever else it knows of a trial (`system`, `sex`, ...).

    `label` is as the file says; in lists of ASVspoof 5 `enrol` is the claimed speaker. Raises `DataError` naming the
    line of a list that has another form, and the header that a table lacks.
    """
    path = Path(path)
    if path.suffix in TABLE_FORMATS:
        return read_table(path)
    if not _first_line(path).startswith("spk\t"):
        return read_list(path, (TRIAL,))[0].rename(_TRACK2)
    try:
        table = pl.read_csv(io.BytesIO(path.read_bytes()), separator="\t", infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"is no table between tabs ({str(error).splitlines()[0]})", where=path) from None
    if missing := [name for name in _PACKAGE if name not in table.columns]:
        raise DataError(f"names no `{missing[0]}` in its header", where=path, fix="Give the key of the sasv trials.")
    return table.rename(_PACKAGE)


def _first_line(path: Path) -> str:
    try:
        require_plain(path)
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return file.readline()
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=path, fix="Check the path.") from None
