"""More left-out scores of a finished committee: under the perturbations of its card, and of recordings that are not its
rows, by `member`.

left-out-NAME.scores.csv   as `committee` writes them, for each name of `TESTED`; no `llr`, as no calibration is
                           fitted under these
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import Tensor, nn

from earwitness.core.config import parse_config
from earwitness.core.errors import DataError, MissingPartError
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.tables import read_table
from earwitness.deepfake.committee import (
    JUDGED,
    ROWS,
    Floats,
    drawn,
    left_out_scores,
    network_of,
    scores_path,
    votes_of,
    write_scores,
)
from earwitness.deepfake.detector import Detector
from earwitness.deepfake.recipe import DetectionRecipe
from earwitness.nn.network import Network
from earwitness.nn.votes import Votes
from earwitness.training.conditions import TESTED, TestedName
from earwitness.training.model_folder import ModelInfo, read_model_info
from earwitness.training.pooled import View, pooled_vectors


@dataclass(frozen=True)
class Finished:
    """A run that was trained: its recipe, its model, and `rows`, those of `rows.parquet`."""

    folder: Path
    recipe: DetectionRecipe
    detector: Detector
    rows: Manifest

    @classmethod
    def load(cls, model: str | Path, run: str | Path) -> Finished:
        """Raises `ModelError` for a model that cannot be loaded, `DataError` for a changed table."""
        detector = Detector.load(model)
        return cls(Path(run), recipe_of(detector.info), detector, Manifest.read(Path(run) / ROWS))

    def scores(self, places: NDArray[np.int64], view: View) -> Floats:
        """The left-out scores [R] of rows that are in a fold, heard in a view; vectors are kept in `folder/pooled`.

        Raises `AudioError` for a row that cannot be read.
        """
        network, part = network_of(self.detector), self.rows.with_table(self.rows.table[places])
        vectors = pooled_vectors(network, self.recipe, part, [view], self.folder / "pooled")[:, 0]
        return left_out_scores(network, vectors, folds_of(part))


def recipe_of(info: ModelInfo) -> DetectionRecipe:
    """The recipe that a detector was trained by. Raises `RecipeError` where the model does not hold one."""
    recipe: DetectionRecipe = parse_config(DetectionRecipe, info.training.get("settings"), where=info.reference)
    return recipe


def folds_of(rows: Manifest) -> NDArray[np.int64]:
    """The fold of each row of `rows.parquet` [R]; -1 for none."""
    return rows.table["fold"].cast(pl.Int64).to_numpy()


def judged_of(rows: Manifest) -> NDArray[np.bool_]:
    """Which rows of `rows.parquet` are judged [R]."""
    return (rows.table["judged"] == JUDGED).to_numpy()


def score_tested(model: str | Path, run: str | Path) -> dict[TestedName, str]:
    """Write the left-out scores under every perturbation of `TESTED`, of at most `AT_MOST` judged rows.

    What stands there of the same weights and rows is kept. Gives the perturbations that this installation lacks, each
    with the reason; there are no scores under these. Raises as `Finished` does.
    """
    run, lacking = Path(run), dict(_lacking())
    for name in lacking:
        scores_path(run, name).unlink(missing_ok=True)  # of other weights, for all that is known
    reference, rows = read_model_info(model).reference, Manifest.read(run / ROWS)
    places = drawn(judged_of(rows))
    ids = rows.table["id"][places].to_list()
    missing = [name for name in TESTED if name not in lacking and not _stands(scores_path(run, name), reference, ids)]
    if not missing:
        return lacking
    finished, none = Finished.load(model, run), np.full(len(places), np.nan)
    for name in missing:
        part = rows.with_table(rows.table[places])
        write_scores(scores_path(run, name), part, finished.scores(places, name), none, reference)
    return lacking


def _lacking() -> Iterator[tuple[TestedName, str]]:
    """The perturbations that cannot be made here, and why."""
    for name, perturbation in TESTED.items():
        try:
            perturbation.config.build()
        except MissingPartError as error:
            yield name, error.what


def _stands(path: Path, reference: str, ids: list[str]) -> bool:
    """Whether a table of scores is of these weights and rows."""
    if not path.is_file():
        return False
    table = read_table(path)
    same = {"id", "score", "model"} <= {*table.columns} and set(table["model"]) <= {reference}
    return same and table["id"].to_list() == ids


def member(detector: Detector, fold: int) -> Detector:
    """The members of a committee that left out a fold, as a detector: for recordings whose speakers and makers are of
    that fold. Branches are shared with `detector`. Raises `DataError` where there is no such member or no committee.
    """
    network = network_of(detector)
    votes = votes_of(network)
    if not 0 <= fold < votes.copies:
        raise DataError(f"there is no fold {fold}", fix=f"The committee has folds 0 to {votes.copies - 1}.")
    alone = Network(list(network.branches), None, _Member(votes, fold))  # type: ignore[arg-type]
    return Detector(alone, detector.info.model_copy(update={"name": f"{detector.info.name}, member {fold}"}))


class _Member(nn.Module):
    """Joined vectors [B, D] -> the logits [B, 2] of one member, over its branches."""

    def __init__(self, votes: Votes, fold: int) -> None:
        super().__init__()
        self.votes, self.fold = votes, fold

    def forward(self, joined: Tensor) -> Tensor:
        """[B, D] -> [B, 2]."""
        return self.votes.over_branches(self.votes.each(joined)[:, :, self.fold])
