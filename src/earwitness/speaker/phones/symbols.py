"""From what files and recognisers write to the ARPAbet inventory: names with stress, silences, and IPA symbols.

The table from IPA is meant to be read: every symbol stands in it, next to the English phone that it is taken for, and
what stands nowhere has no phone (it is counted, never guessed). Many are neighbours rather than equals: a Korean tense
k and an English K both become K.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from earwitness.speaker.phones.inventory import ARPABET

Reading = Callable[[str], str | None]
"""A symbol to a phone of an inventory; None where it has none."""

SILENCES = (
    "",
    "[SIL]",
    "SIL",
    "SP",
    "SPN",
    "NSN",
    "<EPS>",
    "[UNK]",
    "<UNK>",
    "UNK",
    "[PAD]",
    "+SPN+",
    "+NSN+",
    "<SIL>",
)
"""Read as silence, in any case of letters; that unknown sounds are among them is the rule of ExPO's released code."""

IPA = {
    "AA": "ɑ ɒ a ɐ",
    "AE": "æ",
    "AH": "ʌ ə ɘ ɤ ᵊ",
    "AO": "ɔ",
    "AW": "aʊ",
    "AY": "aɪ",
    "B": "b",
    "CH": "tʃ t͡ʃ t͡ɕ",
    "D": "d ɖ",
    "DH": "ð",
    "EH": "ɛ e eə",
    "ER": "ɝ ɚ ɜ",
    "EY": "eɪ",
    "F": "f",
    "G": "ɡ g",
    "HH": "h ɦ",
    "IH": "ɪ ɨ",
    "IY": "i",
    "JH": "dʒ d͡ʒ",
    "K": "k",
    "L": "l ɫ",
    "M": "m",
    "N": "n",
    "NG": "ŋ",
    "OW": "oʊ o əʊ",
    "OY": "ɔɪ",
    "P": "p",
    "R": "ɹ r ɻ ɾ",
    "S": "s",
    "SH": "ʃ ɕ ʂ",
    "T": "t ʈ",
    "TH": "θ",
    "UH": "ʊ",
    "UW": "u ʉ ɯ",
    "V": "v ʋ",
    "W": "w",
    "Y": "j",
    "Z": "z",
    "ZH": "ʒ ʑ ʐ",
}
"""IPA symbols by the ARPAbet phone that they are taken for, separated by blanks."""

MODIFIERS = "ˈˌːˑʰʲʷˤ˞̥̬̩̯̪̺̻̟̠̝̞͈͍̃̆̈̊̚"
"""Marks of stress, length, release and the like: where a symbol is unknown it is looked up without them."""

_OF_IPA = {symbol: phone for phone, symbols in IPA.items() for symbol in symbols.split()}
_PHONES = frozenset(ARPABET.phones)


def of_ipa(symbol: str) -> str | None:
    """The ARPAbet phone that an IPA symbol is taken for.

    >>> of_ipa("t͈"), of_ipa("ø")
    ('T', None)
    """
    if symbol in _OF_IPA:
        return _OF_IPA[symbol]
    bare = unicodedata.normalize("NFD", symbol).translate(dict.fromkeys(map(ord, MODIFIERS)))
    return _OF_IPA.get(bare) or _OF_IPA.get(bare.replace("͡", ""))


def of_any(symbol: str) -> str | None:
    """A phone of a file: an ARPAbet name with or without stress in any case, a silence, or an IPA symbol.

    >>> of_any("AH0"), of_any("sp"), of_any("ʃ"), of_any("?")
    ('AH', '[SIL]', 'SH', None)
    """
    upper = symbol.strip().upper()
    if upper in SILENCES:
        return ARPABET.silence
    name = re.sub(r"(?<=[A-Z])[0-2]$", "", upper)
    # one small letter is IPA first: 'r' and 'R' agree, but 'a' is no name in ARPAbet
    return name if name in _PHONES else of_ipa(symbol.strip())
