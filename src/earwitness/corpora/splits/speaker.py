"""The speaker protocol: whole corpora for test, dev speakers from named corpora, all others train."""

from __future__ import annotations

from typing import Literal

import polars as pl
from pydantic import Field

from earwitness.core.config import Config
from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.splits.grouping import NON_COMMERCIAL, connected, draw, has_licence, with_split


class SpeakerSplit(Config):
    """The first `dev_speakers` speakers, in hash order, of `dev_corpora` (all corpora where empty) go to dev.

    All of `test_corpora` goes to test, for results on recordings of another kind than any that was learnt from. All of
    `calibration_corpora` goes to dev: no epoch is chosen on them, but likelihood ratios are fitted on them too, since a
    calibration on familiar recordings alone claims too much on others.
    Speakers who share a recording or a split group move together, to test where one of them stands there. Left out:
    spoofs, rows without a speaker, corpora of `exclude_corpora` (e.g. where the speaker is only inferred), licences
    of `exclude_licences`.
    """

    kind: Literal["speaker"] = "speaker"
    dev_speakers: int = Field(30, ge=1)
    dev_corpora: tuple[str, ...] = ()
    test_corpora: tuple[str, ...] = ()
    calibration_corpora: tuple[str, ...] = ()
    exclude_corpora: tuple[str, ...] = ()
    exclude_licences: tuple[str, ...] = NON_COMMERCIAL
    seed: int = 0

    def split(self, manifest: Manifest) -> Manifest:
        """Raises `DataError` when a named corpus is not there or no speaker would be left to train on."""
        table = manifest.table.with_columns(_licensed_out=has_licence(self.exclude_licences))
        corpus = table["corpus"] if "corpus" in table.columns else pl.Series([None] * table.height, dtype=pl.String)
        named = (*self.dev_corpora, *self.calibration_corpora, *self.test_corpora, *self.exclude_corpora)
        _check_corpora(named, corpus)
        reasons = [
            self._reason(*values)
            for values in zip(table["label"], table["speaker"], corpus, table["_licensed_out"], strict=True)
        ]
        rows = table.select("speaker", "source_recording", "split_group").iter_rows()
        keys = [
            [] if reason else [f"{name}:{value}" for name, value in zip("srg", row, strict=True) if value is not None]
            for row, reason in zip(rows, reasons, strict=True)
        ]
        groups = connected(keys)
        placed = [(group, where) for group, where in zip(groups, corpus, strict=True) if group]
        test = {group for group, where in placed if where in self.test_corpora}
        calibration = {group for group, where in placed if where in self.calibration_corpora} - test
        rest = [(group, where) for group, where in placed if group not in test | calibration]
        eligible = {group for group, where in rest if not self.dev_corpora or where in self.dev_corpora}
        if self.dev_speakers >= len({group for group, _ in rest}):
            raise DataError(
                f"{self.dev_speakers} dev speakers leave none to train on", fix="Ask for fewer dev speakers."
            )
        dev = set(sorted(eligible, key=lambda group: draw(self.seed, group))[: self.dev_speakers])
        sides = dict.fromkeys((group for group, _ in rest), "train") | dict.fromkeys(dev, "dev")
        sides |= dict.fromkeys(calibration, "dev") | dict.fromkeys(test, "test")
        return with_split(manifest, [None if group is None else sides[group] for group in groups], reasons)

    def _reason(self, label: str | None, speaker: str | None, corpus: str | None, licensed_out: bool) -> str | None:
        if label == "spoof":
            return "spoof"
        if speaker is None:
            return "speaker not known"
        if corpus in self.exclude_corpora:
            return "corpus excluded"
        return "licence excluded" if licensed_out else None


def _check_corpora(named: tuple[str, ...], corpus: pl.Series) -> None:
    there = sorted(corpus.drop_nulls().unique())
    for name in named:
        if name not in there:
            raise DataError(f"there is no corpus '{name}'", fix=f"Corpora: {', '.join(there) or 'none named'}.")
