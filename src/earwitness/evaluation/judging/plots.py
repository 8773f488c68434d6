"""Pictures of score files: error trade-offs, the scores of both classes, and how far likelihood ratios can be believed.

    det.svg           miss against false alarm, on normal deviates (Martin et al. 1997)
    scores.svg        how the scores of both classes lie
    tippett.svg       share of trials above each stated likelihood ratio, Cllr, and the bounds that the trials support
    reliability.svg   stated likelihood ratios against those that the trials bear out

matplotlib is the extra `plots`. Names come from files: they are shown as they are, never read as formulas.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from earwitness.core.errors import MissingPartError, printable
from earwitness.core.writing import write_atomically
from earwitness.evaluation.judging.labelled import LabelledScores
from earwitness.evaluation.judging.tasks import Task
from earwitness.metrics.calibration import cllr, elub_bounds, min_cllr
from earwitness.metrics.detection import Counts, ErrorRates, convex_hull, eer_at, error_rates
from earwitness.metrics.scores import Floats

_CLASSES: dict[Task, tuple[str, str]] = {
    "deepfake": ("bona fide", "spoof"),
    "speaker": ("same speaker", "different speakers"),
    "sasv": ("target", "nontarget or spoof"),
}
_COLOURS = ("#0072b2", "#d55e00")  # positive, negative; first, second: told apart by the colour-blind too
_DASHES = ("-", (0, (5, 2)))
_TICKS = np.array([0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6])
_BINS = (10, 60)  # fewest and most of the histogram
_RELIABILITY_BINS = 12
_LEGEND = "outside lower center"  # inside it would hide curves
_LONGEST_NAME = 40  # characters of a file's name in a legend


def write_plots(scores: LabelledScores, folder: str | Path) -> tuple[Path, ...]:
    """Write `det.svg` and `scores.svg`, and `tippett.svg` and `reliability.svg` where every row has an llr.

    Returns what was written. Raises `MissingPartError` without matplotlib, `MetricError` where a class is missing,
    `UsageError` where the folder cannot be written.
    """
    figures = {"det.svg": _det_of_one, "scores.svg": _histogram}
    if scores.has_llr:
        figures |= {"tippett.svg": _tippett, "reliability.svg": _reliability}
    written = []
    for name, draw in figures.items():
        with picture(Path(folder) / name) as axes:
            draw(scores, axes)
        written.append(Path(folder) / name)
    return tuple(written)


def write_comparison_plot(
    first: LabelledScores, second: LabelledScores, names: tuple[str, str], folder: str | Path
) -> Path:
    """Write `det.svg` with the curves of two score files. Returns its path, and raises as `write_plots` does."""
    path = Path(folder) / "det.svg"
    with picture(path) as axes:
        _det([_rates(first), _rates(second)], names, axes)
    return path


@contextmanager
def picture(path: Path) -> Iterator[Any]:
    """Axes to draw on; they become the file when the block ends well. The same drawing gives the same bytes."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        fix = "Install it with: pip install 'earwitness[plots]'"
        raise MissingPartError("plots need matplotlib", where="--plots", fix=fix) from None
    style = {"svg.hashsalt": "earwitness", "svg.fonttype": "none", "text.parse_math": False, "axes.axisbelow": True}
    with rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # text stays text: the viewer has the letters that we lack
        figure = Figure(figsize=(6, 5.5), layout="constrained")
        axes = figure.add_subplot()
        yield axes
        drawn = io.BytesIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    write_atomically(path, drawn.getvalue())


def _rates(scores: LabelledScores) -> ErrorRates:
    return error_rates(scores.positive["score"], scores.negative["score"])


def _det_of_one(scores: LabelledScores, axes: Any) -> None:
    _det([_rates(scores)], (), axes)


def _det(systems: Sequence[ErrorRates], names: Sequence[str], axes: Any) -> None:
    """A curve a system, its EER marked; both axes warped by the normal quantile (Martin et al. 1997)."""
    from scipy.special import ndtri

    axes.plot(ndtri(_TICKS), ndtri(_TICKS), ":", color="grey", linewidth=1)
    curves, eers = [], []
    for rates, colour, dashes in zip(systems, _COLOURS, _DASHES, strict=False):
        turns = _turns(rates)
        x, y = (ndtri(np.clip(side[turns], 1e-6, 1 - 1e-6)) for side in (rates.false_alarm, rates.miss))
        curves += axes.plot(x, y, color=colour, linestyle=dashes)
        eers.append(eer_at(rates).value)
        at = ndtri(np.clip(eers[-1], 1e-6, 1 - 1e-6))
        axes.plot(at, at, "o", color=colour)
    if names:  # the rate first: a label that begins with an underscore would be left out
        labels = [f"{value:.2%}   {shown_name(name)}" for value, name in zip(eers, names, strict=True)]
        axes.figure.legend(curves, labels, title="EER (interpolated)", loc=_LEGEND)
        axes.set_title("Detection error trade-off")
    else:
        axes.set_title(f"Detection error trade-off, EER {eers[0]:.2%} (interpolated)")
    if not any(value > 0 for value in eers):
        axes.text(
            0.5, 0.5, "the classes do not overlap", transform=axes.transAxes, ha="center", bbox={"color": "white"}
        )
    for side in ("x", "y"):
        getattr(axes, f"set_{side}ticks")(ndtri(_TICKS), [f"{tick:.3g}" for tick in _TICKS * 100])
        getattr(axes, f"set_{side}lim")(ndtri(_TICKS[[0, -1]]))
    axes.set_aspect("equal")
    axes.set_xlabel("false alarm, %")
    axes.set_ylabel("miss, %")
    axes.grid(alpha=0.3)


def _turns(rates: ErrorRates) -> Any:
    """Indices of the points where the staircase turns: those between lie on straight lines (a tenth of the file)."""
    steps = np.stack([np.diff(rates.miss) > 0, np.diff(rates.false_alarm) < 0])
    straight = (steps[:, 1:] == steps[:, :-1]).all(axis=0) & (steps.sum(axis=0) == 1)[1:]
    return np.flatnonzero(np.concatenate([[True], ~straight, [True]]))


def shown_name(name: str) -> str:
    """A name as text on one line, its end kept where it is long: there files differ."""
    text = printable(name)
    return text if len(text) <= _LONGEST_NAME else f"…{text[1 - _LONGEST_NAME :]}"


def _histogram(scores: LabelledScores, axes: Any) -> None:
    """Shares of each class, so that a small class is seen beside a large one."""
    sides = (scores.positive["score"].to_numpy(), scores.negative["score"].to_numpy())
    pooled = np.concatenate(sides)
    edges = np.histogram_bin_edges(pooled, int(np.clip(np.sqrt(len(pooled)), *_BINS)))
    for values, name, colour in zip(sides, _CLASSES[scores.task], _COLOURS, strict=True):
        label = f"{name} ({len(values)})"
        weights = np.full(len(values), 100 / len(values))
        axes.hist(values, edges, weights=weights, color=colour, alpha=0.3)
        axes.hist(values, edges, weights=weights, color=colour, histtype="step", linewidth=1.5, label=label)
    found = eer_at(_rates(scores))
    label = f"threshold of the EER, {found.threshold:.3g}"
    axes.axvline(found.threshold, color="grey", linestyle=":", label=label)
    axes.set_title(f"Scores, EER {found.value:.2%} (interpolated)")
    axes.set_xlabel(f"score, higher = {_CLASSES[scores.task][0]}")
    axes.set_ylabel("share of the class, %")
    axes.figure.legend(loc=_LEGEND, ncols=2)


def _tippett(scores: LabelledScores, axes: Any) -> None:
    """Share of each class whose log10 likelihood ratio is at least x; dotted, the ELUB bounds (Vergeer et al. 2016)."""
    sides = (scores.positive["llr"].to_numpy(), scores.negative["llr"].to_numpy())
    lowest, highest = (float(edge) for edge in _log10(np.array([min(map(min, sides)), max(map(max, sides))])))
    margin = 0.05 * max(1.0, highest - lowest)
    wrong = [np.mean(sides[0] < 0), np.mean(sides[1] >= 0)]
    for values, name, colour, dashes, share, way in zip(
        sides, _CLASSES[scores.task], _COLOURS, _DASHES, wrong, ("below 0", "at or above 0"), strict=True
    ):
        x = np.concatenate([[lowest - margin], np.sort(_log10(values)), [highest + margin]])
        y = 100 * np.append(1 - np.arange(len(values) + 1) / len(values), 0.0)
        axes.plot(x, y, drawstyle="steps-post", color=colour, linestyle=dashes, label=f"{name}: {share:.1%} {way}")
    axes.axvline(0, color="grey", linewidth=1)
    low, high = (float(bound) / np.log(10) for bound in elub_bounds(*sides))
    label = f"ELUB bounds: {low:.2f} to {high:.2f}"
    for bound, text in ((low, label), (high, None)):
        axes.axvline(bound, color="black", linestyle=":", label=text)
    axes.set_xlim(lowest - margin, highest + margin)
    axes.set_ylim(0, 100)
    axes.set_title(f"Tippett plot, Cllr {cllr(*sides):.3f} bits, minCllr {min_cllr(*sides):.3f} bits")
    axes.set_xlabel("log10 likelihood ratio")
    axes.set_ylabel("trials at or above, %")
    axes.grid(alpha=0.3)
    axes.figure.legend(loc=_LEGEND, ncols=2)


def _reliability(scores: LabelledScores, axes: Any) -> None:
    """Stated log10 likelihood ratios against those that the trials bear out: pooled adjacent violators, and in bins.

    The numbers on top count both classes in a bin; where one is missing there is no point.
    """
    sides = (scores.positive["llr"].to_numpy(), scores.negative["llr"].to_numpy())
    hull = convex_hull(error_rates(*sides))
    stated, borne_out = _steps(hull.thresholds, np.diff(hull.miss), -np.diff(hull.false_alarm))
    bins = _in_bins(*sides)
    edge = 1.1 * float(np.abs(np.concatenate([stated, borne_out, bins.middles, [1.0]])).max())
    axes.plot([-edge, edge], [-edge, edge], ":", color="grey", linewidth=1, label="as stated")
    axes.plot(stated, borne_out, drawstyle="steps-post", color=_COLOURS[0], label="best monotone map (PAV)")
    style: dict[str, Any] = {"fmt": "o", "color": _COLOURS[1], "markersize": 4, "capsize": 3}
    axes.errorbar(bins.middles, bins.ratios, bins.margins, **style, label="in bins, 95 %")
    axes.set_xlim(-edge, edge)
    axes.set_ylim(-edge, edge)
    axes.set_aspect("equal")
    counts = axes.secondary_xaxis("top")
    labels = [f"{a} + {b}" for a, b in zip(bins.positives, bins.negatives, strict=True)]
    counts.set_xticks(bins.middles, labels, rotation=90, fontsize=7)
    axes.set_title("Reliability, trials: " + " + ".join(_CLASSES[scores.task]))
    axes.set_xlabel("stated likelihood ratio, log10")
    axes.set_ylabel("borne out by these trials, log10")
    axes.grid(alpha=0.3)
    axes.figure.legend(loc=_LEGEND, ncols=2)


def _log10(llr: Floats) -> Floats:
    return np.asarray(llr / np.log(10))


def _steps(thresholds: Floats, positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
    """Blocks that hold both classes: where they begin, and their likelihood ratio."""
    both = (positive > 0) & (negative > 0)
    return _log10(thresholds[:-1][both]), np.log10(positive[both] / negative[both])


@dataclass(frozen=True)
class _Bins:
    """Bins that hold trials: middle, ratio of the classes' shares and its 95 % margin (log10, NaN with one class)."""

    middles: Floats
    ratios: Floats
    margins: Floats
    positives: Counts
    negatives: Counts


def _in_bins(positive: Floats, negative: Floats) -> _Bins:
    """Equal bins of stated ratios. The margin is that of a ratio of two shares: 1.96 sqrt(1/a - 1/A + 1/b - 1/B)."""
    edges = np.histogram_bin_edges(np.concatenate([positive, negative]), _RELIABILITY_BINS)
    counts = np.stack([np.histogram(side, edges)[0] for side in (positive, negative)])
    used = counts.sum(axis=0) > 0
    a, b = counts = counts[:, used]
    seen = np.where(counts.all(axis=0), counts, np.nan)
    totals = np.array([[len(positive)], [len(negative)]])
    shares = np.log10(seen / totals)
    margins = 1.96 * np.sqrt((1 / seen - 1 / totals).sum(axis=0))
    middles = ((edges[1:] + edges[:-1]) / 2)[used]
    return _Bins(_log10(middles), shares[0] - shares[1], _log10(margins), a, b)
