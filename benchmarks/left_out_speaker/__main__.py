"""Speaker models on speakers and corpora that they did not learn from, beside the published network they start from.

    python benchmarks/left_out_speaker --data ../shared/data [--runs runs/left-out-speaker] [--candidates NAME ...]

Each candidate of candidates.yaml is trained by the product's own code, once a fold and seed, and compared with the
published weights: same recordings, same trials, AS-norm against a cohort of the same training speakers, windows of the
same kind. What was trained or scored before in `--runs` is read again. Writes benchmarks/results/left_out_speaker.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
import yaml
from judging import Prints, Scores, against, corpus_of, groups_of, pairs_of, scored
from material import CONDITIONS, RATE, Clip, Conditions, human_rows, read_clips, tested

from earwitness.audio.perturb.base import item_rng
from earwitness.core.records import RunRecord
from earwitness.core.writing import write_atomically
from earwitness.corpora.manifest import Manifest
from earwitness.metrics.scores import Floats
from earwitness.speaker.comparison import Cohort
from earwitness.speaker.embedder import Embedder
from earwitness.speaker.published import NETWORK, read_resemblyzer
from earwitness.speaker.recipe import SpeakerRecipe
from earwitness.speaker.training import speaker_means, train_embedder
from earwitness.training.model_folder import ModelInfo
from earwitness.training.recipe import read_recipe

HERE = Path(__file__).resolve().parent
RECIPE = HERE.parent.parent / "recipes" / "default" / "speaker.yaml"
RESULT = HERE.parent / "results" / "left_out_speaker.json"
PEER = "published weights"
DEV_SPEAKERS = 6  # of the training side, since a recipe needs a dev side; nothing is chosen on them
FOLDS = ("without speechocean762", "without the others")


@dataclass(frozen=True)
class Candidate:
    """One row of the table: what changes in the recipe, in which folds and with which seeds it was tried."""

    name: str
    says: str
    changes: tuple[str, ...]
    seeds: tuple[int, ...]
    folds: tuple[str, ...]

    @classmethod
    def of(cls, name: str, given: dict[str, Any]) -> Candidate:
        """From its entry in candidates.yaml."""
        seeds, folds = tuple(given.get("seeds", (1,))), tuple(given.get("folds", FOLDS))
        return cls(name, given["says"], tuple(given.get("changes", ())), seeds, folds)


@dataclass(frozen=True)
class Test:
    """What is heard in one fold."""

    name: str
    rows: Manifest
    clips: list[Clip]

    @classmethod
    def of(cls, name: str, rows: Manifest, clips: list[Clip]) -> Test:
        """The fold's test side: the corpus that its name leaves out, or all others."""
        alone = name == FOLDS[0]
        return cls(name, rows, [clip for clip in clips if (corpus_of(clip) == "speechocean762") == alone])

    def write_split(self, path: Path) -> None:
        """The table of sides for a recipe: train, a few dev speakers of the same corpora, test."""
        out = set(self.clips_corpora)
        table = self.rows.table.select("id", "speaker", "corpus")
        rest = table.filter(~pl.col("corpus").is_in(list(out)) & ~pl.col("speaker").is_in(self._speakers))
        counts = rest["speaker"].value_counts().filter(pl.col("count") > 2)["speaker"].to_list()
        dev = set(sorted(counts, key=lambda name: float(item_rng(0, 0, name).random()))[:DEV_SPEAKERS])
        sides = rest.select("id", pl.col("speaker").is_in(list(dev)).replace_strict({True: "dev", False: "train"}))
        path.parent.mkdir(parents=True, exist_ok=True)
        sides.rename({"speaker": "split"}).write_csv(path)

    @property
    def clips_corpora(self) -> list[str]:
        """The folders that are left out of training whole."""
        return sorted({clip.corpus for clip in self.clips} | ({"fsdd"} if self.name == FOLDS[1] else set()))

    @property
    def _speakers(self) -> list[str]:
        return sorted({clip.speaker for clip in self.clips})


def trained(candidate: Candidate, test: Test, seed: int, data: Path, runs: Path) -> Embedder:
    """The candidate's model of this fold and seed; a finished one is loaded."""
    folder = runs / test.name.replace(" ", "-") / f"{candidate.name.replace(' ', '-')}-{seed}"
    if not (folder / "done").exists():
        split = runs / test.name.replace(" ", "-") / "split.csv"
        test.write_split(split)
        changes = (f"seed={seed}", f"data.manifests=[{data}]", f"data.split_file={split.resolve()}", *candidate.changes)
        recipe: SpeakerRecipe = read_recipe(RECIPE, SpeakerRecipe, changes)
        train_embedder(recipe, folder, resume=True)
        (folder / "done").touch()
    return Embedder.load(folder / "model")


def peer(info: ModelInfo, rows: Manifest) -> Embedder:
    """The published network, heard by the same windows, with the cohort of the same training speakers."""
    network = NETWORK.build()
    read_resemblyzer().start(NETWORK, network)
    alone = Embedder(network, info.model_copy(update={"calibration": None}))
    means = speaker_means(alone, rows)
    assert info.cohort is not None
    return Embedder(network, alone.info, Cohort(np.stack(list(means.values())), info.cohort.top))


def heard(embedder: Embedder, clips: list[Clip], conditions: Conditions) -> Prints:
    """Voice prints of all clips under all conditions."""
    return {
        name: np.stack([embedder.embed(conditions.put(clip, name), RATE).vector for clip in clips])
        for name in CONDITIONS
    }


def scores_of(embedder: Embedder, test: Test, conditions: Conditions, kept: Path) -> Scores:
    """Scores of the fold's trials under all conditions, from `kept` where they are there."""
    if not kept.exists():
        found = scored(heard(embedder, test.clips, conditions), pairs_of(test.clips), embedder.comparator)
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(kept, **found)  # type: ignore[arg-type]
    with np.load(kept) as stored:
        return {name: stored[name] for name in CONDITIONS}


def compared(candidate: Candidate, test: Test, seeds: list[Scores], peers: Scores) -> list[dict[str, object]]:
    """Rows of the result: one a condition and group."""
    pairs = pairs_of(test.clips)
    rows: list[dict[str, object]] = []
    for group, members in groups_of(test.clips, pairs).items():
        for condition in CONDITIONS:
            ours: list[Floats] = [scores[condition] for scores in seeds]
            found = against(test.clips, pairs, members, ours, peers[condition])
            place = {"candidate": candidate.name, "fold": test.name, "group": group, "condition": condition}
            counts = {"same": int((members & pairs.same).sum()), "different": int((members & ~pairs.same).sum())}
            figures = {name: asdict(interval) for name, interval in vars(found).items()}
            rows.append({**place, "seeds": len(seeds), **counts, **figures})
    return rows


def main() -> None:
    """Train what is missing, score, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--runs", type=Path, default=Path("runs/left-out-speaker"))
    parser.add_argument("--candidates", nargs="*", default=None, help="names in candidates.yaml; all without")
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    entries = yaml.safe_load((HERE / "candidates.yaml").read_text(encoding="utf-8"))
    chosen = arguments.candidates or list(entries)
    candidates = [Candidate.of(name, entries[name]) for name in chosen]
    data: Path = arguments.data.resolve()
    rows, conditions = human_rows(data), Conditions(data)
    clips = tested(read_clips(rows))
    result: list[dict[str, object]] = []
    for name in FOLDS:
        test = Test.of(name, rows, clips)
        result += judge_fold(test, [c for c in candidates if name in c.folds], data, arguments.runs, conditions)
    says = {candidate.name: candidate.says for candidate in candidates}
    record = RunRecord.make("python benchmarks/left_out_speaker", {}).plain()
    document = {"result": {"says": says, "rows": result}, "record": record}
    write_atomically(arguments.output, json.dumps(document, indent=1) + "\n")


def judge_fold(
    test: Test, candidates: list[Candidate], data: Path, runs: Path, conditions: Conditions
) -> list[dict[str, object]]:
    """All candidates of one fold."""
    folder = runs / test.name.replace(" ", "-")
    result: list[dict[str, object]] = []
    for candidate in candidates:
        ours = []
        for seed in candidate.seeds:
            embedder = trained(candidate, test, seed, data, runs)
            kept = folder / f"{candidate.name.replace(' ', '-')}-{seed}.npz"
            ours.append(scores_of(embedder, test, conditions, kept))
            print(f"{test.name}: {candidate.name}, seed {seed}", file=sys.stderr, flush=True)
        windows = embedder.info.windows.name
        kept = folder / f"{PEER}, {windows}.npz".replace(" ", "-").replace("/", "per")
        if not kept.exists():
            split = pl.read_csv(folder / "split.csv").filter(pl.col("split") == "train")
            published = peer(embedder.info, test.rows.filter(pl.col("id").is_in(split["id"].to_list())))
            scores_of(published, test, conditions, kept)
        result += compared(candidate, test, ours, scores_of(embedder, test, conditions, kept))
        for row in result[-6:]:
            print(row["group"], row["condition"], row["candidate"], file=sys.stderr)
    return result


if __name__ == "__main__":
    main()
