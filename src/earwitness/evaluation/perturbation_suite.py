"""Which perturbations of `audio.perturb.suite` a text means: `evaluate --perturb all`, or some by their names."""

from __future__ import annotations

from earwitness.audio.perturb.suite import BY_NAME, PERTURBATIONS, NamedPerturbation
from earwitness.core.config import nearest
from earwitness.core.errors import UsageError


def parse_names(text: str) -> tuple[NamedPerturbation, ...]:
    """The perturbations of `all` or `NAME,NAME,...`, in the order of the suite.

    Raises `UsageError` naming the nearest one for an unknown name.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if names == ["all"]:
        return PERTURBATIONS
    for name in names:
        if name not in BY_NAME:
            guess = nearest(name, BY_NAME)
            hint = f"Did you mean '{guess}'? " if guess else ""
            fix = f"{hint}Use all, or of: {', '.join(BY_NAME)}."
            raise UsageError(f"there is no perturbation '{name}'", where="--perturb", fix=fix)
    if not names:
        raise UsageError("names no perturbation", where="--perturb", fix=f"Use all, or of: {', '.join(BY_NAME)}.")
    return tuple(perturbation for name, perturbation in BY_NAME.items() if name in names)
