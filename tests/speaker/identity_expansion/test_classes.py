"""The label map, and how many classes there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from earwitness.core.errors import DataError
from earwitness.speaker.identity_expansion.classes import ClassMap, class_map


@pytest.mark.shows("inside:6.5")
def test_real_then_speeds_then_synthetic(tmp_path: Path) -> None:
    classes = class_map(["b", "a", "c"], (1.0, 0.9, 1.1), ["ins_2", "ins_1"])
    assert len(classes) == 3 * 3 + 2
    assert len(class_map(["b", "a", "c"], synthetic=["ins_1"])) == 3 + 1
    assert [classes.index(name) for name in ("a", "b", "c", "ins_1", "ins_2")] == [0, 1, 2, 9, 10]
    kinds = [kind for _, kind, _, _ in classes.rows()]
    assert kinds == ["real"] * 3 + ["speed"] * 6 + ["synthetic"] * 2
    assert classes.rows()[4] == (4, "speed", "b", 0.9)  # speaker k of N at speed i is k + i N
    assert str(classes) == "11 classes: 3 real (0 to 2), 6 speed-perturbed, 2 synthetic"
    classes.write(tmp_path / "classes.tsv")
    lines = (tmp_path / "classes.tsv").read_text().splitlines()
    assert lines[0] == "class\tkind\tspeaker\tspeed"
    assert lines[9] == "8\tspeed\tc\t1.1"
    assert lines[11] == "10\tsynthetic\tins_2\t1"
    assert len(lines) == 12


def test_one_name_is_one_class() -> None:
    with pytest.raises(DataError, match="'a' would be two classes"):
        ClassMap(("a", "b"), (1.0,), ("a",))
    with pytest.raises(DataError, match="'x' is no class"):
        class_map(["a"]).index("x")
