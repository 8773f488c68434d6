"""How well a committee says where a recording was spliced: `python benchmarks/localisation.py --run runs/deepfake`.

Of every fold, splices are made whose host speakers and makers of inserts are all of that fold, and the member that left
the fold out scores them: it heard neither. Windows and the rule for stretches are chosen on the splices of some folds
(DEV); all figures of the result are of the others, so that neither speakers nor families of synthesis are shared. Hosts
are recordings of one speaker joined to eight seconds or more, since those that are here are shorter than a few windows.
Splices and scores are kept in --work, and an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from earwitness.core.errors import MetricError
from earwitness.core.records import RunRecord
from earwitness.core.writing import write_atomically
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.splices import KINDS, SpliceOptions, expand
from earwitness.corpora.splices.making import MANIFEST, PLACES
from earwitness.corpora.splits.folds import FoldSplit
from earwitness.corpora.splits.grouping import draw
from earwitness.corpora.twins import VOCODERS
from earwitness.deepfake.left_out import Finished, folds_of, member
from earwitness.evaluation.assessing.localisation import LOCALISATION, LocalisationTest
from earwitness.evaluation.assessing.splices import ScoredSplice, choose_rule, figures, find, read_scored_splices
from earwitness.evaluation.judging.judge import JudgeOptions
from earwitness.evaluation.results.localising import localise
from earwitness.evaluation.results.requests import LocaliseRequest
from earwitness.evaluation.scoring.segments import SegmentOptions, score_segments
from earwitness.metrics import Trials, Units, bootstrap
from earwitness.metrics.stretches import StretchRule
from earwitness.training.model_folder import read_model_info, revise_model

RESULT = Path(__file__).resolve().parent / "results" / "localisation.json"
MODEL = Path(__file__).resolve().parent.parent / "src" / "earwitness" / "models" / "deepfake"
DEV = (0, 3, 5, 7)  # folds; the others are test
HEARD = ((1.0, 0.5), (2.0, 0.5), (4.0, 1.0))  # windows and segments, seconds
HOST_S, ROWS_S = 8.0, 12.0  # of a speaker: for the host, and for the host and human inserts
OWN_COPIES, OWN_ROWS = "twin-", "own-"  # systems and corpora made from recordings that are here: no inserts


@dataclass(frozen=True)
class Bench:
    """A finished run, and the folder in which splices and scores are kept."""

    finished: Finished
    work: Path
    hosts: int
    seed: int

    @cached_property
    def folds(self) -> tuple[FoldSplit, Any]:
        """The recipe's split, and the fold of each row."""
        split = self.finished.recipe.split
        assert isinstance(split, FoldSplit)
        return split, folds_of(self.finished.rows)

    def splices(self, fold: int) -> Manifest:
        """The splices of one fold, made where they are not there."""
        folder = self.work / f"fold-{fold}"
        vocoders = tuple(name for name in VOCODERS if name in self.folds[0].families[fold])
        kinds = tuple(kind for kind in KINDS if kind != "twin" or vocoders)
        options = SpliceOptions(kinds=kinds, host_s=HOST_S, vocoders=vocoders or ("world",), seed=self.seed)
        return expand(self._material(fold), folder, options, resume=True).manifest

    def _material(self, fold: int) -> Manifest:
        """Rows of the fold, none of them heard by its member: some speakers, and foreign spoofs."""
        rows = self.finished.rows.with_table(self.finished.rows.table.filter(pl.Series(self.folds[1] == fold)))
        assert set(rows.table["heard"].str.slice(fold, 1)) == {"."}
        own = pl.col("system").str.starts_with(OWN_COPIES) | pl.col("corpus").str.starts_with(OWN_ROWS)
        chosen = self._speakers(rows.filter(pl.col("label") == "bonafide"))
        return rows.filter(
            pl.col("id").is_in(chosen) | ((pl.col("label") == "spoof") & ~own.fill_null(False)),
        )

    def _speakers(self, humans: Manifest) -> list[str]:
        """Ids of some recordings of `hosts` speakers, from each corpus in turn."""
        shared = self.folds[0].shared_voices
        by_corpus: dict[str, dict[str, list[tuple[str, float]]]] = {}
        rows = humans.table.filter(pl.col("speaker").is_not_null(), ~pl.col("speaker").is_in(list(shared)))
        for corpus, speaker, name, seconds in rows.select("corpus", "speaker", "id", "duration_s").iter_rows():
            by_corpus.setdefault(corpus, {}).setdefault(speaker, []).append((name, seconds))
        queues = []
        for voices in by_corpus.values():
            long = [found for found in voices.items() if sum(seconds for _, seconds in found[1]) >= HOST_S]
            queues.append(sorted(long, key=lambda found: draw(self.seed, found[0])))
        turns = [found[place] for place in range(self.hosts) for found in queues if place < len(found)][: self.hosts]
        return [name for _, files in turns for name in self._some(files)]

    def _some(self, files: list[tuple[str, float]]) -> Iterator[str]:
        total = 0.0
        for name, seconds in sorted(files, key=lambda found: draw(self.seed, found[0])):
            if total < ROWS_S:
                yield name
            total += seconds

    def scored(self, fold: int, window_s: float, step_s: float) -> tuple[Manifest, pl.DataFrame]:
        """The segments of one fold's splices, by the member that left it out."""
        splices, out = self.splices(fold), self.work / f"fold-{fold}" / f"segments-{window_s:g}.parquet"
        heard_by = member(self.finished.detector, fold)
        score_segments(splices, heard_by, out, SegmentOptions(step_s, window_s), resume=True)
        return splices, pl.read_parquet(out)

    def side(self, folds: tuple[int, ...], window_s: float, step_s: float) -> Side:
        """The splices of some folds, and their scores and places in one folder."""
        folder = self.work / f"{'dev' if folds == DEV else 'test'}-{window_s:g}"
        parts = [self.scored(fold, window_s, step_s) for fold in folds]
        lines = [(self.work / f"fold-{fold}" / PLACES).read_text(encoding="utf-8") for fold in folds]
        folder.mkdir(parents=True, exist_ok=True)
        pl.concat([table for _, table in parts]).write_parquet(folder / "scores.parquet")
        write_atomically(folder / PLACES, "".join(lines))
        named = pl.concat([splices.table.select("id", "path", "speaker") for splices, _ in parts])
        named.write_csv(folder / MANIFEST)
        scored = [one for splices, table in parts for one in read_scored_splices(splices, table)]
        return Side(folder, scored)


@dataclass(frozen=True)
class Side:
    """Dev or test."""

    folder: Path
    splices: list[ScoredSplice]

    def segment_figures(self) -> dict[str, Any]:
        """EERs as `earwitness evaluate localisation` gives them, and the AUC over host speakers and systems."""
        request = LocaliseRequest(scores=self.folder / "scores.parquet", key=self.folder, options=JudgeOptions())
        found = {measure.name: plain(measure.interval) for measure in localise(request).measures}
        within = figures(self.splices, StretchRule(1.0)).auc_within  # whatever the rule
        kinds = {kind: plain(interval) for kind, interval in within.items()}
        return {**found, "segment AUC": plain(self._auc()), "auc_within": kinds}

    def _auc(self) -> Any:
        """Of segments that lie mostly in a synthetic insert against segments without any."""
        high: list[tuple[float, str]] = []
        low: list[tuple[float, str]] = []
        for splice in self.splices:
            segments, place = splice.segments, splice.place
            synthetic = place is not None and splice.kind in ("spoof", "twin")
            inside = np.zeros(len(segments.scores))
            if place is not None and synthetic:
                inside = np.minimum(segments.ends_s, place.end_s) - np.maximum(segments.starts_s, place.start_s)
            for score, share in zip(segments.scores, inside / (segments.ends_s - segments.starts_s), strict=True):
                if share > 0.5:
                    low.append((score, splice.system or splice.id))
                elif share <= 0:
                    high.append((score, splice.speaker))
        units = Units.stacked(Units.of([u for _, u in high], "host speaker"), Units.of([u for _, u in low], "system"))
        trials = Trials([s for s, _ in high], [s for s, _ in low], units)
        return bootstrap(lambda counts: [trials.resample(counts).auc()], units)[0]

    def by_corpus(self, rule: StretchRule, corpora: dict[str, str]) -> dict[str, dict[str, float]]:
        """False stretches a minute of untouched hosts, by corpus."""
        found: dict[str, list[float]] = {}
        for splice in self.splices:
            if splice.kind == "none":
                counts = found.setdefault(corpora.get(splice.speaker, "unnamed"), [0.0, 0.0])
                counts[0] += len(find(splice, rule).stretches)
                counts[1] += splice.segments.seconds / 60
        return {name: {"stretches": count, "minutes": minutes} for name, (count, minutes) in sorted(found.items())}


def plain(interval: Any) -> dict[str, Any]:
    """For JSON."""
    return {} if interval is None else asdict(interval)


def rule_figures(side: Side, rule: StretchRule) -> dict[str, Any]:
    """What a rule does on one side."""
    return asdict(figures(side.splices, rule))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="the finished run of the committee")
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--work", type=Path, required=True, help="where splices and scores are kept")
    parser.add_argument("--hosts", type=int, default=10, help="speakers a fold")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--into-model", action="store_true", help="write the rule and its errors into model.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    info = read_model_info(arguments.model)
    bench = Bench(Finished.load(arguments.model, arguments.run), arguments.work, arguments.hosts, arguments.seed)
    test = tuple(fold for fold in range(bench.folds[0].count) if fold not in DEV)
    rows: list[dict[str, Any]] = []
    best: tuple[float, int, StretchRule] | None = None
    for place, (window_s, step_s) in enumerate(HEARD):
        side = bench.side(DEV, window_s, step_s)
        rule = choose_rule(side.splices)
        row: dict[str, Any] = {"window_s": window_s, "step_s": step_s, **side.segment_figures(), "rule": None}
        if rule is not None:
            found = rule_figures(side, rule)
            row |= {"rule": asdict(rule), "figures": found}
            gain = found["above_control"]["synthetic"]["value"]
            if best is None or gain > best[0]:
                best = (gain, place, rule)
        rows.append(row)
        print(json.dumps(row), flush=True)
    result: dict[str, Any] = {
        "what": "stretches of splices by the member that left out the host's speaker and the insert's family",
        "dev": rows,
        "test": [],
        "chosen": None,
    }
    for place, (window_s, step_s) in enumerate(HEARD):
        side = bench.side(test, window_s, step_s)
        row = {"window_s": window_s, "step_s": step_s, **side.segment_figures()}
        if best is not None and best[1] == place:
            try:
                found_on_test = figures(side.splices, best[2])
            except MetricError as error:
                raise SystemExit(f"the chosen rule has no figures on test: {error}") from None
            chosen = LocalisationTest.of(
                window_s, step_s, best[2], found_on_test, "benchmarks/results/localisation.json"
            )
            table = bench.finished.rows.table.select("speaker", "corpus").drop_nulls()
            corpora = dict(table.iter_rows())
            row |= {"rule": asdict(best[2]), "figures": asdict(found_on_test)}
            row |= {"false_by_corpus": side.by_corpus(best[2], corpora)}
            result["chosen"] = chosen.model_dump(mode="json") | {"shown": chosen.shown}
            if arguments.into_model:
                extra = {**info.extra, LOCALISATION: chosen.model_dump(mode="json")}
                revise_model(arguments.model, info.model_copy(update={"extra": extra}))
        result["test"].append(row)
        print(json.dumps(row), flush=True)
    settings = {
        "hosts": arguments.hosts,
        "seed": arguments.seed,
        "dev_folds": DEV,
        "test_folds": test,
        "host_s": HOST_S,
    }
    record = RunRecord.make(
        "python benchmarks/localisation.py",
        settings,
        seed=arguments.seed,
        inputs={"rows": bench.finished.rows.sha256},
        weights=[info.reference],
    )
    write_atomically(RESULT, json.dumps({**result, "record": record.plain()}, indent=2) + "\n")
    print(f"written: {RESULT.name}; chosen: {json.dumps(result['chosen'])}")


if __name__ == "__main__":
    main()
