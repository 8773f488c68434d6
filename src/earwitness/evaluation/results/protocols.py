"""How a published benchmark judges: which reader its key needs, which rows count, and which figures its tables print.

The default EER stays the tie-safe one; the benchmark's own definition is printed beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import polars as pl

from earwitness.core.config import nearest
from earwitness.core.errors import UsageError
from earwitness.evaluation.judging.labelled import LabelledScores
from earwitness.metrics.costs import ASVSPOOF5, Cost
from earwitness.metrics.detection import EerMethod
from earwitness.metrics.tandem import TdcfForm


@dataclass(frozen=True)
class Protocol:
    """One benchmark.

    `reader` is None where the key is a list of trials (`sasv_keys`), which is no manifest; `subset` is the value of
    the key's column `subset` that its tables report; `without` are (column, value) pairs whose rows its tables leave
    out; `tdcf` the form of its t-DCF, for which the scores of a verifier are needed.
    """

    name: str
    reader: str | None
    words: str
    also: tuple[EerMethod, ...] = ("asvspoof",)
    costs: tuple[Cost, ...] = ()
    tdcf: TdcfForm | None = None
    subset: str | None = None
    without: tuple[tuple[str, str], ...] = ()


_ALL = (
    Protocol("asvspoof2019-la", "asvspoof2019-la", "ASVspoof 2019, logical access", tdcf="legacy"),
    Protocol("asvspoof2019-pa", "asvspoof2019-pa", "ASVspoof 2019, physical access", tdcf="legacy"),
    Protocol("asvspoof2021-la", "asvspoof2021-la", "ASVspoof 2021, logical access", tdcf="revised", subset="eval"),
    Protocol("asvspoof2021-df", "asvspoof2021-df", "ASVspoof 2021, deepfake", subset="eval"),
    Protocol("asvspoof2021-pa", "asvspoof2021-pa", "ASVspoof 2021, physical access", tdcf="revised", subset="eval"),
    Protocol("asvspoof5", "asvspoof5", "ASVspoof 5, track 1", costs=(ASVSPOOF5,)),
    Protocol("asvspoof5-track2", None, "ASVspoof 5, track 2, spoofing-aware speaker verification"),
    Protocol("in-the-wild", "in-the-wild", "In-the-Wild", also=()),
    Protocol("partialspoof", "partialspoof", "PartialSpoof, whole utterances"),
    Protocol(
        "ctrsvdd",
        "ctrsvdd",
        "CtrSVDD, without attack A14 and ACESinger",
        also=("nearest_mean",),
        without=(("system", "A14"), ("source", "acesinger")),
    ),
    Protocol("df-arena", "df-arena", "a list of the Speech DF Arena", also=("nearest_mean",)),
)
PROTOCOLS: Mapping[str, Protocol] = {protocol.name: protocol for protocol in _ALL}


def find_protocol(name: str) -> Protocol:
    """The protocol of that name. Raises `UsageError` with the names that there are."""
    if name not in PROTOCOLS:
        guess = nearest(name, PROTOCOLS)
        hint = f" Did you mean '{guess}'?" if guess else ""
        fix = f"Known: {', '.join(PROTOCOLS)}.{hint}"
        raise UsageError(f"there is no protocol '{name}'", where="--protocol", fix=fix)
    return PROTOCOLS[name]


def counted(protocol: Protocol, scores: LabelledScores, subset: str | None = None) -> tuple[LabelledScores, list[str]]:
    """The rows that the protocol's tables count, and notes on what they leave out.

    `subset` takes another one than they do, `all` every row. Raises `UsageError` for a subset that is not there.
    """
    table = scores.table
    notes: list[str] = []
    wanted = subset or protocol.subset
    if wanted == "all":
        return scores, notes
    if wanted is not None:
        chosen = _subset(table, wanted)
        notes.append(f"subset '{wanted}': {chosen.height} of {table.height} rows")
        table = chosen
    for column, value in protocol.without:
        if column not in table.columns:
            fix = "Give the protocol's --key, or --subset all."
            raise UsageError(
                f"the rows have no `{column}`, and '{value}' is to be left out", where="--protocol", fix=fix
            )
        kept = table.filter(pl.col(column).ne_missing(value))
        notes.append(f"without {column} {value}: {kept.height} of {table.height} rows")
        table = kept
    return replace(scores, table=table), notes


def _subset(table: pl.DataFrame, wanted: str) -> pl.DataFrame:
    if "subset" not in table.columns:
        raise UsageError("the rows have no subset", where="--subset", fix="Give the protocol's --key, or --subset all.")
    chosen = table.filter(pl.col("subset") == wanted)
    if chosen.is_empty():
        known = ", ".join(sorted(table["subset"].drop_nulls().unique()))
        raise UsageError(f"there is no subset '{wanted}'", where="--subset", fix=f"There are: {known}, all.")
    return chosen
