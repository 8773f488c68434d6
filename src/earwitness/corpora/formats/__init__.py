"""Formats of other tools, read and written side by side. One table names them; a new format is one file and one line.

    imported = FORMATS["kaldi"].read(Path("data/train"))
    notes = FORMATS["nemo"].write(imported.manifest, Path("train.jsonl"))

What a manifest cannot hold of a format, and a format of a manifest, stands in the notes. Nothing is left out unsaid.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from earwitness.core.config import nearest
from earwitness.core.errors import UsageError
from earwitness.corpora.formats.audformat import read_audformat, write_audformat
from earwitness.corpora.formats.base import Format, Writer
from earwitness.corpora.formats.ctm import read_ctm, write_ctm
from earwitness.corpora.formats.kaldi import read_kaldi, write_kaldi
from earwitness.corpora.formats.lhotse import read_lhotse, write_lhotse
from earwitness.corpora.formats.nemo import read_nemo, write_nemo
from earwitness.corpora.formats.rttm import read_rttm, write_rttm
from earwitness.corpora.formats.textgrid import read_textgrid, write_textgrid
from earwitness.corpora.manifest import Manifest

__all__ = ["FORMATS", "Format", "Writer", "write_corpus"]


def write_corpus(name: str, manifest: Manifest, out: str | Path) -> tuple[str, ...]:
    """Write a manifest in a format by name; notes on what the format has no place for, and on what was made up.

    Raises `UsageError` for an unknown name or a place that cannot be written to, `DataError` for rows that the format
    cannot state.
    """
    if name not in FORMATS:
        guess = nearest(name, FORMATS)
        hint = f" Did you mean '{guess}'?" if guess else ""
        raise UsageError(f"there is no format '{name}'", fix=f"Formats: {', '.join(FORMATS)}.{hint}")
    return FORMATS[name].write(manifest, Path(out))


FORMATS: Mapping[str, Format] = {
    "kaldi": Format(read_kaldi, write_kaldi),
    "lhotse": Format(read_lhotse, write_lhotse),
    "nemo": Format(read_nemo, write_nemo),
    "audformat": Format(read_audformat, write_audformat),
    "rttm": Format(read_rttm, write_rttm),
    "ctm": Format(read_ctm, write_ctm),
    "textgrid": Format(read_textgrid, write_textgrid),
}
