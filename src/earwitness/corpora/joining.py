"""Why two lists of ids don't meet, and what would make them: an extension, a folder, a prefix, upper case.

join_advice(["file1", "file2"], ["file1.wav", "file2.wav"], ("the scores", "the key"))
# "ids of the key carry '.wav' at the end, those of the scores don't ('file1.wav' and 'file1'); without it 2 of 2 meet"
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import polars as pl

Change = Callable[[pl.Series], pl.Series]

PROBES = 5  # ids of either list whose like is looked for in the other


def join_advice(
    left_ids: Iterable[str], right_ids: Iterable[str], names: tuple[str, str] = ("the first list", "the second list")
) -> str | None:
    """What sets the ids of two lists apart, where leaving it out would make more of them meet; else None.

    Advice is given where more than half of the shorter list would meet. `names` are the lists as the text has them.
    """
    left, right = (pl.Series(list(ids), dtype=pl.String).unique(maintain_order=True) for ids in (left_ids, right_ids))
    shorter = min(len(left), len(right))
    best, meeting = None, max(_meeting(left, right), shorter // 2)
    for change in _changes(left, right):
        count = _meeting(change(left), change(right))
        if count > meeting:
            best, meeting = change, count
    if best is None:
        return None
    text = f"{_difference(left, right, best, names)}; without it {meeting:,} of {shorter:,} meet"
    doubled = [name for ids, name in zip((left, right), names, strict=True) if not best(ids).is_unique().all()]
    return text + "".join(f"; but then ids of {name} are no longer unique" for name in doubled)


def _changes(left: pl.Series, right: pl.Series) -> Iterator[Change]:
    """What may be left out of ids, the plain things first."""
    yield _stripped
    yield _lower
    yield from _affixes(left, right)
    yield from _affixes(right, left)
    yield _without_folder
    yield _without_extension
    yield lambda ids: _without_extension(_without_folder(ids))
    yield _to_first_dot
    yield lambda ids: _to_first_dot(_without_folder(ids))
    yield lambda ids: _lower(_without_extension(_without_folder(ids)))


def _affixes(short: pl.Series, long: pl.Series) -> Iterator[Change]:
    """What some ids of `long` have in front of or behind an id of `short`; long ids say most."""
    found: dict[tuple[str, bool], None] = {}
    for name in short.gather(short.str.len_chars().arg_sort(descending=True).head(PROBES)):
        for other in long.filter(long.str.ends_with(name) & (long != name)).head(1):
            found[other[: -len(name)], True] = None
        for other in long.filter(long.str.starts_with(name) & (long != name)).head(1):
            found[other[len(name) :], False] = None
    for text, in_front in found:
        yield partial(_without_prefix if in_front else _without_suffix, text)


def _meeting(left: pl.Series, right: pl.Series) -> int:
    return int(left.unique().is_in(right.unique().implode()).sum())


def _difference(left: pl.Series, right: pl.Series, change: Change, names: tuple[str, str]) -> str:
    """The change in words, by the first two ids that meet only with it."""
    pairs = pl.DataFrame({"left": left, "key": change(left)}).join(
        pl.DataFrame({"right": right, "key": change(right)}), on="key", maintain_order="left"
    )
    one, other = pairs.filter(pl.col("left") != pl.col("right")).select("left", "right").row(0)
    owner, owner_of_short = names[1], names[0]
    if len(one) > len(other):
        one, other, owner, owner_of_short = other, one, names[0], names[1]
    example = f"('{other}' and '{one}')"
    if other.startswith(one):
        return f"ids of {owner} carry '{other[len(one) :]}' at the end, those of {owner_of_short} don't {example}"
    if other.endswith(one):
        return f"ids of {owner} carry '{other[: -len(one)]}' in front, those of {owner_of_short} don't {example}"
    if one.lower() == other.lower():
        return f"ids of {names[0]} and of {names[1]} differ in upper case {example}"
    return f"ids of {names[0]} and of {names[1]} are written differently {example}"


def _stripped(ids: pl.Series) -> pl.Series:
    return ids.str.strip_chars()


def _lower(ids: pl.Series) -> pl.Series:
    return ids.str.to_lowercase()


def _without_prefix(text: str, ids: pl.Series) -> pl.Series:
    return ids.str.strip_prefix(text)


def _without_suffix(text: str, ids: pl.Series) -> pl.Series:
    return ids.str.strip_suffix(text)


def _without_folder(ids: pl.Series) -> pl.Series:
    return ids.str.replace(r"^.*[/\\]", "")


def _without_extension(ids: pl.Series) -> pl.Series:
    return ids.str.replace(r"\.[A-Za-z0-9]{1,5}$", "")


def _to_first_dot(ids: pl.Series) -> pl.Series:
    return ids.str.replace(r"\..*$", "")
