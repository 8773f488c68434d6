"""Transcripts as targets of the phoneme head: ARPAbet by a pronunciation lexicon, or plain characters.

No lexicon ships. `lexicon` reads one in the form of CMUdict (`WORD  W ER1 D`; its 39 phones without stress), and with
`split: characters` one of characters, e.g. toneless pinyin initials and finals (`中  zh ong`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import Field

from earwitness.core.config import Config
from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest

BETWEEN = "|"  # words, among characters
WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
STRESS = re.compile(r"\d+$")
ALTERNATIVE = re.compile(r"\(\d+\)$")
Symbols = tuple[str, ...]


class Speller(Protocol):
    """What turns a transcript into symbols."""

    def symbols(self, text: str) -> Symbols | None:
        """Of a transcript; None where it cannot be spelt as a whole."""
        ...


class CharactersConfig(Config):
    """Letters in lower case, words divided by `|`; digits cannot be spelt (they are read in words)."""

    kind: Literal["characters"] = "characters"

    def build(self) -> Characters:
        """Needs nothing."""
        return Characters()


class LexiconConfig(Config):
    """A pronunciation lexicon: a word (or, with `split: characters`, a character) and its symbols a line; lines that
    begin with `;;;` are comments, further pronunciations (`WORD(2)`) are left out."""

    kind: Literal["lexicon"] = "lexicon"
    path: Path
    split: Literal["words", "characters"] = "words"

    def build(self) -> Lexicon:
        """Raises `DataError` where the file cannot be read or holds nothing."""
        return Lexicon(_read(self.path), self.split)


SpellingConfig = Annotated[CharactersConfig | LexiconConfig, Field(discriminator="kind")]


class Characters:
    """Letters and word boundaries.

    >>> Characters().symbols("An das Eis!")
    ('a', 'n', '|', 'd', 'a', 's', '|', 'e', 'i', 's')
    """

    def symbols(self, text: str) -> Symbols | None:
        """None for a text with digits, or without letters."""
        words = WORD.findall(text.lower())
        if not words or any(letter.isdigit() for letter in text):
            return None
        return tuple(BETWEEN.join(words))


@dataclass(frozen=True)
class Lexicon:
    """`entries` by word in lower case."""

    entries: Mapping[str, Symbols]
    split: Literal["words", "characters"] = "words"

    def symbols(self, text: str) -> Symbols | None:
        """None where a word is not in the lexicon: half a transcript would teach the other half to be silent."""
        words = WORD.findall(text.lower())
        pieces = words if self.split == "words" else [letter for word in words for letter in word]
        if not pieces or any(letter.isdigit() for letter in text) or any(piece not in self.entries for piece in pieces):
            return None
        return tuple(symbol for piece in pieces for symbol in self.entries[piece])


@dataclass(frozen=True)
class Spelt:
    """Transcripts of rows as class indices by id (0 is the blank of CTC, symbol k stands at k + 1), and how many rows
    had one that could not be spelt."""

    symbols: Symbols
    of_row: Mapping[str, tuple[int, ...]]
    unspelt: int

    def told(self) -> str:
        """In words, for the run record."""
        return f"{len(self.of_row)} transcripts in {len(self.symbols)} symbols; {self.unspelt} could not be spelt"


def spell(manifest: Manifest, speller: Speller, symbols: Symbols | None = None) -> Spelt:
    """All transcripts; `symbols` are those that a model knows, by default all that stand in them, sorted.

    A transcript with a symbol that the model does not know counts as one that cannot be spelt.
    """
    pairs = manifest.table.select("id", "transcript").iter_rows()
    found = {name: speller.symbols(text) for name, text in pairs if text is not None}
    spelt = {name: sequence for name, sequence in found.items() if sequence}
    known = symbols or tuple(sorted({symbol for sequence in spelt.values() for symbol in sequence}))
    place = {symbol: number for number, symbol in enumerate(known, start=1)}
    of_row = {
        name: tuple(place[symbol] for symbol in sequence)
        for name, sequence in spelt.items()
        if all(symbol in place for symbol in sequence)
    }
    return Spelt(known, of_row, len(found) - len(of_row))


def _read(path: Path) -> dict[str, Symbols]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=path, fix="Check the lexicon's path.") from None
    entries: dict[str, Symbols] = {}
    for line in lines:
        word, *symbols = line.split("#")[0].split()[:100] if line.strip() and not line.startswith(";;;") else [""]
        if word and symbols and not ALTERNATIVE.search(word):
            entries.setdefault(word.lower(), tuple(STRESS.sub("", symbol) for symbol in symbols))
    if not entries:
        raise DataError(
            "holds no pronunciation", where=path, fix="A line is a word and its symbols, with spaces between."
        )
    return entries
