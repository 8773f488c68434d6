"""A shipped voice model distilled without data, and what is left of it: `python benchmarks/data_free_shipped.py`.

`speaker-small` teaches students half as wide (`recipes/published/frami-speaker-small.yaml`, by far fewer and smaller
steps: `BUDGET`). All of them take as many steps, and differ by what they learn from alone:

    frami        spectrograms inverted from the teacher (FRAMI-style, reconstruction)
    noise        uniform noise over the same range: the control
    other audio  music and noise of `rir_noise`: another domain
    recordings   the speech that the teacher learnt from: the ceiling of such a student at this budget
    untrained    nothing: a student as it is drawn

Then all are tested on speakers whom the teacher's own recipe held out: its 30 dev speakers (they chose the teacher's
epoch, and no more), its calibration side and its test side. Recordings and trials (within a corpus and, where it is
known, a sex) are those of `left_out_speaker`, but heard whole.
EERs in % are means over seeds, of the plain cosine (`cosine`) and after AS-norm by the teacher's cohort (`as_norm`),
which a student may borrow since it embeds in its teacher's space. Intervals resample speakers, on the same draws for
all arms. Each arm of a seed is a folder in --work that is read again, so that a stopped run goes on; a run of other
settings has other folders. `--smallest` shows that all arms run; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "left_out_speaker"))
from judging import Pairs, corpus_of, groups_of, pairs_of  # noqa: E402
from material import RATE, Clip, read_clips, tested  # noqa: E402

from earwitness.audio.reading import load  # noqa: E402
from earwitness.core.errors import DataError  # noqa: E402
from earwitness.core.hashing import sha256_text  # noqa: E402
from earwitness.core.writing import write_atomically  # noqa: E402
from earwitness.corpora.manifest import Manifest  # noqa: E402
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
from earwitness.training.inversion.rounds import DIVERSITY, Distilled, Round  # noqa: E402
from earwitness.training.inversion.student import save_student  # noqa: E402
from earwitness.training.loop import seed_run  # noqa: E402
from earwitness.training.model_folder import WEIGHTS  # noqa: E402
from earwitness.training.shipped import find_model  # noqa: E402

RECIPES = HERE.parent / "recipes"
RECIPE = RECIPES / "published" / "frami-speaker-small.yaml"
ARMS = ("teacher", "frami", "noise", "other audio", "recordings", "untrained")
BUDGET = (
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
)
"""What is set in the recipe, as `earwitness train --set` does: a few minutes of one core a student, not some hours. The
students' rate is the one of 0.001, 0.003 and 0.01 that taught most in 200 steps on the teacher's own recordings; the
rate of the synthesis is one that reaches the asked classes in 35 steps. Nothing was chosen on tested speakers."""
SMALLEST = (*BUDGET, "frames=40", "synthesis.steps=2", "loop.rounds=2", "loop.steps=2")
MUSIC = ("music", "noise")  # folders of rir_noise
RESAMPLES = 400
MOST_PER_SPEAKER = 5  # tested recordings, as for the recipe's own sides in `left_out_speaker`

Prints = Mapping[str, Sequence[Vectors]]  # arm -> voice prints [N, D] of the tested clips, a seed each


@dataclass(frozen=True)
class Bench:
    """The data, where arms are kept, and what the recipe of students is set to."""

    data: Path
    work: Path
    changes: tuple[str, ...] = BUDGET

    def recipe(self, seed: int) -> InversionRecipe:
        """The students' recipe; what arms learn from is no part of it."""
        found = read_any_recipe(RECIPE, (*self.changes, f"seed={seed}"))
        assert isinstance(found, InversionRecipe)
        return found

    def sides(self) -> SplitData:
        """The sides of the teacher's own recipe."""
        changes = (f"data.manifests=[{json.dumps(str(self.data))}]",)
        recipe = read_any_recipe(RECIPES / "default" / f"{self.recipe(0).teacher}.yaml", changes)
        assert isinstance(recipe, SpeakerRecipe)
        return read_split(recipe.data, recipe.split, "speaker")

    def folder(self, arm: str, seed: int) -> Path:
        """Of a seed's arm under these settings."""
        settings = sha256_text(self.recipe(seed).model_dump_json())[:8]
        return self.work / settings / f"{arm.replace(' ', '-')}-{seed}"


def made(bench: Bench, teacher: Teacher, arm: str, seed: int, train: Manifest) -> Path:
    """The model folder of an arm's student; taught where it is not there yet."""
    folder, recipe = bench.folder(arm, seed), bench.recipe(seed)
    if (folder / "done.json").is_file():
        return folder / "model"
    begun = time.process_time()
    figures: dict[str, float] = {}
    if arm == "frami":
        done = distil(teacher, recipe, folder / "fit", judge=_told(recipe), resume=True)
        covered = json.loads((folder / "fit" / DIVERSITY).read_text(encoding="utf-8"))["covered"]
        figures = {**done.rounds[-1].gauges, "classes in the pool": float(covered)}
    else:
        done = Distilled(_taught(bench, teacher, recipe, arm, train), (Round(0, {}, {}, {}),))
    save_student(folder / "model", teacher, recipe, done)
    plain = {"core_seconds": time.process_time() - begun, "figures": figures}
    write_atomically(folder / "done.json", json.dumps(plain, indent=1) + "\n")
    return folder / "model"


def _told(recipe: InversionRecipe) -> Any:
    """Tells on standard error how many rounds of a distillation are over, and judges nothing."""
    rounds = iter(range(recipe.loop.rounds))

    def tell(_: Network) -> dict[str, float]:
        print(f"  {next(rounds) + 1} of {recipe.loop.rounds} rounds", file=sys.stderr, flush=True)
        return {}

    return tell


def _taught(bench: Bench, teacher: Teacher, recipe: InversionRecipe, arm: str, train: Manifest) -> Network:
    if arm == "untrained":
        seed_run(recipe.seed, "init")
        network = teacher.student(recipe.student).network.eval()
        assert isinstance(network, Network)
        return network
    if arm == "noise":
        return teach_given(teacher, recipe, teacher.space.noise)
    rows = train if arm == "recordings" else music_of(bench.data)
    return teach_given(teacher, recipe, cuts(teacher, rows, recipe.frames))


def music_of(data: Path) -> Manifest:
    """Music and noise, without the responses of rooms."""
    rows = Manifest.read(data / "rir_noise" / "manifest.csv")
    return rows.filter(pl.col("system").is_in(MUSIC))


def cuts(teacher: Teacher, rows: Manifest, frames: int) -> Draw:
    """Random cuts of the spectrograms of recordings; one that is too short for `frames` is repeated."""
    frontend = teacher.tapped.branches[0].frontend
    spectra = []
    for row in rows.rows():
        samples = load(rows.resolve(row), teacher.info.rate, row.channel, row.start or 0.0, row.end).samples
        with torch.no_grad():
            whole = frontend(torch.from_numpy(samples)[None]).values[0].T
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


def prints(bench: Bench, model: Path, arm: str, seed: int, clips: Sequence[Clip]) -> Vectors:
    """Voice prints [N, D] of the clips; kept beside the model. Raises `DataError` for a clip that holds no voice."""
    heard = sha256_text(" ".join(f"{clip.id} {len(clip.samples)}" for clip in clips))[:8]
    kept = bench.folder(arm, seed) / f"prints-{heard}.npy"
    if kept.is_file():
        return np.load(kept, allow_pickle=False)
    found = prints_of(Embedder.load(model), (clip.samples for clip in clips))
    silent = [clip.id for clip, print_ in zip(clips, found, strict=True) if print_ is None]
    if silent:
        raise DataError(f"{len(silent)} tested recordings hold too little sound", where=silent[0])
    stacked = np.stack([print_ for print_ in found if print_ is not None])
    kept.parent.mkdir(parents=True, exist_ok=True)
    np.save(kept, stacked)
    return stacked


def judged(clips: Sequence[Clip], found: Prints, comparators: Mapping[str, Comparator]) -> Iterator[dict[str, Any]]:
    """Rows of the result: one a group of trials and way to compare."""
    pairs = pairs_of(clips)
    shown = {"all", *map(corpus_of, clips)}
    for group, rows in groups_of(clips, pairs).items():
        if group not in shown:
            continue
        for way, comparator in comparators.items():
            scores = {
                arm: [comparator.trials(one, pairs.first, pairs.second) for one in seeds]
                for arm, seeds in found.items()
            }
            counts = {"same": int((rows & pairs.same).sum()), "different": int((rows & ~pairs.same).sum())}
            places = np.flatnonzero(rows)
            speakers = {clips[place].speaker for side in (pairs.first, pairs.second) for place in side[places]}
            plain = {"group": group, "scores": way, "speakers": len(speakers), **counts}
            yield {**plain, "arms": _rates(clips, pairs, rows, scores)}


def _rates(
    clips: Sequence[Clip], pairs: Pairs, rows: NDArray[np.bool_], scores: Mapping[str, Sequence[NDArray[np.float64]]]
) -> dict[str, Any]:
    """By arm: the mean EER over seeds, each seed's, and how much higher it is than frami's (paired)."""
    places = np.concatenate([np.flatnonzero(rows & pairs.same), np.flatnonzero(rows & ~pairs.same)])
    names = np.array([clip.speaker for clip in clips])
    units = Units.pairs(names[pairs.first[places]].tolist(), names[pairs.second[places]].tolist(), "speaker")
    same = pairs.same[places]
    trials = {
        arm: [Trials(one[places][same], one[places][~same], units) for one in seeds] for arm, seeds in scores.items()
    }

    def each(counts: NDArray[np.float64]) -> list[float]:
        return [100 * float(np.mean([one.resample(counts).eer() for one in seeds])) for seeds in trials.values()]

    def all_of_them(counts: NDArray[np.float64]) -> list[float]:
        rates = each(counts)
        return (
            rates if "frami" not in trials else [*rates, *(rate - rates[list(trials).index("frami")] for rate in rates)]
        )

    intervals = bootstrap(all_of_them, units, RESAMPLES)
    whole = np.ones(units.count)
    found: dict[str, Any] = {}
    for place, arm in enumerate(trials):
        found[arm] = {
            "eer": _plain(intervals[place]),
            "seeds": [100 * one.resample(whole).eer() for one in trials[arm]],
        }
        if "frami" in trials and arm != "frami":
            found[arm]["minus_frami"] = _plain(intervals[len(trials) + place])
    return found


def _plain(interval: Interval) -> dict[str, float]:
    return {name: asdict(interval)[name] for name in ("value", "low", "high")}


def size_of(model: Path, network: Network) -> dict[str, int]:
    """Parameters, and bytes of the file of weights (a shipped model's is in half precision, a student's is not)."""
    return {
        "parameters": sum(one.numel() for one in network.parameters()),
        "bytes": (model / WEIGHTS).stat().st_size,
    }


def main() -> None:
    """Teach what is missing, test all, print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("runs/data-free-shipped"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--arms", nargs="*", default=list(ARMS), choices=ARMS)
    parser.add_argument("--smallest", action="store_true", help="one seed and hardly any steps")
    given = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(given.data.resolve(), given.work, SMALLEST if given.smallest else BUDGET)
    if not bench.data.is_dir():
        raise SystemExit(str(DataError("there are no recordings", where=bench.data, fix="Give --data.")))
    print(json.dumps(document(bench, given.arms, 1 if given.smallest else given.seeds), indent=1))


def document(bench: Bench, arms: Sequence[str], seeds: int) -> dict[str, Any]:
    """Everything that is printed."""
    recipe = bench.recipe(0)
    teacher = open_teacher(recipe.teacher, recipe.input_range, recipe.statistics)
    sides = bench.sides()
    held = pl.concat([sides.dev.table, sides.test.table], how="diagonal")["id"].to_list()
    known = known_among(
        keys_in(teacher.info.extra[TRAINING_SPEAKERS]) or (),
        [*sides.dev.table["speaker"], *sides.test.table["speaker"]],
    )
    if known:
        raise DataError(f"the teacher learnt from {len(known)} tested speakers", where=known[0])
    clips = clips_of((sides.dev, sides.test))
    print(f"{len(clips)} of {len(held)} held-out recordings are tested", file=sys.stderr, flush=True)
    found: dict[str, list[Vectors]] = {}
    about: dict[str, Any] = {}
    plan = [(seed, arm) for seed in range(seeds) for arm in arms if arm != "teacher" or seed == 0]
    for number, (seed, arm) in enumerate(plan, start=1):
        print(f"{number}/{len(plan)} seed {seed} {arm}", file=sys.stderr, flush=True)
        shipped = arm == "teacher"
        model = find_model(recipe.teacher) if shipped else made(bench, teacher, arm, seed, sides.train)
        found.setdefault(arm, []).append(prints(bench, model, arm, seed, clips))
        embedder = Embedder.load(model)
        own = about.setdefault(arm, {**size_of(model, embedder.network), "runs": []})
        if not shipped:
            own["runs"].append(json.loads((model.parent / "done.json").read_text(encoding="utf-8")))
    cohort = Embedder.load(find_model(recipe.teacher)).comparator
    rows = list(judged(clips, found, {"cosine": Comparator(), "as_norm": cohort}))
    corpora = sorted({corpus_of(clip) for clip in clips})
    settings = {"set": list(bench.changes), "seeds": seeds, "corpora": corpora, "recordings": len(clips)}
    return {"teacher": recipe.teacher, **settings, "arms": about, "rows": rows}


if __name__ == "__main__":
    main()
