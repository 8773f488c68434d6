"""The recipe of a multitask emotion model (SpeechEQ, arXiv 2206.13101, a reconstruction; CTC after Cai et al. 2021)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from earwitness.audio.windows import Sliding, WindowPolicy
from earwitness.core.errors import RecipeError
from earwitness.corpora.splits import ByColumn, SplitConfig
from earwitness.paralinguistic.emotion import HeadsConfig, SpecAugmentConfig, require_encoder
from earwitness.paralinguistic.emotion_losses import PHONEMES, LossesConfig
from earwitness.paralinguistic.labels import LabelsConfig
from earwitness.paralinguistic.transcripts import CharactersConfig, SpellingConfig
from earwitness.training.left_out import LeftOutConfig
from earwitness.training.recipe import UtteranceRecipe


class EmotionRecipe(UtteranceRecipe):
    """`corpora` are the rows that are used, by their column `corpus` (all where empty), read by `labels`.

    `network` is one branch without `outputs`: the shared encoder and its pooling; `heads` and `losses` say what stands
    on it. Transcripts are spelt as `spelling` says; an utterance that is cut to `audio.crop_s` has none. `mixing` sqrt
    draws a corpus with probability ~ sqrt(rows), within it every class alike; balance goes by `balance`.
    `alignment: {rule: none}` counts on which steps the gradients of the tasks conflict at the shared encoder, other
    rules repair that (an extension of ours). Of the recordings of dev that are answered `answer_accuracy` are right:
    the smallest probability that reaches it, or 0.5, is the threshold under which a model gives no answer.
    With `left_out` a head is trained on frozen branches and judged by leaving out every speaker once
    (`training.left_out`); then there are no sides, `split` says nothing, and rows are drawn by `balance`. It may be
    `relative`: then it hears how a recording differs from the mean of the speaker's others.
    """

    task: Literal["emotion"]
    corpora: tuple[str, ...] = ()
    labels: LabelsConfig = LabelsConfig()
    split: SplitConfig = ByColumn(unit="speaker", together=("split_group",), dev=0.2, test=0.2)
    left_out: LeftOutConfig | None = None
    relative: bool = False
    heads: HeadsConfig = HeadsConfig()
    losses: LossesConfig = LossesConfig()
    spelling: SpellingConfig = CharactersConfig()
    spec_augment: SpecAugmentConfig | None = None
    mixing: Literal["sqrt", "balance"] = "sqrt"
    balance: tuple[str, ...] = Field(("corpus", "emotion"), min_length=1)
    answer_accuracy: float = Field(0.8, gt=0, le=1)
    windows: WindowPolicy = Sliding(length_s=10.0, hop_s=10.0, repeat=False)

    @model_validator(mode="after")
    def _fits(self) -> EmotionRecipe:
        try:
            require_encoder(self.network, self.losses.tasks)
        except RecipeError as error:
            raise ValueError(str(error)) from None
        if self.paths == "dual" or self.complementary is not None:
            raise ValueError("emotion models have one path and no `complementary`")
        if self.left_out is not None and (PHONEMES in self.losses.tasks or self.spec_augment is not None):
            raise ValueError("`left_out` trains on kept vectors: it has no frames for phonemes or `spec_augment`")
        if self.relative and self.left_out is None:
            raise ValueError("`relative` needs `left_out`: the mean of a speaker is that of kept vectors")
        if self.alignment is not None and len(self.losses.tasks) < 2:
            raise ValueError("`alignment` needs a second task: give one of `losses` a weight above 0")
        return self
