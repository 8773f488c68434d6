"""The small benchmark: at chance without hearing by construction, and the same each time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from earwitness.cli.bench_build import build
from earwitness.core.errors import DataError, RecipeError
from earwitness.core.hashing import sha256_file
from earwitness.corpora.manifest import Manifest
from earwitness.speech_llm.items import Item, Tag, read_items
from earwitness.speech_llm.mini.building import build_mini
from earwitness.speech_llm.mini.chance import SET, best_accuracy, chances, known, require_chance, tag
from earwitness.speech_llm.mini.pairs import both_right, contradiction_pairs
from earwitness.speech_llm.mini.recipe import MiniRecipe, read_recipe

ROOT = Path(__file__).resolve().parents[3]
RECIPE = ROOT / "recipes" / "bench" / "earwitness-cp-mini.yaml"
SHIPPED = ROOT / "recipes" / "bench" / "earwitness-cp-mini"
HALF = Fraction(1, 2)
SMALL = MiniRecipe.model_validate({"sets": {"C": 3, "DE": 6, "DG": 3, "CE": 4, "CG": 3}})


def corpus(folder: Path, speakers: int = 4, texts: int = 3) -> Manifest:
    """Four speakers say three sentences in three emotions; files that are no sound, since nothing is heard."""
    rows = [
        {
            "path": f"v{speaker}/{text}-{emotion}.wav",
            "speaker": f"v{speaker}",
            "sex": "mf"[speaker % 2],
            "emotion": emotion,
            "transcript": f"Sentence {text}.",
        }
        for speaker in range(speakers)
        for text in range(texts)
        for emotion in ("anger", "neutral", "sadness")
    ]
    for row in rows:
        path = folder / str(row["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(row), encoding="utf-8")
    return Manifest(pl.DataFrame(rows), folder)


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> tuple[Item, ...]:
    folder = tmp_path_factory.mktemp("corpus")
    return build_mini(corpus(folder), SMALL, folder).items


@pytest.fixture(scope="module")
def shipped() -> tuple[Item, ...]:
    return tuple(read_items(SHIPPED / "items.jsonl"))


def of(items: tuple[Item, ...], kind: str) -> list[Item]:
    return [item for item in items if item.type == kind]


def tags(item: Item, *names: str) -> Hashable:
    return (item.question, *(tag(item, name) for name in names))


@pytest.mark.parametrize("which", ["items", "shipped"])
def test_no_predictor_without_hearing_is_better_than_chance(which: str, request: pytest.FixtureRequest) -> None:
    """The best of all predictors, by counting: exactly one half, whatever it knows but what is asked."""
    given: tuple[Item, ...] = request.getfixturevalue(which)
    assert {item.type for item in given} == {"C", "DE", "DG", "CE", "CG"}
    assert all(len(item.choices) == 2 and item.label in item.choices for item in given)
    for kind in ("C", "DE", "DG", "CE", "CG"):
        assert best_accuracy(of(given, kind), lambda item: item.question) == HALF
        assert best_accuracy(of(given, kind), lambda item: (item.question, item.choices, tag(item, SET))) == HALF
    for kind in ("DE", "CE"):  # words, and who speaks
        assert best_accuracy(of(given, kind), lambda item: tags(item, "words", "speaker", "sex", "set")) == HALF
    for kind in ("DG", "CG"):  # words and emotion
        assert best_accuracy(of(given, kind), lambda item: tags(item, "words", "emotion", "set")) == HALF
    for kind in ("C", "CE", "CG"):  # all of the voice, without the words
        assert best_accuracy(of(given, kind), lambda item: tags(item, "emotion", "speaker", "sex", "set")) == HALF
    require_chance(given)


@pytest.mark.parametrize("which", ["items", "shipped"])
def test_words_and_manner_together_give_every_answer(which: str, request: pytest.FixtureRequest) -> None:
    given: tuple[Item, ...] = request.getfixturevalue(which)
    for kind in ("C", "DE", "DG", "CE", "CG"):
        assert best_accuracy(of(given, kind), lambda item: tags(item, "words", "emotion", "sex")) == 1
    for item in of(given, "CE"):
        assert item.label == rule(item)


@cache
def recipe() -> MiniRecipe:
    return read_recipe(RECIPE)


def rule(item: Item) -> str:
    """The desk of a message, worked out from its question and tags by somebody who reads it."""
    desk_1 = item.question[item.question.index("Desk 1") : item.question.index("Desk 2")]
    topics = {topic.transcript: f"about {topic.about}" for topic in recipe().topics}
    adjectives = recipe().emotions
    words, emotion = tag(item, "words") or "", tag(item, "emotion") or ""
    topic = topics.get(words, f'saying "{words}"')
    manners = [f"{topic} in {a} {word} voice" for a in ("a", "an") for word in (adjectives.get(emotion), emotion)]
    return "desk 1" if any(manner in desk_1 for manner in manners) else "desk 2"


def test_an_unbalanced_item_is_refused(items: tuple[Item, ...]) -> None:
    first = of(items, "CE")[0]
    other = replace(first, label="desk 2" if first.label == "desk 1" else "desk 1")
    with pytest.raises(DataError, match="alone answer"):
        require_chance([other if item is first else item for item in items])
    lone = [item for item in of(items, "DE") if tag(item, SET) != "DE-01"] + of(items, "DE")[:1]
    with pytest.raises(DataError, match="of type DE"):
        require_chance(lone)


def test_each_type_has_its_own_recordings_spread_over_speakers(items: tuple[Item, ...]) -> None:
    for kind, sets in (("C", 3), ("DE", 6), ("DG", 3), ("CE", 4), ("CG", 3)):
        own = of(items, kind)
        assert len({item.clip_id for item in own}) == len(own) == sets * (4 if kind in ("CE", "CG") else 2)
    speakers = Counter(tag(item, "speaker") for item in of(items, "CE"))
    assert set(speakers.values()) == {4}


def test_contradiction_pairs_differ_in_one_thing_and_a_deaf_model_has_none(items: tuple[Item, ...]) -> None:
    pairs = contradiction_pairs(items)
    by_id = {item.id: item for item in items}
    for pair in pairs:
        first, second = by_id[pair.first], by_id[pair.second]
        assert first.question == second.question
        assert (tag(first, "words") == tag(second, "words")) == (pair.kind == "same words, other manner")
        if pair.kind == "same manner, other words":
            manner = "emotion" if first.type in ("C", "CE") else "sex"
            assert tag(first, manner) == tag(second, manner)
    assert Counter(pair.kind for pair in pairs) == {
        "same words, other manner": 6 + 3 + 2 * 4 + 2 * 3,
        "same manner, other words": 3 + 2 * 4 + 2 * 3,
    }
    deaf = {item.id: item.label == item.choices[0] for item in items}
    assert {kind: hits for kind, (hits, _) in both_right(pairs, deaf).items()} == dict.fromkeys(
        ("same words, other manner", "same manner, other words"), 0
    )
    hearing = dict.fromkeys(by_id, True)
    assert all(hits == count > 0 for hits, count in both_right(pairs, hearing).values())
    assert both_right(pairs, {}) == {}


def test_the_same_seed_gives_the_same_items_and_another_one_others(tmp_path: Path) -> None:
    manifest = corpus(tmp_path)
    first, again, other = (
        build_mini(manifest, SMALL.model_copy(update={"seed": seed}), tmp_path) for seed in (1, 1, 2)
    )
    assert first.items == again.items != other.items
    assert tag(first.items[0], "sha256") == sha256_file(tmp_path / first.items[0].audio)
    assert len(first.rows) == len({item.clip_id for item in first.items})


def test_what_cannot_be_built_is_told(tmp_path: Path) -> None:
    manifest = corpus(tmp_path)
    with pytest.raises(DataError, match="sets of type CE, not for 99"):
        build_mini(manifest, MiniRecipe.model_validate({"sets": {"CE": 99, "C": 0, "DE": 0, "DG": 0}}), tmp_path)
    with pytest.raises(DataError, match="has no recordings for the recipe"):
        build_mini(manifest, MiniRecipe(corpus="emodb"), tmp_path)
    with pytest.raises(DataError, match="outside of the data root"):
        build_mini(manifest, SMALL, tmp_path / "v0")
    (tmp_path / "bad.yaml").write_text("contrasts: [[anger, anger]]\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="not two of the emotions"):
        read_recipe(tmp_path / "bad.yaml")


def test_the_command_writes_items_and_the_rows_they_need(tmp_path: Path) -> None:
    corpus(tmp_path).write(tmp_path / "all.csv")
    app = typer.Typer()
    app.command()(build)
    small = tmp_path / "small.yaml"
    small.write_text("sets: {C: 2, DE: 2, DG: 2, CE: 2, CG: 2}\n", encoding="utf-8")
    done = CliRunner().invoke(app, [str(tmp_path / "all.csv"), "-o", str(tmp_path / "out"), "--recipe", str(small)])
    assert done.exit_code == 0, done.output
    written = read_items(tmp_path / "out" / "items.jsonl")
    assert [one.words for one in chances(written)] == [1, HALF, HALF, HALF, HALF]
    manifest = Manifest.read(tmp_path / "out" / "manifest.csv")
    assert set(manifest.table["path"]) == {item.audio for item in written}
    assert "1/2" in done.output


def test_what_ships_is_what_the_recipe_gives(shipped: tuple[Item, ...]) -> None:
    assert sum((SHIPPED / name).stat().st_size for name in ("items.jsonl", "manifest.csv")) < 200_000
    table = Manifest.read(SHIPPED / "manifest.csv").table
    assert set(table["licence"]) == {"CC-BY-4.0"}
    assert set(table["path"]) == {item.audio for item in shipped}
    assert all(not path.startswith(("/", "..")) for path in table["path"])
    asked = {"C": 2, "DE": 2, "DG": 2, "CE": 4, "CG": 4}
    counts = Counter(item.type for item in shipped)
    assert counts == {kind: size * getattr(recipe().sets, kind) for kind, size in asked.items()}
    assert all(set(known(item)) == {"set", "words", "emotion", "speaker", "sex", "sha256"} for item in shipped)
    assert Tag("words", "Der Lappen liegt auf dem Eisschrank.") in [one for item in shipped for one in item.tags]


def test_what_ships_is_made_again_from_the_recordings(shipped: tuple[Item, ...], shared_data: Path) -> None:
    given = ROOT / "data" / "all.csv"
    if not given.is_file():
        pytest.skip("the joined manifest is not here")
    assert build_mini(Manifest.read(given), recipe(), shared_data).items == shipped
