"""What must stay together, and a draw that more rows don't reshuffle."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import polars as pl

from earwitness.core.errors import RecipeError
from earwitness.corpora.manifest import Manifest

NON_COMMERCIAL = (r"\bNC\b", r"non-?commercial")
REASON = "left_out"  # the extra column that says why a row stands on no side


def draw(seed: int, name: str) -> float:
    """A number in [0, 1) that depends on nothing but seed and name."""
    digest = hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def connected(keys: Sequence[Sequence[str]]) -> list[str | None]:
    """Each row's group, named by its first key: rows that share a key, directly or over others, share the group.

    A row without keys has the group None.
    """
    parent: dict[str, str] = {}

    def find(key: str) -> str:
        parent.setdefault(key, key)
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for row in keys:
        for key in row[1:]:
            low, high = sorted((find(row[0]), find(key)))
            parent[high] = low  # the smallest key stays the root
    return [find(row[0]) if row else None for row in keys]


def has_licence(patterns: Sequence[str]) -> pl.Expr:
    """True where the licence matches one of the regular expressions (case does not matter). Raises `RecipeError`."""
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise RecipeError(f"exclude_licences: '{pattern}' is no regular expression ({error})") from None
    if not patterns:
        return pl.lit(False)
    return pl.col("licence").str.contains("(?i)" + "|".join(f"(?:{p})" for p in patterns)).fill_null(False)


def exclude_licences(manifest: Manifest, patterns: Sequence[str] = NON_COMMERCIAL) -> Manifest:
    """The rows whose licence matches none of the patterns; by default without what must not serve commerce."""
    return manifest.filter(~has_licence(patterns))


def with_split(manifest: Manifest, sides: Sequence[str | None], reasons: Sequence[str | None]) -> Manifest:
    """The manifest with `split` set, and `left_out` saying why where it is null."""
    table = manifest.table.drop(REASON, strict=False).with_columns(split=pl.Series(sides, dtype=pl.String))
    return manifest.with_table(table.with_columns(pl.Series(REASON, reasons, dtype=pl.String)))
