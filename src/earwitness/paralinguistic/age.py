"""The age of a voice as a distribution over whole years: SVLDL (reconstruction), arXiv 2210.09524.

    estimator = AgeEstimator.load("runs/age-small/model")
    estimate = estimator.estimate_file("call.wav")
    print(estimate.mean, estimate.low, estimate.high)      # years, with the central 80 % interval
    average([estimate, estimator.estimate_file("other.wav")])

The width that a network learns is a monotone score of its uncertainty and no standard deviation, so one temperature is
fitted on recordings of held-out speakers: p^(1 / T), brought to sum 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from scipy.optimize import minimize_scalar

from earwitness.audio.audible import SHORTEST_S, is_audible
from earwitness.audio.reading import unhashed
from earwitness.audio.recording import Segment
from earwitness.audio.windows import Window, cut, equal_groups, heard_seconds, stream_windows, total_seconds
from earwitness.core.config import Config, parse_config
from earwitness.core.errors import AudioError, ModelError, RecipeError
from earwitness.core.growing import GrowingRows
from earwitness.metrics.distribution import GridDistributions, crps, nll
from earwitness.nn.losses.label_distribution import ValueLoss, ValueLossConfig
from earwitness.nn.network import Network
from earwitness.paralinguistic.age_task import AgeTrainee
from earwitness.training.model_folder import ModelInfo, load_network, read_model_info
from earwitness.training.tensors import load_trained_state, read_tensors, restored

TASK = "age"
EXTRA = "age"  # in the `extra` of model.json: an `AgeReading`
CRITERION_FILE = "criterion.safetensors"  # what the loss learnt itself, where it learnt anything
WINDOWS_AT_ONCE = 8  # a fixed number, so that an estimate does not depend on what else is heard
MOST_LOG_TEMPERATURE = 3.0  # either way: from 0.05 to 20

Probabilities = NDArray[np.float64]


class AgeReading(Config):
    """How a model's outputs are read: by the loss it learnt with, then the sex where it was learnt; the distribution is
    then brought to `temperature`, which was fitted by `fitted_by`. `median`: of the training side's ages."""

    loss: ValueLossConfig
    sex: bool
    median: float
    temperature: float = Field(1.0, gt=0)
    fitted_by: Literal["nll", "crps", "none"] = "none"


@dataclass(frozen=True)
class AgeEstimate:
    """The age of a voice: `distribution` [K] over the `ages` [K], years; its mean and standard deviation, and the ends
    `low` and `high` of its central 80 % interval. `female`: the probability that the voice is a woman's, where the
    model tells; seconds heard of the recording and how long it is, summed over recordings.
    """

    ages: Probabilities
    distribution: Probabilities
    mean: float
    sd: float
    low: float
    high: float
    seconds_used: float
    seconds_total: float
    female: float | None = None

    @classmethod
    def of(
        cls,
        ages: Sequence[float] | Probabilities,
        distribution: Probabilities,
        seconds_used: float,
        seconds_total: float,
        female: float | None = None,
    ) -> AgeEstimate:
        """From a distribution [K]. Raises `MetricError` where it is none."""
        one = GridDistributions.of(ages, distribution[None])
        (low,), (high,) = one.central()
        mean, sd = float(one.mean[0]), float(one.sd[0])
        return cls(
            one.grid, one.probabilities[0], mean, sd, float(low), float(high), seconds_used, seconds_total, female
        )


def average(estimates: Sequence[AgeEstimate]) -> AgeEstimate:
    """One estimate from several recordings of a voice: the mean of their distributions, not of their means.

    Raises `ModelError` for none, and for estimates over different ages.
    """
    if not estimates:
        raise ModelError("there are no estimates to average", fix="Give at least one.")
    ages = estimates[0].ages
    if any(not np.array_equal(estimate.ages, ages) for estimate in estimates):
        raise ModelError("estimates over different ages cannot be averaged", fix="Make them with one model.")
    female = [estimate.female for estimate in estimates if estimate.female is not None]
    return AgeEstimate.of(
        ages,
        np.stack([estimate.distribution for estimate in estimates]).mean(axis=0),
        sum(estimate.seconds_used for estimate in estimates),
        sum(estimate.seconds_total for estimate in estimates),
        float(np.mean(female)) if len(female) == len(estimates) else None,
    )


def tempered(distributions: Probabilities, temperature: float) -> Probabilities:
    """p^(1 / T), brought to sum 1, of distributions [..., K]: wider above T = 1, narrower below."""
    if temperature == 1:
        return distributions
    logs = np.log(np.maximum(distributions, 1e-300)) / temperature
    raised: Probabilities = np.exp(logs - logs.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


def fitted_temperature(
    ages: ArrayLike, grid: Sequence[float], distributions: Probabilities, by: Literal["nll", "crps", "none"]
) -> float:
    """The temperature by which distributions [N, K] of recordings say most of their ages [N] (least NLL or CRPS).

    Of recordings of speakers that were not trained on; from 0.05 to 20. The NLL has one minimum: it is convex in 1 / T.
    """
    if by == "none":
        return 1.0
    score = nll if by == "nll" else crps

    def lost(log_temperature: float) -> float:
        return score(ages, GridDistributions.of(grid, tempered(distributions, math.exp(log_temperature))))

    ends = (-MOST_LOG_TEMPERATURE, MOST_LOG_TEMPERATURE)
    found = minimize_scalar(lost, bounds=ends, method="bounded", options={"xatol": 1e-3})
    return round(math.exp(float(found.x)), 4)


class AgeEstimator:
    """A trained age model: a recording goes in, a distribution over ages comes out."""

    def __init__(self, network: Network, criterion: ValueLoss, info: ModelInfo) -> None:
        self.info = info
        self.reading = reading_of(info)
        self.criterion = criterion.eval()
        self._trainee = AgeTrainee(network, criterion).eval()
        self._ages = self.reading.loss.grid.values

    @classmethod
    def load(cls, folder: str | Path) -> AgeEstimator:
        """From a model folder. Raises `ModelError` where the folder is altered, incomplete or of another task."""
        info = read_model_info(folder)
        if info.task != TASK:
            raise ModelError(f"this model answers '{info.task}', not '{TASK}'", where=folder)
        network = load_network(folder, info)  # verifies every file of the folder
        criterion = reading_of(info).loss.build()
        if CRITERION_FILE in info.files:
            path = Path(folder) / CRITERION_FILE
            load_trained_state(criterion, restored(*read_tensors(path)), where=path)
        return cls(network, criterion, info)

    @property
    def network(self) -> Network:
        """The network, in eval mode."""
        return self._trainee.network

    def estimate(self, samples: ArrayLike, rate: int) -> AgeEstimate:
        """The age heard in samples ([N] or [N, channels], any rate). Raises `AudioError` for what can't be judged."""
        recording = unhashed(np.asarray(samples), rate, self.info.rate)
        return self.estimate_windows(cut(recording.samples, recording.rate, self.info.windows), recording.duration_s)

    def estimate_file(
        self, path: str | Path, channel: int | None = None, start_s: float = 0.0, end_s: float | None = None
    ) -> AgeEstimate:
        """The age heard in a file, streamed. Raises `AudioError`."""
        windows = stream_windows(path, self.info.windows, self.info.rate, channel, start_s, end_s)
        return self.estimate_windows(windows, total_seconds(path, start_s, end_s))

    def estimate_windows(self, windows: Iterable[Window], seconds_total: float | None = None) -> AgeEstimate:
        """The mean of the windows' distributions, brought to the model's temperature; windows without sound are left
        out."""
        distributions, sexes = GrowingRows(), GrowingRows()
        spans: list[Segment] = []
        end_s = 0.0
        for group in equal_groups(windows, WINDOWS_AT_ONCE):
            end_s = max(end_s, group[-1].end_s)
            audible = [window for window in group if is_audible(window.samples)]
            if audible:
                spans.extend(Segment(window.start_s, window.end_s) for window in audible)
                found, sex = self._hear(audible)
                distributions.add(found)
                sexes.add(sex)
        used = heard_seconds(spans)
        if used < SHORTEST_S:
            raise AudioError(f"holds {used:.2f} s of sound; an age needs at least {SHORTEST_S} s")
        mean = tempered(distributions.all().mean(axis=0), self.reading.temperature)
        female = float(sexes.all()[:, 0].mean()) if self.reading.sex else None
        return AgeEstimate.of(self._ages, mean, used, end_s if seconds_total is None else seconds_total, female)

    @torch.inference_mode()
    def _hear(self, windows: list[Window]) -> tuple[Probabilities, Probabilities]:
        """Distributions [W, K], and probabilities of the sexes [W, 2] (or [W, 0]), of windows of equal length."""
        heard = self._trainee(torch.stack([torch.from_numpy(window.samples) for window in windows]))
        distribution = self.criterion.log_distribution(heard.outputs).double().exp()
        return np.asarray(distribution.numpy()), np.asarray(heard.sex.double().softmax(1).numpy())


def reading_of(info: ModelInfo) -> AgeReading:
    """What a model's description says of its outputs. Raises `ModelError` where it does not say it."""
    try:
        reading: AgeReading = parse_config(AgeReading, info.extra.get(EXTRA))
    except RecipeError as error:
        raise ModelError(f"does not say how ages are read: {error.what}", where=info.name) from None
    return reading
