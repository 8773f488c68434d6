"""All values up to the next option belong to an option that takes many."""

from __future__ import annotations

import pytest

from earwitness.cli.arguments import spread
from earwitness.core.errors import UsageError


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("examine c.wav --reference a.wav", "examine c.wav --reference a.wav"),
        ("examine c.wav --reference a.wav b.wav", "examine c.wav --reference a.wav --reference b.wav"),
        ("examine c.wav d.wav --reference a b --json -", "examine c.wav d.wav --reference a --reference b --json -"),
        ("examine --reference a b --html o.html c.wav", "examine --reference a --reference b --html o.html c.wav"),
        ("examine --reference a b -- c.wav d.wav", "examine --reference a --reference b -- c.wav d.wav"),
        ("examine c --reference a b --reference d", "examine c --reference a --reference b --reference d"),
        ("--debug examine c --reference a b", "--debug examine c --reference a --reference b"),
        ("score in -o o.csv --reference a b", "score in -o o.csv --reference a --reference b"),
        ("train r.yaml --set a=1 b=2 --resume", "train r.yaml --set a=1 --set b=2 --resume"),
        ("evaluate deepfake s.csv --by language codec", "evaluate deepfake s.csv --by language --by codec"),
        ("doctor --reference a b", "doctor --reference a b"),  # an option of other commands
        ("examine -- --reference a b", "examine -- --reference a b"),
        ("", ""),
    ],
)
def test_values_are_given_their_option(typed: str, meant: str) -> None:
    assert spread(typed.split()) == meant.split()


def test_values_with_blanks_and_odd_names_stay_whole() -> None:
    names = ["a b.wav", "it's", "<script>", "x=--reference"]
    assert spread(["examine", "--reference", *names])[1:] == [word for name in names for word in ("--reference", name)]


@pytest.mark.parametrize(
    "typed", ["examine c --reference", "examine --reference --json o c", "examine --reference -- c"]
)
def test_a_glob_that_matched_nothing_does_not_go_unnoticed(typed: str) -> None:
    with pytest.raises(UsageError, match="--reference: needs at least one value"):
        spread(typed.split())
