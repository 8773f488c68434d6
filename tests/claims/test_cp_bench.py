"""CP-Bench's claim on tones and drawn recognisers: what each client knows, the whole harness, and its verdicts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from earwitness.claims import cp_bench, cp_material
from earwitness.claims.cp_bench import CLAIM, WAYS
from earwitness.claims.cp_listeners import Known, Listener, chosen
from earwitness.claims.cp_material import BenchMaterial, with_transcript
from earwitness.claims.ledger import details, read_result
from earwitness.claims.plan import arm_names
from earwitness.claims.running import run_claim
from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers import read_corpus
from earwitness.paralinguistic.emotion import EmotionNetwork
from earwitness.paralinguistic.emotion_losses import CATEGORY
from earwitness.paralinguistic.emotion_recipe import EmotionRecipe
from earwitness.paralinguistic.labels import CATEGORIES
from earwitness.speech_llm.bench.report import Asked as Wanted
from earwitness.speech_llm.bench.selfcheck import write_tone
from earwitness.speech_llm.bench.settings import TRANSCRIPT_TEMPLATE
from earwitness.speech_llm.clients.fencing import fenced
from earwitness.speech_llm.items import Item
from earwitness.speech_llm.mini.building import PERSONS, build_mini
from earwitness.speech_llm.mini.chance import MANNER, SEX, known
from earwitness.speech_llm.mini.recipe import MiniRecipe
from earwitness.training.left_out import KeptRows
from earwitness.training.recipe import read_recipe

ROOT = Path(__file__).resolve().parents[2]
RECIPE = MiniRecipe.model_validate(
    {
        "name": "tones",
        "corpus": "emodb",
        "topics": [
            {"transcript": f"Satz {n}.", "about": about}
            for n, about in enumerate(("a cloth", "Wednesday", "two papers"))
        ],
        "emotions": {"anger": "angry", "neutral": "neutral", "boredom": "bored"},
        "sets": {"C": 4, "DE": 6, "DG": 6, "CE": 4, "CG": 3},
    }
)
DESKS = (
    "Messages go to two desks. Desk 1 takes messages about a cloth in an angry voice and messages about the old man in "
    "a neutral voice. Desk 2 takes messages about a cloth in a neutral voice and messages about the old man in an "
    "angry voice. Which desk takes this message? Answer with desk 1 or desk 2."
)


class Drawn(BenchMaterial):
    """Manners are recognised but for every seventh clip, sex but for every fifth."""

    def manners(self, seed: int) -> dict[str, dict[str, float]]:
        return {
            item.clip_id: _shares(known(item)[MANNER], wrong=(place + seed) % 7 == 0)
            for place, item in enumerate(self.items)
        }

    @property
    def speakers(self) -> dict[str, dict[str, float] | None]:
        women = {item.clip_id: float(known(item)[SEX] == "f") for item in self.items}
        return {
            name: None if place % 5 == 0 else {PERSONS["f"]: woman, PERSONS["m"]: 1 - woman}
            for place, (name, woman) in enumerate(women.items())
        }


def _shares(manner: str, wrong: bool) -> dict[str, float]:
    """Boredom has no name."""
    angry = 0.9 if (manner == "anger") != wrong else 0.05
    return {"angry": angry, "neutral": 0.9 - angry if manner != "boredom" else 0.05}


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> BenchMaterial:
    folder = tmp_path_factory.mktemp("tones")
    rows = []
    for speaker in range(4):
        for text in range(3):
            for place, emotion in enumerate(("anger", "neutral", "boredom")):
                name = f"v{speaker}-{text}-{emotion}.wav"
                write_tone(folder / name, 100 + 37 * (9 * speaker + 3 * text + place))
                rows.append(
                    {"id": name, "path": name, "speaker": f"v{speaker}", "sex": "mf"[speaker % 2], "emotion": emotion}
                    | {"transcript": f"Satz {text}.", "corpus": "emodb", "licence": "CC0-1.0", "label": "bonafide"}
                )
    manifest = Manifest.from_table(pl.DataFrame(rows), folder)
    items = tuple(with_transcript(item) for item in build_mini(manifest, RECIPE, folder).items)
    learnt: EmotionRecipe = read_recipe(ROOT / "recipes" / "default" / "emotion.yaml", EmotionRecipe)
    return Drawn(items, folder, manifest, RECIPE, learnt, ("drawn",), "drawn", folder / "kept")


@pytest.fixture
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cp_bench, "Wanted", lambda seed: Wanted(resamples=200, seed=seed))


def figures(arm: str, material: BenchMaterial, folder: Path, seed: int = 1) -> dict[str, float]:
    return {figure.name: figure.value for figure in CLAIM.run(arm, seed, material, folder / arm).figures}


@pytest.mark.parametrize(
    ("knowledge", "answer"),
    [
        (Known(), "desk 1"),
        (Known(about="about the old man"), "desk 1"),
        (Known(manners={"angry": 0.9, "neutral": 0.1}), "desk 1"),
        (Known("about the old man", {"angry": 0.9, "neutral": 0.1}), "desk 2"),
        (Known("about a cloth", {"angry": 0.9, "neutral": 0.1}), "desk 1"),
        (Known("about a cloth", {"neutral": 0.1}), "desk 1"),  # angry has no name: it is what neutral is not
        (Known("about a cloth", {"neutral": 0.8}), "desk 2"),
        (Known("about a cloth", {"sad": 1.0}), "desk 1"),
    ],
)
def test_two_desks_take_words_and_voice_together(knowledge: Known, answer: str) -> None:
    assert chosen(DESKS, knowledge) == answer


def test_a_direct_question_takes_its_own_part() -> None:
    sounds = "How does the speaker sound: bored or angry? Answer with one of the two."
    speaks = "Who speaks: a man or a woman? Answer with one of the two."
    message = "What is the message: about a cloth, or about Wednesday? Answer with one of the two."
    assert chosen(sounds, Known(manners={"angry": 0.4, "neutral": 0.6})) == "bored"
    assert chosen(sounds, Known(manners={"angry": 0.6})) == "angry"
    assert chosen(speaks, Known(speakers={"a woman": 0.7, "a man": 0.3})) == "a woman"
    assert chosen(message, Known("about Wednesday")) == "about Wednesday"
    assert [chosen(one, Known()) for one in (sounds, speaks, message)] == ["bored", "a man", "about a cloth"]
    with pytest.raises(DataError, match="no question with two choices"):
        chosen("How many people speak?", Known())


def test_only_who_reads_takes_words_from_a_transcript() -> None:
    message = "What is the message: about a cloth, or about Wednesday? Answer with one of the two."
    prompt = TRANSCRIPT_TEMPLATE.format(transcript=fenced("Satz 1.", "transcript"), question=message)
    assert Listener("reads", {}, {"Satz 1.": "about Wednesday"}).answer([], prompt).text == "about Wednesday"
    assert Listener("does not").answer([], prompt).text == "about a cloth"


@pytest.mark.shows("cp-bench:6.5")
@pytest.mark.usefixtures("few_resamples")
def test_the_harness_says_of_each_client_what_it_is(material: BenchMaterial, tmp_path: Path) -> None:
    found = {arm: figures(arm, material, tmp_path) for arm in ("oracle", "audio-blind", "words", "manner", "both")}
    types = ("C", "DE", "DG", "CE", "CG")
    assert [found["oracle"][kind] for kind in types] == [100] * 5
    assert [found["audio-blind"][kind] for kind in types] == [50] * 5
    assert [found["words"][kind] for kind in types] == [100, 50, 50, 50, 50]
    assert [found["manner"][kind] for kind in ("C", "CE", "CG")] == [50] * 3
    assert min(found["manner"]["DE"], found["manner"]["DG"]) > 60
    assert min(found["both"][kind] for kind in types) > 60
    blind = found["audio-blind"]
    assert (blind["audio gain, low"], blind["audio gain"], blind["audio gain, high"]) == (0, 0, 0)
    assert blind["questions with the alarm"] >= 2
    assert found["oracle"]["questions with the alarm"] == found["both"]["questions with the alarm"] == 0
    assert found["words"]["beyond the words"] == 0
    assert found["both"]["audio gain, low"] > 0
    assert found["both"]["beyond the words, low"] > 0


@pytest.mark.shows("cp-bench:6.7")
@pytest.mark.usefixtures("few_resamples")
def test_a_judge_with_a_known_deviation_is_found_to_have_it(material: BenchMaterial, tmp_path: Path) -> None:
    many = [figures("both-judged-5-times", material, tmp_path / str(seed), seed) for seed in range(1, 7)]
    root = {name: np.sqrt(np.mean([one[name] ** 2 for one in many])) for name in many[0]}
    assert root["judge sd, found"] == pytest.approx(root["judge sd, expected"], rel=0.2)
    assert root["S_t off the calm judge's, found"] == pytest.approx(root["judge sd, expected"] / np.sqrt(5), rel=0.3)
    once = figures("both-judged-once", material, tmp_path)
    assert once["S_t off the calm judge's, expected"] == pytest.approx(root["judge sd, expected"])
    assert "judge sd, found" not in once


@pytest.mark.usefixtures("few_resamples")
def test_the_claim_is_judged(material: BenchMaterial, tmp_path: Path) -> None:
    result = run_claim(CLAIM, [1, 2, 3], material, tmp_path / "runs")
    result.write(tmp_path / "cp-bench.json")
    assert "both-shuffled" in details(read_result(tmp_path / "cp-bench.json"))
    verdicts = {(d.expected.better, d.expected.worse): d.verdict for d in result.judgement.differences}
    assert verdicts["both", "words"] == verdicts["both", "manner"] == verdicts["both", "both-shuffled"] == "seen"
    assert verdicts["both-shuffled", "audio-blind"] != "seen"
    errors = {arm.name: arm.error for arm in result.judgement.arms}
    assert errors["oracle"] == 0
    assert errors["audio-blind"] == 50
    assert arm_names(CLAIM.plan) == list(WAYS)


def test_the_error_is_unweighted_over_types() -> None:
    items = [_item(kind, clip) for kind, clip in (("C", "a"), ("C", "b"), ("C", "c"), ("DE", "a"))]
    tested = cp_material.TestedItems.of(items, 2)
    error = tested.error(1, np.array([100.0, 100.0, 40.0, 0.0]))
    assert tested.units.count == 3
    assert error(np.ones(3)) == pytest.approx(100 - (80 + 0) / 2)
    assert error(np.array([1.0, 0.0, 2.0])) == pytest.approx(100 - (60 + 0) / 2)


def _item(kind: str, clip: str) -> Item:
    return Item(f"{kind}{clip}", clip, f"{clip}.wav", "q?", "a", kind)  # type: ignore[arg-type]


def test_a_manifest_without_the_corpus_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (tmp_path / "rows.csv").write_text("path,corpus,speaker,emotion\na.wav,nemo,s1,anger\n")
    with pytest.raises(DataError, match="nothing of emodb"):
        BenchMaterial.read(tmp_path / "rows.csv", tmp_path)


def test_every_speaker_is_judged_by_a_head_that_learnt_from_the_others(
    material: BenchMaterial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = material.rows.table
    vectors = np.random.default_rng(1).normal(size=(len(table), 1, 12)).astype(np.float16)
    learnt: list[set[str]] = []

    def learn(network: EmotionNetwork, task: object, data: KeptRows, *rest: object, **more: object) -> None:
        """In place of training, a head that says which speakers it was given, by how sure it is of anger."""
        rows = table.filter(pl.col("id").is_in(data.ids))
        assert np.array_equal(data.vectors, vectors[table["id"].is_in(data.ids).to_numpy()])
        assert set(rows["emotion"]) == {"anger", "neutral"}  # boredom has no name
        learnt.append(set(rows["speaker"]))
        for parameter in network.parameters():
            torch.nn.init.zeros_(parameter)
        *_, last = network.heads[CATEGORY].parameters()
        last.data[CATEGORIES.index("angry")] = len(learnt)

    monkeypatch.setattr(cp_material, "pooled_vectors", lambda *args: vectors)
    monkeypatch.setattr(cp_material, "fit", learn)
    found = BenchMaterial.manners(replace_folder(material, tmp_path), 1)
    assert len(learnt) == 4
    for name, speaker in zip(table["id"], table["speaker"], strict=True):
        (place,) = [place for place, speakers in enumerate(learnt) if speaker not in speakers]
        assert len(learnt[place]) == 3
        assert found[name]["angry"] / found[name]["neutral"] == pytest.approx(np.exp(place + 1), rel=1e-3)
        assert set(found[name]) == {"angry", "neutral"}
    assert BenchMaterial.manners(replace_folder(material, tmp_path), 1) == found
    assert len(learnt) == 4  # what was recognised is kept


@pytest.mark.soak
def test_the_claim_on_real_recordings(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The published questions, with heads that learn for two epochs: words are at chance in context, both are not."""
    monkeypatch.chdir(ROOT)
    everything = read_corpus("earwitness-data", shared_data).manifest
    everything.filter(pl.col("corpus") == "emodb").write(tmp_path / "emodb.csv")
    whole = CLAIM.read(tmp_path / "emodb.csv", tmp_path / "kept")
    loop = whole.emotion.loop.model_copy(update={"epochs": 2})
    quick = dataclasses.replace(whole, emotion=whole.emotion.model_copy(update={"loop": loop}))
    words, both = (figures(arm, quick, tmp_path) for arm in ("words", "both"))
    assert [words[kind] for kind in ("C", "DE", "DG", "CE", "CG")] == [100, 50, 50, 50, 50]
    assert both["CE"] > 70
    assert both["beyond the words, low"] > 0


def replace_folder(material: BenchMaterial, folder: Path) -> BenchMaterial:
    return dataclasses.replace(material, folder=folder)
