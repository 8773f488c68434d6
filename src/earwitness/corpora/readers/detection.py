"""The readers and writers of spoofing detection by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from earwitness.core.config import nearest
from earwitness.core.errors import UsageError
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers import asvspoof5, asvspoof2019, asvspoof2021
from earwitness.corpora.readers.base import Reader
from earwitness.corpora.readers.ctrsvdd import CTRSVDD, read_ctrsvdd
from earwitness.corpora.readers.df_arena import read_df_arena, write_df_arena
from earwitness.corpora.readers.in_the_wild import read_in_the_wild, write_in_the_wild
from earwitness.corpora.readers.lists import write_list
from earwitness.corpora.readers.partialspoof import PARTIALSPOOF, read_partialspoof
from earwitness.corpora.readers.protocol import Protocol

DETECTION_READERS: Mapping[str, Reader] = {
    "asvspoof2019-la": asvspoof2019.read_asvspoof2019_la,
    "asvspoof2019-pa": asvspoof2019.read_asvspoof2019_pa,
    "asvspoof2021-la": asvspoof2021.read_asvspoof2021_la,
    "asvspoof2021-df": asvspoof2021.read_asvspoof2021_df,
    "asvspoof2021-pa": asvspoof2021.read_asvspoof2021_pa,
    "asvspoof5": asvspoof5.read_asvspoof5,
    "in-the-wild": read_in_the_wild,
    "partialspoof": read_partialspoof,
    "ctrsvdd": read_ctrsvdd,
    "df-arena": read_df_arena,
}
_LISTS: tuple[Protocol, ...] = (
    *(asvspoof2019.LA, asvspoof2019.PA),
    *(asvspoof2021.LA, asvspoof2021.DF, asvspoof2021.PA),
    *(asvspoof5.TRACK1, PARTIALSPOOF, CTRSVDD),
)


def write_protocol(name: str, manifest: Manifest, path: str | Path) -> None:
    """Write a manifest in the list form of the reader `name`; what that reader read comes back byte for byte.

    Raises `UsageError` for an unknown name, and `DataError` where a row or column that the form needs is missing.
    """
    path = Path(path)
    for protocol in _LISTS:
        if protocol.name == name:
            return write_list(manifest.table, path, protocol.forms)
    if name == "in-the-wild":
        return write_in_the_wild(manifest, path)
    if name == "df-arena":
        return write_df_arena(manifest, path)
    guess = nearest(name, DETECTION_READERS)
    hint = f" Did you mean '{guess}'?" if guess else ""
    raise UsageError(f"there is no list form '{name}'", fix=f"Forms: {', '.join(DETECTION_READERS)}.{hint}")
