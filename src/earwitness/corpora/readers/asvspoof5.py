"""ASVspoof 5: the lists of track 1 (detection), and trials with enrolment of track 2 (spoofing-robust verification).

    T_0001 T_0000000000 F - - - AC3 A05 spoof -         ten fields, separated by blanks though the file ends in .tsv
    T_0001 T_0000000000 F - A05 spoof                   six fields: the lists before the release
    D_0062 D_0000000001 F A11 spoof                     a trial of track 2; the speaker is the claimed one
    D_4205 D_A0000000562,D_A0000000898                  the enrolment of a speaker in track 2

A coded file shares `codec_seed` with its original; where that is empty the file is an original. (arXiv 2408.08739)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from earwitness.core.errors import DataError
from earwitness.corpora.readers.base import Imported
from earwitness.corpora.readers.lists import LABELS, ListForm, read_list
from earwitness.corpora.readers.protocol import Protocol, read_protocol

WORDS = {"label": LABELS, "sex": {"F": "f", "M": "m"}}

TRACK1 = Protocol(
    name="asvspoof5",
    forms=(
        ListForm(
            ("speaker", "id", "sex", "codec", "codec_q", "codec_seed", "attack_tag", "system", "label", "-"),
            WORDS,
            no_system="bonafide",
        ),
        ListForm(("speaker", "id", "sex", "codec", "system", "label"), WORDS, no_system="bonafide"),
    ),
    folders=("ASVspoof5_protocols",),
    lists=("ASVspoof5.train.tsv", "ASVspoof5.dev.track_1.tsv", "ASVspoof5.eval.track_1.tsv"),
    audio={"T": ("flac_T",), "D": ("flac_D",), "E": ("flac_E_eval", "flac_E")},
)
KEYS = {"target": "target", "nontarget": "nontarget", "spoof": "spoof"}
TRIAL = ListForm(("speaker", "test", "sex", "system", "label"), {"label": KEYS, "sex": WORDS["sex"]})
ENROLMENT = ListForm(("id", "files"), {})


@dataclass(frozen=True)
class SasvTrials:
    """Trials of spoofing-robust speaker verification.

    `table` has one row a trial: `speaker` (who is claimed), `test` (the file), `sex`, `system`, and `label` (target,
    nontarget or spoof). `enrolment` has `speaker` and `file`, one row a recording that the speaker is known by.
    """

    table: pl.DataFrame
    enrolment: pl.DataFrame


def read_asvspoof5(path: Path) -> Imported:
    """A list of ASVspoof 5 track 1, or the folder that holds `ASVspoof5_protocols`."""
    imported = read_protocol(TRACK1, path)
    if "codec_seed" not in imported.manifest.table.columns:
        return imported
    source = pl.coalesce(pl.col("codec_seed"), pl.col("id"))  # an original and its coded forms share it
    return Imported(
        imported.manifest.with_table(imported.manifest.table.with_columns(split_group=source)), imported.notes
    )


def read_sasv_trials(trials: str | Path, enrolment: str | Path) -> SasvTrials:
    """Trials and enrolment of ASVspoof 5 track 2.

    Raises `DataError` naming the line for a bad one, a trial that stands there twice, and a speaker who is claimed
    and has no enrolment. A trial is no recording (one file stands in many), so these are no manifest; codecs stand in
    the lists of track 1.
    """
    table, _ = read_list(Path(trials), (TRIAL,))
    known, _ = read_list(Path(enrolment), (ENROLMENT,))
    files = known.select(pl.col("id").alias("speaker"), pl.col("files").str.split(",").alias("file")).explode("file")
    again = table.select("speaker", "test").is_duplicated()
    if again.any():
        speaker, test = table.select("speaker", "test").row(int(again.arg_max() or 0))
        raise DataError(f"the trial '{speaker} {test}' stands there twice", where=trials, fix="Keep one of them.")
    stranger = ~table["speaker"].is_in(known["id"].implode())
    if stranger.any():
        name = table["speaker"][int(stranger.arg_max() or 0)]
        raise DataError(
            f"speaker '{name}' has no enrolment in {enrolment}", where=trials, fix="Give the lists of one part."
        )
    return SasvTrials(table, files)
