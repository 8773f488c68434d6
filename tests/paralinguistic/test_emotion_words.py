"""Every word that a reader writes is in the label scheme that emotion models learn by."""

from __future__ import annotations

from earwitness.corpora.readers import acted, crema_d, esd, iemocap, nemo_emotions
from earwitness.paralinguistic.labels import CORPORA

WORDS = {
    "casia": acted.CASIA_EMOTIONS,
    "crema-d": crema_d.EMOTIONS,
    "emodb": acted.EMODB_EMOTIONS,
    "esd": esd.EMOTIONS,
    "iemocap": iemocap.EMOTIONS,
    "nemo": nemo_emotions.EMOTIONS,
    "ravdess": acted.RAVDESS_EMOTIONS,
    "savee": acted.SAVEE_EMOTIONS,
    "tess": acted.TESS_EMOTIONS,
}


def test_the_words_of_all_readers_are_mapped() -> None:
    assert WORDS.keys() == CORPORA.keys()
    for corpus, words in WORDS.items():
        assert set(words.values()) <= CORPORA[corpus].emotions.keys(), corpus


def test_their_intervals_of_intensity_are_those_of_the_scheme() -> None:
    for corpus, strengths in (("ravdess", acted.RAVDESS_STRENGTHS), ("crema-d", crema_d.STRENGTHS)):
        for level, interval in strengths.items():
            assert CORPORA[corpus].levels[level] == interval
