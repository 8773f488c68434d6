"""A teacher from its model folder: the network, what it knows of its data's statistics, and the range of its input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from earwitness.core.errors import ModelError, RecipeError
from earwitness.nn.encoders.identity import Identity
from earwitness.nn.frontends import FrontendConfig, LogMelConfig
from earwitness.nn.network import Network, NetworkConfig
from earwitness.training.inversion.recipe import DistillationConfig
from earwitness.training.inversion.space import InputSpace, RangeConfig, space_of
from earwitness.training.inversion.statistics import Known, read_statistics, stored_statistics
from earwitness.training.inversion.tapped import Tapped
from earwitness.training.model_folder import COHORT_FILE, ModelInfo, load_network, read_model_info, verify_model
from earwitness.training.shipped import find_model
from earwitness.training.tensors import read_tensors, restored


@dataclass(frozen=True)
class Teacher:
    """`tapped` is frozen and in eval mode; `known` its statistics by layer of the network; `info` what it is."""

    tapped: Tapped
    known: Mapping[str, Known]
    space: InputSpace
    info: ModelInfo

    def student_config(self, config: NetworkConfig) -> NetworkConfig:
        """A student's configuration with what is the teacher's by nature filled in where it says nothing: the standards
        of its front-ends (constants of the teacher's data), and the number of classes.

        Raises `RecipeError` for front-ends that are others: the student would not hear what was synthesised.
        """
        theirs = [branch.frontend for branch in NetworkConfig.model_validate(self.info.network).branches]
        ours = [branch.frontend for branch in config.branches]
        if [_unstandardised(one, other) for one, other in zip(theirs, ours, strict=False)] != ours or len(
            theirs
        ) != len(ours):
            raise RecipeError(
                "student: its front-ends are not the teacher's, so it would not hear what was synthesised",
                fix=f"Take the teacher's: {[frontend.model_dump(mode='json') for frontend in theirs]}.",
            )
        branches = [
            branch.model_copy(update={"frontend": frontend})
            for branch, frontend in zip(config.branches, theirs, strict=True)
        ]
        classes = None if self.tapped.prototypes is not None else config.outputs or self.tapped.classes
        return config.model_copy(update={"branches": branches, "outputs": classes})

    def student(self, config: NetworkConfig) -> Tapped:
        """A student with random weights that hears and answers as the teacher does. Raises `RecipeError` where not."""
        network, prototypes = self.student_config(config).build(), self.tapped.prototypes
        if network.classifier is None and prototypes is not None and network.dim != prototypes.shape[1]:
            raise RecipeError(f"student: it embeds in {network.dim} numbers, the teacher in {prototypes.shape[1]}")
        student = Tapped(network, prototypes)
        if student.classes != self.tapped.classes:
            raise RecipeError(f"student: it has {student.classes} outputs, the teacher {self.tapped.classes} classes")
        return student


def _unstandardised(theirs: FrontendConfig, ours: FrontendConfig) -> FrontendConfig:
    """The teacher's front-end, without its standards where the student's names none."""
    if isinstance(theirs, LogMelConfig) and isinstance(ours, LogMelConfig) and ours.standard is None:
        return theirs.model_copy(update={"standard": None})
    return theirs


def open_teacher(name: str | Path, input_range: RangeConfig | None = None, statistics: Path | None = None) -> Teacher:
    """A shipped model by name, or a model folder. Raises `ModelError` for one that cannot be inverted, saying why."""
    folder = find_model(name)
    if not read_model_info(folder).network:
        raise ModelError("is no network on features alone (it retrieves), and cannot be inverted", where=folder)
    info = verify_model(folder)
    network = load_network(folder, info)
    try:
        tapped = Tapped(network, _prototypes(folder, info))
    except ModelError as error:
        raise ModelError(error.what, where=folder, fix=error.fix) from None
    return teacher_of(tapped, info, input_range, statistics, where=folder)


def teacher_of(
    tapped: Tapped,
    info: ModelInfo,
    input_range: RangeConfig | None = None,
    statistics: Path | None = None,
    where: object = None,
) -> Teacher:
    """The same from a network in memory. Its weights take no gradient from here on. Raises `ModelError`."""
    network = tapped.network
    assert isinstance(network, Network)
    known = stored_statistics(network, where) if statistics is None else read_statistics(statistics, network)
    space = space_of(network, info.extra, input_range, where)
    tapped.requires_grad_(False).zero_grad()
    return Teacher(tapped.eval(), known, space, info)


def _prototypes(folder: Path, info: ModelInfo) -> Tensor | None:
    """The cohort of a speaker model: unit mean voice prints of its training speakers, [K, D]."""
    if COHORT_FILE not in info.files:
        return None
    return F.normalize(restored(*read_tensors(folder / COHORT_FILE))["cohort"].float(), dim=1)


def refuse_idle(student: Tapped, config: DistillationConfig) -> None:
    """Raise `RecipeError` where there are no hidden states before the student's pooling to teach."""
    if config.pre and all(isinstance(branch.encoder, Identity) for branch in student.branches):
        raise RecipeError(
            "distillation.pre: nothing that learns stands before the student's pooling",
            fix="Set distillation.pre: 0, or give the student an encoder.",
        )
