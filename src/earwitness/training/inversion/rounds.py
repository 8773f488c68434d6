"""The rounds of a data-free distillation (as in CMI, arXiv 2105.08584): synthesise a batch, teach on the whole pool.

The randomness of every step follows from (seed, round, step). There is a checkpoint after every round, and each
round's batch is a file of its own; a run that was killed goes on after its last whole round and ends with the same
bits. No recording is read here: a `Judge` that is handed in may look at the student between rounds, no more.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from earwitness.core.errors import ModelError
from earwitness.core.writing import write_atomically
from earwitness.nn.network import Network
from earwitness.training.checkpoint import CheckpointFolder, join_optimiser, split_optimiser
from earwitness.training.inversion import losses
from earwitness.training.inversion.distilling import Distiller
from earwitness.training.inversion.gauges import diversity, gauge
from earwitness.training.inversion.pool import Pool
from earwitness.training.inversion.recipe import InversionRecipe
from earwitness.training.inversion.synthesis import Synthesis
from earwitness.training.inversion.teacher import Teacher
from earwitness.training.inversion.views import global_view
from earwitness.training.loop import seed_run
from earwitness.training.resuming import claim_folder
from earwitness.training.runlog import Bar, Event, JsonLines
from earwitness.training.schedules import RunLength
from earwitness.training.tensors import load_trained_state, read_tensors, trained_state, write_tensors

FORMAT = "inversion 1"
DIVERSITY = "diversity.json"
Judge = Callable[[Network], dict[str, float]]
"""A student in eval mode -> figures of it, e.g. on real recordings; they are logged and nothing follows from them."""


@dataclass(frozen=True)
class Round:
    """What one round came to: means of the student's terms, gauges of the batch, and what a judge said."""

    number: int
    losses: dict[str, float]
    gauges: dict[str, float]
    judged: dict[str, float]


@dataclass(frozen=True)
class Distilled:
    """A finished run: the student alone, in eval mode, and how it went."""

    student: Network
    rounds: tuple[Round, ...]


def distil(
    teacher: Teacher,
    recipe: InversionRecipe,
    folder: str | Path,
    *,
    judge: Judge | None = None,
    resume: bool = False,
) -> Distilled:
    """All rounds; `folder` gets `log.jsonl`, `recipe.json`, the checkpoint, `pool/` and `diversity.json`.

    Raises `UsageError` where a run lies there and `resume` is off, `RecipeError` where recipe and teacher don't fit or
    a loss is no longer finite, `ModelError` where what lies there cannot be read.
    """
    run = _Run(teacher, recipe, Path(folder), resume)
    try:
        while len(run.rounds) < recipe.loop.rounds:
            _round(run, judge)
        found = diversity(teacher, run.pool)
        write_atomically(run.folder / DIVERSITY, json.dumps(asdict(found), indent=2) + "\n")
        return Distilled(run.distiller.finished(), run.rounds)
    finally:
        run.log.close()
        run.bar.close()


class _Run:
    """All that a run holds together."""

    def __init__(self, teacher: Teacher, recipe: InversionRecipe, folder: Path, resume: bool) -> None:
        self.recipe, self.folder = recipe, folder
        self.teacher = replace(teacher, tapped=teacher.tapped.to(_device(recipe)))
        self.files = CheckpointFolder(folder)
        self.rounds: tuple[Round, ...] = ()
        self.pool = Pool()
        found = resume and self.files.last.exists()
        seed_run(recipe.seed, "init")
        student = self.teacher.student(recipe.student)
        self.distiller = Distiller(self.teacher, student, recipe.distillation).to(self.teacher.tapped.device)
        self.synthesis = Synthesis(self.teacher, recipe)
        self.optimiser = recipe.optimiser.build(self.distiller.named_parameters())
        loop = recipe.loop
        length = RunLength(recipe.optimiser.lr, loop.rounds, loop.steps, recipe.distillation.batch_size)
        self.schedule = recipe.schedule.build(length)
        claim_folder(self.files, recipe, resume, first=True)
        kept = self._restore() if found else 0
        self.log = JsonLines(folder / "log.jsonl", loop.log_every, keep=kept)
        self.bar = Bar(loop.rounds * self.a_round, self.step(0))
        if not found:
            self.checkpoint()

    @property
    def a_round(self) -> int:
        """Steps of a round: of the synthesis, then of the student."""
        return self.recipe.synthesis.steps + self.recipe.loop.steps

    def step(self, within: int) -> int:
        """Steps done when `within` the present round's are."""
        return len(self.rounds) * self.a_round + within

    def tell(self, event: Event) -> None:
        """To the log and the bar."""
        self.log.hear(event)
        self.bar.hear(event)

    def tell_step(self, within: int, group: str, terms: dict[str, float], **more: float) -> None:
        """A step's terms, `within` counted from 1."""
        values = {"loss": sum(terms.values()), **more, **{f"{group}/{name}": value for name, value in terms.items()}}
        self.tell(Event("step", self.step(within), len(self.rounds), values))

    def batch_file(self, number: int) -> Path:
        """Where the batch of a round lies."""
        return self.folder / "pool" / f"round-{number:04d}.safetensors"

    def checkpoint(self) -> None:
        """Replace the checkpoint by the state after the last round."""
        parts = {
            "distiller": trained_state(self.distiller),
            "head": trained_state(self.synthesis.head),
            "generator": {} if self.synthesis.kept is None else trained_state(self.synthesis.kept),
        }
        tensors = {f"{part}/{name}": value for part, state in parts.items() for name, value in state.items()}
        numbers: dict[str, Any] = {}
        for name, optimiser in self._optimisers().items():
            state, plain = split_optimiser(optimiser)
            tensors |= {f"{name}:{key}": value for key, value in state.items()}
            numbers[name] = plain
        tensors["bank"] = self.synthesis.bank.pairs()
        note = {
            "format": FORMAT,
            "rounds": [asdict(done) for done in self.rounds],
            "optimisers": numbers,
            "log": self.log.size(),
        }
        write_tensors(self.files.last, tensors, note)

    def _restore(self) -> int:
        """Put everything back; gives the size of the log. Raises `ModelError`."""
        tensors, note = read_tensors(self.files.last)
        if not isinstance(note, dict) or note.get("format") != FORMAT:
            raise ModelError("is no checkpoint of an inversion", where=self.files.last, fix="Use another folder.")
        device = self.teacher.tapped.device
        modules = {"distiller": self.distiller, "head": self.synthesis.head, "generator": self.synthesis.kept}
        for part, module in modules.items():
            if module is not None:
                load_trained_state(module, _under(tensors, f"{part}/"), where=self.files.last)
        for name, optimiser in self._optimisers().items():
            join_optimiser(optimiser, _under(tensors, f"{name}:"), note["optimisers"][name])
        self.synthesis.bank.restore(tensors["bank"].to(device))
        self.rounds = tuple(Round(**done) for done in note["rounds"])
        for number in range(len(self.rounds)):
            self.pool.add(read_tensors(self.batch_file(number))[0]["x"].to(device))
        return int(note["log"])

    def _optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return {"student": self.optimiser, "head": self.synthesis.head_optimiser}


def _round(run: _Run, judge: Judge | None) -> None:
    """Synthesise against the present student, teach it on the pool, take note, make a checkpoint."""
    number = len(run.rounds)
    run.distiller.eval().requires_grad_(False)
    made = run.synthesis.run(
        number, run.distiller.classify, lambda step, terms: run.tell_step(step + 1, "synthesis", dict(terms))
    )
    gauges = gauge(run.teacher, run.distiller, made)
    write_tensors(run.batch_file(number), {"x": made.x, "classes": made.classes})
    run.pool.add(made.x)
    run.distiller.measure(made.x)
    run.distiller.requires_grad_(True)
    means = _teach(run, number)
    run.distiller.eval()
    seed_run(run.recipe.seed, "judge", number)
    judged = {} if judge is None else judge(run.distiller.finished())
    run.rounds = (*run.rounds, Round(number, means, gauges, judged))
    values = {"loss": sum(means.values()), **{f"loss/{name}": value for name, value in means.items()}}
    values |= {f"note/{name}": value for name, value in gauges.items()}
    values |= {f"dev/{name}": value for name, value in judged.items()}
    run.tell(Event("epoch", run.step(0), number, values))
    run.checkpoint()


def _teach(run: _Run, number: int) -> dict[str, float]:
    """The student's steps of a round; gives the means of its terms. Raises `RecipeError` for a loss not finite."""
    recipe, sums = run.recipe, dict[str, float]()
    run.distiller.train()
    for step in range(recipe.loop.steps):
        seed_run(recipe.seed, "student", number, step)
        x = global_view(run.pool.draw(recipe.distillation.batch_size), run.teacher.space, recipe.views)
        plain = teach_step(run.distiller, run.optimiser, x, run.schedule(number * recipe.loop.steps + step, number))
        if not all(math.isfinite(value) for value in plain.values()):
            raise losses.diverged("student", number)
        sums = {name: sums.get(name, 0.0) + value for name, value in plain.items()}
        run.tell_step(recipe.synthesis.steps + step + 1, "loss", plain)
    return {name: value / recipe.loop.steps for name, value in sums.items()}


def teach_step(distiller: Distiller, optimiser: torch.optim.Optimizer, x: Tensor, lr: float) -> dict[str, float]:
    """One step of the student on [B, 1, F, N]; whatever gradient was left in it before counts for nothing."""
    optimiser.zero_grad(set_to_none=True)
    terms = distiller.loss(x)
    torch.autograd.backward(sum(terms.values(), start=torch.zeros((), device=x.device)))
    for group in optimiser.param_groups:
        group["lr"] = lr * group["share"]
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return {name: float(value.detach()) for name, value in terms.items()}


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _device(recipe: InversionRecipe) -> torch.device:
    if recipe.loop.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(recipe.loop.device)
