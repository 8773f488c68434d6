"""From the state-dict of an official Nes2Net checkpoint to ours and back (names of arXiv 2504.05657's public code).

An official checkpoint is a plain state-dict: the back-end under `Nested_Res2Net_TDNN.`, the front-end under
`ssl_model.`. `split_official` sorts its tensors by part and refuses names that it does not know; `back_end_to_ours`
renames the back-end, complete both ways, or refuses. Neither the dilation nor ReLU against SELU can be read from the
weights: the caller states them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from earwitness.core.errors import ModelError

BACK_END = "Nested_Res2Net_TDNN."
_ENCODERS = ("ssl_model.model.model.", "ssl_model.model.")  # the first is a prefix of names under the second
_AGGREGATIONS: dict[str, tuple[str, ...]] = {
    "sea": ("ssl_model.fc_att_merge.0.weight", "ssl_model.fc_att_merge.2.weight"),
    "weighted_sum": ("ssl_model.weight_hidd",),
    "attm": (
        "ssl_model.W",
        "ssl_model.W1",
        "ssl_model.W2",
        "ssl_model.linear_proj.weight",
        "ssl_model.linear_proj.bias",
    ),
}

Source = Literal["s3prl_wavlm", "wavlm", "fairseq_wav2vec2"]
Aggregation = Literal["last", "sea", "weighted_sum", "attm"]


@dataclass(frozen=True)
class OfficialParts:
    """An official checkpoint by part, names without their prefix (`aggregation_state`: without `ssl_model.`).

    `source` says how the encoder's tensors are named: original WavLM names inside s3prl (CtrSVDD) or alone (ASVspoof
    5), or fairseq wav2vec 2.0 names (ASVspoof 2019/2021, In-the-Wild); None where the checkpoint holds the back-end
    alone.
    """

    back_end: dict[str, Tensor]
    encoder: dict[str, Tensor]
    source: Source | None
    aggregation: Aggregation
    aggregation_state: dict[str, Tensor]


def split_official(state: Mapping[str, Tensor]) -> OfficialParts:
    """Sort an official checkpoint by part.

    Raises `ModelError` for names that belong to no part, or for half an aggregation.
    """
    back_end = {key.removeprefix(BACK_END): value for key, value in state.items() if key.startswith(BACK_END)}
    if not back_end:
        raise ModelError(f"holds no tensor under '{BACK_END}'", fix="Give an official Nes2Net checkpoint.")
    aggregation, names = _aggregation_of(state)
    prefix = next((p for p in _ENCODERS if any(key.startswith(p) for key in state)), None)
    encoder = {key.removeprefix(prefix): value for key, value in state.items() if prefix and key.startswith(prefix)}
    rest = [key for key in state if not key.startswith((BACK_END, prefix or BACK_END)) and key not in names]
    if rest:
        raise ModelError(f"{len(rest)} tensor(s) belong to no known part: {_some(rest)}")
    return OfficialParts(
        back_end,
        encoder,
        _source_of(prefix, encoder),
        aggregation,
        {name.removeprefix("ssl_model."): state[name] for name in names},
    )


def back_end_to_ours(official: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The official back-end (names without prefix) under our names and in our shapes.

    `ours` is the `state_dict()` of the `BackEnd` to fill. Raises `ModelError` unless every tensor of either side has
    its partner, in the published shape.
    """
    wanted = {official_name(key): key for key in ours}
    missing = sorted(wanted.keys() - official.keys())
    unexpected = sorted(official.keys() - wanted.keys())
    if missing or unexpected:
        raise ModelError(
            f"{len(missing)} tensor(s) missing ({_some(missing)}), {len(unexpected)} unexpected ({_some(unexpected)})",
            fix="Check the variant, nes_ratio, pooling and number of logits.",
        )
    wide = any(name.endswith(".weighted_sum.0") for name in wanted)
    renamed: dict[str, Tensor] = {}
    for name, key in wanted.items():
        shape = official_shape(name, ours[key], wide=wide)
        if tuple(official[name].shape) != shape:
            raise ModelError(f"{name} has shape {tuple(official[name].shape)}, expected {shape}")
        renamed[key] = official[name].reshape(ours[key].shape)
    return renamed


def back_end_to_official(ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our `BackEnd.state_dict()` under the official names (without prefix) and in the official shapes."""
    wide = any(".mixing.weights." in key for key in ours)
    named = {official_name(key): value for key, value in ours.items()}
    return {name: value.reshape(official_shape(name, value, wide=wide)) for name, value in named.items()}


_TDNN = {"enter": ("conv1", "bn1"), "leave": ("conv3", "bn3")}


def official_name(key: str) -> str:
    """The official name (without prefix) of a key of our `BackEnd`. Raises `ModelError` for a key that is none."""
    if found := re.fullmatch(r"encoder\.blocks\.(\d+)\.(.+)", key):
        return f"Build_in_Res2Nets.{found[1]}.{_official_block_name(found[2])}"
    if found := re.fullmatch(r"encoder\.norms\.(\d+)\.(.+)", key):
        return f"bns.{found[1]}.{found[2]}"
    if found := re.fullmatch(r"encoder\.norm\.(.+)", key):
        return f"bn.{found[1]}"
    if found := re.fullmatch(r"pooling\.(reduce|expand)\.(.+)", key):
        return f"pooling.{'linear1' if found[1] == 'reduce' else 'linear2'}.{found[2]}"
    if found := re.fullmatch(r"classifier\.(.+)", key):
        return f"fc.{found[1]}"
    raise ModelError(f"'{key}' has no official counterpart", fix="Only Nes2Net with mean or astp pooling has one.")


def _official_block_name(key: str) -> str:
    if found := re.fullmatch(r"(enter|leave)\.(convolution|norm)\.(.+)", key):
        convolution, norm = _TDNN[found[1]]
        return f"{convolution if found[2] == 'convolution' else norm}.{found[3]}"
    if found := re.fullmatch(r"mixing\.steps\.(\d+)\.(convolution|norm)\.(.+)", key):
        return f"{'convs' if found[2] == 'convolution' else 'bns'}.{found[1]}.{found[3]}"
    if found := re.fullmatch(r"mixing\.weights\.(\d+)", key):
        return f"weighted_sum.{found[1]}"
    if found := re.fullmatch(r"excitation\.(squeeze|excite)\.(.+)", key):
        return f"se.se.{1 if found[1] == 'squeeze' else 3}.{found[2]}"
    raise ModelError(f"'{key}' of a block has no official counterpart")


def official_shape(name: str, ours: Tensor, *, wide: bool) -> tuple[int, ...]:
    """The published shape of a tensor.

    The X variants (`wide`) convolve in 2-D with kernel (3, 1), and their sums are 4-D.
    """
    if ".weighted_sum." in name:
        return (1, 1, 1, ours.numel())
    if wide and re.search(r"\.convs\.\d+\.weight$", name):
        return (*ours.shape[:3], 1)
    return tuple(ours.shape)


def _aggregation_of(state: Mapping[str, Tensor]) -> tuple[Aggregation, tuple[str, ...]]:
    """Which layer aggregation the checkpoint holds, and the names of its tensors."""
    for kind, names in _AGGREGATIONS.items():
        held = [name for name in names if name in state]
        if held and len(held) < len(names):
            raise ModelError(f"layer aggregation '{kind}' is incomplete: only {_some(held)}")
        if held:
            return kind, names  # type: ignore[return-value]
    return "last", ()


def _source_of(prefix: str | None, encoder: Iterable[str]) -> Source | None:
    """WavLM carries gated relative positions, which wav2vec 2.0 does not have."""
    if prefix is None:
        return None
    if prefix == _ENCODERS[0]:
        return "s3prl_wavlm"
    return (
        "wavlm"
        if any("grep_linear" in key or "relative_attention_bias" in key for key in encoder)
        else "fairseq_wav2vec2"
    )


def _some(names: Iterable[str]) -> str:
    """The first few names, for an error message."""
    names = list(names)
    return "none" if not names else ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
