"""The published trial lists of VoxCeleb1, recognised by their counts and, where the bytes agree too, their checksum.

Original and cleaned lists differ by about 0.1 % EER, and E and H are of VoxCeleb1's *training* speakers: a result that
does not say which list it is of cannot be compared. Counts and md5 checksums are those that PaddleSpeech prints and
checks for the files of the VoxCeleb site (PaddlePaddle/PaddleSpeech, examples/voxceleb/README.md and the download
script beside it); the counts of Vox1-O cleaned are told alike by several toolkits.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from earwitness.core.errors import DataError
from earwitness.evaluation.scoring.trials import TrialList, trial_text

_TEST_SPEAKERS = range(10_270, 10_310)  # of VoxCeleb1; all others from id10001 to id11251 are dev
_SPEAKERS = range(10_001, 11_252)
_NAMED = re.compile(r"vox(?:celeb)?1[\s_.-]*([oeh])(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class PublishedList:
    """A list as published: `name` says what it is and whether it is cleaned; `md5` is that of its file."""

    name: str
    file: str
    trials: int
    targets: int
    speakers: int
    md5: str

    @property
    def counts(self) -> str:
        """`37,611 trials, 18,802 target`."""
        return f"{self.trials:,} trials, {self.targets:,} target"

    @property
    def holds_dev_speakers(self) -> bool:
        """Whether a model that was trained on VoxCeleb1 knows its speakers."""
        return not self.name.startswith("Vox1-O")


PUBLISHED = (
    PublishedList("Vox1-O original", "veri_test.txt", 37_720, 18_860, 40, "29fc7cc1c5d59f0816dc15d6e8be60f7"),
    PublishedList("Vox1-O cleaned", "veri_test2.txt", 37_611, 18_802, 40, "b73110731c9223c1461fe49cb48dddfc"),
    PublishedList("Vox1-E original", "list_test_all.txt", 581_480, 290_743, 1251, "b9ecf7aa49d4b656aa927a8092844e4a"),
    PublishedList("Vox1-E cleaned", "list_test_all2.txt", 579_818, 289_921, 1251, "a53e059deb562ffcfc092bf5d90d9f3a"),
    PublishedList("Vox1-H original", "list_test_hard.txt", 552_536, 276_270, 1190, "21c341b6b2168eea2634df0fb4b8fff1"),
    PublishedList("Vox1-H cleaned", "list_test_hard2.txt", 550_894, 275_488, 1190, "857790e09d579a68eb2e339a090343c8"),
)


@dataclass(frozen=True)
class Recognised:
    """What a list is: `published` where its counts are those of a published one; `statement` says it in one line."""

    published: PublishedList | None
    statement: str


def recognise(trials: TrialList, path: str | Path) -> Recognised:
    """Which published list this is, by the numbers of trials and targets, in either form and whatever its name.

    A list whose file is named like one published list and holds the counts of another, or of none, is told so.
    """
    path = Path(path)
    found = next((p for p in PUBLISHED if (p.trials, p.targets) == (len(trials), trials.targets)), None)
    claimed = named_like(path.name)
    if found is None:
        said = f"{path.name}: {trials.summary}; no published VoxCeleb1 list, neither original nor cleaned"
        if claimed is not None:
            said += f", though named like {claimed.name} ({claimed.counts})"
        return Recognised(None, said)
    same = found.md5 in _checksums(trials, path)
    how = (
        "checksum as published" if same else "counts as published, checksum not: another order, other names, or edited"
    )
    said = f"{found.name}: {found.counts}, {found.speakers:,} speakers ({how})"
    if claimed is not None and claimed != found:
        said += f"; its file {path.name} is named like {claimed.name} ({claimed.counts})"
    return Recognised(found, said)


def named_like(file: str) -> PublishedList | None:
    """The published list that a file's name claims: `veri_test2.txt`, `vox1_O_cleaned.kaldi`, `vox1-H(cleaned).txt`."""
    stem = file.split(".")[0].lower()
    for published in PUBLISHED:
        if stem == published.file.split(".")[0]:
            return published
    if letter := _NAMED.search(file):
        kind = "cleaned" if "clean" in file.lower() else "original"
        return next(p for p in PUBLISHED if p.name == f"Vox1-{letter[1].upper()} {kind}")
    return None


def dev_speakers(speakers: frozenset[str]) -> list[str]:
    """The speakers who stand in VoxCeleb1's dev set, by their ids."""
    return sorted(name for name in speakers if _is_dev(name))


def _is_dev(name: str) -> bool:
    match = re.fullmatch(r"id(\d{5})", name)
    return match is not None and int(match[1]) in _SPEAKERS and int(match[1]) not in _TEST_SPEAKERS


def _checksums(trials: TrialList, path: Path) -> set[str]:
    """md5 of the file as it is, and of the same trials in VoxCeleb's own form."""
    found = set()
    try:
        found.add(_md5(path.read_bytes()))
        found.add(_md5(trial_text(trials, "voxceleb").encode("utf-8")))
    except (OSError, DataError):
        pass  # a list that is gone, or cannot be written in that form, has no such checksum
    return found


def _md5(data: bytes) -> str:
    """To compare with published checksums; nothing is trusted because of it."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
