"""The tables of the pages, made from run records: `python docs/tables.py` writes them, `--check` says which are stale.

A table stands in a page between `<!-- table: NAME -->` and `<!-- end of table -->`. Its figures come from the cards of
the shipped models (their `model.json`), from results that `earwitness evaluate --json` wrote into docs/results/, or
from benchmarks/results/; nothing is typed in by hand.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from earwitness.claims.ledger import details, ledger, read_results
from earwitness.core.errors import EarwitnessError
from earwitness.core.writing import write_atomically
from earwitness.evaluation.results.evaluating import Evaluation
from earwitness.evaluation.results.files import read_result
from earwitness.training.model_folder import read_model_info
from earwitness.training.shipped import shipped_models

DOCS = Path(__file__).resolve().parent
BENCHMARKS = DOCS.parent / "benchmarks"
SHIPPED_SPEAKER = ("CAM++", "the recipe's own sides")  # shown by corpus too; the benchmark's result has all corpora
EVERYONES = ("all", "children", "across emotions")  # shown of every candidate
PLACE = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
SPEEDS = (  # benchmark, what is timed, parts with a target
    ("metrics_speed", "a resample of EER, minDCF and Cllr", {"speaker x system": ">= 10", "utterance": ">= 10"}),
    (
        "speaker_speed",
        "voices: a million cosine trials with AS-norm, and voice prints of 10 s",
        {"loop over trials": ">= 50"},
    ),
    ("gallery_speed", "one voice against 1e5 known ones", {}),
    ("rawboost_speed", "RawBoost", {"LnL": ">= 3"}),
    (
        "retrieval_speed",
        "10 neighbours in each of 4 layers, of 1e5 segments",
        {"loop, similarity anew": ">= 5", "loop, unit vectors": ">= 5"},
    ),
)


def table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown; bars in cells are escaped."""
    lines = [list(heads)]
    lines += [["---"] * len(lines[0]), *([str(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def shipped() -> str:
    """Every pooled EER on the cards of the shipped models."""
    return table(("model", "tested on", "EER % [95 % interval]", "files or trials", "interval over"), _shipped_rows())


def _shipped_rows() -> Iterator[tuple[object, ...]]:
    for name, folder in shipped_models().items():
        results = read_model_info(folder).extra.get("results")
        for row in results if isinstance(results, list) else []:
            if not isinstance(row, dict) or not str(row["metric"]).startswith("EER"):
                continue
            if re.search(r"\b(family|system|language) ", str(row["data"])):
                continue  # single families, systems and languages stand on the card
            interval = f"{row['value']:.1f} [{row['low']:.1f}, {row['high']:.1f}]"
            yield name, row["data"], interval, row["files"], row["unit"]


def published_scores() -> str:
    """What `evaluate` makes of published score files of ASVspoof 2019 LA."""
    heads = ("score file", "EER %", "official EER %", "min t-DCF, legacy", "trials")
    return table(heads, (_scores_row(path) for path in sorted((DOCS / "results").glob("asvspoof2019-la-*.json"))))


def _scores_row(path: Path) -> tuple[object, ...]:
    result = read_result(path)
    if not isinstance(result, Evaluation):
        raise TypeError(f"{path.name} is no evaluation")
    found = result.judgement
    plain, official = (found.measure(name).interval for name in ("EER", "EER asvspoof"))
    tdcf = found.measure("min t-DCF legacy").interval
    return (
        Path(str(result.record.settings["scores"])).name,
        f"{plain.value:.3%} [{plain.low:.2%}, {plain.high:.2%}]".replace("%", ""),
        f"{official.value:.3%}".replace("%", ""),
        f"{tdcf.value:.5f} [{tdcf.low:.3f}, {tdcf.high:.3f}]",
        found.positives + found.negatives,
    )


def speeds() -> str:
    """The ratios of the recorded benchmark runs."""
    sys.path.insert(0, str(BENCHMARKS))
    from run_all import ratios

    rows: list[tuple[object, ...]] = []
    for name, words, targets in SPEEDS:
        data = json.loads((BENCHMARKS / "results" / f"{name}.json").read_text(encoding="utf-8"))
        for place, value in ratios(data["result"]):
            part = place.split(":")[0]
            command = f"`python benchmarks/run_all.py {name}`"
            rows.append((words, part, f"{value:.1f}", targets.get(part, "-"), command))
    return table(("what", "beside, or part", "times faster", "target", "command"), rows)


def scoring() -> str:
    """`score` beside the network alone and a loop over files, of the recorded benchmark run."""
    result = json.loads((BENCHMARKS / "results" / "score_speed.json").read_text(encoding="utf-8"))["result"]
    heads = (
        "model",
        "of the network's own speed (target 0.90)",
        "times a loop over files (2)",
        "times a loop on one thread",
        "times real time (50)",
    )
    keys = ("share_of_forward_speed", "times_faster_than_loop", "times_faster_than_loop_on_one_thread")
    rows = [
        (f"`{row['model']}`", *(f"{row[key]:.2f}" for key in keys), f"{row['times_faster_than_real_time']:.0f}")
        for row in result["rows"]
    ]
    return table(heads, rows)


def listening() -> str:
    """What layout and allocator are worth to networks of convolutions, of the recorded benchmark run."""
    result = json.loads((BENCHMARKS / "results" / "listening_speed.json").read_text(encoding="utf-8"))["result"]
    heads = (
        "published settings",
        "core-s a second of sound",
        "channels-last, times",
        "memory kept, times",
        "both, times",
    )
    keys = ("times_faster_channels_last", "times_faster_keeping_memory", "times_faster_with_both")
    rows = [
        (f"`{row['name']}`", row["processor_s_a_second_of_sound"], *(f"{row[key]:.1f}" for key in keys))
        for row in result["rows"]
    ]
    return table(heads, rows)


def alignment() -> str:
    """What an aligned step costs, of the recorded benchmark run."""
    result = json.loads((BENCHMARKS / "results" / "alignment_speed.json").read_text(encoding="utf-8"))["result"]
    targets = {"separate forward": "<= 1.15 times", "lean": "at least 16 bytes below `full`"}
    found = {row["name"]: f"{row['ratio']:.2f} times a plain step" for row in result["step"]}
    found |= {row["name"]: f"{row['bytes_a_parameter']:.1f} bytes a parameter" for row in result["memory"]}
    rows = [(name, value, targets.get(name, "-")) for name, value in found.items()]
    return table(("form or algorithm", "time, or peak memory beyond weights and optimiser", "target"), rows)


def scale() -> str:
    """What the engines of `score` cost, of the recorded benchmark run."""
    result = json.loads((BENCHMARKS / "results" / "scale_speed.json").read_text(encoding="utf-8"))["result"]
    heads = ("engine", "workers", "start, s", "core-s a second of audio", "core-hours of 10 million files of 10 s")
    rows = [
        (
            row["name"].partition("_")[0],
            row["workers"],
            f"{row['start_s']:.1f}",
            f"{row['core_s_per_audio_s']:.4f}",
            f"{row['core_hours_of_ten_million_files_of_10_s']:.0f}",
        )
        for row in result["engines"]
    ]
    return table(heads, rows)


def coverage() -> str:
    """How often intervals hold the truth, of the recorded benchmark run."""
    data = json.loads((BENCHMARKS / "results" / "interval_coverage.json").read_text(encoding="utf-8"))
    names = ("held_auc", "held_eer", "plain_percentile_held_auc", "plain_percentile_held_eer")
    heads = ("units a class", "sets", "AUC", "EER", "AUC, plain percentiles", "EER, plain percentiles")
    rows = [[row["units"], row["sets"], *(f"{row[name]:.1%}" for name in names)] for row in data["result"]["rows"]]
    return table(heads, rows)


def manner_peers() -> str:
    """Age and emotion beside what users would do otherwise, of the recorded benchmark run."""
    return _paired_arms("manner_peers")


def emotion_fast() -> str:
    """The emotion model with and without a voice print, of the recorded benchmark run."""
    return _paired_arms("emotion_fast")


def time_profile() -> str:
    """Where the time of `examine` and `score` goes."""
    kept = json.loads((BENCHMARKS / "results" / "time_profile.json").read_text(encoding="utf-8"))
    rows = ((row["of"], row["stage"], row["processor_s"], f"{row['share']:.0%}") for row in kept["result"]["rows"])
    return table(("of", "stage", "processor time, s", "share"), rows)


def emotion_mixing() -> str:
    """Heads that learnt from one corpus of emotions and from two, of the recorded benchmark run."""
    return _paired_arms("emotion_mixing")


def manner_fusion() -> str:
    """Age and emotion fused with measured delivery, of the recorded benchmark run."""
    return _paired_arms("manner_fusion")


def _paired_arms(name: str) -> str:
    kept = json.loads((BENCHMARKS / "results" / f"{name}.json").read_text(encoding="utf-8"))
    rows = []
    for line in kept if isinstance(kept, list) else kept["result"]["rows"]:
        value = f"{line['value']:.1f} [{line['low']:.1f}, {line['high']:.1f}]"
        gain = line.get("ours less this")
        told = "" if gain is None else f"{gain[0]:+.1f} [{gain[1]:+.1f}, {gain[2]:+.1f}]"
        rows.append((line["task"], line["arm"], value, told))
    return table(("recordings and measure", "arm", "value [95 % interval]", "first arm less this, paired"), rows)


def left_out_speakers() -> str:
    """Every speaker candidate on what it did not learn from: EER, and its difference to Resemblyzer's."""
    result = json.loads((BENCHMARKS / "results" / "left_out_speaker.json").read_text(encoding="utf-8"))["result"]
    conditions = list(dict.fromkeys(row["condition"] for row in result["rows"]))
    return table(("candidate", "fold", "trials of", "seeds", *conditions), _left_out_rows(result["rows"], conditions))


def _left_out_rows(rows: list[dict[str, Any]], conditions: list[str]) -> Iterator[tuple[object, ...]]:
    shown = [row for row in rows if (row["candidate"], row["fold"]) == SHIPPED_SPEAKER or row["group"] in EVERYONES]
    places = dict.fromkeys((row["candidate"], row["fold"], row["group"], row["seeds"]) for row in shown)
    for place in places:
        found = {row["condition"]: row for row in rows if place[:3] == (row["candidate"], row["fold"], row["group"])}
        yield (*place, *(_beside_peer(found[condition]) for condition in conditions))


def _beside_peer(row: dict[str, Any]) -> str:
    difference = row["difference"]
    shift = f"{difference['value']:+.1f} [{difference['low']:+.1f}, {difference['high']:+.1f}]"
    return f"{row['eer']['value']:.1f} ({shift})"


def speaker_first_looks() -> str:
    """What was tried once for voices before the left-out test, without intervals."""
    path = BENCHMARKS / "results" / "left_out_speaker_first_looks.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["result"]["rows"]
    conditions = list(dict.fromkeys(condition for row in rows for condition in row["eer"]))
    cells = ((row["kind"], row["tried"], *(row["eer"].get(name, "-") for name in conditions)) for row in rows)
    return table(("what", "tried", *conditions), cells)


def left_out_detectors(name: str = "left_out_detector", reference: str = "recipe") -> str:
    """Every detector candidate of a round on what its members did not learn, and its difference to the reference's."""
    found = json.loads((BENCHMARKS / "results" / f"{name}.json").read_text(encoding="utf-8"))["candidates"]
    shift = f"minus `{reference}`"
    heads = (
        "candidate",
        "kind of idea",
        "what",
        "EER pooled",
        shift,
        "EER mean over systems",
        shift,
        "EER twins",
        shift,
    )
    more = ("telephone band", "real LJ called synthetic", "Cllr - min Cllr, bits")
    return table((*heads, *more), (_detector_row(name, entry) for name, entry in found.items()))


def _detector_row(name: str, entry: dict[str, Any]) -> Iterator[object]:
    figures = {figure["name"]: figure for figure in entry["figures"]}
    yield from (f"`{name}`", entry["row"], entry["words"])
    for measure in ("EER pooled", "EER mean over systems", "EER twins"):
        figure, shift = figures[measure], figures[measure]["minus_reference"]
        yield f"{100 * figure['value']:.1f} [{100 * figure['low']:.1f}, {100 * figure['high']:.1f}]"
        shown = "-" if shift is None else "{:+.1f} [{:+.1f}, {:+.1f}]".format(*(100 * value for value in shift))
        yield f"{shown} to `{entry['beside']}`" if entry.get("beside") else shown
    yield f"{100 * figures['EER telephone band']['value']:.1f}"
    yield f"{100 * figures['real LJ called synthetic']['value']:.0f}"
    yield f"{figures['Cllr minus min Cllr, bits']['value']:.2f}"


def quality_audit() -> str:
    """MOS of people and of synthesis by corpus and family, and the error rate of the MOS alone."""
    found = json.loads((BENCHMARKS / "results" / "quality_audit.json").read_text(encoding="utf-8"))
    heads = ("class", "corpus or family", "recordings", "mean MOS", "deviation", f"at {found['threshold']:g} or above")
    rows = [
        (g["label"], g["name"], g["recordings"], f"{g['mean']:.2f}", f"{g['deviation']:.2f}", f"{g['reached']:.1%}")
        for g in found["groups"]
    ]
    interval = f"{found['eer']:.1f} % [{found['low']:.1f}, {found['high']:.1f}]"
    return (
        table(heads, rows)
        + f"\nThe MOS alone as the score, higher = bona fide: EER {interval}, over speakers and systems.\n"
    )


def voice_uncertainty() -> str:
    """What a voice print's own variance tells of synthetic voices, arm by arm."""
    found = json.loads((BENCHMARKS / "results" / "voice_uncertainty.json").read_text(encoding="utf-8"))
    keys = ("snr", "distance_snr", "duration", "distance_duration", "distance", "distance_within", "values")
    heads = (
        "variance loss",
        "seed",
        "v, SNR",
        "error, SNR",
        "v, seconds",
        "error, seconds",
        "v, error",
        "within",
        "values",
    )
    arms = sorted(
        found["arms"], key=lambda arm: (("off", "mean", "sum", "detached").index(arm["variance_loss"]), arm["seed"])
    )
    rows = [(arm["variance_loss"], arm["seed"], *(f"{arm[key]:+.2f}" for key in keys)) for arm in arms]
    return table(heads, rows)


def peers_detectors() -> str:
    """Published detectors beside ours on the same recordings."""
    found = json.loads((BENCHMARKS / "results" / "peers_detectors.json").read_text(encoding="utf-8"))["result"]
    heads = ("detector", "EER %", "minus ours, points", "AUC", "EER %, of 4.04 s and more", "seconds a second")
    sizes = "real and synthetic: {} and {}".format
    many, filling = sizes(found[0]["bona_fide"], found[0]["spoof"]), sizes(*found[0]["filling"])
    return table(heads, [("", many, "", "", filling, ""), *(_peer_row(row) for row in found)])


def _peer_row(row: dict[str, Any]) -> Iterator[object]:
    shift = row.get("minus_ours")
    yield row["name"]
    yield "{:.1f} [{:.1f}, {:.1f}]".format(*_percent(row["eer"]))
    yield "-" if shift is None else "{:+.1f} [{:+.1f}, {:+.1f}]".format(*_percent(shift))
    yield row["polarity"].removeprefix("AUC ").split(" over")[0]
    yield "{:.1f} [{:.1f}, {:.1f}]".format(*_percent(row["eer_filling"]))
    yield row.get("seconds_per_second", "-")


def _percent(interval: dict[str, Any]) -> list[float]:
    return [100 * interval[key] for key in ("value", "low", "high")]


def claims() -> str:
    """The ledger: every direction that was looked for, and what came out."""
    return ledger(read_results(DOCS / "results" / "claims"))


def claim_arms() -> str:
    """The arms of each claim that was run."""
    return "\n".join(details(result) for result in read_results(DOCS / "results" / "claims"))


def localisation() -> str:
    """Scores over time of splices, by the length of windows: dev, by which windows and rule were chosen, and test."""
    data = json.loads((BENCHMARKS / "results" / "localisation.json").read_text(encoding="utf-8"))
    heads = (
        "side",
        "windows / segments, s",
        "segment EER %",
        "range EER %",
        "segment AUC %",
    )
    within = ("synthesis of others", "resynthesised", "human (control)")
    rows = [_localised(side, row) for side in ("dev", "test") for row in data[side]]
    return table((*heads, *(f"AUC within, {name}, %" for name in within)), rows)


def _localised(side: str, row: dict[str, Any]) -> Iterator[str]:
    yield from (side, f"{row['window_s']:g} / {row['step_s']:g}")
    segment = next(value for name, value in row.items() if name.startswith("segment EER"))
    yield from (_with_interval(figure) for figure in (segment, row["range EER"], row["segment AUC"]))
    yield from (_with_interval(row["auc_within"].get(kind)) for kind in ("spoof", "twin", "genuine"))


def stretches() -> str:
    """What the chosen rule for stretches does on dev and on test splices."""
    data = json.loads((BENCHMARKS / "results" / "localisation.json").read_text(encoding="utf-8"))
    heads = ("figure", "dev", "test")
    if data["chosen"] is None:
        return table(heads, [("no rule was better than the control on dev", "-", "-")])
    window = data["chosen"]["window_s"]
    sides = [next(row["figures"] for row in data[side] if row["window_s"] == window) for side in ("dev", "test")]
    rows = [("splices", *(str(side["splices"]) for side in sides))]
    words = {"spoof": "other systems' synthesis", "twin": "the same words resynthesised", "genuine": "human (control)"}
    names = {**words, "synthetic": "all synthesis"}
    for kind, name in words.items():
        rows.append((f"inserts hit, {name}, %", *(_with_interval(side["hits"].get(kind)) for side in sides)))
    for kind in ("spoof", "twin", "synthetic"):
        shown = (_with_interval(side["above_control"].get(kind)) for side in sides)
        rows.append((f"above the control, {names[kind]}, points", *shown))
    for name, key in (
        ("parts marked a minute of untouched speech", "false_a_minute"),
        ("edge error, median, s", "edge_median_s"),
    ):
        rows.append((name, *(_with_interval(side[key], 1, 2) for side in sides)))
    rows.append(("edge error, nine of ten within, s", *(_with_interval(side["edge_90_s"], 1, 2) for side in sides)))
    return table(heads, rows)


def _with_interval(figure: dict[str, Any] | None, scale: int = 100, digits: int = 1) -> str:
    """Value and interval; a dash where there is none."""
    if not figure:
        return "-"
    value, low, high = (f"{scale * figure[name]:.{digits}f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def perturbed_detectors() -> str:
    """The third round's candidates under every perturbation of the card, each beside the second edition."""
    path = BENCHMARKS / "results" / "left_out_detector_third.json"
    found = json.loads(path.read_text(encoding="utf-8"))["candidates"]
    columns = {
        name: {f["name"].removeprefix("EER under "): f for f in entry["figures"] if f["name"].startswith("EER under ")}
        for name, entry in found.items()
    }
    shown = {name: figures for name, figures in columns.items() if figures}
    perturbations = list(next(iter(shown.values())))
    rows = ((word, *(_with_shift(figures[word]) for figures in shown.values())) for word in perturbations)
    return table(("EER %", *(f"`{name}`" for name in shown)), rows)


def _with_shift(figure: dict[str, Any]) -> str:
    value, shift = f"{100 * figure['value']:.1f}", figure["minus_reference"]
    return value if shift is None else "{} ({:+.1f} [{:+.1f}, {:+.1f}])".format(value, *(100 * part for part in shift))


def memory_lengths() -> str:
    """Peak memory of whole commands over longer and longer recordings."""
    rows = json.loads((BENCHMARKS / "results" / "memory.json").read_text(encoding="utf-8"))["recordings"]
    short = {row["way"]: row["peak_mb"] for row in rows if row["length_s"] == 10}
    cells = (
        (
            f"`{row['way']}`",
            f"{row['length_s'] / 60:.4g}",
            f"{row['peak_mb']:.0f}",
            f"{row['peak_mb'] - short[row['way']]:+.0f}",
            f"{row['cpu_s']:.0f}" if "cpu_s" in row else "-",
        )
        for row in rows
        if row["way"] in short
    )
    return table(("command", "minutes of audio", "peak, MB", "above 10 s of audio, MB", "processor time, s"), cells)


def memory_rows() -> str:
    """Peak memory and time of commands over manifests of many rows."""
    rows = json.loads((BENCHMARKS / "results" / "memory.json").read_text(encoding="utf-8"))["tables"]
    cells = ((f"`{r['way']}`", r["rows"], f"{r['peak_mb']:.0f}", f"{r['cpu_s']:.0f}") for r in rows)
    return table(("command", "rows", "peak, MB", "processor time, s"), cells)


def damaged_files() -> str:
    """What became of damaged audio files, by format."""
    found = json.loads((BENCHMARKS / "results" / "soak.json").read_text(encoding="utf-8"))["damaged_files"]
    names = ("refused", "unharmed", "noted", "altered", "redeclared", "shortened", "other error", "crashed", "hung")
    rows = [(name, *(counts.get(outcome, 0) for outcome in names)) for name, counts in found["outcomes"].items()]
    return table(("format", *names), rows)


def soak_tests() -> str:
    """The long tests of the recorded run."""
    tests = json.loads((BENCHMARKS / "results" / "soak.json").read_text(encoding="utf-8"))["tests"]
    return table(("test", "outcome"), ((test["test"].split("::")[1], test["outcome"]) for test in tests))


TABLES: dict[str, Callable[[], str]] = {
    "alignment": alignment,
    "claims": claims,
    "emotion-fast": emotion_fast,
    "time-profile": time_profile,
    "claim-arms": claim_arms,
    "peers-detectors": peers_detectors,
    "left-out-detectors": left_out_detectors,
    "left-out-detectors-first-round": partial(left_out_detectors, "left_out_detector_first"),
    "left-out-detectors-third-round": partial(left_out_detectors, "left_out_detector_third", "second-edition"),
    "left-out-detectors-perturbed": perturbed_detectors,
    "shipped-models": shipped,
    "published-scores": published_scores,
    "scale": scale,
    "scoring": scoring,
    "listening": listening,
    "speeds": speeds,
    "interval-coverage": coverage,
    "left-out-speakers": left_out_speakers,
    "manner-peers": manner_peers,
    "emotion-mixing": emotion_mixing,
    "manner-fusion": manner_fusion,
    "quality-audit": quality_audit,
    "voice-uncertainty": voice_uncertainty,
    "speaker-first-looks": speaker_first_looks,
    "localisation": localisation,
    "stretches": stretches,
    "memory-lengths": memory_lengths,
    "memory-rows": memory_rows,
    "damaged-files": damaged_files,
    "soak-tests": soak_tests,
}


def filled(text: str) -> str:
    """A page with its tables made anew. Raises `KeyError` for a table that nobody makes."""
    return PLACE.sub(lambda match: f"{match[1]}{TABLES[match[2]]()}{match[3]}", text)


def main() -> None:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where a page is stale")
    arguments = parser.parse_args()
    stale = []
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        if (new := filled(text)) != text:
            stale.append(page.relative_to(DOCS).as_posix())
            if not arguments.check:
                write_atomically(page, new)
    print(f"{'stale' if arguments.check else 'written'}: {', '.join(stale) or 'none'}")
    sys.exit(1 if stale and arguments.check else 0)


if __name__ == "__main__":
    try:
        main()
    except EarwitnessError as error:
        sys.exit(f"tables: {error}")
