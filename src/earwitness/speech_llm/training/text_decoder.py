"""A small language model of our own, for machines without a large one: pretrained on text in minutes, then frozen.

It is written as a folder in transformers' form, the same that any other decoder is read from.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from earwitness.core.config import Config
from earwitness.core.errors import DataError, UsageError
from earwitness.core.records import RunRecord
from earwitness.speech_llm.training.mixtures import MixtureOrder
from earwitness.speech_llm.training.model import Asked, answer_losses
from earwitness.speech_llm.training.prompt import SPEECH, TEXT, Prompt, PromptConfig
from earwitness.speech_llm.training.sentences import told_clips
from earwitness.speech_llm.training.tasks import AnswerTask, QuestionBatches, QuestionsInOrder
from earwitness.training.loop import fit, seed_run
from earwitness.training.recipe import DataConfig, Recipe

TASK = "text-decoder"
UNKNOWN, END = "<unk>", "<eos>"
DEV = 256  # texts


class LinesConfig(Config):
    """Texts of a UTF-8 file, one a line; every token of them is learnt."""

    kind: Literal["lines"] = "lines"
    path: Path


class SentencesConfig(Config):
    """`count` invented clips in words with a question and its answer (`sentences.told_clips`); answers are learnt.

    `prompt` must be the one that the adapter is taught with later.
    """

    kind: Literal["sentences"] = "sentences"
    count: int = Field(20_000, ge=1)
    prompt: PromptConfig = PromptConfig()


TextConfig = Annotated[LinesConfig | SentencesConfig, Field(discriminator="kind")]


class GptConfig(Config):
    """A decoder-only Transformer in the form of GPT-2. `vocabulary`: the most frequent words that get a token."""

    width: int = Field(96, ge=8)
    layers: int = Field(3, ge=1)
    heads: int = Field(4, ge=1)
    positions: int = Field(512, ge=16)
    vocabulary: int = Field(4000, ge=16)


class TextDecoderRecipe(Recipe):
    """What text a small decoder learns from, and how large it is. `data` is not read."""

    task: Literal["text-decoder"]
    data: DataConfig = DataConfig(manifests=(Path("text"),))
    text: TextConfig = SentencesConfig()
    decoder: GptConfig = GptConfig()
    draws: int = Field(6400, ge=1)  # texts an epoch


def pretrain_decoder(recipe: TextDecoderRecipe, folder: str | Path, *, resume: bool = False) -> Path:
    """Train on the text, and write `folder/decoder`. Gives that folder. Raises `DataError` for text that is none."""
    folder = Path(folder)
    texts = list(_texts(recipe))
    if len(texts) <= DEV:
        raise DataError(f"{len(texts)} texts are too few", fix=f"Give more than {DEV}.")
    tokenizer = make_tokenizer([f"{before} {answer}" for before, answer in texts], recipe.decoder.vocabulary)
    asked = {str(number): _asked(tokenizer, *text) for number, text in enumerate(texts)}
    if (longest := max(len(one.prompt.after) + len(one.answer) for one in asked.values())) > recipe.decoder.positions:
        raise DataError(
            f"a text has {longest} tokens", fix=f"decoder.positions is {recipe.decoder.positions}: raise it."
        )
    seed_run(recipe.seed, "init")
    model = _Trainee(build_network(recipe.decoder, tokenizer))
    dev, train = [str(n) for n in range(DEV)], [str(n) for n in range(DEV, len(texts))]
    order = MixtureOrder(["text"] * len(train), recipe.loop.batch_size, recipe.seed, recipe.draws)
    fit(
        model,
        AnswerTask(asked),
        QuestionBatches(train, _silence, order),
        QuestionsInOrder(dev, _silence, recipe.loop.batch_size),
        recipe,
        folder / "fit",
        resume=resume,
    )
    RunRecord.make(f"train {recipe.name}", recipe.model_dump(mode="json"), seed=recipe.seed).write(
        folder / "record.json"
    )
    return write_decoder(model.network, tokenizer, folder / "decoder")


def write_decoder(network: Any, tokenizer: Any, folder: Path) -> Path:
    """A folder in transformers' form, whole or not at all; one that stands there is replaced."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".part"))
    try:
        network.save_pretrained(part, safe_serialization=True)
        tokenizer.save_pretrained(part)
        if folder.exists():
            shutil.rmtree(folder)
        part.rename(folder)
    except OSError as error:
        raise UsageError(f"cannot be written ({error.strerror})", where=folder, fix="Choose another place.") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def make_tokenizer(texts: Sequence[str], vocabulary: int) -> Any:
    """Words, marks and single digits, in lower case: the most frequent ones of the texts."""
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    words = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Digits(individual_digits=True)]
    )
    trainer = trainers.WordLevelTrainer(vocab_size=vocabulary, special_tokens=[UNKNOWN, END], show_progress=False)
    words.train_from_iterator(texts, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token=UNKNOWN, eos_token=END, pad_token=END, clean_up_tokenization_spaces=False
    )


class _Trainee(nn.Module):
    """The language model alone, called as `AnswerTask` calls: waveforms are not heard."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, waveforms: Tensor, lengths: Tensor, asked: Sequence[Asked]) -> tuple[Tensor, Tensor]:
        """The summed cross-entropy of each answer, and its tokens, [B] each."""
        rows = [torch.tensor([*one.prompt.after, *one.answer], device=waveforms.device) for one in asked]
        answers = [
            torch.arange(len(row), device=row.device) >= len(one.prompt.after)
            for row, one in zip(rows, asked, strict=True)
        ]
        tokens, answer, mask = (
            nn.utils.rnn.pad_sequence(parts, batch_first=True)
            for parts in (rows, answers, [torch.ones_like(row) for row in rows])
        )
        return answer_losses(self.network(input_ids=tokens, attention_mask=mask).logits, tokens, answer)


def build_network(config: GptConfig, tokenizer: Any) -> Any:
    """With random weights, for the words of a tokeniser: a `GPT2LMHeadModel`."""
    import transformers

    settings = transformers.GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=config.positions,
        n_embd=config.width,
        n_layer=config.layers,
        n_head=config.heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return transformers.GPT2LMHeadModel(settings)


def _texts(recipe: TextDecoderRecipe) -> Iterator[tuple[str, str]]:
    """(what is only read, what is learnt) of each text."""
    if isinstance(recipe.text, LinesConfig):
        try:
            lines = recipe.text.path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"cannot be read as text ({error})", where=recipe.text.path) from None
        yield from (("", line) for line in lines if line.strip())
        return
    template = recipe.text.prompt.template
    for told in told_clips(recipe.text.count, recipe.seed):
        yield template.replace(SPEECH, told.described).replace(TEXT, told.instruction), told.answer


def _asked(tokenizer: Any, before: str, answer: str) -> Asked:
    read, learnt = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (before, answer))
    return Asked(Prompt((), tuple(read)), (*learnt, tokenizer.eos_token_id))


def _silence(place: int) -> Tensor:
    return torch.zeros(1)
