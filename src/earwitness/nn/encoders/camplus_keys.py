"""From the state-dict of a published CAM++ to ours and back (names of the public code of arXiv 2303.00332, 3D-Speaker).

Ours are those of a network of one branch with encoder `camplus`, and an embedding layer with batch-norm behind. That
layer is a convolution over one frame there.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from earwitness.nn.pretrained.key_map import KeyMap

_ENCODER = r"branches\.0\.encoder\."
_HEAD = _ENCODER + r"head\."
_BLOCKS = _ENCODER + r"blocks\."
_RESIDUAL = {"path.0": "conv1", "path.1": "bn1", "path.3": "conv2", "path.4": "bn2"}
_DENSE = {
    "bottleneck.0": "nonlinear1.batchnorm",
    "bottleneck.2": "linear1",
    "bottleneck.3": "nonlinear2.batchnorm",
    "local": "cam_layer.linear_local",
    "context.0": "cam_layer.linear1",
    "context.2": "cam_layer.linear2",
}
_TRANSIT = {"0": "nonlinear.batchnorm", "2": "linear"}


def _rules(layers: tuple[int, ...]) -> list[tuple[str, str]]:
    """For dense blocks of so many layers."""
    rules = []
    for ours, place in (("enter", 1), ("leave", 2)):
        rules += [(rf"{_HEAD}{ours}\.0\.(\w+)", rf"head.conv{place}.\1")]
        rules += [(rf"{_HEAD}{ours}\.1\.(\w+)", rf"head.bn{place}.\1")]
    for place in range(4):
        ours, official = rf"{_HEAD}blocks\.{place}\.", f"head.layer{1 + place // 2}.{place % 2}."
        rules += [(rf"{ours}{_literal(name)}\.(\w+)", rf"{official}{their}.\1") for name, their in _RESIDUAL.items()]
        rules.append((rf"{ours}shortcut\.(\d)\.(\w+)", rf"{official}shortcut.\1.\2"))
    rules.append((_ENCODER + r"enter\.0\.(\w+)", r"xvector.tdnn.linear.\1"))
    rules.append((_ENCODER + r"enter\.1\.(\w+)", r"xvector.tdnn.nonlinear.batchnorm.\1"))
    for block, count in enumerate(layers):
        for layer in range(count):
            ours, official = rf"{_BLOCKS}{block}\.layers\.{layer}\.", f"xvector.block{block + 1}.tdnnd{layer + 1}."
            rules += [(rf"{ours}{_literal(name)}\.(\w+)", rf"{official}{their}.\1") for name, their in _DENSE.items()]
        ours, official = rf"{_BLOCKS}{block}\.leave\.", f"xvector.transit{block + 1}."
        rules += [(rf"{ours}{name}\.(\w+)", rf"{official}{their}.\1") for name, their in _TRANSIT.items()]
    rules.append((_ENCODER + r"leave\.0\.(\w+)", r"xvector.out_nonlinear.batchnorm.\1"))
    rules.append((r"embedding\.linear\.(\w+)", r"xvector.dense.linear.\1"))
    rules.append((r"embedding\.output_norm\.(\w+)", r"xvector.dense.nonlinear.batchnorm.\1"))
    return rules


def _literal(name: str) -> str:
    return name.replace(".", r"\.")


_KEYS = KeyMap(tuple(_rules((12, 24, 16))))
_CONVOLUTION = "xvector.dense.linear.weight"


def camplus_to_ours(official: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The official tensors under the names of `ours`, the `state_dict()` of the network to fill.

    Raises `ModelError` unless every tensor of either side has its partner of the same shape.
    """
    shaped = {
        name: value.squeeze(-1) if name == _CONVOLUTION and value.ndim == 3 else value
        for name, value in official.items()
    }
    return _KEYS.to_ours(shaped, ours)


def camplus_to_official(ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors under the official names and in the official shapes."""
    named = _KEYS.to_official(ours)
    return {name: value.unsqueeze(-1) if name == _CONVOLUTION else value for name, value in named.items()}
