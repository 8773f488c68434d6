"""From the names in others' state-dicts to ours and back: complete both ways, or refused.

A `KeyMap` is a list of rules, each a pattern of our names and the official name that belongs to it. What an official
file may hold besides, and what is left out, is named too: nothing is dropped because it is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from earwitness.core.errors import ModelError


@dataclass(frozen=True)
class KeyMap:
    """`rules`: (pattern of our name, official name with \\1, \\2 for its groups), the first that matches counts.

    `left_out`: patterns of official names that have no use here (pre-training heads). `optional`: patterns of our
    names that the official file may lack.
    """

    rules: tuple[tuple[str, str], ...]
    left_out: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    def official_name(self, ours: str) -> str:
        """The official name of one of ours. Raises `ModelError` where no rule knows it."""
        for pattern, official in self.rules:
            if found := re.fullmatch(pattern, ours):
                return found.expand(official)
        raise ModelError(f"'{ours}' has no official counterpart")

    def to_ours(self, official: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The official tensors under the names of `ours`, the `state_dict()` to fill.

        Raises `ModelError` unless every tensor of either side has its partner of the same shape.
        """
        wanted = {self.official_name(name): name for name in ours}
        lacking = {name for name in wanted.keys() - official.keys() if not _matches(wanted[name], self.optional)}
        surplus = {name for name in official.keys() - wanted.keys() if not _matches(name, self.left_out)}
        if lacking or surplus:
            raise ModelError(
                f"{len(lacking)} tensor(s) missing ({some(lacking)}), {len(surplus)} unexpected ({some(surplus)})"
            )
        renamed = {own: official[name] for name, own in wanted.items() if name in official}
        for own, value in renamed.items():
            if value.shape != ours[own].shape:
                what = f"{self.official_name(own)} has shape {tuple(value.shape)}, expected {tuple(ours[own].shape)}"
                raise ModelError(what)
        return renamed

    def to_official(self, ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our tensors under their official names."""
        return {self.official_name(name): value for name, value in ours.items()}


def some(names: Iterable[str]) -> str:
    """The first few names, for an error message."""
    known = sorted(names)
    return "none" if not known else ", ".join(known[:3]) + (", ..." if len(known) > 3 else "")


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)
