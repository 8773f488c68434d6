"""DPDA's claim (arXiv 2509.20682): utterances heard as they are and augmented, with gradients aligned where they
conflict, beat the same training without alignment, and hearing each utterance on one path."""

from __future__ import annotations

from earwitness.claims.learning import Learnt
from earwitness.claims.plan import Arm, Expected, Figure, Plan
from earwitness.claims.recipes import RecipeClaim, base

SINGLE = "single-path"
UTTERANCES, DRAWS = 16, 800  # of a dual batch and epoch; with their twins as many items as the single path hears


def conflicts(learnt: Learnt) -> tuple[Figure, ...]:
    """How the two gradients stood to each other over the run, before any repair; nothing for the single path."""
    epochs = [epoch.gradients for epoch in learnt.result.history if epoch.gradients]
    if not epochs:
        return ()
    names = {"conflict": "conflict rate", "cosine": "mean cosine", "norm/clean": "norm, clean"}
    names |= {"norm/augmented": "norm, augmented"}
    return tuple(Figure(said, sum(epoch[name] for epoch in epochs) / len(epochs)) for name, said in names.items())


def _dual(rule: str) -> tuple[str, ...]:
    return (f"loop.batch_size={UTTERANCES}", f"draws={DRAWS}", f"alignment={{rule: {rule}}}")


CLAIM = RecipeClaim(
    Plan(
        name="dpda",
        source="arXiv 2509.20682",
        statement=(
            "Training on each utterance and its augmented twin at once generalises better when their gradients are "
            "aligned where they conflict."
        ),
        arms=(
            Arm(SINGLE, "one path: 32 utterances a step, as they are or augmented, half of them each"),
            Arm("dpda", "two paths: 16 utterances and their augmented twins, not aligned"),
            Arm("pcgrad", "two paths, aligned by PCGrad"),
            Arm("gradvac", "two paths, aligned by GradVac (beta 0.5)"),
            Arm("cagrad", "two paths, aligned by CAGrad (alpha 0.5)"),
        ),
        expected=(
            Expected("pcgrad", "dpda", "PCGrad beats two paths without alignment"),
            Expected("gradvac", "dpda", "GradVac beats two paths without alignment"),
            Expected("cagrad", "dpda", "CAGrad beats two paths without alignment"),
            Expected("pcgrad", "gradvac", "PCGrad beats GradVac"),
            Expected("pcgrad", SINGLE, "PCGrad beats a single path of the same budget"),
        ),
        notes=(
            "Front-end: the second hidden state of the frozen encoder of Whisper tiny.en (384 values a frame), not a "
            "fine-tuned XLS-R (1024), so that gradients are those of the back-end alone.",
            "Back-end: Conformer-TCM with two blocks instead of four.",
            "Augmentation: two kept draws of each recording by RawBoost's series 1 + 2 + 3, not anew each time.",
            "Conflict rates belong to batches of 16 utterances; the paper's are of 5.",
        ),
    ),
    recipe=base({"pooling": {"kind": "conformer_tcm", "blocks": 2}}),
    arms={
        SINGLE: (),
        "dpda": _dual("none"),
        "pcgrad": _dual("pcgrad"),
        "gradvac": _dual("gradvac"),
        "cagrad": _dual("cagrad"),
    },
    views=("clean", 1, 2),
    paths=2,
    heard_by={SINGLE: (("clean", "clean", 1, 2), 1)},
    told=conflicts,
)
