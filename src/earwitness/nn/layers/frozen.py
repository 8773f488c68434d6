"""Pretrained parts that a training run must not change: marked once, then known to every network that holds them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def freeze(module: M) -> M:
    """Take gradients off `module`, put it in eval mode and mark it as frozen. Returns it.

    Parameters that are put into it afterwards (adapters, LoRA) train as usual and count as trainable state.
    """
    module.requires_grad_(False)
    module.eval()
    module.frozen = True  # type: ignore[assignment]
    return module


def frozen_modules(root: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Name and module of every part of `root` that is marked as frozen."""
    return ((name, module) for name, module in root.named_modules() if getattr(module, "frozen", False) is True)


def keep_frozen_in_eval(root: nn.Module) -> None:
    """Put frozen parts back in eval mode, so that batch-norm and dropout of a pretrained network do not move."""
    for _, module in frozen_modules(root):
        module.eval()


def frozen_keys(root: nn.Module) -> set[str]:
    """State-dict keys of `root` that belong to frozen parts: their buffers and the parameters that take no gradient."""
    learning = {name for name, parameter in root.named_parameters(remove_duplicate=False) if parameter.requires_grad}
    prefixes = tuple(f"{name}." if name else "" for name, _ in frozen_modules(root))
    return {key for key in root.state_dict() if key.startswith(prefixes) and key not in learning} if prefixes else set()
