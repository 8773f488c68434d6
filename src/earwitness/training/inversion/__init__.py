"""FRAMI-style data-free knowledge distillation (reconstruction), arXiv 2303.07643: a student learns from spectrograms
that are synthesised from its teacher alone.

Only the abstract, the opening of the introduction and a figure's title of the paper could be read. Known from it: the
goal, contrastive inversion that is invariant in features, and hidden states before and after statistics pooling as
further targets. Everything else is its published predecessor, contrastive model inversion (CMI, arXiv 2105.08584), with
the batch-norm loss of DeepInversion (arXiv 1912.08795), carried to audio by us.

    teacher, student -> Tapped                 spectrogram -> logits, frames before pooling, vector after it
    Synthesis            a generator, or the inputs themselves, driven by LossWeights   -> a batch of spectrograms
    Distiller            the student on the pool of all batches so far
    distil               the rounds of both, resumable; `earwitness train` with `task: inversion`

Nothing here reads a recording: real data only judge a student, from `evaluation`.
"""

from earwitness.training.inversion.recipe import InversionRecipe
from earwitness.training.inversion.rounds import distil
from earwitness.training.inversion.tapped import Outputs, Tapped
from earwitness.training.inversion.teacher import Teacher, open_teacher

__all__ = ["InversionRecipe", "Outputs", "Tapped", "Teacher", "distil", "open_teacher"]
