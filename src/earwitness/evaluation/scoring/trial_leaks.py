"""Whether a model, or a cohort, knows the speakers of the trials that it is to be judged by."""

from __future__ import annotations

import re

from earwitness.core.errors import LeakError
from earwitness.evaluation.scoring.trials import Trials
from earwitness.evaluation.scoring.voxceleb_lists import PublishedList, dev_speakers
from earwitness.speaker.comparison import Cohort
from earwitness.speaker.identities import TRAINING_SPEAKERS, keys_in, known_among
from earwitness.training.model_folder import ModelInfo

_VOXCELEB1 = re.compile(r"voxceleb(?![\s_-]*2)|vox[\s_-]*1", re.IGNORECASE)
_ALLOW = "Judge by other speakers, or allow the leak by name (--allow-leak)."


def check_trials(
    info: ModelInfo, trials: Trials, published: PublishedList | None, cohort: Cohort | None, allow_leak: bool = False
) -> str:
    """What the check found, in words for the record: no leak, a leak that is allowed, or that it could not be made.

    Raises `LeakError` where the model was trained on speakers of the trials, where it was trained on VoxCeleb1 and they
    hold VoxCeleb1's dev speakers (as the lists Vox1-E and Vox1-H do), and where the cohort holds speakers of the
    trials; with `allow_leak` it says so instead.
    """
    checks = (_check_speakers(info, trials, cohort), _check_voxceleb1(info, trials, published))
    leaks = [leak for leak, _ in checks if leak is not None]
    if leaks and not allow_leak:
        raise LeakError(leaks[0], where=info.reference, fix=_ALLOW)
    if leaks:
        return "leak allowed by name: " + "; ".join(leaks)
    return "; ".join(said for _, said in checks if said)


def _check_speakers(info: ModelInfo, trials: Trials, cohort: Cohort | None) -> tuple[str | None, str]:
    """A leak, or what is known without one: of training speakers and of the cohort's."""
    speakers, keys = trials.speakers, keys_in(info.extra.get(TRAINING_SPEAKERS))
    if speakers is None:
        return None, "not checked: it is not known who speaks in the trials"
    if found := known_among(keys or (), speakers):
        return f"{_some(found)} of the trials are speakers of its training", ""
    if found := known_among((cohort.speakers or ()) if cohort else (), speakers):
        return f"{_some(found)} of the trials stand in the cohort", ""
    unknown = [] if keys is not None else ["training speakers"]
    unknown += ["cohort speakers"] if cohort is not None and cohort.speakers is None else []
    if unknown:
        return None, f"not checked: the model does not name its {' and '.join(unknown)}"
    return None, f"none of {len(speakers)} speakers is known from training{' or cohort' if cohort else ''}"


def _check_voxceleb1(info: ModelInfo, trials: Trials, published: PublishedList | None) -> tuple[str | None, str]:
    learnt = [source.name for source in info.data if "training" in source.use and _VOXCELEB1.search(source.name)]
    if not learnt:
        return None, ""
    if published is not None and published.holds_dev_speakers:
        return f"{published.name} is of the speakers of VoxCeleb1, which it was trained on ('{learnt[0]}')", ""
    if found := dev_speakers(trials.speakers or frozenset()):
        return f"{_some(found)} of the trials are dev speakers of VoxCeleb1, which it was trained on", ""
    return None, ""


def _some(names: list[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:3])
    return f"{len(names)} speaker(s) ({shown}{', ...' if len(names) > 3 else ''})"
