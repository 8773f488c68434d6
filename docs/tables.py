"""The tables of the pages, made from run records: `python docs/tables.py` writes them, `--check` says which are stale.

A table stands in a page between `<!-- table: NAME -->` and `<!-- end of table -->`. Its figures come from the cards of
the shipped models (their `model.json`), from results that `earwitness evaluate --json` wrote into docs/results/, or
from benchmarks/results/; nothing is typed in by hand.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import machine_tables
from machine_tables import kept, table

from earwitness.claims.ledger import details, ledger, read_results
from earwitness.core.errors import EarwitnessError
from earwitness.core.writing import write_atomically
from earwitness.evaluation.results.evaluating import Evaluation
from earwitness.evaluation.results.files import read_result
from earwitness.training.model_folder import read_model_info
from earwitness.training.shipped import shipped_models

DOCS = Path(__file__).resolve().parent
SHIPPED_SPEAKER = ("CAM++", "the recipe's own sides")  # shown by corpus too; the benchmark's result has all corpora
EVERYONES = ("all", "children", "across emotions")  # shown of every candidate
PLACE = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


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


def coverage() -> str:
    """How often intervals hold the truth, of the recorded benchmark run."""
    data = kept("interval_coverage")
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


def emotion_mixing() -> str:
    """Heads that learnt from one corpus of emotions and from two, of the recorded benchmark run."""
    return _paired_arms("emotion_mixing")


def manner_fusion() -> str:
    """Age and emotion fused with measured delivery, of the recorded benchmark run."""
    return _paired_arms("manner_fusion")


def _paired_arms(name: str) -> str:
    found = kept(name)
    rows = []
    for line in found if isinstance(found, list) else found["result"]["rows"]:
        value = f"{line['value']:.1f} [{line['low']:.1f}, {line['high']:.1f}]"
        gain = line.get("ours less this")
        told = "" if gain is None else f"{gain[0]:+.1f} [{gain[1]:+.1f}, {gain[2]:+.1f}]"
        rows.append((line["task"], line["arm"], value, told))
    return table(("recordings and measure", "arm", "value [95 % interval]", "first arm less this, paired"), rows)


def left_out_speakers() -> str:
    """Every speaker candidate on what it did not learn from: EER, and its difference to Resemblyzer's."""
    result = kept("left_out_speaker")["result"]
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
    rows = kept("left_out_speaker_first_looks")["result"]["rows"]
    conditions = list(dict.fromkeys(condition for row in rows for condition in row["eer"]))
    cells = ((row["kind"], row["tried"], *(row["eer"].get(name, "-") for name in conditions)) for row in rows)
    return table(("what", "tried", *conditions), cells)


def left_out_detectors(name: str = "left_out_detector", reference: str = "recipe") -> str:
    """Every detector candidate of a round on what its members did not learn, and its difference to the reference's."""
    found = kept(name)["candidates"]
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
    found = kept("quality_audit")
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
    found = kept("voice_uncertainty")
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


LEARNT_FROM = {
    "teacher": "the teacher, `{}`",
    "frami": "inverted spectrograms (FRAMI-style)",
    "noise": "uniform noise",
    "other audio": "music and noise",
    "recordings": "the teacher's recordings",
    "untrained": "nothing",
}


def data_free_voices() -> str:
    """Students of the shipped speaker-small by what they learnt from, of the recorded benchmark run."""
    teacher, found = "speaker-small", kept("data_free_shipped")["result"]["speaker-small"]
    plain = {row["group"]: row for row in found["rows"] if row["scores"] == "cosine" and row["group"] != "all"}
    groups = sorted(plain.values(), key=lambda row: -int(row["speakers"]))
    most = groups[0]
    beside = next(row for row in found["rows"] if row["scores"] == "as_norm" and row["group"] == most["group"])
    heads = ["learnt from", "parameters", "weights, kB"]
    heads += [f"{most['group']}, {most['speakers']} speakers", "minus FRAMI-style", "by seed", "AS-norm"]
    heads += [f"{row['group']}, {row['speakers']} speakers" for row in groups[1:]]
    rows = []
    for arm, about in found["arms"].items():
        own = most["arms"][arm]
        cells = [_with_interval(row["arms"][arm]["eer"], 1) for row in (most, beside, *groups[1:])]
        rows.append((*_student(teacher, arm, about), cells[0], *_beside_frami(own), *cells[1:]))
    return table(heads, rows)


def data_free_detectors() -> str:
    """Students of the shipped deepfake-small by what they learnt from, of the recorded benchmark run."""
    teacher, found = "deepfake-small", kept("data_free_shipped")["result"]["deepfake-small"]
    (row,) = found["rows"]
    heads = (
        "learnt from",
        "parameters",
        "weights, kB",
        "EER %",
        "minus FRAMI-style",
        "by seed",
        "scores like the teacher's",
    )
    rows = []
    for arm, about in found["arms"].items():
        own = row["arms"][arm]
        alike = ", ".join(f"{value:.2f}" for value in own["like_teacher"])
        rows.append((*_student(teacher, arm, about), _with_interval(own["eer"], 1), *_beside_frami(own), alike))
    return table(heads, rows)


def _student(teacher: str, arm: str, about: dict[str, Any]) -> tuple[object, ...]:
    return LEARNT_FROM[arm].format(teacher), f"{about['parameters']:,}", round(about["bytes"] / 1000)


def _beside_frami(own: dict[str, Any]) -> tuple[str, str]:
    seeds = ", ".join(f"{seed:.1f}" for seed in own["seeds"])
    return _shifted(own.get("minus_frami")), seeds


def _shifted(interval: dict[str, Any] | None) -> str:
    return "{value:+.1f} [{low:+.1f}, {high:+.1f}]".format(**interval) if interval else "-"


def peers_detectors() -> str:
    """Published detectors beside ours on the same recordings."""
    found = kept("peers_detectors")["result"]
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


def sex_balance() -> str:
    """Errors on women and on men of networks that learnt from few women and from as many as men."""
    data = kept("sex_balance")["result"]
    heads = (
        "what, in %",
        "training set",
        "new voices",
        "women",
        "men",
        "gap",
        "equal error",
        "relative gain of the mean",
    )
    return table(heads, [row for task in ("classify", "verify") for row in _sex_rows(data[task])])


def _sex_rows(found: dict[str, Any]) -> Iterator[tuple[object, ...]]:
    gains = {(row["set"], row["arm"]): _span(row["relative gain, %"], "+") for row in found["gains"]}
    for row in found["arms"]:
        errors = (_span(row["women"]), _span(row["men"]), _span(row["gap"], "+"))
        equal = _span(row["equal error"]) if "equal error" in row else "-"
        yield (found["measure"], row["set"], row["arm"], *errors, equal, gains.get((row["set"], row["arm"]), "-"))


def sex_balance_differences() -> str:
    """What new voices change, and what few women do, on the same speakers."""
    data = kept("sex_balance")["result"]
    rows = [(data[task]["measure"], row) for task in ("classify", "verify") for row in data[task]["differences"]]
    heads = ("what, in points", "arm", "less", "women", "men", "mean", "gap", "equal error")
    return table(heads, [(what, *_sex_arms(row), *_sex_shifts(row, heads[3:])) for what, row in rows])


def _sex_shifts(row: dict[str, Any], names: Sequence[str]) -> Iterator[str]:
    yield from (_span(row[name], "+") if name in row else "-" for name in names)


def _sex_arms(row: dict[str, Any]) -> tuple[str, str]:
    arm, other = (f"{one['set']}, {one['arm']}" for one in (row, row["less"]))
    return arm, other


def _span(figure: list[float], sign: str = "") -> str:
    """Value and interval."""
    return "{:{s}.1f} [{:{s}.1f}, {:{s}.1f}]".format(*figure, s=sign)


def claims() -> str:
    """The ledger: every direction that was looked for, and what came out."""
    return ledger(read_results(DOCS / "results" / "claims"))


def claim_arms() -> str:
    """The arms of each claim that was run."""
    return "\n".join(details(result) for result in read_results(DOCS / "results" / "claims"))


def localisation() -> str:
    """Scores over time of splices, by the length of windows: dev, by which windows and rule were chosen, and test."""
    data = kept("localisation")
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
    data = kept("localisation")
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
    found = kept("left_out_detector_third")["candidates"]
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


TABLES: dict[str, Callable[[], str]] = {
    **machine_tables.TABLES,
    "claims": claims,
    "data-free-detectors": data_free_detectors,
    "data-free-voices": data_free_voices,
    "emotion-fast": emotion_fast,
    "claim-arms": claim_arms,
    "peers-detectors": peers_detectors,
    "left-out-detectors": left_out_detectors,
    "left-out-detectors-first-round": partial(left_out_detectors, "left_out_detector_first"),
    "left-out-detectors-third-round": partial(left_out_detectors, "left_out_detector_third", "second-edition"),
    "left-out-detectors-perturbed": perturbed_detectors,
    "shipped-models": shipped,
    "published-scores": published_scores,
    "interval-coverage": coverage,
    "left-out-speakers": left_out_speakers,
    "manner-peers": manner_peers,
    "emotion-mixing": emotion_mixing,
    "manner-fusion": manner_fusion,
    "quality-audit": quality_audit,
    "voice-uncertainty": voice_uncertainty,
    "sex-balance": sex_balance,
    "sex-balance-differences": sex_balance_differences,
    "speaker-first-looks": speaker_first_looks,
    "localisation": localisation,
    "stretches": stretches,
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
