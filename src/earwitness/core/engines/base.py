"""What an engine is asked to do, and what an engine is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")
ItemIn = TypeVar("ItemIn", contravariant=True)
Made = TypeVar("Made")
MadeOut = TypeVar("MadeOut", covariant=True)


class Work(Protocol[ItemIn, MadeOut]):
    """What is made of one item, from reading it to its result.

    Several threads may be at it at once. It must be fit to be sent to other processes (pickled), hold no open file, and
    write nothing that others write.
    """

    def result(self, item: ItemIn) -> MadeOut:
        """What is made of the item."""
        ...

    def lost(self, item: ItemIn, why: str) -> MadeOut:
        """What stands for an item whose worker died over it again and again."""
        ...


class Engine(Protocol):
    """Works off items."""

    def results(self, work: Work[Item, Made], items: Iterable[Item]) -> Iterator[tuple[Item, Made]]:
        """Each item with what was made of it, in the order of the items, as they come; only a bounded number of
        items is taken ahead. An exception of the work that it does not handle itself ends the run.
        """
        ...
