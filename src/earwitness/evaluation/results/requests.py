"""What a person asks of the judging commands, as data: the command line makes a request, a record keeps it, and
`reproduce` asks it again.

Paths are kept relative to the folder of the result, so that a folder of results can be moved as a whole.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator

from earwitness.core.config import Config
from earwitness.core.errors import UsageError
from earwitness.evaluation.judging.judge import JudgeOptions
from earwitness.evaluation.judging.tasks import Task

AUTO, NONE = "auto", "none"  # for the control
PREDICTORS = ("dnsmos", "distillmos")  # whose MOS alone may be the control


class _Request(Config):
    """What all have in common. `negate`: the scores grow towards the wrong class, and the user says so."""

    task: Task
    key: Path | None = None
    protocol: str | None = None
    subset: str | None = None
    negate: bool = False
    options: JudgeOptions = JudgeOptions()

    @field_validator("task", mode="before")
    @classmethod
    def _known(cls, task: object) -> object:
        if task not in get_args(Task):
            raise UsageError(
                f"unknown task '{task}'", fix=f"This version judges: {', '.join(get_args(Task))}, localisation."
            )
        return task


class EvaluateRequest(_Request):
    """`earwitness evaluate`.

    `control` is `auto` (cross-validated where the key's recordings are there), `none`, one of `PREDICTORS`, a training
    manifest, or the control's own score table. `asv` are scores of a speaker verifier, for the t-DCF, with their key
    where they need one. `perturbed` is the folder for the score tables of the perturbations named in `perturb`.
    """

    kind: Literal["evaluate"] = "evaluate"
    scores: Path
    asv: Path | None = None
    asv_key: Path | None = None
    calibration: Path | None = None
    control: str = AUTO
    model: str | None = None
    perturb: tuple[str, ...] = ()
    perturbed: Path | None = None


class CompareRequest(_Request):
    """`earwitness compare`; each file has a polarity of its own, so `negate` has a field for either."""

    kind: Literal["compare"] = "compare"
    first: Path
    second: Path
    negate_first: bool = False
    negate_second: bool = False


class CalibrateRequest(_Request):
    """`earwitness calibrate`."""

    kind: Literal["calibrate"] = "calibrate"
    scores: Path


class LocaliseRequest(Config):
    """`earwitness evaluate localisation`; `key` is an RTTM file, an `.npz` of segment labels, or a folder of either."""

    kind: Literal["localise"] = "localise"
    scores: Path
    key: Path
    negate: bool = False
    options: JudgeOptions = JudgeOptions()


ScoreRequest = EvaluateRequest | CompareRequest | CalibrateRequest
AnyRequest = ScoreRequest | LocaliseRequest
Request = Annotated[AnyRequest, Field(discriminator="kind")]


def moved(request: AnyRequest, here: str | Path, there: str | Path) -> AnyRequest:
    """The request with its paths, relative to the folder `here`, written against the folder `there`."""
    given = {name: getattr(request, name) for name in type(request).model_fields}
    paths: dict[str, object] = {name: _from(there, Path(here) / p) for name, p in given.items() if isinstance(p, Path)}
    control = given.get("control")
    if isinstance(control, str) and control not in (AUTO, NONE, *PREDICTORS):
        paths["control"] = str(_from(there, Path(here) / control))
    return request.model_copy(update=paths)


def _from(folder: str | Path, path: Path) -> Path:
    try:
        return Path(Path(os.path.relpath(path, folder)).as_posix())
    except ValueError:  # another drive
        return path.resolve()
