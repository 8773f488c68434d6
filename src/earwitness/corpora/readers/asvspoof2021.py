"""ASVspoof 2021: the keys of logical access (LA), deepfake (DF) and physical access (PA).

    LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval
    LA_0023 DF_E_2000011 nocodec asvspoof A14 spoof notrim progress traditional_vocoder - - - -
    PA_0010 PA_E_1000001 R3 M3 d4 r1 m1 s4 c4 spoof notrim eval

These are `trial_metadata.txt` of the folder `CM` in the key archives. The trial list that lies beside the audio has one
name a line and no labels; it is read too, to be scored. Papers report the subset `eval`. (Liu et al., arXiv 2210.02437)
"""

from __future__ import annotations

from pathlib import Path

from earwitness.corpora.readers.base import Imported
from earwitness.corpora.readers.lists import LABELS, ListForm
from earwitness.corpora.readers.protocol import Protocol, read_protocol

# keys of the challenge's first stage call the third subset `hidden_track`
SUBSETS = {"eval": "eval", "progress": "progress", "hidden": "hidden", "hidden_track": "hidden"}
WORDS = {"label": LABELS, "subset": SUBSETS}
TRIALS = ListForm(("id",), {})


def _protocol(track: str, form: ListForm) -> Protocol:
    audio = f"ASVspoof2021_{track}_eval/flac"
    return Protocol(
        name=f"asvspoof2021-{track.lower()}",
        forms=(form, TRIALS),
        folders=(f"keys/{track}/CM", f"{track}/CM"),
        lists=("trial_metadata.txt",),
        audio={"E": ("flac", audio)},
    )


LA = _protocol(
    "LA",
    # "bonafide" is what a bona fide line of LA has for its attack
    ListForm(("speaker", "id", "codec", "transmission", "system", "label", "trim", "subset"), WORDS, "bonafide"),
)
DF = _protocol(
    "DF",
    ListForm(
        (
            *("speaker", "id", "codec", "source", "system", "label", "trim", "subset"),
            *("vocoder", "task", "team", "gender_pair", "language"),
        ),
        WORDS,
    ),
)
PA = _protocol(
    "PA",
    ListForm(
        (
            *("speaker", "id", "asv_room", "asv_mic", "distance_to_asv", "attacker_room", "attacker_mic"),
            *("system", "attacker_to_talker", "label", "trim", "subset"),
        ),
        WORDS,
    ),
)


def read_asvspoof2021_la(path: Path) -> Imported:
    """The key of ASVspoof 2021 LA (`trial_metadata.txt`), or a folder with `keys/LA/CM`; column `subset`."""
    return _with_subsets(read_protocol(LA, path))


def read_asvspoof2021_df(path: Path) -> Imported:
    """As LA, of the deepfake track; columns `source`, `vocoder`, `task`, `team`, `gender_pair`."""
    return _with_subsets(read_protocol(DF, path))


def read_asvspoof2021_pa(path: Path) -> Imported:
    """As LA, of physical access; the replay device (s2 to s4) is the `system`, rooms and distances are columns."""
    return _with_subsets(read_protocol(PA, path))


def _with_subsets(imported: Imported) -> Imported:
    """With a note that counts the subsets, or says that there are no labels."""
    table = imported.manifest.table
    if "subset" not in table.columns:
        return Imported(imported.manifest, (*imported.notes, "this list has no labels: the key is trial_metadata.txt"))
    counts = ", ".join(f"{name} {count:,}" for name, count in table["subset"].value_counts().sort("subset").rows())
    return Imported(imported.manifest, (*imported.notes, f"subsets: {counts}; papers report eval"))
