"""Nes2Net's claim (arXiv 2504.05657): at an equal front-end a better back-end than simpler ones, without reduction."""

from __future__ import annotations

import torch

from earwitness.claims.learning import Learnt
from earwitness.claims.plan import Arm, Expected, Figure, Plan
from earwitness.claims.recipes import RecipeClaim, base
from earwitness.nn.macs import count_macs

FRAMES = 200  # 4 s


def cost(learnt: Learnt) -> tuple[Figure, ...]:
    """What the back-end of an arm costs for 4 s, and its weights; the front-end is the same for all."""
    back_end = learnt.network.back_end()
    macs = count_macs(back_end, torch.zeros(1, 384, FRAMES))
    weights = sum(parameter.numel() for parameter in back_end.parameters())
    return Figure("millions of multiply-accumulates for 4 s", macs / 1e6), Figure("thousands of weights", weights / 1e3)


CLAIM = RecipeClaim(
    Plan(
        name="nes2net",
        source="arXiv 2504.05657",
        statement="Nested Res2Net blocks on the full width of a speech model's frames beat simpler back-ends.",
        arms=(
            Arm("statistics", "mean and deviation over time, one linear layer"),
            Arm("aasist", "AASIST on a projection to 128 values"),
            Arm("nes2net", "Nes2Net, mean pooling"),
            Arm("nes2net-x", "Nes2Net-X, mean pooling"),
        ),
        expected=(
            Expected("nes2net", "statistics", "Nes2Net beats statistics pooling"),
            Expected("nes2net-x", "nes2net", "Nes2Net-X beats Nes2Net"),
            Expected("nes2net-x", "aasist", "Nes2Net-X beats AASIST"),
        ),
        notes=(
            "Front-end: the second hidden state of the frozen encoder of Whisper tiny.en (384 values a frame), not a "
            "fine-tuned WavLM or XLS-R (1024).",
            "AASIST with its batch-norm in front of each block in use (`pre_activation`), as its paper has it.",
        ),
    ),
    recipe=base({"encoder": {"kind": "identity"}, "pooling": {"kind": "statistics"}}),
    arms={
        "statistics": (),
        "aasist": ("network.branches.0.pooling.kind=aasist", "network.dropout=0.5"),
        "nes2net": ("network.branches.0.encoder.kind=nes2net", "network.branches.0.pooling.kind=mean"),
        "nes2net-x": ("network.branches.0.encoder.kind=nes2net_x", "network.branches.0.pooling.kind=mean"),
    },
    told=cost,
)
