"""The voice print of a trained speaker model as a front-end, for heads that read it beside other frames."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

import earwitness.models
from earwitness.core.errors import EarwitnessError, ModelError
from earwitness.core.hashing import sha256_file
from earwitness.nn.frontends.base import Frontend, FrontendConfigBase
from earwitness.nn.layers.folding import fold_batch_norms

if TYPE_CHECKING:
    from earwitness.nn.network import Network

RATE = 16_000
SHIPPED, WEIGHTS = "speaker", "weights.safetensors"
MOST_KEPT = 16_384  # prints, of a few hundred numbers each: windows of 4 s of 18 hours


class VoiceConfig(FrontendConfigBase):
    """`model`: a speaker model that ships with this version, or the folder of one. `sha256` of its weights, where it is
    given, is the one whose prints are meant: with other weights a head would read numbers that mean nothing to it.
    `middle_s`: of a longer waveform the print hears so many seconds in the middle and no more, which costs less."""

    kind: Literal["voice"] = "voice"
    model: str = SHIPPED
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    middle_s: float | None = Field(None, ge=0.5)

    def build(self) -> VoicePrints:
        """The front-end, with weights. Raises `ModelError` where the model is not there, altered, or another one."""
        return VoicePrints(_voice(self.model, self.sha256), self.middle_s)

    def pinned(self) -> VoiceConfig:
        """With the sha256 of the weights that are there now. Raises `ModelError` where the model is not there."""
        return self.model_copy(update={"sha256": self.sha256 or sha256_file(_folder(self.model) / WEIGHTS)})


class VoicePrints(Frontend):
    """[B, N] -> [B, 1, D]: one frame, the unit voice print of all N samples, or of the middle ones.

    The speaker network is shared by all heads of the process, never trained, and no submodule: its weights stay in
    their own folder. Its prints are shared too: a window that one head has heard is not heard again for the next.
    """

    def __init__(self, voice: _Voice, middle_s: float | None = None) -> None:
        super().__init__()
        self._voice = voice
        self._most = None if middle_s is None else round(middle_s * RATE)
        network = voice.network
        self.dim = network.dim
        self.frames_per_second = 1.0
        self.shortest = max(branch.frontend.shortest for branch in network.branches)  # type: ignore[union-attr, assignment, type-var]

    def features(self, waveforms: Tensor) -> Tensor:
        """[B, N] -> [B, 1, D]."""
        return self._voice.prints(self.middle(waveforms))[:, None]

    def middle(self, waveforms: Tensor) -> Tensor:
        """What the print hears of [B, N]: all, or at most `middle_s`."""
        surplus = 0 if self._most is None else max(0, waveforms.shape[1] - self._most)
        return waveforms[:, surplus // 2 : waveforms.shape[1] - (surplus - surplus // 2)]


class _Voice:
    """A frozen speaker network and its latest prints, by the hash of what was heard. Threads may share it."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._kept = np.empty((MOST_KEPT, network.dim), np.float32)  # one array: many small ones would cut up the heap
        self._places: OrderedDict[bytes, int] = OrderedDict()  # by age
        self._lock = threading.Lock()

    def prints(self, waveforms: Tensor) -> Tensor:
        """[B, N] -> [B, D]."""
        keys = [hashlib.blake2b(row, digest_size=16).digest() for row in waveforms.detach().cpu().numpy().copy()]
        found = np.empty((len(keys), self.network.dim), np.float32)
        new = self._recall(keys, found)
        if new:
            found[new] = self._heard(waveforms[new])
            self._keep([keys[place] for place in new], found[new])
        return torch.from_numpy(found).to(waveforms.device)

    @torch.no_grad()
    def _heard(self, waveforms: Tensor) -> NDArray[np.float32]:
        vectors = self.network.to(waveforms.device).embed(waveforms).mean
        return np.asarray(F.normalize(vectors, dim=1).cpu().numpy())

    def _recall(self, keys: list[bytes], found: NDArray[np.float32]) -> list[int]:
        """Fill in what is kept; the places of the others."""
        with self._lock:
            for place, key in enumerate(keys):
                if key in self._places:
                    found[place] = self._kept[self._places[key]]
            return [place for place, key in enumerate(keys) if key not in self._places]

    def _keep(self, keys: list[bytes], prints: NDArray[np.float32]) -> None:
        """In the place of the oldest, where all are taken."""
        with self._lock:
            for key, vector in zip(keys, prints, strict=True):
                if key not in self._places:
                    full = len(self._places) >= len(self._kept)
                    self._places[key] = self._places.popitem(last=False)[1] if full else len(self._places)
                    self._kept[self._places[key]] = vector

    def __deepcopy__(self, memo: dict[int, object]) -> _Voice:
        return self


@lru_cache(maxsize=4)
def _voice(model: str, sha256: str | None) -> _Voice:
    """The speaker network of a model folder, frozen."""
    from earwitness.core.config import parse_config
    from earwitness.nn.network import NetworkConfig  # it names this front-end among others

    folder = _folder(model)
    weights = folder / WEIGHTS
    try:
        told = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        expected, task = str(told["files"][weights.name]), told["task"]
        if task != "speaker":
            raise ModelError(f"this model answers '{task}', not 'speaker'", where=folder)
        if (found := sha256_file(weights)) != expected:
            raise ModelError("was altered: its sha256 is not the one in model.json", where=weights)
        if sha256 is not None and found != sha256:
            what = f"holds other weights (sha256 {found[:12]}...) than the head was trained on ({sha256[:12]}...)"
            raise ModelError(what, where=folder, fix="Install the version that the head came with.")
        config: NetworkConfig = parse_config(NetworkConfig, told["network"])
        network = config.build()
        network.load_state_dict({name: value.float() for name, value in load_file(weights).items()}, strict=False)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, RuntimeError) as error:
        if isinstance(error, EarwitnessError):
            raise
        raise ModelError(f"is no speaker model that can be read ({error})", where=folder) from None
    return _Voice(fold_batch_norms(network))


def _folder(model: str) -> Path:
    shipped = Path(next(iter(earwitness.models.__path__))) / model
    folder = shipped if (shipped / "model.json").is_file() else Path(model)
    if not (folder / "model.json").is_file():
        raise ModelError("there is no such speaker model", where=model, fix="Name a shipped one, or a model folder.")
    return folder
