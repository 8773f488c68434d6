"""Every error that Earwitness raises on purpose, one tree:

    EarwitnessError
    ├── UsageError            the command line or a call asks for something that does not exist
    ├── AudioError            a recording cannot be read, or holds nothing that can be judged
    ├── DataError             a manifest, protocol, label or score file is not what it must be
    │   └── LeakError         the same speaker, source or audio stands on both sides of a split
    ├── RecipeError           a recipe or a component's configuration is not valid
    ├── ModelError            a model folder is missing, incomplete, altered or of another kind
    ├── MetricError           numbers that no metric can be computed from
    └── MissingPartError      an optional package is needed and not installed

Each is one line: what is wrong, where, and what to do. Anything else that escapes is a defect of Earwitness.
"""

from __future__ import annotations

LONGEST = 1000  # characters of a message


class EarwitnessError(Exception):
    """What is wrong, where, and what to do about it.

    `str()` joins the three into one line; control characters in names taken from files are shown escaped.
    """

    def __init__(self, what: str, *, where: object = None, fix: str | None = None) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.fix = fix
        super().__init__(what)

    def __str__(self) -> str:
        text = self.what if self.where is None else f"{self.where}: {self.what}"
        if self.fix:
            text = f"{text.rstrip('.')}{'' if text.endswith(('?', '!')) else '.'} {self.fix}"
        return printable(_shortened(text))


def _shortened(text: str) -> str:
    """A line that a person can read, whatever the length of the names in it."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 200]} [...] {text[-200:]}"


class UsageError(EarwitnessError):
    """The command line or a call asks for something that does not exist."""


class AudioError(EarwitnessError):
    """A recording cannot be read, or holds nothing that can be judged."""


class DataError(EarwitnessError):
    """A manifest, protocol, label or score file is not what it must be."""


class LeakError(DataError):
    """The same speaker, source recording, system or audio stands on both sides of a split."""


class RecipeError(EarwitnessError):
    """A recipe or a component's configuration is not valid."""


class ModelError(EarwitnessError):
    """A model folder is missing, incomplete, altered or of another kind."""


class MetricError(EarwitnessError):
    """Numbers that no metric can be computed from: empty, one class, not finite."""


class MissingPartError(EarwitnessError):
    """An optional package is needed and not installed."""


def printable(text: str) -> str:
    """The text on one line: control characters (also those that drive a terminal) are shown as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
