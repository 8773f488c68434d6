"""Recordings of which is known who is in them and when: a leading voice mixed with others, in turn or at once.

    trials = plan(manifest, MixtureOptions(seed=1))            # matched target and non-target trials over a grid
    write_trials("svvad_trials.tsv", trials)
    mixed = mixed_trial(trials[0], root)                        # samples, and when which voice speaks

Test material for personal voice activity detection (after arXiv 2305.19581, whose own mixtures are not known: this is a
reconstruction), and what its training hears. When a voice speaks is for evaluation alone.
"""

from __future__ import annotations

from earwitness.corpora.mixtures.planning import MixtureOptions, plan
from earwitness.corpora.mixtures.signal import Mixture, Mode, Scene, mix
from earwitness.corpora.mixtures.trials import MixtureTrial, mixed_trial, read_trials, write_trials

__all__ = [
    "Mixture",
    "MixtureOptions",
    "MixtureTrial",
    "Mode",
    "Scene",
    "mix",
    "mixed_trial",
    "plan",
    "read_trials",
    "write_trials",
]
