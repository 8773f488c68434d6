"""Options that take several values: `--reference a.wav b.wav` means `--reference a.wav --reference b.wav`."""

from __future__ import annotations

from collections.abc import Sequence

MANY = {"examine": {"--reference"}, "evaluate": {"--by"}, "train": {"--set"}}


def spread(arguments: Sequence[str]) -> list[str]:
    """Repeat a many-valued option before each of its values: all values up to the next option belong to it.

    >>> spread(["examine", "call.wav", "--reference", "a.wav", "b.wav", "--json", "out.json"])
    ['examine', 'call.wav', '--reference', 'a.wav', '--reference', 'b.wav', '--json', 'out.json']
    """
    many = MANY.get(next((word for word in arguments if not word.startswith("-")), ""), set())
    result: list[str] = []
    current: str | None = None
    for place, word in enumerate(arguments):
        if word == "--":
            return [*result, *arguments[place:]]
        if word in many:
            current = word
        elif word.startswith("-") and word != "-":
            current = None
            result.append(word)
        else:
            result.extend([current, word] if current else [word])
    return result
