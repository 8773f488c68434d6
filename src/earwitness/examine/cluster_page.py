"""Which recordings are of one voice, as a tree: one self-contained page without scripts.

Every recording is a leaf; two branches meet at the mean log ratio between their recordings. Where they meet left of the
dashed line they are taken for one voice.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from importlib.resources import files

from markupsafe import Markup

from earwitness.evaluation.scoring.cluster_scores import Clustered
from earwitness.examine.svg import element, join
from earwitness.speaker.clustering import Clusters

ROW, LEFT, TOP, NAMES = 18, 24, 40, 575  # of the drawing; names stand at the right
WIDTH = 1000
MOST_DRAWN = 1_000  # recordings; the tree of more is no picture any more
_TITLE = "Voices told apart"


def render_clusters(clustered: Clustered, notes: Sequence[str]) -> str:
    """The page. Of more than 1,000 recordings it holds the notes only and says so."""
    many = len(clustered.names) > MOST_DRAWN
    said = [*notes, f"Not drawn: {len(clustered.names)} recordings are too many for a picture."] if many else notes
    style = (files("earwitness.examine") / "templates" / "clusters.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    paragraphs = join(element("p", note) for note in said)
    reading = (
        "Each line is a recording. Branches meet at the mean natural-log likelihood ratio between their recordings "
        "(left: more alike); those that meet left of the dashed line are taken for one voice and share a number. It is "
        "a way to sort recordings, not evidence that two are of one person."
    )
    picture = Markup("") if many else tree(clustered)
    body = element("h1", _TITLE) + paragraphs + element("p", reading, class_="note") + picture
    head = Markup(
        '<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>{}</title>'
    ).format(policy, _TITLE)
    whole = Markup('<!doctype html>\n<html lang="en"><head>{}<style>{}</style></head><body>{}</body></html>\n')
    return str(whole.format(head, Markup(style), body))


def tree(clustered: Clustered) -> Markup:
    """The tree as SVG, recordings in the order of its leaves."""
    clusters = clustered.clusters
    height = TOP + ROW * len(clustered.names) + 10
    parts = [*_axis(clusters, height), *_branches(clusters), *_leaves(clustered)]
    label = f"{clusters.count} voices in {len(clustered.names)} recordings"
    return element("svg", join(parts), viewBox=f"0 0 {WIDTH} {height}", role="img", aria_label=label)


def _span(clusters: Clusters) -> tuple[float, float]:
    """The log ratios at the left and at the right edge of the drawing."""
    found = [*clusters.heights.tolist(), clusters.threshold]
    return max(found) + 0.5, min(found) - 0.5


def _x(clusters: Clusters, llr: float) -> float:
    first, last = _span(clusters)
    return NAMES - 15 - (NAMES - 15 - LEFT) * (first - llr) / (first - last)


def _axis(clusters: Clusters, height: int) -> Iterator[Markup]:
    first, last = _span(clusters)
    for llr in range(int(last) - 1, int(first) + 2):
        if last <= llr <= first:
            x = _x(clusters, llr)
            yield element("text", f"{llr:+d}" if llr else "0", x=x, y=20, class_="axis")
            yield element("path", d=f"M{x:.1f} 26V{height}", class_="grid")
    x = _x(clusters, clusters.threshold)
    yield element("path", d=f"M{x:.1f} 26V{height}", class_="threshold")


def _branches(clusters: Clusters) -> Iterator[Markup]:
    """A bracket a join, from the two branches to where they meet."""
    count = len(clusters.labels)
    rows = {int(leaf): place for place, leaf in enumerate(clusters.order)}
    at = {leaf: (float(NAMES - 15), TOP + ROW * (row + 0.5)) for leaf, row in rows.items()}
    for number, (first, second) in enumerate(clusters.tree[:, :2].astype(int).tolist()):
        llr = float(clusters.heights[number])
        x = _x(clusters, llr)
        (x1, y1), (x2, y2) = at[first], at[second]
        kind = "joined" if llr >= clusters.threshold else "apart"
        yield element("path", d=f"M{x1:.1f} {y1:.1f}H{x:.1f}V{y2:.1f}H{x2:.1f}", class_=kind)
        at[count + number] = (x, (y1 + y2) / 2)


def _leaves(clustered: Clustered) -> Iterator[Markup]:
    for row, place in enumerate(clustered.clusters.order.tolist()):
        speaker = clustered.speakers[place]
        label = int(clustered.clusters.labels[place])
        y = TOP + ROW * (row + 0.5) + 4
        yield element("text", f"{label}", x=NAMES, y=y, class_=f"voice v{label % 2}")
        name = clustered.names[place] + (f" (known: {speaker})" if speaker else "")
        yield element("text", name, x=NAMES + 32, y=y, class_="name")
