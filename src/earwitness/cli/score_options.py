"""What was asked of `earwitness score`, and which of it fits together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from earwitness.core.errors import UsageError

if TYPE_CHECKING:
    from earwitness.speaker.uncertainty import Use

TASKS = ("deepfake", "speaker", "age", "emotion", "quality")
WITHOUT_LLR = ("age", "emotion", "quality")
BACK_ENDS = ("cosine", "plda")
USES = ("up_cos", "conservative")


@dataclass(frozen=True)
class SpeakerOptions:
    """The five ways of scoring speakers, of which one is chosen, and what belongs to each."""

    trials: Path | None = None
    reference: tuple[str, ...] = ()
    known: str | None = None
    cluster: bool = False
    embeddings: Path | None = None
    enrolment: Path | None = None
    cohort: str | None = None
    back_end: str = "cosine"
    top: int | None = None
    subtract_mean: bool = False
    uncertainty: str | None = None
    allow_leak: bool = False
    phones: str | None = None
    candidates: int | None = None
    threshold: float | None = None
    html: Path | None = None

    @property
    def use(self) -> Use:
        """What is made of the voice prints' variances."""
        return cast("Use", self.uncertainty or "none")

    @property
    def chosen(self) -> list[str]:
        """The ways that were named."""
        ways = {
            **{"--trials": self.trials, "--reference": self.reference, "--known": self.known},
            **{"--cluster": self.cluster, "--embeddings": self.embeddings},
        }
        return _named(ways)

    @property
    def of_trials(self) -> list[str]:
        """What belongs to a trial list."""
        return _named(
            {
                **{"--enrolment": self.enrolment, "--cohort": self.cohort, "--back-end": self.back_end != "cosine"},
                **{"--uncertainty": self.uncertainty, "--allow-leak": self.allow_leak},
            }
        )

    @property
    def of_cosine(self) -> list[str]:
        """What belongs to a cohort by which cosines are normalised."""
        return _named({"--top": self.top, "--subtract-mean": self.subtract_mean})


@dataclass(frozen=True)
class ScoreOptions:
    """Everything else that was asked; `submissions` are FORM:PATH."""

    task: str
    output: Path
    model: str | None
    calibration: Path | None
    submissions: tuple[str, ...]
    segments: float | None
    window: float | None
    speaker: SpeakerOptions

    def check(self) -> None:
        """Raises `UsageError` for options that this version does not have, or that don't fit together."""
        if self.task not in TASKS:
            raise UsageError(f"unknown task '{self.task}'", where="--task", fix=f"This version scores: {_list(TASKS)}.")
        self._check_speaker()
        self._check_calibration()
        self._check_segments()

    def chosen_submissions(self) -> list[tuple[str, Path]]:
        """Form and path of each. Raises `UsageError` for an unknown form, one of another task, and a path named
        twice."""
        from earwitness.evaluation.judging.score_files import submission_task

        found: list[tuple[str, Path]] = []
        for text in self.submissions:
            form, _, path = text.partition(":")
            if not path:
                fix = "For example arena:scores.txt."
                raise UsageError(f"'{text}' is not FORM:PATH", where="--submission", fix=fix)
            about = submission_task(form)
            if about != self.task or (self.task == "speaker" and not self.speaker.trials):
                needed = "--task deepfake" if about == "deepfake" else "--trials"
                raise UsageError(f"'{form}' is a form for {needed}", where="--submission")
            if Path(path) in [self.output, *(other for _, other in found)]:
                raise UsageError("two outputs have this path", where=path, fix="Name each differently.")
            found.append((form, Path(path)))
        return found

    def _check_speaker(self) -> None:
        asked = self.speaker
        if self.task != "speaker":
            if given := [*asked.chosen, *(["--phones"] if asked.phones else [])]:
                raise UsageError(f"{given[0]} belongs to --task speaker", fix="Choose that task, or leave it out.")
        elif len(asked.chosen) != 1:
            what = "scoring speakers needs either --trials or --reference (or --known, --cluster, --embeddings)"
            raise UsageError(what, fix="Name one of them.")
        _belongs(asked.of_trials, "--trials", asked.trials)
        _belongs(_named({"--candidates": asked.candidates}), "--known", asked.known)
        _belongs(_named({"--threshold": asked.threshold is not None, "--html": asked.html}), "--cluster", asked.cluster)
        _belongs(asked.of_cosine, "--cohort", asked.cohort)
        if asked.uncertainty not in (None, *USES):
            what = f"unknown use '{asked.uncertainty}'"
            raise UsageError(what, where="--uncertainty", fix=f"Use {_list(USES, 'or')}.")
        self._check_back_end()

    def _check_back_end(self) -> None:
        asked = self.speaker
        if asked.back_end not in BACK_ENDS:
            what = f"unknown back end '{asked.back_end}'"
            raise UsageError(what, where="--back-end", fix=f"Use {_list(BACK_ENDS, 'or')}.")
        if asked.back_end == "cosine":
            return
        if asked.cohort is None:
            fix = "Name recordings of other speakers, several of each, as --cohort."
            raise UsageError("a PLDA needs recordings to learn from", where="--back-end", fix=fix)
        if asked.of_cosine:
            what = "belongs to the cosine; a PLDA subtracts its own mean and normalises no scores"
            raise UsageError(what, where=asked.of_cosine[0], fix="Leave it out.")

    def _check_calibration(self) -> None:
        if self.calibration is None:
            return
        if self.task in WITHOUT_LLR:
            what = f"scores of {self.task} have no log-likelihood ratio"
            raise UsageError(what, where="--calibration", fix="Leave it out.")
        if given := _named({"--cohort": self.speaker.cohort, "--uncertainty": self.speaker.uncertainty}):
            what = "a calibration is of the model's own comparison"
            raise UsageError(what, where="--calibration", fix=f"Leave {given[0]} out.")

    def _check_segments(self) -> None:
        if self.segments is None:
            if self.window is not None:
                raise UsageError("--window belongs to --segments", fix="Say how long a segment is.")
            return
        if self.task != "deepfake":
            raise UsageError("segments are of --task deepfake", where="--segments")
        if given := _named({"--calibration": self.calibration, "--submission": self.submissions}):
            raise UsageError("is of whole recordings, not of segments", where=given[0], fix="Leave one of the two out.")


def _named(options: Mapping[str, object]) -> list[str]:
    return [name for name, value in options.items() if value]


def _belongs(given: list[str], to: str, there: object) -> None:
    if given and not there:
        raise UsageError(f"{given[0]} belongs to {to}", fix=f"Add {to}, or leave {given[0]} out.")


def _list(names: tuple[str, ...], last: str = "") -> str:
    """`a, b, c`, or with `last` `a, b or c`."""
    return ", ".join(names) if not last else f"{', '.join(names[:-1])} {last} {names[-1]}"
