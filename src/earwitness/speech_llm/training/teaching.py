"""A recipe's run: records on their sides, the adapter trained beside what is frozen, and the model as a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from earwitness.audio.windows import Whole
from earwitness.core.errors import DataError
from earwitness.core.hashing import sha256_data, sha256_file
from earwitness.core.records import RunRecord
from earwitness.corpora.leaks import audio_hashes, require_no_leaks
from earwitness.corpora.splits import split
from earwitness.nn.frontends import KeptConfig
from earwitness.speech_llm.training.decoder import TextDecoder
from earwitness.speech_llm.training.features import KeptFrames, Samples, stretch_of
from earwitness.speech_llm.training.folder import TASK, build_model, save_taught
from earwitness.speech_llm.training.mixtures import MixtureOrder
from earwitness.speech_llm.training.model import Asked, SpeechLanguageModel
from earwitness.speech_llm.training.prompt import PromptConfig, make_prompt, worded
from earwitness.speech_llm.training.recipe import SpeechLlmRecipe
from earwitness.speech_llm.training.records import Record, Side, read_records, require_separate, write_records
from earwitness.speech_llm.training.sentences import CORPUS_EMOTIONS, records_of
from earwitness.speech_llm.training.tasks import AnswerTask, Ear, QuestionBatches, QuestionsInOrder
from earwitness.training.data import read_rows
from earwitness.training.loop import FitResult, fit, seed_run
from earwitness.training.model_folder import DataSource, ModelInfo

RECORDS = "records.jsonl"


def teach(recipe: SpeechLlmRecipe, folder: str | Path, *, resume: bool = False, allow_leak: bool = False) -> Path:
    """Train the adapter as the recipe says and write `folder/model`; beside it all records with their sides.

    Gives the model's folder. Raises `DataError`, `LeakError`, `RecipeError`, `ModelError` and `UsageError`.
    """
    folder = Path(folder)
    records, notes = sides_of(recipe, allow_leak)
    folder.mkdir(parents=True, exist_ok=True)
    write_records(folder / RECORDS, records)
    seed_run(recipe.seed, "init")
    model = build_model(recipe.network)
    trainee = kept_trainee(model) if recipe.keep_features else model
    train = [one for one in on_side(records, "train") if recipe.kinds is None or one.task in recipe.kinds]
    dev = on_side(records, "dev")
    if not train:
        raise DataError("there is nothing to learn from", fix="Check the records' `split`, and the recipe's `kinds`.")
    result = learn(
        recipe, trainee, train, dev, [ear_of(recipe, model, side, folder) for side in (train, dev)], folder, resume
    )
    info = _described(recipe, records, notes, result)
    save_taught(folder / "model", model, info)
    return folder / "model"


def learn(
    recipe: SpeechLlmRecipe,
    trainee: SpeechLanguageModel,
    train: Sequence[Record],
    dev: Sequence[Record],
    ears: Sequence[Ear],
    folder: Path,
    resume: bool,
) -> FitResult:
    """`ears`: what the examples of train and of dev hear. Without dev nothing is judged on the way."""
    asked = {
        one.id: asked_of(one, trainee.decoder, recipe.network.prompt, recipe.network.metadata) for one in (*train, *dev)
    }
    order = MixtureOrder(
        [one.task for one in train], recipe.loop.batch_size, recipe.seed, recipe.draws or len(train), recipe.exponent
    )
    batches = QuestionBatches([one.id for one in train], ears[0], order)
    judged = QuestionsInOrder([one.id for one in dev], ears[1], recipe.loop.batch_size) if dev else None
    return fit(trainee, AnswerTask(asked), batches, judged, recipe, folder / "fit", resume=resume)


def kept_trainee(model: SpeechLanguageModel) -> SpeechLanguageModel:
    """The same adapter and decoder behind frames that were kept."""
    return SpeechLanguageModel(KeptConfig(dim=model.frontend.dim).build(), model.adapter, model.decoder)


def ear_of(recipe: SpeechLlmRecipe, model: SpeechLanguageModel, records: Sequence[Record], folder: Path) -> Ear:
    """What each record's example hears."""
    stretches = [stretch_of(record, recipe.data.audio_root) for record in records]
    samples = Samples(stretches, recipe.network.max_seconds)
    if not recipe.keep_features:
        return samples
    named = sha256_data([recipe.network.encoder.model_dump(mode="json"), recipe.network.pad_to_s])
    return KeptFrames(samples, model.frontend, named, folder / "features", recipe.network.pad_to_s)


def asked_of(record: Record, decoder: TextDecoder, prompt: PromptConfig, metadata: bool) -> Asked:
    """The prompt of a record with its answer, for training. Raises `DataError` where asked-for metadata lacks."""
    line = record.metadata_text if metadata else None
    if metadata and line is None:
        raise DataError(f"record '{record.id}' has no metadata_text", fix="Fill it in, or set metadata: false.")
    made = make_prompt(prompt, decoder, worded(record.instruction, line))
    return Asked(made, (*decoder.encode(record.output), decoder.end))


def on_side(records: Sequence[Record], side: Side) -> list[Record]:
    """The records of a side, in their order."""
    return [record for record in records if record.split == side]


def sides_of(recipe: SpeechLlmRecipe, allow_leak: bool = False) -> tuple[list[Record], list[str]]:
    """All records on their sides, and what a run record must say. Raises `LeakError` unless leaks are allowed."""
    if recipe.data.questions == "sentences":
        return _questions_about_sentences(recipe, allow_leak)
    records = [record for path in recipe.data.manifests for record in read_records(path)]
    if not allow_leak:
        require_separate(records, recipe.data.audio_root)
    return records, ["leaks between the sides were allowed"] if allow_leak else []


def _questions_about_sentences(recipe: SpeechLlmRecipe, allow_leak: bool) -> tuple[list[Record], list[str]]:
    rows, notes = read_rows(recipe.data)
    rows = rows.filter(pl.col("emotion").is_in(list(CORPUS_EMOTIONS)), pl.col("corpus") == "emodb")
    if not len(rows):
        raise DataError("there are no acted sentences", fix="Give a manifest with rows of the corpus emodb.")
    rows = split(rows, recipe.split)
    leaks = require_no_leaks(rows, "manner", (), audio_hashes(rows), allow_leak)
    emotions = [CORPUS_EMOTIONS[name] for name in rows.table["emotion"].to_list()]
    return records_of(rows, emotions), [*notes, *(f"leak allowed by name: {leak}" for leak in leaks)]


def _described(
    recipe: SpeechLlmRecipe, records: Sequence[Record], notes: Sequence[str], result: FitResult
) -> ModelInfo:
    inputs = {path.name: sha256_file(path) for path in recipe.data.manifests if path.is_file()}
    record = RunRecord.make(
        f"train {recipe.name}",
        recipe.model_dump(mode="json"),
        seed=recipe.seed,
        inputs=inputs,
        definitions={"nll": "mean cross-entropy of an answer token on dev, nats"},
        notes=[*notes, *(f"dev {name} {value:.4f}" for name, value in result.metrics.items())],
    )
    kinds = sorted({one.task for one in on_side(records, "train")})
    return ModelInfo(
        name=recipe.name,
        task=TASK,
        summary=recipe.notes,
        network=recipe.network.model_dump(mode="json"),
        windows=Whole(),
        polarity="none",
        licence=recipe.licence,
        data=tuple(DataSource(name=path.name, licence="as stated there") for path in recipe.data.manifests),
        limits=("questions of other kinds than it was taught",),
        extra={"kinds": list(kinds)},
        training=record.plain(),
    )
