"""One synthesis: spectrograms of asked classes that the teacher finds right and the student finds hard, all different.

    L = b_bn L_bn + b_oh L_oh + b_adv L_adv + b_cr L_cr (+ b_tv TV + b_l2 L2)

over the global view; the local view passes the teacher after it, since hooks hold the last pass alone. Neither teacher
nor student moves. The batch of the least total is kept: terms are comparable within a synthesis, not between two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from earwitness.training.inversion import losses
from earwitness.training.inversion.generator import FreeInputs, Generator
from earwitness.training.inversion.memory import ContrastiveHead, MemoryBank
from earwitness.training.inversion.recipe import ContrastConfig, GeneratorConfig, InversionRecipe
from earwitness.training.inversion.statistics import Hooks
from earwitness.training.inversion.teacher import Teacher
from earwitness.training.inversion.views import global_view, local_view, shifted
from earwitness.training.loop import seed_run

HEAD_LR = 1e-3
Classify = Callable[[Tensor], Tensor]  # [B, 1, F, N] -> logits [B, K]
Told = Callable[[int, Mapping[str, float]], None]  # step and weighted terms


@dataclass(frozen=True)
class Synthetic:
    """`x` [B, 1, F, N] of the asked `classes` [B], and the weighted terms of the step that made it."""

    x: Tensor
    classes: Tensor
    terms: dict[str, float]


@dataclass(frozen=True)
class _Heard:
    """Features [B, D] of both views of a batch, with gradient."""

    local: Tensor
    whole: Tensor

    def detached(self) -> _Heard:
        """Without gradient."""
        return _Heard(self.local.detach(), self.whole.detach())


class Synthesis:
    """Makes batches, one a call; between calls it keeps the contrastive head, the bank and, if asked, the generator."""

    def __init__(self, teacher: Teacher, recipe: InversionRecipe) -> None:
        self.teacher, self.recipe = teacher, recipe
        self.config, self.weights = recipe.synthesis, recipe.weights
        width = sum(len(known.mean) for known in teacher.known.values())
        device = teacher.tapped.device
        self.head = ContrastiveHead(width, recipe.contrast.head, recipe.contrast.hidden).to(device)
        self.head_optimiser = torch.optim.Adam(self.head.parameters(), HEAD_LR, betas=recipe.synthesis.betas)
        self.bank = MemoryBank(recipe.contrast.bank, recipe.synthesis.batch_size)
        self.kept: Generator | None = None
        if isinstance(self.config, GeneratorConfig) and self.config.keep:
            self.kept = self._generator(self.config, max(recipe.lengths()))

    def run(self, number: int, classify: Classify, tell: Told) -> Synthetic:
        """The best batch of round `number`, hard for the student that classifies by `classify`; the bank takes it in.

        Raises `RecipeError` where the loss is no longer finite.
        """
        seed_run(self.recipe.seed, "synthesis", number)
        lengths = self.recipe.lengths()
        frames = lengths[int(torch.randint(len(lengths), ()))]
        size, device = self.config.batch_size, self.teacher.tapped.device
        classes = torch.randint(self.teacher.tapped.classes, (size,)).to(device)
        make, learning = self._source(frames)
        optimiser = torch.optim.Adam(learning, self.config.lr, betas=self.config.betas)
        least, best = float("inf"), None
        with Hooks(self.teacher.tapped.network, self.teacher.known, self.weights.first_bn) as hooks:
            for step in range(self.config.steps):
                seed_run(self.recipe.seed, "synthesis", number, step)
                x = make()
                terms, heard = self._terms(x, classes, classify, hooks)
                total = sum(terms.values(), start=torch.zeros((), device=device))
                if float(total.detach()) < least:
                    least = float(total.detach())
                    plain = {name: float(value.detach()) for name, value in terms.items()}
                    best = Synthetic(x.detach().clone(), classes, plain), heard and heard.detached()
                optimiser.zero_grad()
                self.head_optimiser.zero_grad()
                torch.autograd.backward(total)
                optimiser.step()
                if heard is not None:
                    self.head_optimiser.step()
                tell(step, {name: float(value.detach()) for name, value in terms.items()})
        if best is None:
            raise losses.diverged("synthesis", number)
        made, heard = best
        if heard is not None:
            self.bank.add(heard.local, heard.whole)
        return made

    def _source(self, frames: int) -> tuple[Callable[[], Tensor], list[nn.Parameter]]:
        """What gives the batch at each step, and what of it is optimised."""
        space, size, device = self.teacher.space, self.config.batch_size, self.teacher.tapped.device
        if not isinstance(self.config, GeneratorConfig):
            free = FreeInputs(space, size, frames).to(device)
            return free, list(free.parameters())
        generator = self.kept or self._generator(self.config, frames)
        generator.train()
        z = nn.Parameter(torch.randn(size, self.config.z).to(device))
        return lambda: generator(z)[..., :frames], [*generator.parameters(), z]

    def _generator(self, config: GeneratorConfig, frames: int) -> Generator:
        generator = Generator(self.teacher.space, frames, config.z, config.width)
        return generator.to(self.teacher.tapped.device)

    def _terms(
        self, x: Tensor, classes: Tensor, classify: Classify, hooks: Hooks
    ) -> tuple[dict[str, Tensor], _Heard | None]:
        """The weighted terms of a batch, and the features of its two views where they are contrasted."""
        weights, teacher = self.weights, self.teacher.tapped
        view = self._view(x)
        logits = teacher(view).logits
        terms: dict[str, Tensor] = {}
        if weights.bn:
            terms["bn"] = weights.bn * hooks.loss()
        if weights.oh:
            terms["oh"] = weights.oh * losses.one_hot(logits, classes)
        if weights.adv:
            terms["adv"] = weights.adv * self._adversarial(logits, classify(view))
        if weights.tv:
            terms["tv"] = weights.tv * losses.total_variation(x)
        if weights.l2:
            terms["l2"] = weights.l2 * x.flatten(1).norm(dim=1).mean()
        if not weights.cr:
            return terms, None
        whole = hooks.features()
        teacher(local_view(x, self.recipe.views))  # from here on the hooks hold the local view
        heard = _Heard(hooks.features(), whole)
        terms["cr"] = weights.cr * contrast(self.head, heard.local, heard.whole, self.bank, self.recipe.contrast)
        return terms, heard

    def _adversarial(self, teacher: Tensor, student: Tensor) -> Tensor:
        if self.weights.divergence == "js":
            return losses.jensen_shannon(teacher, student)
        return losses.adversarial(teacher, student, clip=self.weights.clip)

    def _view(self, x: Tensor) -> Tensor:
        if isinstance(self.config, GeneratorConfig):
            return global_view(x, self.teacher.space, self.recipe.views)
        return shifted(x, most=int(self.config.roll * x.shape[-1]))


def contrast(head: ContrastiveHead, local: Tensor, whole: Tensor, bank: MemoryBank, config: ContrastConfig) -> Tensor:
    """L_cr of a batch's features [B, D] with pairs drawn from the bank below them: those teach the head alone."""
    cached = bank.draw(config.negatives)
    if cached is not None:
        local, whole = (torch.cat(pair) for pair in ((local, cached[0]), (whole, cached[1])))
    current = len(local) - (0 if cached is None else len(cached[0]))
    return losses.contrastive(head(local), head(whole), current, config.tau)
