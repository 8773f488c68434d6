"""Controls of a data-free distillation: the student learns from spectrograms that are given, not synthesised, by as
many steps, the same views and the same terms."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from earwitness.nn.network import Network
from earwitness.training.inversion.distilling import Distiller
from earwitness.training.inversion.recipe import InversionRecipe
from earwitness.training.inversion.rounds import teach_step
from earwitness.training.inversion.teacher import Teacher
from earwitness.training.inversion.views import global_view
from earwitness.training.loop import seed_run
from earwitness.training.schedules import RunLength

Draw = Callable[[int, int], Tensor]
"""So many spectrograms of so many frames, [B, 1, F, N], drawn from torch's generator."""


def teach_given(teacher: Teacher, recipe: InversionRecipe, draw: Draw) -> Network:
    """The student alone, in eval mode, after the steps of all of the recipe's rounds; of its lengths each is as likely.

    Raises `RecipeError` where recipe and teacher don't fit.
    """
    seed_run(recipe.seed, "init")
    distiller = Distiller(teacher, teacher.student(recipe.student), recipe.distillation)
    optimiser = recipe.optimiser.build(distiller.named_parameters())
    loop, size, lengths = recipe.loop, recipe.distillation.batch_size, recipe.lengths()
    schedule = recipe.schedule.build(RunLength(recipe.optimiser.lr, loop.rounds, loop.steps, size))
    for step in range(loop.rounds * loop.steps):
        seed_run(recipe.seed, "student", step)
        x = draw(size, lengths[int(torch.randint(len(lengths), ()))])
        if step % loop.steps == 0:
            distiller.eval()
            distiller.measure(x)
        view = global_view(x, teacher.space, recipe.views)
        teach_step(distiller.train(), optimiser, view, schedule(step, step // loop.steps))
    return distiller.finished()
