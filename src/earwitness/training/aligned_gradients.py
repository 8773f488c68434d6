"""The gradients of several losses, taken one by one and joined into one (`training.gradient_alignment` says how).

| algorithm | held beyond what plain training holds | backward passes |
|---|---|---|
| lean | one gradient for each loss after the first | one a loss |
| full | all gradients, and their matrix in float64 | one a loss |
| bufferless (two losses) | the graphs of all accumulated batches | 3, or 4 where the rule changes something |
| reweighted | as lean, and these graphs | one a loss, and one of the reweighted loss |

They differ in cost and rounding alone. Products are summed in float64. A parameter that no loss reaches, or that is
frozen, keeps no gradient at all, so no optimiser moves it, not by weight decay either; where only some losses reach
it, the others count as zero. With several processes each loss's gradient is averaged over them before anything is
compared; batches that are accumulated are summed up per loss first. A loss scaler's factor is taken out of the
products; a step whose gradients are not finite is left to the scaler to skip or, without one, is skipped here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from earwitness.core.errors import RecipeError
from earwitness.training.conflicts import GradientNotes
from earwitness.training.gradient_alignment import AlignmentConfig, Matrix
from earwitness.training.task import Losses

Gradient = list[Tensor | None]  # one a parameter
Targets = dict[str, list[list[float]]]
"""What a rule remembers: [K, K] of the whole network under `WHOLE`, or of each weight tensor under its name."""

WHOLE = "whole"
NEAR_ZERO = 1e-7  # of |g_1| |g_2|: a product this small is rounding where it is a difference of squares


@dataclass(frozen=True)
class Joined:
    """What a step made, beside the gradients that the parameters now hold.

    `losses` are the terms' values, `notes` what `GradientNotes` saw. Where `apply` is false no optimiser step may
    follow.
    """

    losses: dict[str, float]
    notes: dict[str, float]
    targets: Targets
    apply: bool = True


class Aligner:
    """Takes the gradient of each loss term and leaves their aligned sum in the parameters.

    The sum: K times the aligned mean of K terms, so that the rule `none` gives the gradient of the total loss.
    `named` are the parameters that learn; `fabric` runs the backward passes.
    """

    def __init__(
        self, config: AlignmentConfig, named: Sequence[tuple[str, nn.Parameter]], fabric: Any, seed: int = 0
    ) -> None:
        self.config, self.fabric, self.seed = config, fabric, seed
        self.names = [name for name, _ in named]
        self.parameters = [parameter for _, parameter in named]
        self._notes = GradientNotes(self.names, config.blocks)

    def step(self, pieces: Iterable[Losses], targets: Targets, step: int) -> Joined:
        """The terms of one optimiser step, in pieces (batches that are accumulated, passes of their own), each used up
        before the next is asked for; `targets` as the step before left them ({} at first). Random orders follow from
        the seed and `step`.

        Raises `RecipeError` for fewer than two terms, or more than `bufferless` can take.
        """
        takers = {"bufferless": self._bufferless, "reweighted": self._reweighted}
        take = takers.get(self.config.algorithm, self._buffered)
        for parameter in self.parameters:
            parameter.grad = None
        return take(pieces, targets, step)

    def _buffered(self, pieces: Iterable[Losses], targets: Targets, step: int) -> Joined:
        """Algorithms lean and full."""
        losses, gradients = self._take(pieces)
        plan = self._plan(self._grams(list(gradients.values())), list(losses), targets, step)
        join = _join_in_float64 if self.config.algorithm == "full" else _join_in_place
        join(self.parameters, list(gradients.values()), plan.coefficients)
        return Joined(losses, plan.notes, plan.targets, plan.finite or self._scaler is not None)

    def _reweighted(self, pieces: Iterable[Losses], targets: Targets, step: int) -> Joined:
        """The same coefficients as weights of the losses, in one more backward pass."""
        held = list(pieces)
        losses, gradients = self._take(held, keep_graphs=True)
        plan = self._plan(self._grams(list(gradients.values())), list(losses), targets, step)
        del gradients
        self._backward(held, dict(zip(losses, plan.coefficients[0], strict=True)))
        return Joined(losses, plan.notes, plan.targets, plan.finite or self._scaler is not None)

    def _bufferless(self, pieces: Iterable[Losses], targets: Targets, step: int) -> Joined:
        """<g_1, g_2> from |g_1 + g_2|^2. Where nothing is to be changed, the last of three passes has left the sum."""
        held = list(pieces)
        losses = _values(held)
        if len(losses) > 2:
            raise RecipeError(f"`bufferless` aligns two losses, not {len(losses)}", fix="Use `algorithm: lean`.")
        _require_several(losses)
        first, second = losses
        squares = []
        for name, on_top in ((second, False), (first, False), (second, True)):
            if not on_top:
                self._clear()
            self._backward(held, {name: 1.0}, keep_graphs=True)
            squares.append(self._grams([[parameter.grad for parameter in self.parameters]])[:, 0, 0])
        two, one, both = squares
        grams = np.empty((len(self.parameters), 2, 2))
        grams[:, 0, 0], grams[:, 1, 1] = one, two
        grams[:, 0, 1] = grams[:, 1, 0] = (both - one - two) / 2
        plan = self._plan(grams, [first, second], targets, step, rounding=NEAR_ZERO)
        if bool((plan.coefficients != 1).any()):
            self._clear()
            self._backward(held, dict(zip(losses, plan.coefficients[0], strict=True)))
        return Joined(losses, plan.notes, plan.targets, plan.finite or self._scaler is not None)

    def _take(
        self, pieces: Iterable[Losses], keep_graphs: bool = False
    ) -> tuple[dict[str, float], dict[str, Gradient]]:
        """The value and the gradient of every term, summed over the pieces and averaged over processes.

        Each term's gradient lies in the parameters while its backward pass adds to it, and is then put aside: nothing
        is copied.
        """
        losses: dict[str, float] = {}
        gradients: dict[str, Gradient] = {}
        for piece in pieces:
            for number, (name, term) in enumerate(piece.terms.items(), start=1):
                losses[name] = losses.get(name, 0.0) + float(term.detach())
                self._put(gradients.setdefault(name, [None] * len(self.parameters)))
                if term.requires_grad:
                    self.fabric.backward(term, retain_graph=keep_graphs or number < len(piece.terms))
                gradients[name] = [parameter.grad for parameter in self.parameters]
                self._clear()
        _require_several(losses)
        for gradient in gradients.values():
            self._reduce(gradient)
        return losses, gradients

    def _backward(self, held: Sequence[Losses], weights: dict[str, float], keep_graphs: bool = False) -> None:
        """Add the gradient of the weighted terms of all pieces to the parameters'."""
        for piece in held:
            named = [(name, term) for name, term in piece.terms.items() if name in weights and term.requires_grad]
            if named:
                total = torch.stack([weights[name] * term for name, term in named]).sum()
                self.fabric.backward(total, retain_graph=keep_graphs)
        gradient = [parameter.grad for parameter in self.parameters]
        self._reduce(gradient)
        self._put(gradient)

    def _put(self, gradient: Gradient) -> None:
        for parameter, value in zip(self.parameters, gradient, strict=True):
            parameter.grad = value

    def _clear(self) -> None:
        self._put([None] * len(self.parameters))

    def _reduce(self, gradient: Gradient) -> None:
        """The mean over processes, in place; a process that has none for a parameter counts as zero."""
        if self.fabric.world_size == 1:
            return
        has = torch.tensor([float(value is not None) for value in gradient], device=self.fabric.device)
        anywhere = (self.fabric.all_reduce(has, reduce_op="sum") > 0).tolist()
        for place, parameter in enumerate(self.parameters):
            if anywhere[place]:
                value = gradient[place]
                own = torch.zeros_like(parameter) if value is None else value
                gradient[place] = self.fabric.all_reduce(own, reduce_op="mean")

    @property
    def _scaler(self) -> Any:
        return getattr(self.fabric.strategy.precision, "scaler", None)

    def _grams(self, gradients: Sequence[Gradient]) -> Matrix:
        """The products of the gradients tensor by tensor, [T, K, K] in float64, without the loss scaler's factor."""
        scale = 1.0 if self._scaler is None else float(self._scaler.get_scale())
        return gram_matrices(self.parameters, gradients) / scale**2

    def _plan(self, grams: Matrix, terms: Sequence[str], targets: Targets, step: int, rounding: float = 0.0) -> _Plan:
        """The coefficients of every term in every tensor [T, K]; 1 where the gradients are not finite."""
        count = len(terms)
        ones = np.ones((len(grams), count))
        if not np.isfinite(grams).all():
            return _Plan(ones, {"skipped": 1.0}, targets, finite=False)
        notes = self._notes.of(grams, terms) | {"skipped": 0.0}
        rng = np.random.default_rng([self.seed, step])
        units = {WHOLE: grams.sum(axis=0)} if self.config.per == "whole" else dict(zip(self.names, grams, strict=True))
        after: Targets = {}
        rows = []
        for name, gram in units.items():
            before = np.array(targets[name]) if name in targets else self.config.first_targets(count)
            row, remembered = self.config.coefficients(_without_rounding(gram, rounding), before, rng)
            rows.append(row * count)
            if remembered.any():
                after[name] = remembered.tolist()
        return _Plan(np.stack(rows) * ones, notes, after)


@dataclass(frozen=True)
class _Plan:
    """Coefficients [T, K] of the sum, and what else a step gives."""

    coefficients: Matrix
    notes: dict[str, float]
    targets: Targets
    finite: bool = True


PIECE = 1 << 20  # values of a gradient that are in float64 at a time


def gram_matrices(parameters: Sequence[nn.Parameter], gradients: Sequence[Gradient]) -> Matrix:
    """<g_i, g_j> of K gradients for each of T parameters, [T, K, K] in float64; None counts as zero."""
    count = len(gradients)
    pairs = list(combinations_with_replacement(range(count), 2))
    zero = torch.zeros((), dtype=_exact_type(parameters[0]), device=parameters[0].device)
    found = []
    for place in range(len(parameters)):
        flat = [None if gradient[place] is None else gradient[place].reshape(-1) for gradient in gradients]  # type: ignore[union-attr]
        found += _products(flat, pairs, zero)
    upper = torch.stack(found).cpu().double().numpy()
    grams = np.zeros((len(parameters), count, count))
    for number, (i, j) in enumerate(pairs):
        grams[:, i, j] = grams[:, j, i] = upper.reshape(len(parameters), len(pairs))[:, number]
    return grams


def _products(flat: Sequence[Tensor | None], pairs: Sequence[tuple[int, int]], zero: Tensor) -> list[Tensor]:
    """The products of the pairs, summed piece by piece so that little of a gradient is ever in float64."""
    sums = [zero] * len(pairs)
    length = max((value.numel() for value in flat if value is not None), default=0)
    for start in range(0, length, PIECE):
        exact = [None if value is None else value[start : start + PIECE].to(zero.dtype) for value in flat]
        for number, (i, j) in enumerate(pairs):
            first, second = exact[i], exact[j]
            if first is not None and second is not None:
                sums[number] = sums[number] + torch.dot(first, second)
    return sums


def _exact_type(parameter: Tensor) -> torch.dtype:
    return torch.float32 if parameter.device.type == "mps" else torch.float64  # which has no float64


def _join_in_place(parameters: Sequence[nn.Parameter], gradients: Sequence[Gradient], coefficients: Matrix) -> None:
    """Each parameter's gradient is the weighted sum, built in the memory of the first one that is there."""
    for place, parameter in enumerate(parameters):
        total: Tensor | None = None
        for gradient, weight in zip(gradients, coefficients[place].tolist(), strict=True):
            value = gradient[place]
            if value is None:
                continue
            if total is None:
                total = value if weight == 1 else value.mul_(weight)
            else:
                total.add_(value, alpha=weight)
            gradient[place] = None
        parameter.grad = total


def _join_in_float64(parameters: Sequence[nn.Parameter], gradients: Sequence[Gradient], coefficients: Matrix) -> None:
    """The same from one flat vector a loss, all in float64: the method as it is written down."""
    sizes = [parameter.numel() for parameter in parameters]
    flat = torch.stack(
        [
            torch.cat([torch.zeros_like(p).reshape(-1) if g is None else g.reshape(-1) for p, g in pairs])
            for pairs in (list(zip(parameters, gradient, strict=True)) for gradient in gradients)
        ]
    )
    exact = flat.to(_exact_type(flat))
    weights = torch.from_numpy(coefficients.T.copy()).to(exact)  # [K, T]
    spread = torch.repeat_interleave(weights, torch.tensor(sizes, device=weights.device), dim=1)
    joined = exact.mul_(spread).sum(dim=0).to(flat.dtype)
    for place, (parameter, values) in enumerate(zip(parameters, torch.split(joined, sizes), strict=True)):
        reached = any(gradient[place] is not None for gradient in gradients)
        parameter.grad = values.view_as(parameter).clone() if reached else None


def _without_rounding(gram: Matrix, share: float) -> Matrix:
    """Products that are no larger than rounding count as zero."""
    if not share:
        return gram
    lengths = np.sqrt(np.diag(gram).clip(min=0))
    return np.where(np.abs(gram) < share * np.outer(lengths, lengths), 0.0, gram)


def _values(pieces: Iterable[Losses]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for piece in pieces:
        for name, term in piece.terms.items():
            sums[name] = sums.get(name, 0.0) + float(term.detach())
    return sums


def _require_several(losses: dict[str, float]) -> None:
    if len(losses) < 2:
        raise RecipeError(
            f"`alignment` needs two loss terms or more, and this run's task gives only {', '.join(losses) or 'none'}",
            fix="Set `paths: dual`, which gives one term for each path, or leave `alignment` out.",
        )
