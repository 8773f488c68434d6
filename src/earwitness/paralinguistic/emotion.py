"""Multitask emotion recognition after SpeechEQ (arXiv 2206.13101): a reconstruction, called `speecheq_mtl`.

Of the paper the abstract is known: one label scheme, and two emotion tasks (category and intensity) trained with
phoneme and gender recognition on a shared encoder. Heads, losses and weights are ours, in the shape of Cai et al.,
Interspeech 2021 (shared encoder and CTC).

    estimator = EmotionEstimator.load("runs/emotion/model")
    estimate = estimator.estimate(samples, rate)
    estimate.category, estimate.probabilities, estimate.intensity
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from torch import Tensor, nn

from earwitness.audio.audible import SHORTEST_S, is_audible
from earwitness.audio.reading import unhashed
from earwitness.audio.recording import Segment
from earwitness.audio.windows import Window, cut, equal_groups, heard_seconds, stream_windows, total_seconds
from earwitness.core.config import Config, parse_config
from earwitness.core.errors import AudioError, DataError, ModelError, RecipeError, UsageError
from earwitness.core.growing import GrowingRows
from earwitness.nn.network import Branch, Network, NetworkConfig
from earwitness.nn.types import Embedding, Frames
from earwitness.paralinguistic.emotion_losses import (
    CATEGORY,
    GENDER,
    INTENSITY,
    PHONEMES,
    IntensityConfig,
    IntervalConfig,
)
from earwitness.paralinguistic.labels import CATEGORIES, LabelsConfig
from earwitness.training.model_folder import WEIGHTS, ModelInfo, load_weights, read_model_info
from earwitness.training.tensors import load_trained_state

TASK = "emotion"
EMOTION = "emotion"  # where `ModelInfo.extra` holds an `EmotionInfo`
FRAMES = "frames"
AT_ONCE = 8  # as detectors do, so that both can share what an encoder has heard
FEWEST_OWN = 3  # other recordings of a speaker, for a relative model
GENDERS = ("f", "m")
Floats = NDArray[np.float64]


class SpecAugmentConfig(Config):
    """Stretches of time and bands of the front-end's frames are set to their mean (arXiv 1904.08779): `times` and
    `bands` of up to these shares of it, from epoch `first_epoch` (0-based) on."""

    times: int = Field(2, ge=0)
    time_share: float = Field(0.1, gt=0, lt=1)
    bands: int = Field(2, ge=0)
    band_share: float = Field(0.15, gt=0, lt=1)
    first_epoch: int = Field(3, ge=0)


class HeadsConfig(Config):
    """What stands on the shared encoder: `hidden` units in the heads of category and intensity; dropout before the
    category's classes and before the phonemes'. 0 hidden units: the category is linear (Cai et al.)."""

    hidden: int = Field(256, ge=0)
    dropout: float = Field(0.3, ge=0, lt=1)
    phoneme_dropout: float = Field(0.1, ge=0, lt=1)


class EmotionInfo(Config):
    """What a model says of itself: heads, the label scheme with the corpora that it learnt, the symbols of its phoneme
    head, and how probabilities are calibrated (temperature) and answers withheld (threshold)."""

    heads: HeadsConfig
    tasks: tuple[str, ...]
    intensity: IntensityConfig = IntervalConfig()
    labels: LabelsConfig = LabelsConfig()
    corpora: tuple[str, ...]
    symbols: tuple[str, ...] = ()
    temperature: float = Field(1.0, gt=0)
    threshold: float = Field(0.0, ge=0)
    intensity_learnt: bool = False  # whether any training row had a strength
    relative: bool = False  # whether it hears how speech differs from the speaker's other speech

    @property
    def classes(self) -> NDArray[np.bool_]:
        """Those of the corpora that it learnt from, [7]."""
        return np.asarray(np.any([self.labels.mask(name) for name in self.corpora], axis=0))


class EmotionNetwork(nn.Module):
    """`shared` is a network without classifier; the heads of the tasks read its pooled vector, and that of the phonemes
    the frames of its one branch. Utterances of different lengths run unpadded, so an item's result does not depend on
    its neighbours."""

    def __init__(
        self,
        shared: Network,
        config: HeadsConfig,
        tasks: Sequence[str],
        symbols: int = 0,
        intensity: IntensityConfig | None = None,
    ) -> None:
        super().__init__()
        self.shared = shared
        dim = shared.dim
        heads: dict[str, nn.Module] = {CATEGORY: _head(dim, config.hidden, len(CATEGORIES), config.dropout)}
        if INTENSITY in tasks:
            heads[INTENSITY] = _head(dim, config.hidden, (intensity or IntervalConfig()).outputs, 0.0)
        if GENDER in tasks:
            heads[GENDER] = nn.Linear(dim, len(GENDERS))
        if PHONEMES in tasks:
            frame_dim = _branch(shared).encoder.dim
            heads[PHONEMES] = nn.Sequential(nn.Dropout(config.phoneme_dropout), nn.Linear(frame_dim, symbols + 1))
        self.heads = nn.ModuleDict(heads)

    def pooled(self, waveforms: Tensor) -> Tensor:
        """The branches' joined vectors [B, D] of waveforms of one length, before anything that learns."""
        return self.shared.pool(waveforms).mean

    def of_pooled(self, pooled: Tensor) -> dict[str, Tensor]:
        """Logits by task, as `forward` gives them, from vectors [B, D]."""
        embedded = self.shared.project(Embedding(pooled)).mean
        return {name: head(embedded) for name, head in self.heads.items()}

    def forward(
        self, waveforms: Tensor, lengths: Tensor | None = None, augment: SpecAugmentConfig | None = None
    ) -> dict[str, Tensor]:
        """[B, N] float32, lengths [B] in samples -> logits by task: `category` [B, 7], `intensity` [B, outputs],
        `gender` [B, 2], `phonemes` [B, T, V + 1] (zeros after an item's end) with `frames` [B].

        Raises `DataError` for lengths outside of 1..N.
        """
        sizes = [waveforms.shape[1]] * len(waveforms) if lengths is None else lengths.tolist()
        if not sizes or min(sizes) < 1 or max(sizes) > waveforms.shape[1]:
            raise DataError(f"lengths {sizes[:8]} do not fit waveforms of shape {tuple(waveforms.shape)}")
        groups = [[place for place, size in enumerate(sizes) if size == one] for one in sorted(set(sizes))]
        parts = [self._equal(waveforms[group, : sizes[group[0]]], augment) for group in groups]
        order = torch.argsort(torch.tensor([place for group in groups for place in group]))
        longest = max(int(part[FRAMES].max()) for part in parts)
        found = {}
        for name in parts[0]:
            values = [part[name] for part in parts]
            if name == PHONEMES:
                values = [nn.functional.pad(value, (0, 0, 0, longest - value.shape[1])) for value in values]
            found[name] = torch.cat(values)[order]
        return found

    def _equal(self, waveforms: Tensor, augment: SpecAugmentConfig | None) -> dict[str, Tensor]:
        """The same of waveforms of one length."""
        if len(self.shared.branches) > 1:
            found = self.of_pooled(self.pooled(waveforms))
            return {**found, FRAMES: torch.ones(len(waveforms), dtype=torch.int64, device=waveforms.device)}
        branch = _branch(self.shared)
        features: Frames = branch.frontend(waveforms)
        if augment is not None:
            features = Frames(_masked(features.values, augment), features.mask)
        frames: Frames = branch.encoder(features)
        pooled = self.shared.project(branch.pooling(frames)).mean
        found = {name: self.heads[name](pooled) for name in self.heads if name != PHONEMES}
        if PHONEMES in self.heads:
            found[PHONEMES] = self.heads[PHONEMES](frames.values)
        count = torch.full((len(waveforms),), frames.values.shape[1], device=waveforms.device)
        return {**found, FRAMES: count}


def build_network(network: NetworkConfig, info: EmotionInfo) -> EmotionNetwork:
    """With random weights. Raises `RecipeError` for a network that `require_encoder` refuses."""
    require_encoder(network, info.tasks)
    return EmotionNetwork(network.build(), info.heads, info.tasks, len(info.symbols), info.intensity)


def require_encoder(network: NetworkConfig, tasks: Sequence[str]) -> None:
    """Raise `RecipeError` for a network that the heads cannot stand on."""
    if network.outputs is not None:
        raise RecipeError("heads of emotion stand on a network without `outputs`", where="network")
    if len(network.branches) != 1 and PHONEMES in tasks:
        raise RecipeError("phonemes are read from the frames of one branch", where="network")


def _branch(shared: Network) -> Branch:
    branch = shared.branches[0]
    assert isinstance(branch, Branch)
    return branch


def _head(dim: int, hidden: int, outputs: int, dropout: float) -> nn.Module:
    if not hidden:
        return nn.Sequential(nn.Dropout(dropout), nn.Linear(dim, outputs))
    return nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, outputs))


def _masked(values: Tensor, config: SpecAugmentConfig) -> Tensor:
    """Frames [B, T, F] with the same stretches and bands of all items at their own mean."""
    count, width = values.shape[1:]
    masked = torch.zeros(count, width, dtype=torch.bool, device=values.device)
    for _ in range(config.times):
        start, end = _stretch(count, config.time_share)
        masked[start:end] = True
    for _ in range(config.bands):
        start, end = _stretch(width, config.band_share)
        masked[:, start:end] = True
    return torch.where(masked, values.mean((1, 2), keepdim=True), values)


def _stretch(whole: int, share: float) -> tuple[int, int]:
    length = int(torch.randint(0, max(1, round(share * whole)) + 1, ()))
    start = int(torch.randint(0, whole - length + 1, ()))
    return start, start + length


def _stacked(windows: Sequence[Window]) -> Tensor:
    """Samples of windows of one length [B, N]."""
    return torch.stack([torch.from_numpy(window.samples) for window in windows])


@dataclass(frozen=True)
class EmotionEstimate:
    """What is heard of a recording.

    `classes` [K] are those of the asked corpus (or of all that were learnt); `probabilities` [K] calibrated;
    `intensity` 0..1, None where the model learnt none; `category` is None where the largest probability is under the
    `threshold`: no answer. `course` [W, K] are the probabilities window by window at the `spans`, `intensities` [W].
    """

    classes: tuple[str, ...]
    probabilities: Floats
    intensity: float | None
    threshold: float
    spans: tuple[Segment, ...]
    course: Floats
    intensities: Floats | None
    seconds_used: float
    seconds_total: float

    @property
    def likeliest(self) -> str:
        """The category of the largest probability, whether or not it is enough for an answer."""
        return self.classes[int(self.probabilities.argmax())]

    @property
    def category(self) -> str | None:
        """The answer; None where there is none."""
        return self.likeliest if float(self.probabilities.max()) >= self.threshold else None


@dataclass(frozen=True)
class OwnSpeech:
    """How a speaker sounds in general: the mean vector [D] of so many recordings of the same voice."""

    vector: Tensor
    recordings: int


class EmotionEstimator:
    """A trained network with its labels, calibration and window policy: a recording goes in, an estimate comes out.

    A relative model (`relative`) hears how speech differs from the speaker's other speech, and answers after
    `beside` has told it of that.
    """

    def __init__(self, network: EmotionNetwork, info: ModelInfo, own: OwnSpeech | None = None) -> None:
        self.network, self.info, self.own = network.eval(), info, own
        self.emotion = emotion_info(info)

    @property
    def relative(self) -> bool:
        """Whether it needs the speaker's other speech."""
        return self.emotion.relative

    def beside(self, vectors: Iterable[Tensor]) -> EmotionEstimator:
        """The same model for one speaker, from what `vector` gave for each of several recordings of that voice.

        Each recording counts alike, whatever its length. Raises `AudioError` for fewer than `FEWEST_OWN`, and
        `ModelError` for a model that is not relative.
        """
        if not self.relative:
            raise ModelError("this model does not hear a speaker against the speaker's other speech")
        found = list(vectors)
        if len(found) < FEWEST_OWN:
            what = f"{len(found)} audible recording(s) of the speaker are too few to hear this one against"
            raise AudioError(what, fix=f"Give {FEWEST_OWN} or more, of different manners.")
        return EmotionEstimator(self.network, self.info, OwnSpeech(torch.stack(found).mean(0), len(found)))

    @torch.inference_mode()
    def vector_of_file(
        self, path: str | Path, channel: int | None = None, start_s: float = 0.0, end_s: float | None = None
    ) -> Tensor:
        """What a recording sounds like: the mean of the audible windows' vectors [D] by their seconds.

        Raises `AudioError` for what cannot be read, and where nothing is audible.
        """
        parts, seconds = GrowingRows(), list[float]()
        windows = stream_windows(path, self.info.windows, self.info.rate, channel, start_s, end_s)
        for group in equal_groups(windows, AT_ONCE):
            audible = [window for window in group if is_audible(window.samples)]
            if audible:
                parts.add(self.network.pooled(_stacked(audible)).cpu().numpy())
                seconds += [window.end_s - window.start_s for window in audible]
        if not seconds:
            raise AudioError("holds no sound", where=path)
        shares = torch.tensor(seconds) / sum(seconds)
        return shares @ torch.from_numpy(parts.all())

    @classmethod
    def load(cls, folder: str | Path) -> EmotionEstimator:
        """From a model folder. Raises `ModelError` where it is altered, incomplete or of another task."""
        info = read_model_info(folder)
        if info.task != TASK:
            raise ModelError(f"this model answers '{info.task}', not '{TASK}'", where=folder)
        weights = load_weights(folder)  # verifies every file of the folder
        try:
            config: NetworkConfig = parse_config(NetworkConfig, info.network)
            network = build_network(config, emotion_info(info))
        except RecipeError as error:
            raise ModelError(f"its network cannot be built: {error}", where=folder) from None
        load_trained_state(network, weights, where=Path(folder) / WEIGHTS)
        return cls(network, info)

    def estimate(self, samples: ArrayLike, rate: int, corpus: str | None = None) -> EmotionEstimate:
        """Of samples ([N] or [N, channels], any rate); `corpus` names whose classes may be answered.

        Raises `AudioError` for what can't be judged, `DataError` for a corpus without a label map, `UsageError` where a
        relative model was not told of the speaker's other speech.
        """
        heard = unhashed(np.asarray(samples), rate, self.info.rate)
        return self.estimate_windows(cut(heard.samples, heard.rate, self.info.windows), heard.duration_s, corpus)

    def estimate_file(
        self,
        path: str | Path,
        corpus: str | None = None,
        channel: int | None = None,
        start_s: float = 0.0,
        end_s: float | None = None,
    ) -> EmotionEstimate:
        """Of a file, streamed. Raises as `estimate` does."""
        windows = stream_windows(path, self.info.windows, self.info.rate, channel, start_s, end_s)
        return self.estimate_windows(windows, total_seconds(path, start_s, end_s), corpus)

    def estimate_windows(
        self, windows: Iterable[Window], seconds_total: float | None = None, corpus: str | None = None
    ) -> EmotionEstimate:
        """The mean of the windows' logits by their seconds, as probabilities; silent windows are left out."""
        spans, logits, intensities, end_s = self._heard(windows)
        used = heard_seconds(spans)
        if used < SHORTEST_S:
            raise AudioError(f"holds {used:.2f} s of sound; an emotion needs at least {SHORTEST_S} s")
        seconds = np.array([span.end_s - span.start_s for span in spans])
        shares = seconds / seconds.sum()
        classes = self.emotion.classes if corpus is None else self.emotion.labels.mask(corpus)
        over = logits[:, classes] / self.emotion.temperature
        return EmotionEstimate(
            classes=tuple(name for name, used_ in zip(CATEGORIES, classes, strict=True) if used_),
            probabilities=softmax(shares @ over),
            intensity=None if intensities is None else float(shares @ intensities),
            threshold=self.emotion.threshold,
            spans=tuple(spans),
            course=softmax(over),
            intensities=intensities,
            seconds_used=used,
            seconds_total=end_s if seconds_total is None else seconds_total,
        )

    def logits(self, windows: Iterable[Window]) -> Floats:
        """The mean of the audible windows' logits [7] by their seconds, before classes are masked: for calibration.

        Raises `AudioError` where nothing is audible.
        """
        spans, logits, _, _ = self._heard(windows)
        if not spans:
            raise AudioError("holds no sound")
        seconds = np.array([span.end_s - span.start_s for span in spans])
        return np.asarray(seconds @ logits / seconds.sum())

    def _logits(self, waveforms: Tensor) -> dict[str, Tensor]:
        if not self.relative:
            return self.network(waveforms)  # type: ignore[no-any-return]
        if self.own is None:
            what = "this model hears a recording against the speaker's other speech, and was told of none"
            raise UsageError(what, where=self.info.name, fix=f"Give {FEWEST_OWN} or more recordings of the same voice.")
        return self.network.of_pooled(self.network.pooled(waveforms) - self.own.vector)

    @torch.inference_mode()
    def _heard(self, windows: Iterable[Window]) -> tuple[list[Segment], Floats, Floats | None, float]:
        spans: list[Segment] = []
        logits, intensities, learnt = GrowingRows(), GrowingRows(), False
        end_s = 0.0
        for group in equal_groups(windows, AT_ONCE):
            end_s = max(end_s, group[-1].end_s)
            audible = [window for window in group if is_audible(window.samples)]
            if not audible:
                continue
            found = self._logits(_stacked(audible))
            spans.extend(Segment(window.start_s, window.end_s) for window in audible)
            logits.add(found[CATEGORY].double().numpy())
            if self.emotion.intensity_learnt and INTENSITY in found:
                learnt = True
                intensities.add(self.emotion.intensity.read(found[INTENSITY]).double().numpy())
        joined = logits.all() if spans else np.empty((0, len(CATEGORIES)))
        return spans, joined, intensities.all() if learnt else None, end_s


def emotion_info(info: ModelInfo) -> EmotionInfo:
    """What a model says of its emotions. Raises `ModelError`."""
    try:
        found: EmotionInfo = parse_config(EmotionInfo, info.extra.get(EMOTION))
    except RecipeError as error:
        raise ModelError(f"does not say how it answers ({error})", where=info.name, fix="Train it again.") from None
    return found


def softmax(logits: Floats) -> Floats:
    """Over the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))
