"""Options that take several values: `--reference a.wav b.wav` means `--reference a.wav --reference b.wav`."""

from __future__ import annotations

from collections.abc import Sequence

from earwitness.core.errors import UsageError

MANY = {
    "examine": {"--reference"},
    "score": {"--reference", "--submission"},
    "evaluate": {"--by", "--cost"},
    "compare": {"--cost"},
    "calibrate": {"--cost"},
    "fuse": {"--held-out"},
    "train": {"--set"},
}


def spread(arguments: Sequence[str]) -> list[str]:
    """Repeat a many-valued option before each of its values: all values up to the next option belong to it.

    What follows `--` stands for itself. Raises `UsageError` for such an option without any value: a shell's glob that
    matched nothing must not go unnoticed.

    >>> spread(["examine", "call.wav", "--reference", "a.wav", "b.wav", "--json", "out.json"])
    ['examine', 'call.wav', '--reference', 'a.wav', '--reference', 'b.wav', '--json', 'out.json']
    """
    many = MANY.get(next((word for word in arguments if not word.startswith("-")), ""), set())
    result: list[str] = []
    current: str | None = None
    for place, word in enumerate([*arguments, "--"]):
        if word.startswith("-") and word != "-":
            if current and result[-1] == current:
                raise UsageError("needs at least one value", where=current)
            if word == "--":
                return [*result, *arguments[place:]]
            current = word if word in many else None
            result.append(word)
        elif current and result[-1] != current:
            result += [current, word]
        else:
            result.append(word)
    return result
