"""A trained network as an ONNX file, checked against the network itself before anybody relies on it.

The graph takes `waveforms` [batch, samples] float32 at the model's rate, windows of one fixed length, and gives
`logits` [batch, classes], or `embedding` [batch, D] of unit length for a network that embeds alone.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from earwitness.audio.reading import load
from earwitness.audio.windows import Whole, cut
from earwitness.core.errors import MissingPartError, ModelError, UsageError
from earwitness.nn.network import Network
from earwitness.training.model_folder import ModelInfo, load_network, read_model_info

LARGEST_DIFFERENCE = 1e-4
WHOLE_S = 4.0  # the window of a model that hears recordings as a whole
TRIED_BATCHES = (1, 3)  # one of them is not the batch that the graph was traced with

Waveforms = NDArray[np.float32]  # [B, N]


@dataclass(frozen=True)
class Exported:
    """Largest absolute differences to the network, on noise and on a recording (None: none was given)."""

    path: Path
    seconds: float
    on_noise: float
    on_recording: float | None = None


def export_model(
    folder: str | Path, path: str | Path, seconds: float | None = None, recording: str | Path | None = None
) -> Exported:
    """Export a model folder's network for windows of `seconds` (None: its own window length).

    Raises `MissingPartError` where onnx or onnxscript is not installed, and `ModelError` for a network that cannot be
    exported, or whose graph differs by more than 1e-4; no file is left then.
    """
    info = read_model_info(folder)
    window = window_seconds(info) if seconds is None else seconds
    network, path = load_network(folder, info), Path(path)
    on_noise = export_onnx(network, window, info.rate, path, _facts(info))
    if recording is None:
        return Exported(path, window, on_noise)
    try:
        heard = difference(network, path, _windows(recording, window, info))
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return Exported(path, window, on_noise, heard)


def window_seconds(info: ModelInfo) -> float:
    """The length of the windows that a model hears; 4 s for one that hears recordings as a whole."""
    return WHOLE_S if isinstance(info.windows, Whole) else info.windows.length_s


def export_onnx(
    network: Network, seconds: float, rate: int, path: str | Path, facts: dict[str, str] | None = None
) -> float:
    """Write the graph for windows of `seconds`, any batch size. Returns the largest absolute difference on noise.

    `facts` go into the file's metadata. Raises as `export_model` does.
    """
    _require_parts()
    path, samples = Path(path), round(seconds * rate)
    if samples < 1:
        raise UsageError(f"{seconds} s is no window", fix="Give a positive number of seconds.")
    rng = np.random.default_rng(0)
    graph = _traced(network, samples)
    _write(graph, path, facts or {})
    try:
        return max(
            difference(network, path, (0.1 * rng.standard_normal((batch, samples))).astype(np.float32))
            for batch in TRIED_BATCHES
        )
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def difference(network: Network, path: str | Path, waveforms: Waveforms) -> float:
    """The largest absolute difference between the graph and the network. Raises `ModelError` above 1e-4."""
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        found = session.run(None, {session.get_inputs()[0].name: waveforms})[0]
    except Exception as error:  # onnxruntime has no public error classes
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"the exported graph cannot be run ({reason[:200]})", where=path) from None
    with torch.inference_mode():
        wanted = _Answer(network)(torch.from_numpy(waveforms)).numpy()
    largest = float(np.abs(found - wanted).max())
    if not largest <= LARGEST_DIFFERENCE:  # a NaN is refused too
        what = f"the exported graph differs from the network by {largest:.2g}, more than {LARGEST_DIFFERENCE:g}"
        raise ModelError(what, where=path)
    return largest


class _Answer(nn.Module):
    """What is exported: one tensor for a batch of windows."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network.eval()
        self.name = "embedding" if network.classifier is None else "logits"

    def forward(self, waveforms: Tensor) -> Tensor:
        """[B, N] -> logits [B, classes] or unit embeddings [B, D]."""
        if self.network.classifier is not None:
            logits: Tensor = self.network(waveforms)
            return logits
        return nn.functional.normalize(self.network.embed(waveforms).mean, dim=1)


def _traced(network: Network, samples: int) -> Any:
    """The ONNX program. Raises `ModelError` where torch cannot express a part of the network in ONNX."""
    answer = _Answer(network)
    example = torch.zeros(2, samples).normal_(0, 0.1, generator=torch.Generator().manual_seed(0))
    batch = torch.export.Dim("batch", min=1, max=4096)
    try:
        with _quiet(), torch.no_grad():
            return torch.onnx.export(
                answer,
                (example,),
                input_names=["waveforms"],
                output_names=[answer.name],
                dynamic_shapes=({0: batch},),
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # the exporter has no error class of its own for what it cannot express
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"this network cannot be exported to ONNX ({reason[:200]})") from error


def _write(program: Any, path: Path, facts: dict[str, str]) -> None:
    """One file, weights inside, whole or not at all."""
    program.model.metadata_props.update(facts)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as place:
            part = Path(place) / "model.onnx"
            with _quiet():
                program.save(str(part), external_data=False)
            part.replace(path)
    except OSError as error:
        raise UsageError(f"cannot be written ({error.strerror})", where=path, fix="Choose another output.") from None


def _windows(recording: str | Path, seconds: float, info: ModelInfo) -> Waveforms:
    """A recording as the batch of windows [B, N] that the model hears; a shorter last one is repeated to the length."""
    length = round(seconds * info.rate)
    heard = cut(load(recording, info.rate).samples, info.rate, info.windows)
    return np.stack([np.resize(window.samples, length) for window in heard[:16]]).astype(np.float32)


def _facts(info: ModelInfo) -> dict[str, str]:
    """What a user of the file must know, as its metadata."""
    known = {
        "model": info.reference,
        "task": info.task,
        "rate_hz": str(info.rate),
        "windows": info.windows.name,
        "licence": info.licence,
    }
    if info.task == "deepfake":
        known["score"] = "logits[:, 1] - logits[:, 0], its mean over the windows; higher = bona fide"
    elif info.task == "speaker":
        known["score"] = "cosine of two embeddings, each the unit mean over its windows; higher = same speaker"
    if info.calibration is not None:
        clean = info.calibration.conditions[0]
        known["llr"] = f"{clean.scale:.9g} * score + {clean.offset:.9g}, within [{clean.low:.9g}, {clean.high:.9g}]"
    return known


def _require_parts() -> None:
    for package in ("onnx", "onnxscript"):
        if find_spec(package) is None:
            raise MissingPartError(f"exporting needs {package}", fix="pip install 'earwitness[export]'")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter reports its steps in prints, logs and warnings; what counts is raised or measured here."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
