"""A verifier that SVVAD can read, with random weights and a cohort, and a recipe that trains in a moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from earwitness.audio.windows import Sliding
from earwitness.nn.network import NetworkConfig
from earwitness.speaker.comparison import unit
from earwitness.speaker.embedder import COHORT_FILE
from earwitness.speaker.personal_vad.recipe import PersonalVadRecipe
from earwitness.training.model_folder import CohortInfo, ModelInfo, save_model
from earwitness.training.tensors import tensor_bytes

DIM = 12


def make_verifier(folder: Path, cohort: int = 25) -> Path:
    torch.manual_seed(0)
    branch = {
        "frontend": {"kind": "fbank", "n_mels": 20},
        "encoder": {"kind": "ecapa", "channels": 16, "outputs": 24, "se_hidden": 8},
        "pooling": {"kind": "attentive_statistics", "bottleneck": 8},
    }
    config = NetworkConfig.model_validate({"branches": [branch], "embedding": {"dim": DIM}})
    others = unit(np.random.default_rng(1).standard_normal((max(1, cohort), DIM)).astype(np.float32))
    files = {COHORT_FILE: tensor_bytes({"cohort": torch.from_numpy(others)})} if cohort else {}
    info = ModelInfo(
        name="tiny-verifier",
        task="speaker",
        network=config.model_dump(mode="json"),
        windows=Sliding(length_s=1, hop_s=0.5),
        polarity="higher = same speaker",
        cohort=CohortInfo(speakers=cohort, top=5) if cohort else None,
        licence="CC0-1.0",
    )
    save_model(folder, info, config.build().eval().trainable_state(), card="# tiny\n", files=files)
    return folder


def tiny_recipe(manifest: Path, verifier: Path, **changes: Any) -> PersonalVadRecipe:
    """For a manifest with at least eight speakers: three on dev."""
    data: dict[str, Any] = {
        "name": "tiny",
        "task": "personal-vad",
        "verifier": str(verifier),
        "data": {"manifests": [str(manifest)]},
        "split": {"dev_speakers": 3},
        "network": {
            "dim": 8,
            "conformer_blocks": 1,
            "transformer_blocks": 1,
            "heads": 2,
            "kernel": 3,
            "condition": 4,
            "hidden": 8,
        },
        "mixing": {"seconds": [0.6, 0.9], "registration_s": [0.5, 0.6], "target_s": [0.5, 0.6]},
        "draws": 9,
        "dev_draws": 4,
        "optimiser": {"kind": "adamw", "lr": 0.01},
        "loop": {"epochs": 2, "batch_size": 3, "clip_norm": 5.0, "accelerator": "cpu", "log_every": 1},
    }
    return PersonalVadRecipe.model_validate({**data, **changes})
