"""Where a contrast puts labels: ACCon's angles follow their distances, SupCon's do not."""

from __future__ import annotations

import pytest
from accon_toy import Geometry, learnt, mean_of

from earwitness.nn.losses import AcconConfig, SupConConfig

TERMS = {
    "none": None,
    "SupCon 0.1": SupConConfig(tau=0.1),
    "SupCon 1": SupConConfig(tau=1.0),
    "ACCon formula 0.1": AcconConfig(tau=0.1, span=100),
    "ACCon release form 0.1": AcconConfig(tau=0.1, span=100, form="release"),
    "ACCon formula 1": AcconConfig(tau=1.0, span=100),
    "ACCon release form 1": AcconConfig(tau=1.0, span=100, form="release"),
}


def lie_in_order(accon: Geometry, supcon: Geometry) -> None:
    """What the sheet asks of ACCon with a temperature of 1, and that it is no accident of scale."""
    assert accon.deviation < 0.6 * supcon.deviation
    assert accon.correlation > supcon.correlation + 0.02


@pytest.mark.shows("accon:7.6")
def test_angles_follow_distances_of_labels() -> None:
    """The small form: 80 points, one seed, half the epochs."""
    found = {name: learnt(TERMS[name], 80, 0, epochs=60) for name in ("SupCon 0.1", "SupCon 1", "ACCon formula 1")}
    lie_in_order(found["ACCon formula 1"], found["SupCon 0.1"])
    lie_in_order(found["ACCon formula 1"], found["SupCon 1"])
    assert found["ACCon formula 1"].deviation < 0.25


@pytest.mark.soak
@pytest.mark.shows("accon:7.6")
@pytest.mark.parametrize("points", [320, 80])
def test_the_geometry_of_every_term(points: int) -> None:
    """Three seeds, 120 epochs. No gain in error is asserted: there is none to speak of."""
    found = {name: mean_of([learnt(term, points, seed) for seed in range(3)]) for name, term in TERMS.items()}
    for name, one in found.items():
        print(f"| {name} | {points} | {one.mae:.2f} | {one.correlation:.2f} | {one.deviation:.2f} |")
    for tau in ("0.1", "1"):
        lie_in_order(found["ACCon formula 1"], found[f"SupCon {tau}"])
        lie_in_order(found["ACCon release form 1"], found[f"SupCon {tau}"])
    # at a small temperature the formula's gradient dies, the released form's lives longer
    assert found["ACCon release form 0.1"].deviation < 0.7 * found["ACCon formula 0.1"].deviation
    assert found["ACCon formula 0.1"].deviation < found["none"].deviation
    assert found["ACCon formula 1"].deviation < 0.3
