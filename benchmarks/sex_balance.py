"""Do invented women help a network that learnt from few? `python benchmarks/sex_balance.py MANIFEST`: half a core-hour.

Two training sets of equally many real speakers: `balanced`, half of them women, and `few women`, one in six. Each is
learnt from as it is; with invented women, who stand between women of that set (INSIDE, arXiv 2508.19210, by WORLD);
and, as the control, with as much speech of those women themselves, made anew, which adds no identity. Two networks
learn from each: the classifier of a voice's sex, which is the paper's second experiment, and a verifier, as it is the
verifier's set that INSIDE expands. Printed are the errors on women, on men, and the gap (women less men), and the
differences between arms, with intervals over speakers, of whom women and men are drawn apart.

A seed tests one fold of the speakers and draws its sets from all others; the women of `few women` are in `balanced`
too, and the men of `balanced` in `few women`. All arms take as many steps. Nothing is chosen: the last weights count.

Everybody is heard alike, half of the time through rooms and noise. Noise around all invented speech, as elsewhere in
INSIDE's experiments, would tell the sex here, since only women are invented. That speech came from a synthesiser may
tell it too: what the control arm does is the measure of that. The verifier draws every speaker equally often, and as
much synthetic speech as its share of invented speakers. The classifier draws both sexes equally often in every arm;
synthetic speech takes the same number of draws, of the women's.

Spectra, new voices and scores are kept in --work, and an interrupted run goes on; progress is on standard error.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from earwitness.claims.inside import VoiceBatches, Voices
from earwitness.claims.invented import CONFIG, Invented, invented
from earwitness.claims.material import Sides
from earwitness.claims.speaker_learning import cosines, embedded, part, speaker_base
from earwitness.claims.speakers import SpeakerMaterial
from earwitness.claims.spectra import spectra
from earwitness.claims.views import View
from earwitness.core.config import parse_config
from earwitness.core.errors import DataError, EarwitnessError
from earwitness.core.hashing import sha256_data
from earwitness.core.writing import write_atomically
from earwitness.corpora.samplers import BalancedSampler, BatchOrder
from earwitness.corpora.splits.grouping import draw
from earwitness.metrics.bootstrap import Interval, Units, bootstrap
from earwitness.metrics.scores import Floats
from earwitness.metrics.trials import Trials
from earwitness.nn.network import Network
from earwitness.speaker.identity_expansion.classes import class_map
from earwitness.speaker.identity_expansion.pairs import Control
from earwitness.speaker.identity_expansion.sexes import SEXES, SexHead, learn_sexes
from earwitness.speaker.identity_expansion.sources import require_apart
from earwitness.speaker.recipe import SpeakerRecipe
from earwitness.speaker.training import margin_trainee
from earwitness.training.loop import fit, seed_run

Task = Literal["classify", "verify"]
TASKS: tuple[Task, ...] = get_args(Task)
MEASURES: dict[Task, str] = {"classify": "sex of a voice, error %", "verify": "verification, EER %"}
SETS = ("balanced", "few women")
PLAIN, INSIDE, ANEW = "as it is", "invented women", "women made anew"
ARMS: dict[str, Control | None] = {PLAIN: None, INSIDE: "none", ANEW: "resynthesis"}
Cell = tuple[str, str]  # a set and an arm
CELLS: tuple[Cell, ...] = tuple((which, arm) for which in SETS for arm in ARMS)
OF_A_SET = ((INSIDE, PLAIN), (ANEW, PLAIN), (INSIDE, ANEW))
COMPARED: tuple[tuple[Cell, Cell], ...] = (
    (("few women", PLAIN), ("balanced", PLAIN)),
    *(((which, arm), (which, other)) for which in SETS for arm, other in OF_A_SET),
)
FIGURES = ("women", "men", "mean", "gap")
EQUAL = "equal error"
"""Of the classifier alone: its EER, women against men, the mean over seeds. It does not depend on where the classifier
draws the line, and so tells learning to hear a sex from leaning towards it."""
VIEWS: tuple[View, ...] = ("clean", 1)
F, M = (SEXES.index(sex) for sex in ("f", "m"))
Ints = NDArray[np.int64]
Invent = Callable[["SexMaterial", int, Control, Any], Invented]


@dataclass(frozen=True)
class Sizes:
    """How much is learnt from and how long. `utterances` are of all new voices of an arm together; the classifier
    takes half of the verifier's `steps`."""

    speakers: int = 90
    few: int = 15
    identities: int = 30
    utterances: int = 90
    steps: int = 200
    batch: int = 32
    channels: int = 64
    resamples: int = 1000

    def women(self, which: str) -> int:
        """How many of the real speakers of a set."""
        return self.few if which == "few women" else self.speakers // 2

    def draws(self, task: Task) -> int:
        """Of all steps."""
        return self.batch * (self.steps if task == "verify" else self.steps // 2)

    def synthetic(self, task: Task) -> int:
        """How many of the draws, wherever there is synthetic speech."""
        return round(self.draws(task) * self.identities / (self.identities + self.speakers))


@dataclass(frozen=True)
class SexMaterial(SpeakerMaterial):
    """Recordings of speakers whose sex is known, of corpora with both. `learnt` are learnt from (None: all who are not
    tested), the tested fold is tested, and everybody else is left out."""

    learnt: frozenset[str] | None = None

    @classmethod
    def of(cls, material: SpeakerMaterial) -> SexMaterial:
        """Raises `DataError` where no corpus has both."""
        known = pl.col("sex").is_in(list(SEXES.names)).fill_null(False)
        both = pl.col("sex").filter(known).n_unique().over("stratum") == len(SEXES)
        kept = material.rows.table.select((known & both).alias("kept"))["kept"]
        if not kept.any():
            raise DataError("no corpus has women and men", where=material.source, fix="Fill the column `sex`.")
        hashes = tuple(name for name, chosen in zip(material.hashes, kept, strict=True) if chosen)
        rows = material.rows.with_table(material.rows.table.filter(kept))
        return cls(rows, hashes, material.source, material.folder)

    def sides(self, seed: int) -> Sides:
        """Of a seed; whoever is left out stands as dev, which nothing here chooses on. Raises `LeakError`."""
        tested = np.isin(np.arange(len(self.rows)), super().sides(seed).test)
        learnt = ~tested
        if self.learnt is not None:
            require_apart(self.learnt, dict.fromkeys(self.speakers[tested].tolist(), "test"))
            learnt = np.isin(self.speakers, sorted(self.learnt))
        return Sides(np.flatnonzero(learnt), np.flatnonzero(~learnt & ~tested), np.flatnonzero(tested))

    def only(self, speakers: Sequence[str]) -> SexMaterial:
        """The same, with these speakers alone to learn from."""
        return replace(self, learnt=frozenset(speakers))

    @cached_property
    def sexes(self) -> Ints:
        """Of each row, 0 f and 1 m."""
        return np.array([SEXES.index(sex) for sex in self.rows.table["sex"]])

    def learnt_of(self, sex: int, seed: int) -> list[str]:
        """Speakers of a sex who are learnt from, in the order in which the seed draws them."""
        rows = self.sides(seed).train
        names = set(self.speakers[rows][self.sexes[rows] == sex].tolist())
        return sorted(names, key=lambda name: draw(seed, name))

    def set_of(self, which: str, sizes: Sizes, seed: int) -> SexMaterial:
        """A training set. Raises `DataError` where there are too few speakers."""
        chosen: list[str] = []
        for sex, wanted in ((F, sizes.women(which)), (M, sizes.speakers - sizes.women(which))):
            names = self.learnt_of(sex, seed)
            if len(names) < wanted:
                what = f"has {len(names)} speakers of sex {SEXES.names[sex]} to learn from, {wanted} are needed"
                raise DataError(what, where=self.source, fix="Give a manifest with more speakers.")
            chosen += names[:wanted]
        return self.only(chosen)


@dataclass(frozen=True)
class Said:
    """What an arm said of everything that its seed tests: cosines of trials, or by how much a row is a man's [N]."""

    scores: Floats
    identities: int
    utterances: int


class Shares(BatchOrder):
    """The draws of several samplers in random order; each sampler's numbers stand for rows [R] of all numbers."""

    def __init__(self, parts: Sequence[tuple[BalancedSampler, Ints]]) -> None:
        super().__init__(parts[0][0].batch_size, parts[0][0].seed)
        self.parts = tuple(parts)

    @property
    def count(self) -> int:
        """Batches of a whole epoch."""
        return self._batches_of(sum(sampler.size for sampler, _ in self.parts))

    def batches(self, epoch: int) -> list[list[int]]:
        """All batches of an epoch."""
        drawn = [rows[np.concatenate(sampler.batches(epoch))] for sampler, rows in self.parts]
        return self._cut(np.random.default_rng([self.seed, epoch, 1]).permutation(np.concatenate(drawn)))


def recipe_of(task: Task, sizes: Sizes, seed: int) -> SpeakerRecipe:
    """The small network of the claims about voices; every arm takes the same number of steps in one epoch."""
    base = speaker_base({"kind": "attentive_statistics", "form": "ws"})
    base["network"]["branches"][0]["encoder"] |= {"channels": sizes.channels, "outputs": 3 * sizes.channels}
    loop = {**base["loop"], "epochs": 1, "batch_size": sizes.batch, "select": None, "accelerator": "cpu"}
    recipe: SpeakerRecipe = parse_config(
        SpeakerRecipe, {**base, "seed": seed, "draws": sizes.draws(task), "loop": loop}
    )
    return recipe


def new_voices(material: SexMaterial, seed: int, control: Control, sizes: Sizes, invent: Invent = invented) -> Invented:
    """Invented women between the women of a training set, or those women made anew: as many utterances of either."""
    women = material.learnt_of(F, seed)
    voices = min(sizes.identities, len(women)) if control == "resynthesis" else sizes.identities
    config = CONFIG.model_copy(update={"identities": voices, "utterances": sizes.utterances // voices})
    return invent(material.only(women), seed, control, config)


def batches_of(task: Task, material: SexMaterial, seed: int, new: Invented | None, sizes: Sizes) -> VoiceBatches:
    """Real and new voices of a training set, as many draws with new ones as without."""
    rows = material.sides(seed).train
    real = material.rows.with_table(material.rows.table[rows])
    identities = () if new is None else tuple(pair.new_id for pair in new.pairs if pair.is_new)
    classes = class_map(sorted(set(material.speakers[rows].tolist())), (1.0,), identities)
    own = material.sexes
    if task == "verify":
        own = np.full(len(material.rows), -1)
        own[rows] = [classes.index(name) for name in material.speakers[rows]]
    heard = tuple(material.spectra(view) for view in VIEWS)
    parts = [Voices((heard,), own, tuple(material.rows.table["id"]))]
    places = [(0, int(row)) for row in rows]
    draws, synthetic = sizes.draws(task), 0 if new is None else sizes.synthetic(task)
    sample = partial(BalancedSampler, columns=("speaker",), batch_size=sizes.batch, seed=seed)
    if task == "verify":
        shares = [(sample(real, size=draws - synthetic), np.arange(len(rows)))]
    else:
        shares = []
        for sex, size in ((F, draws // 2 - synthetic), (M, draws - draws // 2)):
            numbers = np.flatnonzero(material.sexes[rows] == sex)
            shares.append((sample(real.with_table(real.table[numbers]), size=size), numbers))
    if new is not None:
        of = {pair.new_id: classes.index(pair.new_id if pair.is_new else pair.parent_a) for pair in new.pairs}
        called = [of[name] if task == "verify" else F for name in new.rows.table["speaker"]]
        views = tuple(spectra(new.rows, new.hashes, view, new.folder) for view in VIEWS)
        parts.append(Voices((views,), np.array(called), tuple(new.rows.table["id"])))
        shares.append((sample(new.rows, size=synthetic), len(places) + np.arange(len(new.rows))))
        places += [(1, row) for row in range(len(new.rows))]
    if task == "classify":
        classes = class_map(SEXES.names)
    return VoiceBatches(tuple(parts), tuple(places), classes, Shares(shares))


def heard_by(task: Task, material: SexMaterial, seed: int, new: Invented | None, sizes: Sizes, folder: Path) -> Said:
    """Train one network on a training set and hear the tested fold, as it was recorded."""
    recipe, train = recipe_of(task, sizes, seed), batches_of(task, material, seed, new, sizes)
    tested = material.sides(seed).test
    if task == "verify":
        seed_run(seed, "init")
        trainee, goal = margin_trainee(recipe, recipe.network.build(), len(train.classes), train)
        fit(trainee, goal, train, None, recipe, folder, resume=folder.exists())
        found = embedded(_network(trainee), material.spectra(), tested)
        first, second = (np.searchsorted(tested, side) for side in material.trials(seed).T)
        scores = cosines(part(found, first), part(found, second))
    else:
        trainee = learn_sexes(recipe, train, folder, resume=folder.exists())
        found = embedded(_network(trainee), material.spectra(), tested)
        head = trainee.head
        assert isinstance(head, SexHead)
        with torch.inference_mode():
            logits = head.linear(found.mean.float()).double().numpy()
        scores = logits[:, M] - logits[:, F]
    identities = 0 if new is None else sum(pair.is_new for pair in new.pairs)
    return Said(scores, identities, 0 if new is None else len(new.rows))


def _network(trainee: torch.nn.Module) -> Network:
    network = trainee.eval().network
    assert isinstance(network, Network)
    return network


def run(
    material: SexMaterial,
    seeds: Sequence[int],
    sizes: Sizes,
    work: Path,
    said: Callable[[str], None] = lambda line: None,
    invent: Invent = invented,
) -> dict[tuple[Task, Cell], list[Said]]:
    """Every task, set and arm of every seed; what is kept in `work` is not done again."""
    key = sha256_data([material.key, {**asdict(sizes), "resamples": None}, VIEWS, torch.get_num_threads()])[:16]
    found: dict[tuple[Task, Cell], list[Said]] = {(task, cell): [] for task in TASKS for cell in CELLS}
    total, number = len(seeds) * len(found), 0
    for seed in seeds:
        for which, arm in CELLS:
            chosen, control = material.set_of(which, sizes, seed), ARMS[arm]
            for task in TASKS:
                name = f"{task}-{which}-{arm}-{seed}".replace(" ", "-")
                kept, started, number = work / f"{key}-{name}.json", time.monotonic(), number + 1
                if not kept.is_file():
                    new = None if control is None else new_voices(chosen, seed, control, sizes, invent)
                    one = heard_by(task, chosen, seed, new, sizes, work / f"{key}-{name}")
                    write_atomically(kept, json.dumps({**asdict(one), "scores": one.scores.tolist()}))
                    shutil.rmtree(work / f"{key}-{name}", ignore_errors=True)  # checkpoints: the scores are kept
                    said(f"{number} of {total}: {name}, {time.monotonic() - started:.0f} s")
                data = json.loads(kept.read_text(encoding="utf-8"))
                found[task, (which, arm)].append(Said(**{**data, "scores": np.array(data["scores"])}))
    return found


@dataclass(frozen=True)
class Tested:
    """What all seeds of a task test, one after the other: `sex` and `seed` of each [N], whether a trial is of one
    speaker (of the classifier whether a row is a man's), and the units, women and men apart."""

    task: Task
    sex: Ints
    seed: Ints
    same: NDArray[np.bool_]
    units: Units

    @classmethod
    def of(cls, task: Task, material: SexMaterial, seeds: Sequence[int]) -> Tested:
        """Trials are of one sex, so each has one."""
        if task == "verify":
            sides = [material.trials(seed) for seed in seeds]
        else:
            sides = [np.stack([rows, rows], axis=1) for rows in (material.sides(seed).test for seed in seeds)]
        rows = np.concatenate(sides)
        sex = material.sexes[rows[:, 0]]
        names = np.array(
            [f"{SEXES.names[own]} {name}" for own, name in zip(material.sexes, material.speakers, strict=True)]
        )
        units = Units.pairs(names[rows[:, 0]].tolist(), names[rows[:, 1]].tolist(), "speaker")
        women = len(set(names[rows[sex == F]].flatten()))  # their names come first
        same = material.same(rows) if task == "verify" else sex == M
        seed = np.repeat(np.arange(len(seeds)), [len(side) for side in sides])
        return cls(task, sex, seed, same, replace(units, blocks=(women, units.count - women)))

    @property
    def words(self) -> str:
        """What was tested."""
        women, men = self.units.blocks
        one = int(self.same.sum())
        what = f"{len(self.same)} recordings"
        if self.task == "verify":
            what = f"{one} trials of one speaker and {len(self.same) - one} of two of one sex"
        return f"{what}, {women} women and {men} men"

    @property
    def figures(self) -> tuple[str, ...]:
        """What `errors` gives."""
        return (*FIGURES, EQUAL) if self.task == "classify" else FIGURES

    def errors(self, scores: Floats) -> Callable[[Floats], Floats]:
        """The figures of an arm in per cent as a function of how often each unit was drawn. Errors on a sex: EER
        (interpolated; the mean over seeds), or the share of recordings that are taken for the other sex."""
        sexes = (self.sex == F, self.sex == M)
        if self.task == "verify":
            of_sexes = [self._trials(scores, own) for own in sexes]
            return lambda counts: with_gap([_eer(trials, counts) for trials in of_sexes])
        wrong, both = (scores > 0) != self.same, self._trials(scores, np.full(len(scores), True))
        return lambda counts: np.append(
            with_gap([self._share(wrong & own, own, counts) for own in sexes]), _eer(both, counts)
        )

    def _share(self, wrong: NDArray[np.bool_], of: NDArray[np.bool_], counts: Floats) -> float:
        return 100 * float(np.average(wrong, weights=self.units.weights(counts) * of))

    def _trials(self, scores: Floats, own: NDArray[np.bool_]) -> list[Trials]:
        """One a seed, of those that count."""
        found = []
        for seed in sorted(set(self.seed)):
            chosen = own & (self.seed == seed)
            same, other = np.flatnonzero(chosen & self.same), np.flatnonzero(chosen & ~self.same)
            found.append(Trials(scores[same], scores[other], self.units.take(np.concatenate([same, other]))))
        return found


def _eer(trials: Sequence[Trials], counts: Floats) -> float:
    """The mean, in per cent."""
    return 100 * float(np.mean([one.resample(counts).eer() for one in trials]))


def judge(tested: Tested, found: dict[Cell, list[Said]], resamples: int) -> dict[str, Any]:
    """Errors of every arm, differences between arms, and the relative gain in the mean of the errors on women and on
    men; all on the same resamples of the speakers."""
    errors = {cell: tested.errors(np.concatenate([one.scores for one in said])) for cell, said in found.items()}
    gainers = [(which, arm) for which, arm in errors if arm != PLAIN]

    def statistic(counts: Floats) -> list[float]:
        of = {cell: error(counts) for cell, error in errors.items()}
        differences = [of[cell] - of[other] for cell, other in COMPARED]
        gains = [[relative_gain(of[which, PLAIN], of[which, arm])] for which, arm in gainers]
        return np.concatenate([*of.values(), *differences, *gains]).tolist()  # type: ignore[no-any-return]

    figures = (_rounded(one) for one in bootstrap(statistic, tested.units, resamples))

    def told(cell: Cell) -> dict[str, Any]:
        return {"set": cell[0], "arm": cell[1]}

    def each() -> dict[str, list[float]]:
        return {name: next(figures) for name in tested.figures}

    arms = [
        {
            **told(cell),
            **each(),
            "identities": [one.identities for one in said],
            "utterances": [one.utterances for one in said],
        }
        for cell, said in found.items()
    ]
    differences = [{**told(cell), "less": told(other), **each()} for cell, other in COMPARED]
    gains = [{**told(cell), "relative gain, %": next(figures)} for cell in gainers]
    measure = MEASURES[tested.task]
    return {"measure": measure, "tested": tested.words, "arms": arms, "differences": differences, "gains": gains}


def with_gap(errors: Sequence[float]) -> Floats:
    """Errors on women and on men -> these, their mean, and women less men, as in `FIGURES`."""
    women, men = errors
    return np.array([women, men, (women + men) / 2, women - men])


def relative_gain(plain: Floats, other: Floats) -> float:
    """Of the mean, in per cent; 0 where there is no error to gain on."""
    mean = FIGURES.index("mean")
    return 100 * float(1 - other[mean] / plain[mean]) if plain[mean] > 0 else 0.0


def _rounded(found: Interval) -> list[float]:
    """Value and interval."""
    return [round(number, 3) for number in (found.value, found.low, found.high)]


def main() -> None:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/sex-balance"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=Sizes.steps, help="of the verifier; fewer for a first look")
    asked = parser.parse_args()
    sizes, seeds = replace(Sizes(), steps=asked.steps), range(1, asked.seeds + 1)
    CONFIG.synthesiser.build()  # before anything is heard: is it there?
    material = SexMaterial.of(SpeakerMaterial.read(asked.manifest, asked.work))
    found = run(material, seeds, sizes, asked.work, lambda line: print(line, file=sys.stderr, flush=True))
    settings = {**asdict(sizes), "seeds": list(seeds), "threads": torch.get_num_threads()}
    result: dict[str, Any] = {"settings": settings, "inputs": material.inputs, "licences": material.licences}
    for task in TASKS:
        of_task = {cell: found[task, cell] for cell in CELLS}
        result[task] = judge(Tested.of(task, material, seeds), of_task, sizes.resamples)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    try:
        main()
    except EarwitnessError as error:
        sys.exit(f"sex_balance: {error}")
