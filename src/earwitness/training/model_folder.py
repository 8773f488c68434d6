"""A model is a folder: `weights.safetensors`, `model.json` (this module's `ModelInfo`) and `CARD.md`, all named and
hashed.

Loading verifies every file first and reads tensors only; nothing in a model folder is ever executed or unpickled.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, JsonValue
from torch import Tensor

from earwitness.audio.windows import WindowPolicy
from earwitness.core.config import Config, parse_config
from earwitness.core.errors import ModelError, RecipeError, UsageError
from earwitness.core.hashing import sha256_file
from earwitness.nn.network import Network, NetworkConfig
from earwitness.training.calibration import Calibration, ConditionName
from earwitness.training.polarity import PolarityProbe, refuse_reversed
from earwitness.training.tensors import as_half, load_trained_state, read_tensors, restored, tensor_bytes

ABSTAIN = "abstain below |llr|"  # the threshold of a model that was tested with a limit below which it gives no answer
DESCRIPTION, WEIGHTS, CARD = "model.json", "weights.safetensors", "CARD.md"
COHORT_FILE = "cohort.safetensors"  # unit mean voice prints of a speaker model's training speakers, `cohort` [K, D]


class CohortInfo(Config):
    """The cohort of score normalisation: how many speakers, under which conditions each, and how many of the nearest
    are used on each side."""

    speakers: int = Field(gt=0)
    top: int = Field(gt=0)
    conditions: tuple[ConditionName, ...] = ("clean",)


class TestedRanges(Config):
    """What the model's tests covered; outside of it an answer says so. None: not tested for."""

    min_speech_s: float | None = None
    min_bandwidth_hz: float | None = None
    min_snr_db: float | None = None
    languages: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class DataSource(Config):
    """A corpus that the model has seen, under its SPDX licence, and what for."""

    name: str
    licence: str
    use: str = "training"


class ModelInfo(Config):
    """`model.json`. `network` is the network's configuration, `extra` what a domain needs besides, both plain data."""

    format: Literal[1] = 1
    name: str
    version: str = "1"
    task: str
    summary: str = ""
    network: dict[str, JsonValue]
    rate: int = 16_000  # Hz
    windows: WindowPolicy
    polarity: Literal["higher = bona fide", "higher = same speaker", "none"]
    polarity_probe: PolarityProbe | None = None  # None: made before probes were kept
    calibration: Calibration | None = None
    cohort: CohortInfo | None = None
    thresholds: dict[str, float] = Field(default_factory=dict)  # operating points by name, on the score
    tested: TestedRanges = TestedRanges()
    licence: str  # SPDX, of the weights
    data: tuple[DataSource, ...] = ()
    limits: tuple[str, ...] = ()  # what an answer must not be used for
    known_failures: tuple[str, ...] = ()
    stored: Literal["as trained", "float16"] = "as trained"
    extra: dict[str, JsonValue] = Field(default_factory=dict)
    package_version: str = ""
    training: dict[str, JsonValue] = Field(default_factory=dict)  # the run record
    files: dict[str, str] = Field(
        default_factory=dict
    )  # sha256 of every other file in the folder; filled in by `save_model`

    @property
    def sha256(self) -> str:
        """Hash of the weights."""
        return self.files.get(WEIGHTS, "")

    @property
    def reference(self) -> str:
        """How results name the model: `deepfake 1 (sha256 0123456789ab)`."""
        return f"{self.name} {self.version} (sha256 {self.sha256[:12]})"

    def llr(self, score: float) -> float | None:
        """The calibrated log-likelihood ratio; None for a model without calibration."""
        return None if self.calibration is None else self.calibration.llr(score)


def save_model(
    folder: str | Path,
    info: ModelInfo,
    weights: Mapping[str, Tensor],
    *,
    card: str = "",
    half: bool = False,
    files: Mapping[str, bytes] | None = None,
) -> ModelInfo:
    """Write a model folder, whole or not at all; an older model in its place is replaced. Gives the info with all
    hashes.

    `half` stores floats as float16; loading gives them in their first type again, with the rounded values. Calibrate
    and test what was loaded, not what was trained. `files`: further files by name (`tensor_bytes` makes a tensor
    file). Raises `UsageError` where the place is taken by something else or cannot be written.
    """
    content = dict(files or {})
    content[WEIGHTS] = tensor_bytes(*as_half(weights)) if half else tensor_bytes(weights)
    content[CARD] = card.encode("utf-8")
    return _write(Path(folder), info.model_copy(update={"stored": "float16" if half else "as trained"}), content)


def revise_model(folder: str | Path, info: ModelInfo, *, card: str | None = None) -> ModelInfo:
    """Replace the description, and the card where one is given: after calibration, or once results are known.

    The other files stay as they are. Raises `ModelError` where the folder is altered or incomplete.
    """
    folder = Path(folder)
    old = verify_model(folder)
    content = {name: (folder / name).read_bytes() for name in old.files}
    if card is not None:
        content[CARD] = card.encode("utf-8")
    return _write(folder, info.model_copy(update={"stored": old.stored}), content)


def read_model_info(folder: str | Path) -> ModelInfo:
    """What `model.json` says. Raises `ModelError` where it is missing, is not JSON, or has an unknown field."""
    path = Path(folder) / DESCRIPTION
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"is no model folder: it has no {DESCRIPTION}", where=folder, fix="Check the path.") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot be read as JSON ({str(error).splitlines()[0]})", where=path) from None
    try:
        info: ModelInfo = parse_config(ModelInfo, data, where=path)
    except RecipeError as error:
        raise ModelError(error.what, where=path, fix="Was it made by a newer version of earwitness?") from None
    return info


def verify_model(folder: str | Path) -> ModelInfo:
    """Check that every file is there and unaltered, and no other. Gives the info; raises `ModelError` naming the
    file.
    """
    folder = Path(folder)
    info = read_model_info(folder)
    for name, expected in info.files.items():
        path = folder / name
        if Path(name).name != name:
            raise ModelError(f"names a file outside of the model folder: '{name}'", where=folder / DESCRIPTION)
        if not path.is_file():
            raise ModelError("is missing from the model folder", where=path, fix="Copy the whole folder again.")
        if (found := sha256_file(path)) != expected:
            what = f"was altered: its sha256 is {found[:12]}..., {DESCRIPTION} says {expected[:12]}..."
            raise ModelError(what, where=path, fix="Copy the whole folder again.")
    if WEIGHTS not in info.files:
        raise ModelError(f"names no {WEIGHTS}", where=folder / DESCRIPTION)
    strangers = {path.name for path in folder.iterdir() if not path.name.startswith(".")} - {*info.files, DESCRIPTION}
    if strangers:
        what = f"is not part of the model: {DESCRIPTION} does not name it"
        raise ModelError(what, where=folder / min(strangers), fix="Remove it; pickled weights are never loaded.")
    return info


def load_weights(folder: str | Path) -> dict[str, Tensor]:
    """The verified weights on the CPU, in the types they were trained in. Raises `ModelError`."""
    verify_model(folder)
    return restored(*read_tensors(Path(folder) / WEIGHTS))


def load_network(folder: str | Path, info: ModelInfo) -> Network:
    """The network with its weights, in eval mode.

    Raises `ModelError` where the weights don't fit it, or the model's own dev says that its classes are swapped.
    """
    refuse_reversed(info.polarity_probe, folder)
    weights = load_weights(folder)
    try:
        config: NetworkConfig = parse_config(NetworkConfig, info.network)
        network = config.build()
    except RecipeError as error:
        raise ModelError(f"its network cannot be built: {error}", where=Path(folder) / DESCRIPTION) from None
    load_trained_state(network, weights, where=Path(folder) / WEIGHTS)
    return network.eval()


def load_arrays(path: str | Path) -> dict[str, NDArray[Any]]:
    """The arrays of a further tensor file. Raises `ModelError`."""
    tensors = restored(*read_tensors(Path(path)))
    return {name: np.asarray(tensor.numpy()) for name, tensor in tensors.items()}


def _write(folder: Path, info: ModelInfo, content: Mapping[str, bytes]) -> ModelInfo:
    """All files beside the target, then one rename."""
    if folder.exists() and not (folder / DESCRIPTION).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError("is there already and is no model folder", where=folder, fix="Choose another place.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".part"))
    except OSError as error:
        raise UsageError(f"cannot be written ({error.strerror})", where=folder, fix="Choose another place.") from None
    try:
        for name, data in content.items():
            _write_file(part / name, data)
        hashes = {name: sha256_file(part / name) for name in sorted(content)}
        info = info.model_copy(update={"files": hashes, "package_version": info.package_version or _version()})
        text = json.dumps(info.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
        _write_file(part / DESCRIPTION, text.encode("utf-8"))
        part.chmod(0o755)
        _put_in_place(part, folder)
    except OSError as error:
        raise UsageError(
            f"cannot be written ({error.strerror})", where=folder, fix="Free space, or choose another place."
        ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return info


def _write_file(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _put_in_place(part: Path, folder: Path) -> None:
    """Rename `part` to `folder`; a model that stood there steps aside first, and back again where the rename fails."""
    if not folder.exists():
        part.rename(folder)
        return
    aside = part.with_suffix(".old")
    folder.rename(aside)
    try:
        part.rename(folder)
    except OSError:
        aside.rename(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _version() -> str:
    try:
        return version("earwitness")
    except PackageNotFoundError:
        return "not installed"
