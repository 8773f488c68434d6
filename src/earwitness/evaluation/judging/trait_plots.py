"""What each sound is worth, drawn: the F-ratios of one or several sets of trials over the sounds (arXiv 2501.05729)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from earwitness.evaluation.judging.plots import picture, shown_name
from earwitness.speaker.phonetic_traits.discriminability import PhoneDiscriminability

_MARKS = ("o", "s", "^", "D", "v", "P")


def plot_ratios(tables: Mapping[str, Sequence[PhoneDiscriminability]], path: str | Path) -> None:
    """A series of points for each table, sounds in the order of the first; hollow where trials are too few to count.

    Raises `MissingPartError` without matplotlib, and `UsageError` where it cannot be written.
    """
    order = [one.phone for one in next(iter(tables.values())) if one.ratio is not None]
    with picture(Path(path)) as axes:
        for number, (name, table) in enumerate(tables.items()):
            known = {one.phone: one for one in table if one.ratio is not None}
            places = [place for place, phone in enumerate(order) if phone in known]
            ratios = [known[order[place]].ratio for place in places]
            colours = ["none" if known[order[place]].greyed else f"C{number}" for place in places]
            mark = _MARKS[number % len(_MARKS)]
            axes.scatter(
                places, ratios, marker=mark, facecolors=colours, edgecolors=f"C{number}", label=shown_name(name)
            )
        axes.axhline(1, color="0.6", linewidth=0.8)
        axes.set_xticks(range(len(order)), order, rotation=90, fontsize=7)
        axes.legend(fontsize=7)
        axes.set_ylabel("mean of one speaker / mean of two (hollow: few trials)")
