"""Shipped models distilled without data, and what is left of them: `python benchmarks/data_free_shipped.py`.

`speaker-small` teaches students half as wide, `deepfake-small` one voter in the place of eight, by their published
recipes (`recipes/published/frami-*-small.yaml`) with far fewer and smaller steps (`set` in what is printed). All
students of a teacher take as many steps, and differ by what they learn from alone:

    frami        spectrograms inverted from the teacher (FRAMI-style, reconstruction)
    noise        uniform noise over the same range: the control
    recordings   the speech that the teacher learnt from: the ceiling of such a student at this budget (voices alone)
    untrained    nothing: a student as it is drawn
    other audio  music and noise of `rir_noise`: another domain (where --arms names it)

Voices are tested on speakers whom the teacher's own recipe held out: its 30 dev speakers (they chose the teacher's
epoch, and no more), its calibration side and its test side. Recordings and trials (within a corpus and, where it is
known, a sex) are those of `left_out_speaker`, but heard whole. Scores are the plain cosine (`cosine`), and the same
after AS-norm by the teacher's cohort (`as_norm`), which a student may borrow since it embeds in its teacher's space.

The shipped detector learnt from all labelled recordings that there are, so what it is tested on here is what it learnt
from, and its EER is far too good. The students' say how near they come to it, and so does `like_teacher`: the rank
correlation of their scores with its own.

EERs in % are means over seeds (`recordings` and `other audio` have one). Intervals resample speakers (of synthesis:
systems), on the same draws for all arms. Each arm of a seed is a folder in --work that is read again, so that a stopped
run goes on; other settings have other folders. `--smallest` shows that all arms run; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "left_out_speaker"))
from judging import corpus_of, groups_of, pairs_of  # noqa: E402
from material import RATE, Clip, read_clips, tested  # noqa: E402

from earwitness.audio.audible import SHORTEST_S  # noqa: E402
from earwitness.audio.perturb.base import item_rng  # noqa: E402
from earwitness.audio.reading import load  # noqa: E402
from earwitness.core.errors import DataError  # noqa: E402
from earwitness.core.hashing import sha256_text  # noqa: E402
from earwitness.core.writing import write_atomically  # noqa: E402
from earwitness.corpora.manifest import Manifest  # noqa: E402
from earwitness.corpora.readers import read_corpus  # noqa: E402
from earwitness.corpora.splits import NON_COMMERCIAL, exclude_licences  # noqa: E402
from earwitness.deepfake.detector import Detector  # noqa: E402
from earwitness.evaluation.assessing.runs import read_any_recipe  # noqa: E402
from earwitness.metrics.bootstrap import Interval, Units, bootstrap  # noqa: E402
from earwitness.metrics.trials import Trials  # noqa: E402
from earwitness.nn.network import Network  # noqa: E402
from earwitness.speaker.batched import prints_of  # noqa: E402
from earwitness.speaker.comparison import Comparator, Vectors  # noqa: E402
from earwitness.speaker.embedder import Embedder  # noqa: E402
from earwitness.speaker.identities import TRAINING_SPEAKERS, keys_in, known_among  # noqa: E402
from earwitness.speaker.recipe import SpeakerRecipe  # noqa: E402
from earwitness.training.data import SplitData, read_split  # noqa: E402
from earwitness.training.inversion import InversionRecipe, Teacher, distil, open_teacher  # noqa: E402
from earwitness.training.inversion.given import Draw, teach_given  # noqa: E402
from earwitness.training.inversion.rounds import DIVERSITY, Distilled, Judge, Round  # noqa: E402
from earwitness.training.inversion.student import save_student  # noqa: E402
from earwitness.training.loop import seed_run  # noqa: E402
from earwitness.training.model_folder import WEIGHTS, load_network, read_model_info  # noqa: E402
from earwitness.training.shipped import find_model  # noqa: E402

RECIPES = HERE.parent / "recipes"
ONCE = ("teacher", "recordings", "other audio")  # arms of a single seed, for orientation
BY_DEFAULT = ("teacher", "frami", "noise", "untrained", "recordings")
ARMS = (*BY_DEFAULT, "other audio")


@dataclass(frozen=True)
class Case:
    """A shipped teacher, the recipe of its students, and what is set in that, as `earwitness train --set` does: a few
    minutes of one core a student, not some hours. `smallest` is set after it to show that all arms run."""

    teacher: str
    recipe: str
    changes: tuple[str, ...]
    smallest: tuple[str, ...]
    arms: tuple[str, ...] = ARMS


# Nothing was chosen on tested speakers. The voices' 0.003 is the one of 0.001, 0.003 and 0.01 that taught most in 200
# steps on the teacher's own recordings; their 0.01 is a rate of synthesis that reaches the asked classes in 35 steps.
CASES = (
    Case(
        "speaker-small",
        "frami-speaker-small.yaml",
        (
            "frames=100",
            "synthesis.batch_size=32",
            "synthesis.width=16",
            "synthesis.lr=0.01",
            "synthesis.steps=35",
            "contrast.bank=320",
            "contrast.negatives=128",
            "distillation.batch_size=32",
            "optimiser.lr=0.003",
            "loop.rounds=10",
            "loop.steps=100",
            "loop.device=cpu",
        ),
        ("frames=40", "synthesis.steps=2", "loop.rounds=2", "loop.steps=2"),
    ),
    Case(
        "deepfake-small",
        "frami-deepfake-small.yaml",
        (
            "frames=48",
            "synthesis.batch_size=32",
            "synthesis.steps=60",
            "contrast.bank=256",
            "contrast.negatives=128",
            "distillation.batch_size=32",
            "loop.rounds=3",
            "loop.steps=300",
            "loop.device=cpu",
        ),
        ("frames=16", "synthesis.steps=2", "loop.rounds=2", "loop.steps=2"),
        tuple(arm for arm in ARMS if arm != "recordings"),
    ),
)
MUSIC = ("music", "noise")  # folders of rir_noise
RESAMPLES = 400
MOST_PER_SPEAKER = 5  # tested recordings, as for the recipe's own sides in `left_out_speaker`

MOST_PER_SYSTEM = 4  # recordings of one synthesiser that a detector hears; and so many of one speaker:
MOST_BONA_FIDE = 1

Heard = Mapping[str, Sequence[NDArray[Any]]]  # arm -> what each seed's model made of the tested recordings
Rates = Mapping[str, Sequence[Trials]]


@dataclass(frozen=True)
class Bench:
    """The data, where arms are kept, and what the recipe of students is set to."""

    data: Path
    work: Path
    case: Case
    smallest: bool = False

    @property
    def changes(self) -> tuple[str, ...]:
        """What is set in the recipe."""
        return (*self.case.changes, *(self.case.smallest if self.smallest else ()))

    def recipe(self, seed: int) -> InversionRecipe:
        """The students' recipe; what arms learn from is no part of it."""
        found = read_any_recipe(RECIPES / "published" / self.case.recipe, (*self.changes, f"seed={seed}"))
        assert isinstance(found, InversionRecipe)
        return found

    def sides(self) -> SplitData:
        """The sides of a speaker model's own recipe."""
        changes = (f"data.manifests=[{json.dumps(str(self.data))}]",)
        recipe = read_any_recipe(RECIPES / "default" / f"{self.case.teacher}.yaml", changes)
        assert isinstance(recipe, SpeakerRecipe)
        return read_split(recipe.data, recipe.split, "speaker")

    def folder(self, arm: str, seed: int) -> Path:
        """Of a seed's arm under these settings."""
        settings = sha256_text(self.recipe(seed).model_dump_json())[:8]
        return self.work / settings / f"{arm.replace(' ', '-')}-{seed}"


def made(bench: Bench, teacher: Teacher, arm: str, seed: int, train: Manifest | None = None) -> Path:
    """The model folder of an arm's student; taught where it is not there yet."""
    folder, recipe = bench.folder(arm, seed), bench.recipe(seed)
    if (folder / "done.json").is_file():
        return folder / "model"
    begun = time.process_time()
    figures: dict[str, float] = {}
    if arm == "frami":
        fit = folder / "fit"
        done = distil(teacher, recipe, fit, judge=_told(recipe, fit), resume=True)
        covered = json.loads((fit / DIVERSITY).read_text(encoding="utf-8"))["covered"]
        figures = {**done.rounds[-1].gauges, "classes in the pool": float(covered)}
    else:
        done = Distilled(_taught(bench, teacher, recipe, arm, train), (Round(0, {}, {}, {}),))
    save_student(folder / "model", teacher, recipe, done)
    plain = {"core_seconds": time.process_time() - begun, "figures": figures}
    write_atomically(folder / "done.json", json.dumps(plain, indent=1) + "\n")
    return folder / "model"


def _told(recipe: InversionRecipe, fit: Path) -> Judge:
    """Tells on standard error how many rounds of a distillation are over, and judges nothing."""

    def tell(_: Network) -> dict[str, float]:
        done = len(list((fit / "pool").glob("round-*")))
        print(f"  {done} of {recipe.loop.rounds} rounds", file=sys.stderr, flush=True)
        return {}

    return tell


def _taught(bench: Bench, teacher: Teacher, recipe: InversionRecipe, arm: str, train: Manifest | None) -> Network:
    if arm == "untrained":
        seed_run(recipe.seed, "init")
        network = teacher.student(recipe.student).network.eval()
        assert isinstance(network, Network)
        return network
    if arm == "noise":
        return teach_given(teacher, recipe, teacher.space.noise)
    if arm == "recordings":
        assert train is not None
        return teach_given(teacher, recipe, cuts(teacher, train, recipe.frames))
    return teach_given(teacher, recipe, cuts(teacher, music_of(bench.data), recipe.frames))


def music_of(data: Path) -> Manifest:
    """Music and noise, without the responses of rooms."""
    rows = Manifest.read(data / "rir_noise" / "manifest.csv")
    return rows.filter(pl.col("system").is_in(MUSIC))


def cuts(teacher: Teacher, rows: Manifest, frames: int) -> Draw:
    """Random cuts of the spectrograms of recordings; one that is too short for `frames` is repeated."""
    spectra = []
    for row in rows.rows():
        samples = load(rows.resolve(row), teacher.info.rate, row.channel, row.start or 0.0, row.end).samples
        with torch.no_grad():
            waveform = torch.from_numpy(samples)[None]
            parts = [branch.frontend(waveform).values[0].T for branch in teacher.tapped.branches]
        shortest = min(part.shape[1] for part in parts)
        whole = torch.cat([part[:, :shortest] for part in parts])
        spectra.append(whole.repeat(1, -(-frames // whole.shape[1])))

    def draw(size: int, length: int) -> Tensor:
        found = []
        for place in torch.randint(len(spectra), (size,)).tolist():
            start = int(torch.randint(spectra[place].shape[1] - length + 1, ()))
            found.append(spectra[place][:, start : start + length])
        return torch.stack(found).unsqueeze(1)

    return draw


def clips_of(sides: Sequence[Manifest]) -> list[Clip]:
    """The recordings that `left_out_speaker` tests of these sides, but whole, as `earwitness score` hears them."""
    found = []
    for side in sides:
        rows = {row.id: row for row in side.rows()}
        for clip in tested(read_clips(side), MOST_PER_SPEAKER):
            row = rows[clip.id]
            whole = load(side.resolve(row), RATE, row.channel, row.start or 0.0, row.end).samples
            found.append(replace(clip, samples=whole))
    return sorted(found, key=lambda clip: clip.id)


def kept(place: Path, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """What `make` gives; made once, and read again from the file `place`."""
    if not place.is_file():
        place.parent.mkdir(parents=True, exist_ok=True)
        np.save(place, make())
    found: NDArray[Any] = np.load(place, allow_pickle=False)
    return found


def prints(model: Path, clips: Sequence[Clip]) -> Vectors:
    """Voice prints [N, D] of the clips. Raises `DataError` for a clip that holds no voice."""
    found = prints_of(Embedder.load(model), (clip.samples for clip in clips))
    silent = [clip.id for clip, print_ in zip(clips, found, strict=True) if print_ is None]
    if silent:
        raise DataError(f"{len(silent)} tested recordings hold too little sound", where=silent[0])
    return np.stack([print_ for print_ in found if print_ is not None])


def judged(clips: Sequence[Clip], found: Heard, comparators: Mapping[str, Comparator]) -> Iterator[dict[str, Any]]:
    """Rows of the voices' result: one a group of trials and way to compare."""
    pairs = pairs_of(clips)
    names = np.array([clip.speaker for clip in clips])
    shown = {"all", *map(corpus_of, clips)}
    for group, rows in groups_of(clips, pairs).items():
        if group not in shown:
            continue
        target, other = np.flatnonzero(rows & pairs.same), np.flatnonzero(rows & ~pairs.same)
        places = np.concatenate([target, other])
        units = Units.pairs(names[pairs.first[places]].tolist(), names[pairs.second[places]].tolist(), "speaker")
        plain = {"group": group, "speakers": units.count, "same": len(target), "different": len(other)}
        for way, comparator in comparators.items():
            scores = {
                arm: [comparator.trials(one, pairs.first, pairs.second) for one in seeds]
                for arm, seeds in found.items()
            }
            trials = {arm: [Trials(one[target], one[other], units) for one in seeds] for arm, seeds in scores.items()}
            yield {**plain, "scores": way, "arms": rates(trials, units)}


def rates(trials: Rates, units: Units) -> dict[str, Any]:
    """By arm: the mean EER over seeds, each seed's, and how much higher it is than frami's (paired)."""
    arms = list(trials)
    against = arms.index("frami") if "frami" in trials else None

    def each(counts: NDArray[np.float64]) -> list[float]:
        found = [100 * float(np.mean([one.resample(counts).eer() for one in trials[arm]])) for arm in arms]
        return found if against is None else [*found, *(rate - found[against] for rate in found)]

    intervals = bootstrap(each, units, RESAMPLES)
    whole = np.ones(units.count)
    found: dict[str, Any] = {}
    for place, arm in enumerate(arms):
        seeds = [100 * one.resample(whole).eer() for one in trials[arm]]
        found[arm] = {"eer": _plain(intervals[place]), "seeds": seeds}
        if against not in (None, place):
            found[arm]["minus_frami"] = _plain(intervals[len(arms) + place])
    return found


def _plain(interval: Interval) -> dict[str, float]:
    return {name: asdict(interval)[name] for name in ("value", "low", "high")}


def size_of(model: Path) -> dict[str, int]:
    """Parameters, and bytes of the file of weights (a shipped model's is in half precision, a student's is not)."""
    network = load_network(model, read_model_info(model))
    parameters = sum(one.numel() for one in network.parameters())
    return {"parameters": parameters, "bytes": (model / WEIGHTS).stat().st_size}


def labelled(data: Path) -> Manifest:
    """Human and synthetic recordings under free licences, a few of each speaker and system, the same at every call."""
    manifest = exclude_licences(read_corpus("earwitness-data", data).manifest, NON_COMMERCIAL)
    table = manifest.table.with_columns(
        unit=pl.when(pl.col("label") == "spoof").then(pl.col("system")).otherwise(pl.col("speaker"))
    )
    chosen: list[str] = []
    counts: Counter[str] = Counter()
    rows = table.filter(pl.col("label").is_in(["bonafide", "spoof"])).select("id", "label", "unit", "duration_s")
    for id_, label, unit, seconds in sorted(rows.iter_rows(), key=lambda row: float(item_rng(0, 0, row[0]).random())):
        most = MOST_PER_SYSTEM if label == "spoof" else MOST_BONA_FIDE
        if unit is not None and seconds >= SHORTEST_S and counts[f"{label} {unit}"] < most:
            counts[f"{label} {unit}"] += 1
            chosen.append(id_)
    return manifest.filter(pl.col("id").is_in(chosen))


def detections(model: Path, rows: Manifest) -> NDArray[np.float64]:
    """Scores [N], higher = bona fide."""
    detector = Detector.load(model)
    return np.array([detector.score_file(rows.resolve(row), row.channel).score for row in rows.rows()])


def judged_detections(rows: Manifest, found: Heard) -> dict[str, Any]:
    """The one row of the detector's result."""
    real = (rows.table["label"] == "bonafide").to_numpy()
    human, made_by = rows.table.filter(real)["speaker"].to_list(), rows.table.filter(~real)["system"].to_list()
    units = Units.stacked(Units.of(human, "speaker"), Units.of(made_by, "system"))
    trials = {arm: [Trials(one[real], one[~real], units) for one in seeds] for arm, seeds in found.items()}
    arms = rates(trials, units)
    if "teacher" in found:
        for arm, seeds in found.items():
            arms[arm]["like_teacher"] = [float(spearmanr(one, found["teacher"][0]).statistic) for one in seeds]
    counts = {"bona_fide": int(real.sum()), "spoof": int((~real).sum())}
    size = {"speakers": len(set(human)), "systems": len(set(made_by))}
    return {"group": "what the teacher learnt from", "scores": "score", **counts, **size, "arms": arms}


def main() -> None:
    """Teach what is missing, test all, print one JSON document."""
    names = [case.teacher for case in CASES]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("runs/data-free-shipped"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--teachers", nargs="*", default=names, choices=names)
    parser.add_argument("--arms", nargs="*", default=list(BY_DEFAULT), choices=ARMS)
    parser.add_argument("--smallest", action="store_true", help="one seed and hardly any steps")
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = given.data.resolve()
    if not data.is_dir():
        raise SystemExit(str(DataError("there are no recordings", where=data, fix="Give --data.")))
    found = {}
    for case in CASES:
        if case.teacher in given.teachers:
            bench = Bench(data, given.work, case, given.smallest)
            arms = [arm for arm in given.arms if arm in case.arms]
            judge = voices if case.teacher.startswith("speaker") else detector
            found[case.teacher] = {
                "set": list(bench.changes),
                **judge(bench, arms, 1 if given.smallest else given.seeds),
            }
    print(json.dumps(found, indent=1))


def voices(bench: Bench, arms: Sequence[str], seeds: int) -> dict[str, Any]:
    """What is printed of a speaker model. Raises `DataError` where the teacher knows a tested speaker."""
    sides = bench.sides()
    embedder = Embedder.load(find_model(bench.case.teacher))
    tested_speakers = [*sides.dev.table["speaker"], *sides.test.table["speaker"]]
    known = known_among(keys_in(embedder.info.extra[TRAINING_SPEAKERS]) or (), tested_speakers)
    if known:
        raise DataError(f"the teacher learnt from {len(known)} tested speakers", where=known[0])
    clips = clips_of((sides.dev, sides.test))
    about, found = heard(bench, arms, seeds, sides.train, lambda model: prints(model, clips), _key(clips))
    rows = list(judged(clips, found, {"cosine": Comparator(), "as_norm": embedder.comparator}))
    return {"recordings": len(clips), "arms": about, "rows": rows}


def _key(clips: Sequence[Clip]) -> str:
    return " ".join(f"{clip.id} {len(clip.samples)}" for clip in clips)


def detector(bench: Bench, arms: Sequence[str], seeds: int) -> dict[str, Any]:
    """What is printed of a detector."""
    rows = labelled(bench.data)
    key = " ".join(rows.table["id"])
    about, found = heard(bench, arms, seeds, None, lambda model: detections(model, rows), key)
    return {"recordings": len(rows), "arms": about, "rows": [judged_detections(rows, found)]}


def heard(
    bench: Bench,
    arms: Sequence[str],
    seeds: int,
    train: Manifest | None,
    hear: Callable[[Path], NDArray[Any]],
    key: str,
) -> tuple[dict[str, Any], dict[str, list[NDArray[Any]]]]:
    """Of each arm what it is, and what the models of all seeds make of the tested recordings, which `key` names."""
    recipe = bench.recipe(0)
    teacher = open_teacher(recipe.teacher, recipe.input_range, recipe.statistics)
    found: dict[str, list[NDArray[Any]]] = {}
    about: dict[str, Any] = {}
    plan = [(arm, seed) for arm in arms for seed in range(1 if arm in ONCE else seeds)]
    for number, (arm, seed) in enumerate(plan, start=1):
        print(f"{bench.case.teacher} {number}/{len(plan)}: {arm}, seed {seed}", file=sys.stderr, flush=True)
        shipped = arm == "teacher"
        model = find_model(recipe.teacher) if shipped else made(bench, teacher, arm, seed, train)
        place = bench.folder(arm, seed) / f"heard-{sha256_text(key)[:8]}.npy"
        found.setdefault(arm, []).append(kept(place, partial(hear, model)))
        own = about.setdefault(arm, {**size_of(model), "runs": []})
        if not shipped:
            own["runs"].append(json.loads((model.parent / "done.json").read_text(encoding="utf-8")))
    return about, found


if __name__ == "__main__":
    main()
