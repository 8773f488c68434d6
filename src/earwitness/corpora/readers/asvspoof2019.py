"""ASVspoof 2019: countermeasure protocols of logical access (LA) and of physical access (PA, replay).

    LA_0039 LA_E_2834763 - A11 spoof            speaker, file, -, attack, key
    PA_0079 PA_T_0000001 aaa - bonafide         speaker, file, environment, attack, key

Environments are three letters a to c: room size, reverberation time, distance from talker to microphone. Attacks of PA
are two letters A to C: distance from attacker to talker, quality of the replay device. (Wang et al., arXiv 1911.01601)
"""

from __future__ import annotations

from pathlib import Path

from earwitness.corpora.readers.base import Imported
from earwitness.corpora.readers.lists import ListForm
from earwitness.corpora.readers.protocol import Protocol, read_protocol


def _protocol(track: str, third: str) -> Protocol:
    return Protocol(
        name=f"asvspoof2019-{track.lower()}",
        forms=(ListForm(("speaker", "id", third, "system", "label")),),
        folders=(f"ASVspoof2019_{track}_cm_protocols",),
        lists=tuple(f"ASVspoof2019.{track}.cm.{part}.txt" for part in ("train.trn", "dev.trl", "eval.trl")),
        audio={part[0].upper(): (f"ASVspoof2019_{track}_{part}/flac",) for part in ("train", "dev", "eval")},
    )


LA = _protocol("LA", "-")
PA = _protocol("PA", "environment")


def read_asvspoof2019_la(path: Path) -> Imported:
    """A countermeasure protocol of ASVspoof 2019 LA, or the folder that holds `ASVspoof2019_LA_cm_protocols`."""
    return read_protocol(LA, path)


def read_asvspoof2019_pa(path: Path) -> Imported:
    """As LA, of physical access; column `environment`, the attack id is the `system`."""
    return read_protocol(PA, path)
