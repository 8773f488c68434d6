"""Errors are one line that a person can act on, whatever is in the names they speak of."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.core import errors
from earwitness.core.errors import AudioError, DataError, EarwitnessError, LeakError, UsageError, printable


def test_what_where_and_fix_are_one_line() -> None:
    error = AudioError("is an empty file.", where="a\nb.wav", fix="Check the path.")
    assert str(error) == "a\\nb.wav: is an empty file. Check the path."
    assert (error.what, error.where, error.fix) == ("is an empty file.", "a\nb.wav", "Check the path.")
    assert str(UsageError("nothing to do")) == "nothing to do"
    assert str(DataError("bad", where=3)) == "3: bad"
    assert str(DataError("is it `a`?", fix="Rename it.")) == "is it `a`? Rename it."


def test_every_error_is_in_the_tree_that_the_module_draws() -> None:
    found = {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind)}
    assert all(issubclass(kind, EarwitnessError) for kind in found.values())
    drawn = errors.__doc__ or ""
    assert all(name in drawn for name in found)
    assert issubclass(LeakError, DataError)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ß, 語, \N{LEFT DOUBLE QUOTATION MARK}", "plain, ß, 語, \N{LEFT DOUBLE QUOTATION MARK}"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\u202egnp.exe", "\\u202egnp.exe"),  # turns the rest of the line around
        ("caf\udce9.wav", "caf\\udce9.wav"),
    ],
)
def test_control_characters_are_shown_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(exclude_categories=())), st.text(), st.text())
def test_no_text_breaks_the_line(what: str, where: str, fix: str) -> None:
    line = str(EarwitnessError(what, where=where, fix=fix))
    assert len(line.splitlines()) <= 1
    assert all(c.isprintable() for c in line)
    line.encode("utf-8")
