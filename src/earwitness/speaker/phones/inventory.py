"""Which sounds a track may name: the 39 stress-less ARPAbet phones and silence, or clusters that are no phones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from earwitness.core.errors import DataError

NONE = -1
"""The label of samples and frames in which no sound of the inventory is heard."""


@dataclass(frozen=True)
class Inventory:
    """Names in the order of their labels (from 0). `silence` is the name of what no segment covers; None: of nothing.

    `are_phones` is off for clusters: what is told of them never calls them phones.
    """

    name: str
    phones: tuple[str, ...]
    silence: str | None = None
    are_phones: bool = True

    def __len__(self) -> int:
        return len(self.phones)

    @property
    def uncovered(self) -> int:
        """The label of samples that no segment covers."""
        return NONE if self.silence is None else self.index(self.silence)

    def index(self, phone: str | None) -> int:
        """The label of a phone; -1 for None. Raises `DataError` for a name that is not in it."""
        if phone is None:
            return NONE
        try:
            return self._indices[phone]
        except KeyError:
            raise DataError(f"'{phone}' is not in the inventory {self.name}") from None

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {phone: place for place, phone in enumerate(self.phones)}


#: In the order of ExPO's released code (arXiv 2501.05729); silence is a trait like any other.
ARPABET = Inventory(
    "ARPAbet",
    (
        *("[SIL]", "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH"),
        *("IY", "JH", "K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y"),
        *("Z", "ZH"),
    ),
    silence="[SIL]",
)


def clusters(count: int) -> Inventory:
    """Names for `count` pseudo-phones: U00, U01, ..."""
    return Inventory("pseudo-phones", tuple(f"U{number:02d}" for number in range(count)), are_phones=False)
