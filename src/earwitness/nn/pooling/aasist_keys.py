"""From the state-dict of an official AASIST to ours and back (names of arXiv 2110.01200's public code).

Ours are those of a network of one branch with front-end `sinc`, pooling `aasist_raw` and a linear classifier. The
filter bank is fixed and stands in neither.
"""

from __future__ import annotations

from earwitness.nn.pretrained.key_map import KeyMap

_BRANCH = r"branches\.0\.pooling\."
_GRAPHS = _BRANCH + r"graphs\."
_BLOCK = _BRANCH + r"blocks\."


def _block_rules() -> list[tuple[str, str]]:
    """Blocks stand at even places of our sequence, maxima between."""
    parts = {"norm1": "bn1", "conv1": "conv1", "norm2": "bn2", "conv2": "conv2", "shortcut": "conv_downsample"}
    return [
        (rf"{_BLOCK}{2 * place}\.{ours}\.(\w+)", rf"encoder.{place}.0.{official}.\1")
        for place in range(9)
        for ours, official in parts.items()
    ]


def _graph_rules() -> list[tuple[str, str]]:
    linear = {"relation": "att_proj", "attended": "proj_with_att", "own": "proj_without_att", "norm": "bn"}
    rules = []
    for ours, official in (("spectral", "GAT_layer_S"), ("temporal", "GAT_layer_T")):
        rules.append((rf"{_GRAPHS}{ours}\.score", f"{official}.att_weight"))
        rules += [(rf"{_GRAPHS}{ours}\.{name}\.(\w+)", rf"{official}.{theirs}.\1") for name, theirs in linear.items()]
    return rules


def _branch_rules() -> list[tuple[str, str]]:
    linear = {
        "enter_temporal": "proj_type1",
        "enter_spectral": "proj_type2",
        "relation": "att_proj",
        "relation_master": "att_projM",
        "attended": "proj_with_att",
        "own": "proj_without_att",
        "attended_master": "proj_with_attM",
        "own_master": "proj_without_attM",
        "norm": "bn",
    }
    scores = {"temporal": "11", "spectral": "22", "across": "12", "master": "M"}
    rules = []
    for branch in (0, 1):
        ours = rf"{_GRAPHS}branches\.{branch}\."
        rules.append((f"{ours}master", f"master{branch + 1}"))
        for layer, number in (("first", "1"), ("second", "2")):
            official = f"HtrgGAT_layer_ST{branch + 1}{number}"
            rules += [(rf"{ours}{layer}\.score_{kind}", f"{official}.att_weight{w}") for kind, w in scores.items()]
            rules += [(rf"{ours}{layer}\.{n}\.(\w+)", rf"{official}.{theirs}.\1") for n, theirs in linear.items()]
        for kind, letter in (("temporal", "T"), ("spectral", "S")):
            rules.append((rf"{ours}pool_{kind}\.gate\.(\w+)", rf"pool_h{letter}{branch + 1}.proj.\1"))
    return rules


AASIST_KEYS = KeyMap(
    (
        (_BRANCH + r"norm\.(\w+)", r"first_bn.\1"),
        *_block_rules(),
        (_GRAPHS + "position", "pos_S"),
        *_graph_rules(),
        (_GRAPHS + r"pool_spectral\.gate\.(\w+)", r"pool_S.proj.\1"),
        (_GRAPHS + r"pool_temporal\.gate\.(\w+)", r"pool_T.proj.\1"),
        *_branch_rules(),
        (r"classifier\.(\w+)", r"out_layer.\1"),
    )
)
