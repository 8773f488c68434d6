"""From records to a model folder and its card: what is refused, what is drawn, and a run from beginning to end."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from earwitness.audio.recording import Recording
from earwitness.core.config import parse_config
from earwitness.core.errors import DataError, LeakError
from earwitness.evaluation.assessing.runs import AnyRecipe, run_recipe
from earwitness.speech_llm.training.decoder import TextDecoder
from earwitness.speech_llm.training.features import with_detected
from earwitness.speech_llm.training.folder import load_taught
from earwitness.speech_llm.training.metadata import Heard, MetadataConfig, Span
from earwitness.speech_llm.training.mixtures import MixtureOrder, mixture
from earwitness.speech_llm.training.recipe import SpeechLlmRecipe
from earwitness.speech_llm.training.records import Record, read_records, require_separate, write_records
from earwitness.speech_llm.training.text_decoder import TextDecoderRecipe

LINE = "Detected vocal emotion: 0.0-1.0 s sad."
GOOD = {
    "id": "a",
    "audio": "a.wav",
    "instruction": "How?",
    "output": "sad",
    "task": "CPQA",
    "qtype": "CE",
    "split": "train",
}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"task": "PQA"}, "'task' is 'PQA'"),
        ({"qtype": "X"}, "'qtype' is 'X'"),
        ({"split": None}, "'split' is 'None'"),
        ({"output": " "}, "'output' is missing"),
        ({"label": 3}, "'label' is no text"),
        ({"start": 2.0, "end": 1.0}, "is empty"),
        ({"end": "1"}, "are no times"),
        ({"emotion": "sad"}, "'emotion' is no field"),
    ],
)
def test_what_is_no_record_is_refused_with_its_line(tmp_path: Path, change: dict[str, Any], what: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps({**GOOD, "id": "b"}) + "\n\n" + json.dumps({**GOOD, **change}), encoding="utf-8")
    with pytest.raises(DataError, match=f"line 3.*{what}"):
        read_records(path)


def test_records_come_back_and_recordings_stay_on_one_side(tmp_path: Path) -> None:
    for name in ("a", "b"):
        sf.write(tmp_path / f"{name}.wav", np.sin(np.arange(800) / 9), 16_000)
    records = [Record(**GOOD, metadata_text=LINE), Record(**{**GOOD, "id": "b", "audio": "b.wav", "split": "test"})]
    write_records(tmp_path / "r.jsonl", records)
    assert read_records(tmp_path / "r.jsonl") == records
    with pytest.raises(LeakError, match="stands on the sides"):  # another name, equal bytes
        require_separate(records, tmp_path)
    sf.write(tmp_path / "b.wav", np.sin(np.arange(900) / 9), 16_000)
    require_separate(records, tmp_path)


def test_kinds_are_mixed_by_the_root_of_their_numbers() -> None:
    published = {"ASR": 542_609, "PQA-gender": 277_362, "PQA-emotion": 219_048, "CPQA": 32_960, "PQA*": 0}
    shares = mixture(published)
    assert set(shares) == {"ASR", "PQA-gender", "PQA-emotion", "CPQA"}
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["ASR"] / shares["CPQA"] == pytest.approx((542_609 / 32_960) ** 0.5)
    assert mixture({"a": 9, "b": 1}, 1.0)["a"] == pytest.approx(0.9)
    order = MixtureOrder(["a"] * 900 + ["b"] * 100, 16, 3, 400)
    drawn = Counter("a" if row < 900 else "b" for batch in order.batches(2) for row in batch)
    assert drawn["b"] in (100, 101)
    assert order.batches(2) == MixtureOrder(["a"] * 900 + ["b"] * 100, 16, 3, 400).batches(2) != order.batches(3)
    with pytest.raises(DataError, match="nothing to mix"):
        mixture({})


def recipe_for(parts: Path, folder: Path, records: Path, **changes: Any) -> SpeechLlmRecipe:
    network: dict[str, Any] = {
        "encoder": {"kind": "whisper", "source": str(parts / "whisper"), "aggregation": "last"},
        "adapter": {"kind": "small", "hidden": [8, 12], "rest": "trim"},
        "decoder": str(parts / "decoder"),
        "metadata": True,
    }
    data = {"manifests": [str(records)], "audio_root": str(folder)}
    loop = {"epochs": 2, "batch_size": 8, "accelerator": "cpu"}
    given = {"name": "t", "task": "speech-llm", "data": data, "network": network, "loop": loop, **changes}
    recipe: SpeechLlmRecipe = parse_config(AnyRecipe, given)
    return recipe


def asked_recordings(folder: Path) -> Path:
    """Sixteen tones on three sides, asked for their emotion and for help; one is too short to be heard."""
    records = []
    for number in range(16):
        seconds = 0.9 if number % 2 else 1.0
        sf.write(
            folder / f"{number}.wav", 0.3 * np.sin(np.arange(int(seconds * 16_000)) * (0.02 + 0.01 * number)), 16_000
        )
        side = "test" if number % 4 == 3 else "dev" if number % 8 == 1 else "train"
        emotion = ("sad", "angry")[number % 4 // 2]
        for kind, qtype in (("PQA-emotion", "DE"), ("CPQA", "CE")):
            records.append(
                Record(
                    f"{number}{qtype}",
                    f"{number}.wav",
                    "How does the speaker sound?",
                    f"sounds {emotion}",
                    kind,
                    qtype,
                    side,
                )  # type: ignore[arg-type]
            )
    records = [Record(**{**vars(one), "label": one.output.split()[1], "metadata_text": LINE}) for one in records]
    write_records(folder / "records.jsonl", records)
    return folder / "records.jsonl"


@pytest.mark.shows("paralinguistic-training:6.5")
@pytest.mark.shows("paralinguistic-training:6.8")
def test_a_run_ends_in_a_folder_whose_card_says_what_is_confounded(parts: Path, tmp_path: Path) -> None:
    """Taught with metadata: asked with and without it; a model of random parts cannot beat reading its prompt."""
    recipe = recipe_for(parts, tmp_path, asked_recordings(tmp_path))
    model = run_recipe(recipe, tmp_path / "run")
    _, config, info = load_taught(model)
    assert config == recipe.network
    results = info.extra["results"]
    assert isinstance(results, list)
    told = [(row["data"], row["metric"]) for row in results if isinstance(row, dict)]
    assert ("held-out questions", "direct, right %") in told
    assert ("held-out questions, metadata in the prompt", "contextual, right %") in told
    assert any("CONFOUNDED" in failure for failure in info.known_failures)
    text = (tmp_path / "run" / "results" / "questions.json").read_text(encoding="utf-8")
    assert text.index("direct ") < text.index("contextual ")
    card = (model / "CARD.md").read_text(encoding="utf-8")
    assert "CONFOUNDED" in card
    kept = (tmp_path / "run" / "results" / "answers.jsonl").read_text(encoding="utf-8")
    assert len(kept.splitlines()) == 2 * 2 * 4  # two questions and two cells about four recordings
    run_recipe(recipe, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "results" / "answers.jsonl").read_text(encoding="utf-8") == kept


def test_kinds_can_be_left_out_and_metadata_must_be_there(parts: Path, tmp_path: Path) -> None:
    path = asked_recordings(tmp_path)
    with pytest.raises(DataError, match="nothing to learn from"):
        run_recipe(recipe_for(parts, tmp_path, path, kinds=["ASR"]), tmp_path / "none")
    bare = [Record(**{**vars(one), "metadata_text": None}) for one in read_records(path)]
    write_records(path, bare)
    with pytest.raises(DataError, match="has no metadata_text"):
        run_recipe(recipe_for(parts, tmp_path, path), tmp_path / "bare")


class Counting:
    """A recogniser that counts how often it is asked."""

    name = "counting 1"

    def __init__(self) -> None:
        self.asked = 0

    def hear(self, recording: Recording) -> Heard:
        self.asked += 1
        return Heard(recording.duration_s, (Span(0.0, 0.5, "sad"),))


def test_detected_lines_are_put_into_records(tmp_path: Path) -> None:
    records = [Record(**{**vars(one), "metadata_text": None}) for one in read_records(asked_recordings(tmp_path))]
    recogniser = Counting()
    found = with_detected(records, recogniser, tmp_path, MetadataConfig())
    assert recogniser.asked == 16  # two questions about each
    assert found[0].metadata_text == "Detected vocal emotion: 0.0-0.5 s sad; 0.5-1.0 s unknown."
    assert [Record(**{**vars(one), "metadata_text": None}) for one in found] == records


def test_a_decoder_is_pretrained_on_lines_of_a_file(tmp_path: Path) -> None:
    lines = [f"the voice number {number % 7} sounds {('sad', 'angry')[number % 2]} <eos>" for number in range(300)]
    (tmp_path / "text.txt").write_text("\n".join(lines), encoding="utf-8")
    data = {"name": "d", "task": "text-decoder", "text": {"kind": "lines", "path": str(tmp_path / "text.txt")}}
    loop = {"epochs": 1, "batch_size": 16, "accelerator": "cpu"}
    small = {"width": 16, "layers": 1, "heads": 2, "positions": 32}
    recipe: TextDecoderRecipe = parse_config(AnyRecipe, {**data, "loop": loop, "decoder": small, "draws": 320})
    folder = run_recipe(recipe, tmp_path / "run")
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert not any(name.endswith((".bin", ".pkl", ".pt")) for name in names)
    decoder = TextDecoder.load(folder)
    assert decoder.end not in decoder.encode("sounds sad <eos>")
    assert decoder.decode(decoder.encode("Sounds SAD")) == "sounds sad"
