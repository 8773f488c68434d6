"""FRAMI's claim (arXiv 2303.07643, rebuilt): spectrograms that are synthesised from a teacher alone teach a student to
name real sounds, the better the more of the teacher they are held to, and hidden states teach it more.

A teacher learns spoken digits; its students are tested on speakers whom neither heard. All students take as many steps.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from earwitness.audio.reading import load
from earwitness.claims.digits import DigitMaterial
from earwitness.claims.plan import Arm, ArmRun, Expected, Figure, Plan
from earwitness.core.config import parse_config
from earwitness.corpora.manifest import Manifest
from earwitness.evaluation.assessing.sounds import answers
from earwitness.nn.network import Network
from earwitness.training.inversion import InversionRecipe, Teacher, distil, open_teacher
from earwitness.training.inversion.given import Draw, teach_given
from earwitness.training.inversion.rounds import DIVERSITY, Distilled
from earwitness.training.sound_classes import SoundClassifier, SoundClassRecipe, train_sound_classes

FRONTEND = {"kind": "log_mel", "n_mels": 64}
LEAST = 16_000  # samples of a given recording, repeated where it is shorter
TEACHER: dict[str, Any] = {
    "name": "claim",
    "task": "sound-class",
    "column": "transcript",
    "audio": {"crop_s": 0.5, "trim_silence": False},
    "perturbations": [
        {"kind": "speed", "factors": [0.8, 0.9, 1.0, 1.1, 1.25]},
        {"kind": "coloured_noise", "snr_db": [10.0, 30.0], "p": 0.5},
        {"kind": "gain", "gain_db": [-12.0, 6.0]},
    ],
    "network": {
        "branches": [
            {
                "frontend": FRONTEND,
                "encoder": {"kind": "conv2d", "widths": [16, 32, 48, 64], "strides": [2, 2, 2, 1]},
                "pooling": {"kind": "statistics"},
            }
        ]
    },
    "optimiser": {"kind": "adamw", "lr": 0.003, "weight_decay": 0.01},
    "schedule": {"kind": "warmup_cosine", "warmup": 0.05},
    "loop": {"epochs": 100, "batch_size": 32},
    "windows": {"kind": "tile", "length_s": 0.5},
}
STUDENT: dict[str, Any] = {
    "task": "inversion",
    "name": "claim",
    "teacher": "the seed's own",
    "student": {
        "branches": [
            {
                "frontend": FRONTEND,
                "encoder": {"kind": "conv2d", "widths": [8, 12, 16, 24], "strides": [2, 2, 2, 1]},
                "pooling": {"kind": "statistics"},
            }
        ]
    },
    "frames": 48,
    "synthesis": {"kind": "generator", "batch_size": 48, "steps": 40, "lr": 0.01, "width": 16},
    "contrast": {"bank": 1920, "negatives": 192, "head": 128},
    "distillation": {"batch_size": 48},
    "optimiser": {"kind": "adam", "lr": 0.005},
    "schedule": {"kind": "cosine", "per": "step"},
    "loop": {"rounds": 8, "steps": 60, "log_every": 1000},
}
PLAIN = {"pre": 0.0, "post": 0.0}
INVERTED: Mapping[str, dict[str, Any]] = {
    "one-hot": {"weights": {"bn": 0.0, "oh": 1.0, "adv": 0.0, "cr": 0.0}, "distillation": PLAIN},
    "batch-norm": {"weights": {"bn": 1.0, "oh": 1.0, "adv": 0.0, "cr": 0.0}, "distillation": PLAIN},
    "deepinversion": {
        "weights": {"bn": 10.0, "oh": 1.0, "adv": 1.0, "cr": 0.0, "tv": 1e-3, "divergence": "js"},
        "synthesis": {"kind": "inputs", "batch_size": 48, "steps": 100},
        "distillation": PLAIN,
        "durations": [1.0],
    },
    "cmi": {"distillation": PLAIN},
    "full": {},
}
"""What each arm that inverts sets in `STUDENT`: a dictionary is put over the one that is there, but for `synthesis`."""
PLAN = Plan(
    name="frami",
    source="arXiv 2303.07643, a reconstruction",
    statement="A student learns to name real sounds from its teacher alone, the better with its hidden states.",
    arms=(
        Arm("teacher", "the teacher itself, which learnt from recordings"),
        Arm("recordings", "a student taught by it on the recordings that it learnt from"),
        Arm("noise", "the same on uniform noise"),
        Arm("other-speech", "the same on German sentences"),
        Arm("one-hot", "on spectrograms inverted by the one-hot loss alone, no hidden states"),
        Arm("batch-norm", "by batch-norm and one-hot, no hidden states"),
        Arm("deepinversion", "DeepInversion: the inputs themselves are optimised"),
        Arm("cmi", "CMI: batch-norm, one-hot, adversarial and contrastive loss, no hidden states"),
        Arm("full", "all terms, and hidden states before and after the pooling (FRAMI-style)"),
    ),
    expected=(
        Expected("full", "cmi", "hidden states help"),
        Expected("full", "deepinversion", "all terms beat DeepInversion"),
        Expected("full", "noise", "inverted spectrograms teach more than noise"),
        Expected("full", "other-speech", "inverted spectrograms teach more than recordings of something else"),
        Expected("batch-norm", "one-hot", "batch-norm's statistics help"),
        Expected("cmi", "batch-norm", "adversarial and contrastive loss help"),
        Expected("recordings", "full", "the teacher's recordings teach more"),
    ),
    notes=(
        "A reconstruction: of the paper only abstract, opening and a figure's title could be read.",
        "Spoken digits, ten classes: by chance 90 % are wrong. Two of six speakers are tested, the others taught the "
        "teacher (200 recordings, at five speeds). Six speakers make wide intervals. No arm chooses anything; speeds "
        "and epochs of the teacher were chosen once, by leaving out in turn the speakers that seed 1 learns from.",
        "Teacher: four convolutions of 16 to 64 channels; student: of 8 to 24. Students of recordings, noise and "
        "German sentences learn hidden states too.",
        "Of inverted spectrograms: L_bn and the teacher's confidence in the last batch, how many classes the teacher "
        "names in all of them, and the mean cosine distance of its features within a class.",
    ),
)


@dataclass(frozen=True)
class FramiClaim:
    """A teacher is trained for the first arm of a seed, and held for the others."""

    plan: Plan
    teacher: dict[str, Any]
    student: dict[str, Any]
    _held: dict[tuple[int, str], Teacher] = field(default_factory=dict, init=False, compare=False, repr=False)

    read = DigitMaterial.read

    def run(self, arm: str, seed: int, material: DigitMaterial, folder: Path) -> ArmRun:
        """Teach the arm's student, and tell for each test recording whether it is named rightly."""
        teacher = self._teacher(seed, material, folder / "teacher")
        network, figures = self._student(arm, seed, teacher, material, folder / "student")
        classifier = SoundClassifier(network, teacher.info)
        return ArmRun(answers(classifier, material.part(material.test(seed))).right, figures)

    def _teacher(self, seed: int, material: DigitMaterial, folder: Path) -> Teacher:
        key = (seed, material.key)
        if key not in self._held:
            rows = folder / "digits.csv"
            material.rows.write(rows)
            held = sorted(set(material.part(material.test(seed)).table["speaker"]))
            own = {
                "seed": seed,
                "data": {"manifests": [str(rows)]},
                "split": {"kind": "given_folds", "column": "speaker", "test": held},
            }
            recipe: SoundClassRecipe = parse_config(SoundClassRecipe, {**self.teacher, **own})
            self._held[key] = open_teacher(train_sound_classes(recipe, folder / "run", resume=True))
        return self._held[key]

    def _student(
        self, arm: str, seed: int, teacher: Teacher, material: DigitMaterial, folder: Path
    ) -> tuple[Network, tuple[Figure, ...]]:
        recipe: InversionRecipe = parse_config(
            InversionRecipe, _over(self.student, {**INVERTED.get(arm, {}), "seed": seed})
        )
        network = teacher.tapped.network
        assert isinstance(network, Network)
        if arm == "teacher":
            return network, ()
        if arm in INVERTED:
            done = distil(teacher, recipe, folder, resume=folder.exists())
            return done.student, _figures(folder, done)
        if arm == "noise":
            return teach_given(teacher, recipe, teacher.space.noise), ()
        rows = material.part(material.train(seed)) if arm == "recordings" else material.other
        return teach_given(teacher, recipe, _cuts(teacher, rows)), ()


def _over(data: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes put over plain data; another synthesis takes the place of the one that is there."""
    plain = dict(data)
    for name, value in changes.items():
        merged = isinstance(value, dict) and name != "synthesis"
        plain[name] = {**plain.get(name, {}), **value} if merged else value
    return plain


def _cuts(teacher: Teacher, rows: Manifest) -> Draw:
    """Random cuts of the spectrograms of recordings."""
    frontend = teacher.tapped.branches[0].frontend
    spectra = []
    for row in rows.rows():
        samples = load(rows.resolve(row), teacher.info.rate, row.channel, row.start or 0.0, row.end).samples
        repeated = torch.from_numpy(np.resize(samples, max(len(samples), LEAST)))
        with torch.no_grad():
            spectra.append(frontend(repeated[None]).values[0].T)

    def drawn(size: int, frames: int) -> Tensor:
        cuts = []
        for place in torch.randint(len(spectra), (size,)).tolist():
            start = int(torch.randint(spectra[place].shape[1] - frames + 1, ()))
            cuts.append(spectra[place][:, start : start + frames])
        return torch.stack(cuts).unsqueeze(1)

    return drawn


def _figures(folder: Path, done: Distilled) -> tuple[Figure, ...]:
    """Of the synthetic spectrograms, as their teacher hears them."""
    found, last = json.loads((folder / DIVERSITY).read_text(encoding="utf-8")), done.rounds[-1].gauges
    figures = (
        Figure("L_bn", last["bn"]),
        Figure("confidence", last["confidence"]),
        Figure("classes in the pool", found["covered"]),
    )
    distance = found["distance"]
    return figures if distance is None else (*figures, Figure("distance within a class", distance))


CLAIM = FramiClaim(PLAN, TEACHER, STUDENT)
