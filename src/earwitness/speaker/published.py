"""Starting from published weights: the d-vector network of Resemblyzer 0.1.4 (GE2E, arXiv 1710.10467; Apache-2.0).

The file is read as tensors only and its package is never imported. Every tensor of it must have its place in our
network, and every one of ours its source; only the scale and offset of the training loss are left behind, by name.
"""

from __future__ import annotations

import importlib.util
import pickle
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from earwitness.core.errors import MissingPartError, ModelError, RecipeError
from earwitness.core.hashing import sha256_file
from earwitness.nn.encoders.lstm import LstmConfig
from earwitness.nn.frontends import DVECTOR_MEL
from earwitness.nn.network import BranchConfig, EmbeddingConfig, Network, NetworkConfig
from earwitness.nn.pooling import LastConfig
from earwitness.training.tensors import load_trained_state

PACKAGE = "resemblyzer"
WEIGHTS_FILE = "pretrained.pt"
LICENCE = "Apache-2.0"
NOTICE = (
    "Fine-tuned from the voice encoder of Resemblyzer (Copyright 2019 Resemble.AI, Apache License 2.0, "
    "https://github.com/resemble-ai/Resemblyzer). The weights were changed."
)
LOSS_PARAMETERS = frozenset({"similarity_weight", "similarity_bias"})  # of the GE2E loss; not of the network

#: The published network in our parts: 40 mel energies, three LSTM layers, the last frame, a linear layer with ReLU.
NETWORK = NetworkConfig(
    branches=[BranchConfig(frontend=DVECTOR_MEL, encoder=LstmConfig(hidden=256, layers=3), pooling=LastConfig())],
    embedding=EmbeddingConfig(dim=256, batch_norm=False, activation="relu", unit_length=True),
)
_PLACES = {"lstm.": "branches.0.encoder.lstm.", "linear.": "embedding.linear."}


@dataclass(frozen=True)
class Published:
    """Weights under our names, and where they come from."""

    state: dict[str, Tensor]
    source: str  # package and version, or the file's name
    sha256: str  # of the file
    licence: str = LICENCE
    notice: str = NOTICE

    def start(self, config: NetworkConfig, network: Network) -> None:
        """Put the weights into a network. Raises `RecipeError` where `config` is not the published network.

        A lead before each window needs no weights of its own.
        """
        if _without_lead(config) != NETWORK:
            raise RecipeError(
                "the published weights fit the published network only",
                where="network",
                fix="Use that of recipes/default/speaker.yaml, or start_from: none.",
            )
        load_trained_state(network, self.state, where=self.source)

    @torch.no_grad()
    def draw_back(self, network: Network, keep: float) -> None:
        """Make each weight of a network that began here `keep` x itself + (1 - `keep`) x the published one.

        What was learnt from few voices is kept in part, and what the published weights knew of many others comes back
        (arXiv 2109.01903).
        """
        for name, weight in network.named_parameters():
            weight.lerp_(self.state[name].to(weight), 1 - keep)

    def plain(self) -> dict[str, str]:
        """What a model's description says of its origin."""
        return {"weights": self.source, "sha256": self.sha256, "licence": self.licence, "notice": self.notice}


def read_resemblyzer(path: str | Path | None = None) -> Published:
    """The published weights from a file, or (None) from the installed package, which is not imported.

    Raises `MissingPartError` where the package is not installed, and `ModelError` for a file that is not just these
    tensors.
    """
    file = find_weights() if path is None else Path(path)
    source = f"{PACKAGE} {_version()}" if path is None else file.name
    return Published(renamed(_tensors(file), where=file), source, sha256_file(file))


def find_weights() -> Path:
    """The weights' file of the installed package. Raises `MissingPartError`."""
    found = importlib.util.find_spec(PACKAGE)
    folders = (found.submodule_search_locations or []) if found is not None else []
    for folder in folders:
        if (file := Path(folder) / WEIGHTS_FILE).is_file():
            return file
    raise MissingPartError(
        f"the package {PACKAGE} with its published weights is not installed",
        fix="Run `make peers`, or name the file in the recipe as start_file.",
    )


def renamed(tensors: dict[str, Any], where: object = None) -> dict[str, Tensor]:
    """Published names -> ours. Raises `ModelError` for a name that is neither known nor left behind, or no tensor."""
    state: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if name in LOSS_PARAMETERS:
            continue
        place = next(
            (ours + name.removeprefix(theirs) for theirs, ours in _PLACES.items() if name.startswith(theirs)), None
        )
        if place is None or not isinstance(value, Tensor):
            raise ModelError(f"holds '{name}', which has no place in the network", where=where)
        state[place] = value
    return state


def _without_lead(config: NetworkConfig) -> NetworkConfig:
    """The configuration with LSTMs that hear no zeros first."""
    branches = [
        branch.model_copy(update={"encoder": branch.encoder.model_copy(update={"lead": 0})})
        if isinstance(branch.encoder, LstmConfig)
        else branch
        for branch in config.branches
    ]
    return config.model_copy(update={"branches": branches})


def _tensors(file: Path) -> dict[str, Any]:
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


def _version() -> str:
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return "of unknown version"
