"""A data-free distillation from recipe to tested model folder: the teacher alone teaches, real recordings judge."""

from __future__ import annotations

from pathlib import Path

from earwitness.evaluation.assessing.sounds import real_test, require_sound_class
from earwitness.training.inversion import InversionRecipe, distil, open_teacher
from earwitness.training.inversion.student import save_student


def run_inversion(recipe: InversionRecipe, folder: str | Path, *, resume: bool = False) -> Path:
    """Distil the recipe's teacher into its student and write `folder/model`; the real test rows become `test.csv`.

    They are looked up first, so that a wrong name is known at once, and heard only after the last step, when
    `assess_run` judges the student. Gives the model's folder. Raises `ModelError` for a teacher that cannot be
    inverted, and what `distil` raises.
    """
    folder = Path(folder)
    teacher = open_teacher(recipe.teacher, recipe.input_range, recipe.statistics)
    rows = None
    if recipe.test is not None:
        require_sound_class(teacher.info.task)
        rows = real_test(recipe.test)
    done = distil(teacher, recipe, folder / "fit", resume=resume)
    save_student(folder / "model", teacher, recipe, done)
    if rows is not None:
        rows.write(folder / "test.csv")
    return folder / "model"
