"""CtrSVDD, the controlled set of the singing voice deepfake challenge 2024: `train.txt`, `dev.txt` and `test.txt`.

    m4singer CtrSVDD_0110 CtrSVDD_0110_D_0015416 - - bonafide           source, singer, file, -, attack, label
    jvsmusic CtrSVDD_0097 CtrSVDD_0097_D_0010993 - A06 deepfake

The organisers' figures leave out attack A14 and the bona fide rows of `acesinger`. (Zang et al., arXiv 2406.02438)
"""

from __future__ import annotations

from pathlib import Path

from earwitness.corpora.readers.base import Imported
from earwitness.corpora.readers.lists import ListForm
from earwitness.corpora.readers.protocol import Protocol, read_protocol

CTRSVDD = Protocol(
    name="ctrsvdd",
    forms=(
        ListForm(
            ("source", "speaker", "id", "-", "system", "label"),
            {"label": {"bonafide": "bonafide", "deepfake": "spoof"}},
        ),
    ),
    folders=(),
    lists=("train.txt", "dev.txt", "test.txt"),
    audio={"T": ("train_set",), "D": ("dev_set",), "E": ("test_set",)},
)


def read_ctrsvdd(path: Path) -> Imported:
    """A list of CtrSVDD, or the folder that holds `train.txt`, `dev.txt` or `test.txt`; column `source`."""
    return read_protocol(CTRSVDD, path)
