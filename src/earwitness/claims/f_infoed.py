"""f-InfoED's claim (arXiv 2504.10819, rebuilt): telling by a latent's entropy generalises better than by features."""

from __future__ import annotations

from earwitness.claims.learning import Learnt
from earwitness.claims.plan import Arm, Expected, Figure, Plan
from earwitness.claims.recipes import RecipeClaim, base

ENCODER = "network.branches.0.encoder"


def told_of_latents(learnt: Learnt) -> tuple[Figure, ...]:
    """Of either class on dev: H/D in nats per dimension, KL in nats a frame, and the squared error."""
    words = {"bonafide": "bona fide", "spoof": "spoof"}
    metrics = learnt.result.metrics
    return tuple(
        Figure(f"{name} {words[label]}", metrics[f"{part} {label}"])
        for part, name in (("entropy", "H/D"), ("kl", "KL"), ("error", "error"))
        for label in words
    )


CLAIM = RecipeClaim(
    Plan(
        name="f-infoed",
        source="arXiv 2504.10819, a reconstruction",
        statement="The entropy of a latent, frame by frame, tells unseen synthesis better than the frames do.",
        arms=(
            Arm("frames", "the same classifier on the frames themselves"),
            Arm("mean", "on the latent's mean"),
            Arm("entropy", "on the entropy of each dimension, with the classification's gradient"),
            Arm("entropy-detached", "the same; the latent learns reconstruction and compression alone"),
            Arm("scalar", "on the mean entropy of a frame, with the gradient"),
            Arm("scalar-detached", "the same; the latent learns reconstruction and compression alone"),
            Arm("beta-0", "`entropy` without compression"),
            Arm("beta-1e-4", "`entropy` with a tenth of the compression"),
            Arm("beta-1e-2", "`entropy` with ten times the compression"),
            Arm("no-reconstruction", "`entropy` without reconstruction"),
        ),
        expected=(
            Expected("entropy", "frames", "the entropy tells better than the frames"),
            Expected("entropy", "mean", "the entropy tells better than the mean"),
            Expected("entropy-detached", "frames", "an entropy not trained to tell does so better than the frames"),
            Expected("entropy", "beta-0", "compression helps"),
            Expected("entropy", "no-reconstruction", "reconstruction helps"),
        ),
        notes=(
            "A reconstruction: only the abstract and a quoted objective of the paper were found.",
            "Front-end: the second hidden state of the frozen encoder of Whisper tiny.en (384 values a frame), not "
            "adapted WavLM-Large. The paper's other claim, that adapters help, needs the encoder in every step and is "
            "not run; `recipes/published/f-infoed-wavlm-large.yaml` trains them.",
            "H/D in nats per dimension, KL in nats a frame, on dev: no probabilities, comparable within one arm only.",
        ),
    ),
    recipe=base(
        {
            "encoder": {"kind": "latent_entropy"},
            "pooling": {
                "kind": "attentive_statistics",
                "bottleneck": 64,
                "global_context": False,
                "per_channel": False,
            },
        },
        loss={"kind": "latent_entropy", "class_weights": None, "beta": 1e-3},
    ),
    arms={
        "frames": (f"{ENCODER}.reads=input",),
        "mean": (f"{ENCODER}.reads=mean",),
        "entropy": (),
        "entropy-detached": (f"{ENCODER}.entropy_grad=false",),
        "scalar": (f"{ENCODER}.entropy=scalar",),
        "scalar-detached": (f"{ENCODER}.entropy=scalar", f"{ENCODER}.entropy_grad=false"),
        "beta-0": ("loss.beta=0",),
        "beta-1e-4": ("loss.beta=0.0001",),
        "beta-1e-2": ("loss.beta=0.01",),
        "no-reconstruction": ("loss.lambda_rec=0",),
    },
    told=told_of_latents,
)
