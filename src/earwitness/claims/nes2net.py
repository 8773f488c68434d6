"""Nes2Net's claim (arXiv 2504.05657): at an equal front-end a better back-end than simpler ones, without reduction."""

from __future__ import annotations

from earwitness.claims.plan import Arm, Expected, Plan
from earwitness.claims.recipes import RecipeClaim, base

CLAIM = RecipeClaim(
    Plan(
        name="nes2net",
        source="arXiv 2504.05657",
        statement="Nested Res2Net blocks on the full width of a speech model's frames beat simpler back-ends.",
        arms=(
            Arm("statistics", "mean and deviation over time, one linear layer"),
            Arm("nes2net", "Nes2Net, mean pooling"),
            Arm("nes2net-x", "Nes2Net-X, mean pooling"),
        ),
        expected=(
            Expected("nes2net", "statistics", "Nes2Net beats statistics pooling"),
            Expected("nes2net-x", "nes2net", "Nes2Net-X beats Nes2Net"),
        ),
        notes=(
            "Front-end: the second hidden state of the frozen encoder of Whisper tiny.en (384 values a frame), not a "
            "fine-tuned WavLM or XLS-R (1024).",
        ),
    ),
    recipe=base({"encoder": {"kind": "identity"}, "pooling": {"kind": "statistics"}}),
    arms={
        "statistics": (),
        "nes2net": ("network.branches.0.encoder.kind=nes2net", "network.branches.0.pooling.kind=mean"),
        "nes2net-x": ("network.branches.0.encoder.kind=nes2net_x", "network.branches.0.pooling.kind=mean"),
    },
)
