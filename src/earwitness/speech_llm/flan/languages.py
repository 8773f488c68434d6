"""Languages and accents of language tags: `de` is German, `en-zhL1` English as Mandarin natives speak it."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path

_REGIONS = {
    "us": "American",
    "gb": "British",
    "au": "Australian",
    "in": "Indian",
    "ca": "Canadian",
    "mx": "Mexican",
    "co": "Colombian",
    "es": "European",
    "br": "Brazilian",
}
_L1 = re.compile(r"^([a-z]{2,3})L1$")
_VARIED = frozenset(("en", "es", "fr", "pt"))  # a region is told only where a language is spoken in several of these


@cache
def language_names() -> Mapping[str, str]:
    """English names by their code (ISO 639)."""
    with (Path(__file__).resolve().parent / "languages.csv").open(encoding="utf-8", newline="") as file:
        return {row["code"]: row["name"] for row in csv.DictReader(file)}


def language_of(tag: str | None) -> str | None:
    """The name of the language of a tag such as `en_GB`; None for an unknown one."""
    return None if tag is None else language_names().get(re.split(r"[-_]", tag)[0].lower())


def accent_of(tag: str | None) -> str | None:
    """The accent in a tag: a region's, or of another first language; None where it says nothing of it."""
    parts = re.split(r"[-_]", tag or "")
    if len(parts) < 2:
        return None
    first = _L1.match(parts[1])
    if first is not None:
        native = language_names().get(first[1])
        return None if native is None else f"{'Mandarin' if native == 'Chinese' else native} native speaker"
    region = _REGIONS.get(parts[1].lower())
    return region if parts[0].lower() in _VARIED else None


def languages_in(text: str) -> frozenset[str]:
    """The names of languages that a text mentions."""
    words = re.findall(r"[^\W\d_]+", text.casefold())
    names = {name.casefold(): name for name in language_names().values()}
    pairs = [" ".join(pair) for pair in pairwise(words)]
    found = {names[word] for word in (*words, *pairs) if word in names}
    return frozenset(found - {"German"} if "Low German" in found and words.count("german") == 1 else found)
