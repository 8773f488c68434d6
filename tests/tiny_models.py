"""Model folders that are made in a moment: spectral networks with random weights and a made-up calibration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from earwitness.audio.windows import Sliding
from earwitness.nn.network import NetworkConfig
from earwitness.speaker.comparison import unit
from earwitness.speaker.embedder import COHORT_FILE
from earwitness.training.calibration import Calibration, ConditionCalibration
from earwitness.training.model_folder import CohortInfo, ModelInfo, save_model
from earwitness.training.tensors import tensor_bytes

BRANCH: dict[str, Any] = {"frontend": {"kind": "log_mel", "n_mels": 20}, "pooling": {"kind": "statistics"}}
CLEAN = ConditionCalibration(condition="clean", scale=2, offset=-1, low=-3, high=4, positives=30, negatives=40)
CALIBRATION = Calibration(fitted_on="nothing: made up", conditions=(CLEAN,))
DIM = 8


def make_detector(folder: Path, seed: int = 0) -> Path:
    config = NetworkConfig.model_validate({"branches": [BRANCH], "outputs": 2})
    info = ModelInfo(
        name=f"tiny-detector-{seed}",
        task="deepfake",
        network=config.model_dump(mode="json"),
        windows=Sliding(length_s=1, hop_s=0.5),
        polarity="higher = bona fide",
        calibration=CALIBRATION,
        licence="Apache-2.0",
    )
    return _save(folder, info, config, seed, {})


def make_latent_detector(folder: Path, seed: int = 0) -> Path:
    """One that classifies by a latent entropy, whose log-variances differ from frame to frame."""
    branch = {**BRANCH, "encoder": {"kind": "latent_entropy", "latent": 4, "hidden": 8, "outputs": 8}}
    config = NetworkConfig.model_validate({"branches": [branch], "outputs": 2})
    info = ModelInfo(
        name=f"tiny-latent-{seed}",
        task="deepfake",
        network=config.model_dump(mode="json"),
        windows=Sliding(length_s=1, hop_s=0.5),
        polarity="higher = bona fide",
        calibration=CALIBRATION,
        licence="Apache-2.0",
    )
    torch.manual_seed(seed)
    network = config.build()
    torch.nn.init.normal_(network.branches[0].encoder.log_variance.weight)  # type: ignore[union-attr, arg-type]
    save_model(folder, info, network.trainable_state(), card="# tiny\n")
    return folder


def make_embedder(folder: Path, seed: int = 0, cohort: bool = True) -> Path:
    config = NetworkConfig.model_validate({"branches": [BRANCH], "embedding": {"dim": DIM}})
    info = ModelInfo(
        name=f"tiny-embedder-{seed}",
        task="speaker",
        network=config.model_dump(mode="json"),
        windows=Sliding(length_s=1, hop_s=0.5),
        polarity="higher = same speaker",
        calibration=CALIBRATION,
        cohort=CohortInfo(speakers=20, top=5) if cohort else None,
        licence="Apache-2.0",
    )
    others = unit(np.random.default_rng(1).standard_normal((20, DIM)).astype(np.float32))
    files = {COHORT_FILE: tensor_bytes({"cohort": torch.from_numpy(others)})} if cohort else {}
    return _save(folder, info, config, seed, files)


def _save(folder: Path, info: ModelInfo, config: NetworkConfig, seed: int, files: dict[str, bytes]) -> Path:
    torch.manual_seed(seed)
    network = config.build()
    save_model(folder, info, network.trainable_state(), card="# tiny\n", files=files)
    return folder
