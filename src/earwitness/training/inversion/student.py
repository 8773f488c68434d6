"""A distilled student as a model folder, which says whose student it is and that no recording taught it."""

from __future__ import annotations

from pathlib import Path

from earwitness.core.records import RunRecord
from earwitness.training.inversion.recipe import InversionRecipe
from earwitness.training.inversion.rounds import Distilled
from earwitness.training.inversion.teacher import Teacher
from earwitness.training.model_folder import DataSource, ModelInfo, save_model

OF_TEACHER = "training of its teacher"
LIMITS = (
    "a stand-in for its teacher's tests: it was made from the teacher alone, and is as good as its own tests say",
    "evidence before it is calibrated: its teacher's calibration does not hold for it",
)


def save_student(folder: str | Path, teacher: Teacher, recipe: InversionRecipe, done: Distilled) -> ModelInfo:
    """Write the model folder; calibration, cohort and thresholds of the teacher are not handed on.

    The synthetic spectrograms are not in it: they may tell of the voices and words of the teacher's data.
    """
    info = ModelInfo(
        name=recipe.name,
        task=teacher.info.task,
        summary=recipe.notes or f"Distilled from {teacher.info.name} without data (FRAMI-style, reconstruction).",
        network=teacher.student_config(recipe.student).model_dump(mode="json"),
        rate=teacher.info.rate,
        windows=teacher.info.windows,
        polarity=teacher.info.polarity,
        licence=recipe.licence,
        data=tuple(
            DataSource(name=source.name, licence=source.licence, use=OF_TEACHER) for source in teacher.info.data
        ),
        limits=tuple(dict.fromkeys((*teacher.info.limits, *LIMITS))),
        extra={name: teacher.info.extra[name] for name in HANDED_ON if name in teacher.info.extra},
        training=record(teacher, recipe, done).plain(),
    )
    return save_model(folder, info, done.student.trainable_state())


HANDED_ON = ("classes", "input_range")  # of `extra`: what the outputs mean, and what the inputs are


def record(teacher: Teacher, recipe: InversionRecipe, done: Distilled) -> RunRecord:
    """What the student was made from."""
    last = done.rounds[-1]
    return RunRecord.make(
        f"train {recipe.name}",
        recipe.model_dump(mode="json"),
        seed=recipe.seed,
        weights=[teacher.info.reference],
        licences=sorted({source.licence for source in teacher.info.data}),
        seconds_heard=0.0,
        notes=[
            "no recording was heard in training",
            *(f"last round: {name} {value:.4f}" for name, value in last.gauges.items()),
        ],
    )
