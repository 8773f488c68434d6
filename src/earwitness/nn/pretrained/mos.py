"""Predictors of a mean opinion score (MOS, about 1 to 5) from a recording alone, with the weights of others.

    dnsmos        DNSMOS P.808 (arXiv 2010.15258) out of the package `speechmos`, run by ONNX Runtime
    distillmos    Distill-MOS (arXiv 2502.05356) out of the package `distillmos`, its weights read as tensors
    PATH.onnx     any graph from waveforms [B, N] at 16 kHz to a number each, as an export of SCOREQ (2410.06675)

Packages are found, not imported: what they import (librosa, torchaudio) is not needed to run their weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from earwitness.audio.audible import is_audible
from earwitness.audio.reading import unhashed
from earwitness.audio.recording import Segment
from earwitness.audio.windows import (
    Sliding,
    Whole,
    Window,
    WindowPolicy,
    cut,
    heard_seconds,
    stream_windows,
    total_seconds,
)
from earwitness.core.errors import AudioError, MissingPartError, ModelError, UsageError
from earwitness.core.hashing import sha256_file
from earwitness.nn.frontends import spectrum
from earwitness.nn.pretrained.distillmos import SAMPLES, distillmos_from

RATE = 16_000
FILES = {
    "dnsmos": ("speechmos", "dnsmos_models/model_v8.onnx"),
    "distillmos": ("distillmos", "weights/distill_mos_v7.pt"),
}
INSTALL = {"speechmos": "pip install 'earwitness[quality]'", "distillmos": "pip install --no-deps distillmos"}
SHORTEST_S = 0.1  # a spoken digit can be rated; what is shorter is repeated so often that it becomes a tone
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class QualityScore:
    """The MOS of a recording, the mean over its windows."""

    score: float
    seconds_used: float
    seconds_total: float


class MosEstimator(ABC):
    """Hears recordings by `windows`. `name` is the one it is asked for by, `model` a short hash of its weights."""

    name: str
    model: str
    windows: WindowPolicy
    rate: int = RATE
    source: str  # what `load_mos` takes

    def __reduce__(self) -> tuple[Any, ...]:
        """A session cannot be sent to another process, which opens the same weights instead."""
        return _again, (self.source, self.model)

    @abstractmethod
    def rate_windows(self, samples: Floats) -> Floats:
        """Windows of equal length [B, N] -> MOS [B]."""

    def score(self, samples: ArrayLike, rate: int) -> QualityScore:
        """Of samples ([N] or [N, channels], any rate). Raises `AudioError` for what cannot be judged."""
        recording = unhashed(np.asarray(samples), rate, self.rate)
        return self._over(cut(recording.samples, recording.rate, self.windows), recording.duration_s)

    def score_file(
        self, path: str | Path, channel: int | None = None, start_s: float = 0.0, end_s: float | None = None
    ) -> QualityScore:
        """Of a file, streamed. Raises `AudioError`."""
        windows = stream_windows(path, self.windows, self.rate, channel, start_s, end_s)
        return self._over(windows, total_seconds(path, start_s, end_s))

    def _over(self, windows: Iterable[Window], seconds_total: float | None) -> QualityScore:
        heard: list[Segment] = []
        scores: list[float] = []
        end_s = 0.0
        for window in windows:  # several at once take as much time, and more memory
            end_s = max(end_s, window.end_s)
            if is_audible(window.samples):
                scores += self.rate_windows(window.samples[None]).tolist()
                heard.append(Segment(window.start_s, window.end_s))
        used = heard_seconds(heard)
        if used < SHORTEST_S:
            raise AudioError(f"holds {used:.2f} s of sound; a judgement needs at least {SHORTEST_S} s")
        return QualityScore(sum(scores) / len(scores), used, end_s if seconds_total is None else seconds_total)


class Dnsmos(MosEstimator):
    """Overall quality as listeners of ITU-T P.808 rate it: 9.01 s every second, a shorter recording repeated."""

    name = "dnsmos"

    def __init__(self, path: Path) -> None:
        self.windows = Sliding(length_s=9.01, hop_s=1.0)
        self.model = sha256_file(path)[:12]
        self._session = _session(path)
        self._filters = spectrum.mel_filters(321, RATE, 120, 0.0, RATE / 2, "slaney", area=True)

    def rate_windows(self, samples: Floats) -> Floats:
        features = self.features(torch.from_numpy(samples)).numpy()
        return np.asarray(self._session.run(None, {"input_1": features})[0], np.float32)[:, 0]

    def features(self, samples: torch.Tensor) -> torch.Tensor:
        """[B, 144160] -> [B, 900, 120]: mel energies in dB below the window's loudest, scaled by (dB + 40) / 40."""
        padded = torch.nn.functional.pad(samples[:, :-160], (160, 160))
        frames = spectrum.frame(padded, 321, 160) * torch.hann_window(321)
        energies = spectrum.power_spectrum(frames, 321) @ self._filters
        decibels = 10 * energies.clamp_min(1e-10).log10()
        loudest = decibels.amax((1, 2), keepdim=True)
        return (decibels.maximum(loudest - 80) - loudest + 40) / 40


class DistillMos(MosEstimator):
    """7.68 s every second (its authors space them evenly); a shorter recording gets zeros."""

    name = "distillmos"

    def __init__(self, path: Path) -> None:
        self.windows = Sliding(length_s=SAMPLES / RATE, hop_s=1.0, repeat=False)
        self.model = sha256_file(path)[:12]
        self._network = distillmos_from(path)

    @torch.inference_mode()
    def rate_windows(self, samples: Floats) -> Floats:
        padded = torch.nn.functional.pad(torch.from_numpy(samples), (0, SAMPLES - samples.shape[1]))
        return self._network(padded).numpy()  # type: ignore[no-any-return]


class OnnxMos(MosEstimator):
    """A graph of one's own: the whole recording at once, [B, N] -> [B] or [B, 1]."""

    def __init__(self, path: Path) -> None:
        self.windows = Whole()
        self.name = path.stem
        self.model = sha256_file(path)[:12]
        self._session = _session(path)
        self._input = self._session.get_inputs()[0].name
        self._where = path

    def rate_windows(self, samples: Floats) -> Floats:
        found = np.asarray(self._session.run(None, {self._input: samples})[0], np.float32).reshape(-1)
        if len(found) != len(samples):
            raise ModelError("does not give one number a waveform", where=self._where)
        return found


def weights_of(name: str) -> tuple[str, str]:
    """The name of a predictor and the short hash of its weights, which are not loaded. Raises as `load_mos`."""
    path = _weights(name)
    return (Path(name).stem if name.endswith(".onnx") else name), sha256_file(path)[:12]


def load_mos(name: str) -> MosEstimator:
    """A predictor by name or path. Raises `MissingPartError` for one that is not installed, and `UsageError`."""
    path = _weights(name)
    kinds: dict[str, type[Dnsmos] | type[DistillMos]] = {"dnsmos": Dnsmos, "distillmos": DistillMos}
    estimator = kinds[name](path) if name in kinds else OnnxMos(path)
    estimator.source = name if name in kinds else str(path.absolute())
    return estimator


def _again(source: str, model: str) -> MosEstimator:
    """Raises `ModelError` where other weights lie there."""
    estimator = load_mos(source)
    if estimator.model != model:
        raise ModelError(f"has the hash {estimator.model}, not {model}", where=source, fix="Use the same file.")
    return estimator


def _weights(name: str) -> Path:
    """Where a predictor's weights lie."""
    if name in FILES:
        return _package_file(*FILES[name])
    if not name.endswith(".onnx"):
        what = f"no predictor of quality is called '{name}'"
        raise UsageError(what, fix=f"Use {', '.join(FILES)}, or the path of an .onnx file.")
    if not Path(name).is_file():
        raise UsageError("there is no such graph", where=name, fix="Export the predictor to ONNX first.")
    return Path(name)


def _package_file(package: str, file: str) -> Path:
    """A file of an installed package, which is not imported."""
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations if spec else None) or ():
        if (path := Path(folder) / file).is_file():
            return path
    raise MissingPartError(f"predicting a MOS needs the package {package}", fix=INSTALL[package])


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no public error classes
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"is no graph that can be run ({reason[:200]})", where=path) from None
