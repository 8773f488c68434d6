"""The model folder of a personal VAD: G's weights, and a copy of the verifier that it was trained with, whole.

weights.safetensors      G and its Embedding Transform
verifier.safetensors     the frozen verifier's weights, as they were
cohort.safetensors       its cohort, where it has one: the decoys of `examine`
"""

from __future__ import annotations

from pathlib import Path

from pydantic import JsonValue

from earwitness.core.config import Config, parse_config
from earwitness.core.errors import ModelError, RecipeError
from earwitness.nn.network import Network, NetworkConfig
from earwitness.speaker.comparison import Vectors, unit
from earwitness.speaker.personal_vad.backbone import PersonalVad, PersonalVadConfig
from earwitness.speaker.personal_vad.transform import projection
from earwitness.speaker.personal_vad.verifier import FrozenVerifier
from earwitness.training.model_folder import (
    COHORT_FILE,
    DESCRIPTION,
    WEIGHTS,
    ModelInfo,
    load_arrays,
    load_network,
    load_weights,
    read_model_info,
    verify_model,
)
from earwitness.training.tensors import load_trained_state, read_tensors, restored

TASK = "personal-vad"
VERIFIER = "verifier"  # where `ModelInfo.extra` holds a `VerifierInfo`
VERIFIER_FILE = "verifier.safetensors"


class VerifierInfo(Config):
    """What a model says of its verifier: how results name it, and its network."""

    reference: str
    licence: str
    network: dict[str, JsonValue]


def read_verifier(folder: str | Path) -> tuple[FrozenVerifier, VerifierInfo, dict[str, bytes]]:
    """The verifier of a speaker model's folder, and the files that a personal VAD keeps of it.

    Raises `ModelError` for a model of another task, or whose features cannot be read.
    """
    folder = Path(folder)
    info = read_model_info(folder)
    if info.task != "speaker":
        raise ModelError(f"this model answers '{info.task}', not 'speaker'", where=folder)
    verifier = FrozenVerifier(load_network(folder, info))
    files = {VERIFIER_FILE: (folder / WEIGHTS).read_bytes()}
    if info.cohort is not None:
        files[COHORT_FILE] = (folder / COHORT_FILE).read_bytes()
    return verifier, VerifierInfo(reference=info.reference, licence=info.licence, network=info.network), files


def read_personal_vad(folder: str | Path) -> tuple[PersonalVad, FrozenVerifier, ModelInfo, Vectors | None]:
    """G, S, the description, and the cohort's unit vectors [C, E] where there is one, of a folder whose files were
    checked. Raises `ModelError`."""
    folder = Path(folder)
    info = verify_model(folder)
    if info.task != TASK:
        raise ModelError(f"this model answers '{info.task}', not '{TASK}'", where=folder)
    network: Network
    try:
        known: VerifierInfo = parse_config(VerifierInfo, info.extra.get(VERIFIER))
        network = parse_config(NetworkConfig, known.network).build()
        config: PersonalVadConfig = parse_config(PersonalVadConfig, info.network)
    except RecipeError as error:
        raise ModelError(f"its networks cannot be built: {error}", where=folder / DESCRIPTION) from None
    load_trained_state(network, restored(*read_tensors(folder / VERIFIER_FILE)), where=folder / VERIFIER_FILE)
    verifier = FrozenVerifier(network)
    vad = config.build(verifier.features_dim, projection(verifier.dim, config.condition, 0))
    load_trained_state(vad, load_weights(folder), where=folder / WEIGHTS)
    cohort = None
    if COHORT_FILE in info.files:
        cohort = unit(load_arrays(folder / COHORT_FILE)["cohort"])
    return vad.eval(), verifier, info, cohort
