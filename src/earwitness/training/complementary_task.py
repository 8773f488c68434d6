"""Training a network beside frozen members that it shall complement (`training.complementary`): any task of any domain
with one more loss term.

Each batch: the task's own terms are computed while the network is listened to, so that members hear exactly what it
heard (the same crop, the same perturbation) and the adversary reads the very embedding that scores are made of; the
predictors take their steps on it; then the learner gets their gradient, reversed and times lambda. So the predictor is
ahead by a batch's worth where the method's one joint backward pass has both move at once. The cost is a forward pass of
every member a batch, without gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earwitness.core.errors import RecipeError
from earwitness.corpora.batch import Batch
from earwitness.nn.frontends.base import full_precision
from earwitness.nn.layers.reversal import reverse_gradient
from earwitness.nn.network import Network
from earwitness.nn.types import Heard
from earwitness.training.checkpoint import join_optimiser, split_optimiser
from earwitness.training.complementary import Adversary, ComplementaryConfig, Known
from earwitness.training.model_folder import load_network, read_model_info
from earwitness.training.recipe import UtteranceRecipe
from earwitness.training.shipped import find_model
from earwitness.training.task import Losses, Metrics, Noted, Paced, Task, TaskState
from earwitness.training.tensors import load_trained_state, trained_state


@dataclass(frozen=True)
class Member:
    """A trained network that stays as it is, and how results name it."""

    network: Network
    reference: str


@dataclass(frozen=True)
class Classes:
    """How many classes a task tells apart, and each item's in a batch, int64 [B]."""

    count: int
    of: Callable[[Batch], Tensor]


@dataclass(frozen=True)
class Budget:
    """Of the run: its epochs, the recipe's base rate and seed."""

    epochs: int
    lr: float
    seed: int = 0


def complemented(recipe: UtteranceRecipe, network: Network, task: Task, classes: Classes) -> Task:
    """The recipe's task with its members opposed; the task as it is where the recipe names none.

    `network` is the one whose embedding is scored, a part of the model that is trained. Raises `ModelError` and
    `RecipeError` for members that cannot be loaded, or that hear another sample rate.
    """
    config = recipe.complementary
    if config is None:
        return task
    budget = Budget(recipe.loop.epochs, recipe.optimiser.lr, recipe.seed)
    return ComplementaryTask(task, network, load_members(config, recipe.audio.rate), config, classes, budget)


def load_members(config: ComplementaryConfig, rate: int) -> tuple[Member, ...]:
    """The members. Raises `ModelError`, and `RecipeError` for one that hears another rate (Hz)."""
    found = []
    for name in config.members:
        folder = find_model(name)
        info = read_model_info(folder)
        if info.rate != rate:
            what = f"complementary.members: '{name}' hears {info.rate} Hz, this recipe {rate} Hz"
            raise RecipeError(what, fix="Give members and recipe one rate.")
        found.append(Member(load_network(folder, info), info.reference))
    return tuple(found)


class ComplementaryTask:
    """Another task's terms, and `adversarial`. Members are in eval mode and take no gradient.

    What it learns itself (predictors, their optimiser, class means) is in every checkpoint, with the members' names:
    other members do not resume a run.
    """

    def __init__(
        self,
        task: Task,
        network: Network,
        members: Sequence[Member],
        config: ComplementaryConfig,
        classes: Classes,
        budget: Budget,
    ) -> None:
        self.config, self.members = config, tuple(members)
        self._task, self._network, self._classes, self._budget = task, network, classes, budget
        for member in self.members:
            member.network.requires_grad_(False).eval()
        sizes = [member.network.dim for member in members]
        with torch.random.fork_rng(devices=[]):  # plain training draws nothing here
            torch.manual_seed(budget.seed)
            self.adversary = Adversary(config, network.dim, sizes, classes.count)
        self._optimiser = torch.optim.AdamW(
            self.adversary.parameters(), lr=config.rate * budget.lr, weight_decay=config.weight_decay
        )
        self.weight = config.weight(0.0, budget.epochs)

    def set_progress(self, epochs: float) -> None:
        """lambda after so many epochs."""
        self.weight = self.config.weight(epochs, self._budget.epochs)
        if isinstance(self._task, Paced):
            self._task.set_progress(epochs)

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        """The task's own terms, and `adversarial`, whose gradient in the network is reversed. Raises what the task
        raises, and `RecipeError` where it embeds other items than the batch's.
        """
        with self._network.listening() as heard:
            losses = self._task.loss(model, batch)
        if sum(len(part.embedding) for part in heard) != len(batch.ids):
            raise RecipeError("complementary: this task does not embed each item of a batch once")
        self._settle(batch.waveforms.device)
        classes = self._classes.of(batch) if self.config.condition == "class" else None
        known = self.adversary.known(self._known(heard), classes)
        embedding = torch.cat([part.embedding for part in heard])
        with full_precision(embedding.device.type):
            return Losses({**losses.terms, "adversarial": self._opposed(embedding, known)})

    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Metrics:
        """As the task does: members are not asked."""
        return self._task.evaluate(model, batches)

    def notes(self, model: nn.Module) -> dict[str, float]:
        """The task's own, and `lambda`. How well the predictors do in training is no measure of redundancy."""
        own = self._task.notes(model) if isinstance(self._task, Noted) else {}
        return {**own, "lambda": self.weight}

    def state(self) -> TaskState:
        """Predictors and class means, the optimiser's state, and which members they are about."""
        tensors, numbers = split_optimiser(self._optimiser)
        tensors = {name: value.detach().to("cpu", copy=True) for name, value in tensors.items()}
        tensors |= {f"adversary/{name}": value for name, value in trained_state(self.adversary).items()}
        return TaskState(tensors, {"members": self._references(), "optimiser": numbers})

    def restore(self, kept: TaskState, device: torch.device) -> None:
        """Put it back. Raises `RecipeError` where the run was started beside other members."""
        before = kept.note.get("members")
        if before != self._references():
            what = f"the run that lies here was started beside other members: {before}, now {self._references()}"
            raise RecipeError(what, fix="Give it the members that it was started with, or train in another folder.")
        self._settle(device)
        own = {name: value for name, value in kept.tensors.items() if name.startswith("adversary/")}
        load_trained_state(self.adversary, {name.removeprefix("adversary/"): value for name, value in own.items()})
        join_optimiser(self._optimiser, kept.tensors, kept.note["optimiser"])

    def _references(self) -> list[str]:
        return [member.reference for member in self.members]

    def _settle(self, device: torch.device) -> None:
        """Adversary and members go where the batches are."""
        for network in (self.adversary, *(member.network for member in self.members)):
            network.to(device)

    @torch.no_grad()
    def _known(self, heard: Sequence[Heard]) -> list[Tensor]:
        """What each member makes of the items, [B, d_k]."""
        return [
            torch.cat([member.network.embed(part.waveforms, part.lengths).mean for part in heard])
            for member in self.members
        ]

    def _opposed(self, embedding: Tensor, known: Known) -> Tensor:
        """The predictors' steps, then L_a with the learner's gradient reversed and theirs left out."""
        units = F.normalize(embedding.float())
        for _ in range(self.config.n_adv_steps):
            self._optimiser.zero_grad()
            self.adversary.loss(units.detach(), known).backward()  # type: ignore[no-untyped-call]
            self.adversary.average_gradients()
            self._optimiser.step()
        self._optimiser.zero_grad()
        self.adversary.requires_grad_(False)
        against = reverse_gradient(units, self.weight) if self.weight else units.detach()
        loss = self.adversary.loss(against, known)
        self.adversary.requires_grad_(True)
        return loss
