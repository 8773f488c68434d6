"""Whose voice a recording is, by its id alone: for corpora whose names say it.

Tables that travel with a corpus are sometimes wrong about it. IEMOCAP's `Ses01F` names who wore the markers, and was
taken for the speaker; folds of EmoDB and CREMA-D were drawn without a look at the speaker at all.

    iemocap    Ses01F_impro01_M003             session 1, the letter after the last underscore: 1M
    emodb      03a01Wa                         03
    crema-d    1001_DFA_ANG_XX                 1001
    ravdess    03-01-05-01-02-01-18            18
    esd        0011_000351                     0011 (where id or path names ESD, or the folder of the emotion)
    casia      liuchanhg/angry/201             liuchanhg
    agedb      0_MariaCallas_44_f.jpg          MariaCallas (faces; to check splits made for images)

A prefix before the id, a suffix after it, and `-` in place of `_` change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class IdPattern:
    """How ids of a corpus read: `pattern` finds it, and its groups, joined, are the speaker."""

    corpus: str
    pattern: str


_BEFORE, _AFTER = r"(?:^|[/:-])", r"(?:\.[A-Za-z0-9]{2,4})?$"
_EMOTIONS = r"(?:angry|fear|happy|neutral|sad|surprise)"
PATTERNS: tuple[IdPattern, ...] = (
    IdPattern("iemocap", r"Ses0([1-5])[FM]_(?:impro|script)\w*_([FM])[0-9X]{3}"),
    IdPattern("emodb", r"(\d\d)[ab]\d\d[WLEAFTN][a-z]"),
    IdPattern("crema-d", r"(1\d{3})[_-][A-Z]{3}[_-](?:ANG|DIS|FEA|HAP|NEU|SAD)[_-](?:XX?|LO|MD|HI)"),
    IdPattern("ravdess", r"0[1-3]-0[12]-0[1-8]-0[12]-0[12]-0[12]-([012]\d)"),
    IdPattern("esd", r"esd[-/:](00[012]\d)[_-]00[01]\d{3}"),
    IdPattern("esd", rf"(?i:(?:{_EMOTIONS}))/(?:\w+/)?(00[012]\d)_00[01]\d{{3}}"),
    IdPattern("casia", rf"(liuchanhg|wangzhe|zhaoquanyin|zhaozuoxiang)[/_-]{_EMOTIONS}[/_-]\d{{3}}"),
    IdPattern("casia", rf"\d{{3}}-(liuchanhg|wangzhe|zhaoquanyin|zhaozuoxiang)-{_EMOTIONS}"),
    IdPattern("agedb", r"\d+_(\w+)_\d{1,3}_[mf]\.jpg"),
)


def voices_by_id(table: pl.DataFrame) -> pl.Series:
    """`corpus:speaker` of each row whose id, or else whose path, is of a corpus above; null of all others, [N].

    >>> table = pl.DataFrame({"id": ["Ses01F_impro01_M003", "a"], "path": ["a.wav", "AudioWAV/1001_DFA_ANG_XX.wav"]})
    >>> voices_by_id(table).to_list()
    ['iemocap:1M', 'crema-d:1001']
    """
    any_of = "|".join(f"(?:{_whole(known)})" for known in PATTERNS)
    known_here = pl.any_horizontal(pl.col("id", "path").str.contains(any_of)).fill_null(False)
    rows = table.select("id", "path").with_row_index("row").filter(known_here)  # of most tables, none: one pass
    found = [_voice(pl.col(column), known) for column in ("id", "path") for known in PATTERNS]
    voices = rows.select("row", pl.coalesce(found).alias("voice_by_id"))
    every = pl.DataFrame({"row": pl.Series(range(table.height), dtype=pl.UInt32)})
    return every.join(voices, on="row", how="left", maintain_order="left")["voice_by_id"]


def _whole(known: IdPattern) -> str:
    return _BEFORE + known.pattern + ("$" if known.pattern.endswith(r"\.jpg") else _AFTER)


def _voice(names: pl.Expr, known: IdPattern) -> pl.Expr:
    groups = names.str.extract_groups(_whole(known))
    count = known.pattern.replace("(?", "").count("(")
    parts = [groups.struct.field(str(place + 1)) for place in range(count)]
    return pl.concat_str([pl.lit(f"{known.corpus}:"), *parts])  # null where the pattern is not found
