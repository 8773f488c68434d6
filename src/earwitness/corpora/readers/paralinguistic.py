"""The readers of corpora with emotions, ages and sexes by name."""

from __future__ import annotations

from collections.abc import Mapping

from earwitness.corpora.readers.acted import read_casia, read_emodb, read_ravdess, read_savee, read_tess
from earwitness.corpora.readers.base import Reader
from earwitness.corpora.readers.common_voice import read_common_voice
from earwitness.corpora.readers.crema_d import read_crema_d
from earwitness.corpora.readers.esd import read_esd
from earwitness.corpora.readers.iemocap import read_iemocap
from earwitness.corpora.readers.nemo_emotions import read_nemo_emotions
from earwitness.corpora.readers.timit import read_timit
from earwitness.corpora.readers.voxceleb_ages import read_voxceleb_ages

PARALINGUISTIC_READERS: Mapping[str, Reader] = {
    "casia": read_casia,
    "common-voice": read_common_voice,
    "crema-d": read_crema_d,
    "emodb": read_emodb,
    "esd": read_esd,
    "iemocap": read_iemocap,
    "nemo-emotions": read_nemo_emotions,
    "ravdess": read_ravdess,
    "savee": read_savee,
    "tess": read_tess,
    "timit": read_timit,
    "voxceleb-ages": read_voxceleb_ages,
}
