"""Phone tracks: what files and recognisers say, which names they use, and the labels of samples and frames."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from earwitness.core.errors import DataError, MissingPartError, ModelError, UsageError
from earwitness.corpora.manifest import Manifest
from earwitness.speaker.phones import (
    ARPABET,
    NONE,
    CtcConfig,
    Maker,
    PhoneFiles,
    PhoneSegment,
    PhoneTrack,
    PseudoPhones,
    Recogniser,
    frame_labels,
    in_random_order,
    kept,
    phones_named,
    seconds_of,
    tracks_of,
)
from earwitness.speaker.phones.ctc import emissions, stretches
from earwitness.speaker.phones.recognisers import CtcModel
from earwitness.speaker.phones.symbols import IPA, of_any, of_ipa

RATE = 16_000
MAKER = Maker("files", "made up")
SIL, AA, IY = (ARPABET.index(name) for name in ("[SIL]", "AA", "IY"))


@pytest.fixture
def recording(tmp_path: Path, speechlike: Any) -> Path:
    """1 s of sound."""
    soundfile.write(tmp_path / "a.wav", speechlike(1.0), RATE)
    return tmp_path / "a.wav"


def track(*segments: tuple[float, float, str | None]) -> PhoneTrack:
    return PhoneTrack(tuple(PhoneSegment(*one) for one in segments), ARPABET, MAKER)


# --- names


def test_the_inventory_has_the_order_of_the_released_code() -> None:
    assert len(ARPABET) == 40
    places = {"[SIL]": 0, "AA": 1, "D": 9, "IY": 18, "K": 20, "T": 31, "ZH": 39}
    assert {name: ARPABET.index(name) for name in places} == places
    assert list(ARPABET.phones[1:]) == sorted(ARPABET.phones[1:])
    with pytest.raises(DataError, match="'XX' is not in the inventory ARPAbet"):
        ARPABET.index("XX")


def test_every_phone_has_ipa_symbols_and_no_symbol_two_phones() -> None:
    symbols = [symbol for known in IPA.values() for symbol in known.split()]
    assert set(IPA) == set(ARPABET.phones) - {"[SIL]"}
    assert len(symbols) == len(set(symbols))


@pytest.mark.parametrize(
    ("symbol", "phone"),
    [
        ("ʃ", "SH"),
        ("t͡ɕ", "CH"),
        ("k͈", "K"),
        ("iː", "IY"),
        ("õ", "OW"),
        ("ˈa", "AA"),
        ("ø", None),
        ("x", None),
        ("", None),
    ],
)
def test_ipa_is_taken_for_its_neighbour_or_for_nothing(symbol: str, phone: str | None) -> None:
    assert of_ipa(symbol) == phone


@pytest.mark.parametrize(
    ("symbol", "phone"),
    [("AH0", "AH"), ("ah", "AH"), ("[UNK]", "[SIL]"), ("sp", "[SIL]"), ("+SPN+", "[SIL]"), ("", "[SIL]"), ("ʒ", "ZH")],
)
def test_names_of_files_lose_stress_and_case(symbol: str, phone: str) -> None:
    assert of_any(symbol) == phone


# --- labels


def test_sample_labels_cut_times_and_cover_gaps_with_silence() -> None:
    labels = track((0.1, 0.20009, "AA"), (0.3, 0.4, None), (0.5, 0.6, "[SIL]")).sample_labels(RATE, RATE)
    assert labels[1599] == SIL
    assert labels[1600] == AA
    assert labels[int(0.20009 * RATE) - 1] == AA  # 3201.44 -> 3201, the first sample that is not AA any more
    assert labels[3201] == SIL
    assert set(labels[4800:6400]) == {NONE}
    assert set(labels[6400:]) == {SIL}


def test_a_track_of_another_recording_is_refused() -> None:
    assert len(track((0.0, 1.09, "AA")).sample_labels(RATE, RATE)) == RATE  # an aligner's rounding
    with pytest.raises(DataError, match=r"ends at 1\.20 s, the recording at 1\.00 s"):
        track((0.0, 1.2, "AA")).sample_labels(RATE, RATE)


def test_frames_take_the_most_frequent_label_and_of_a_tie_the_smallest() -> None:
    labels = np.array([IY] * 200 + [AA] * 200 + [IY] * 160 + [NONE] * 400)
    assert frame_labels(labels, 400, 160).tolist() == [AA, AA, IY, NONE]
    assert len(frame_labels(np.zeros(32_240, np.int64), 400, 160)) == 200
    assert len(frame_labels(np.zeros(399, np.int64), 400, 160)) == 0
    assert frame_labels(np.array([NONE, NONE, SIL, SIL]), 4, 1).tolist() == [SIL]  # a phone goes before none


def test_frame_labels_are_those_of_a_count_window_by_window() -> None:
    labels = np.repeat(np.random.default_rng(0).integers(-1, 5, 40), 97)
    found = frame_labels(labels, 400, 160)
    for place, label in enumerate(found):
        inside = labels[place * 160 : place * 160 + 400]
        counts = {name: int((inside == name).sum()) for name in set(inside.tolist())}
        assert counts[int(label)] == max(counts.values())


def test_a_track_can_be_cut_and_counted() -> None:
    whole = track((0.1, 0.4, "AA"), (0.4, 0.9, "IY"))
    part = whole.cut(0.2, 0.5)
    assert [(round(one.start_s, 3), round(one.end_s, 3), one.phone) for one in part.segments] == [
        (0.0, 0.2, "AA"),
        (0.2, 0.3, "IY"),
    ]
    seconds = seconds_of(whole.sample_labels(RATE, RATE), ARPABET, RATE)
    assert (seconds[AA], seconds[IY], seconds.sum()) == pytest.approx((0.3, 0.5, 1.0))


def test_random_order_keeps_the_histogram_and_moves_the_labels() -> None:
    labels = np.repeat(np.arange(12), 10)
    shuffled = in_random_order(labels, np.random.default_rng(1))
    assert np.array_equal(np.bincount(shuffled), np.bincount(labels))
    assert (shuffled == labels).mean() < 0.5
    assert len(in_random_order(labels[:0], np.random.default_rng(1))) == 0


# --- files

PHO = "0.00 0.25 [SIL]\n0.25 0.50 AA\n\n0.50 0.60 [UNK]\n0.60 0.90 IY1\n"
CTM = ";; made\na 1 0.25 0.25 AA\na 1 0.60 0.30 IY\nb 1 0.00 0.10 S\n"
GRID = """File type = "ooTextFile"
Object class = "TextGrid"
0 1 <exists> 2
"IntervalTier" "words" 0 1 1 0 1 "hey"
"IntervalTier" "phones" 0 1 4 0 0.25 "" 0.25 0.5 "AA1" 0.5 0.6 "sil" 0.6 1 "iː"
"""


@pytest.mark.parametrize(("name", "text"), [("a.pre.pho", PHO), ("list.ctm", CTM), ("a.TextGrid", GRID)])
def test_files_of_three_kinds_say_the_same(recording: Path, tmp_path: Path, name: str, text: str) -> None:
    folder = tmp_path / "tracks"
    (folder / "deeper").mkdir(parents=True)
    (folder / "deeper" / name).write_text(text, encoding="utf-8")
    labels = PhoneFiles(folder).of_file(recording).sample_labels(RATE, RATE)
    assert [int(labels[round(time * RATE)]) for time in (0.1, 0.3, 0.55, 0.7)] == [SIL, AA, SIL, IY]


def test_a_missing_track_is_an_error_and_never_labels(recording: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no phone track beside it"):
        PhoneFiles().of_file(recording)
    with pytest.raises(DataError, match="no such folder of phone tracks"):
        PhoneFiles(tmp_path / "nowhere").of_file(recording)


def test_labels_that_are_no_phones_are_counted_and_most_of_them_refused(recording: Path) -> None:
    file = recording.with_name("a.pre.pho")
    file.write_text("0.0 0.2 AA\n0.2 0.4 ø\n0.4 0.6 IY\n")
    found = PhoneFiles().of_file(recording)
    assert found.unmapped == (("ø", 1),)
    assert found.sample_labels(RATE, RATE)[int(0.3 * RATE)] == NONE
    file.write_text("0.0 0.2 hello\n0.2 0.4 there\n0.4 0.6 IY\n")
    with pytest.raises(DataError, match=r"2 of 3 labels are no phones, e\.g\. 'hello'"):
        PhoneFiles().of_file(recording)


@pytest.mark.parametrize("line", ["0.0 AA", "0.3 0.1 AA", "x 0.1 AA", "0.0 nan AA", "0.0 0.1 AA IY"])
def test_a_line_that_is_no_segment_is_named(recording: Path, line: str) -> None:
    recording.with_name("a.pre.pho").write_text(f"0.0 0.1 AA\n{line}\n")
    with pytest.raises(DataError, match="line 2: "):
        PhoneFiles().of_file(recording)


def test_a_grid_without_a_tier_of_phones_is_refused(recording: Path) -> None:
    recording.with_name("a.TextGrid").write_text(GRID.replace('"phones"', '"sounds"'), encoding="utf-8")
    with pytest.raises(DataError, match="none is called phones"):
        PhoneFiles().of_file(recording)


# --- recognisers


def test_a_recording_in_which_nothing_is_recognised_has_no_segments() -> None:
    assert list(emissions(["-"] * 5, 0.02, "-")) == []
    assert list(emissions([], 0.02, "-")) == list(stretches([], 0.02)) == []


def test_ctc_emissions_end_at_the_next_one_or_after_a_fifth_of_a_second() -> None:
    frames = [*"--aa-b", "|", "-", *"c" + "-" * 20]
    found = list(emissions(frames, 0.02, "-", {"|"}))
    assert found == [(0.04, 0.1, "a"), (0.1, 0.12, "b"), (0.12, 0.16, None), (0.16, 0.36, "c")]
    assert list(stretches([*"aab"], 0.5)) == [(0.0, 1.0, "a"), (1.0, 1.5, "b")]


@pytest.fixture(scope="module")
def ctc_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wav2vec 2.0 of random weights with a CTC layer over IPA symbols."""
    import torch
    import transformers

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("ctc")
    symbols = {"<pad>": 0, "a": 1, "i": 2, "ø": 3, "s": 4, "|": 5}
    config = transformers.Wav2Vec2Config(
        vocab_size=len(symbols),
        pad_token_id=0,
        num_hidden_layers=1,
        hidden_size=16,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8,) * 7,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
    )
    transformers.Wav2Vec2ForCTC(config).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(symbols), encoding="utf-8")
    return folder


def test_a_ctc_model_of_transformers_names_its_phones(ctc_folder: Path, recording: Path) -> None:
    for frames in (False, True):
        source = CtcConfig(folder=ctc_folder, language="none: random weights", frames=frames).build()
        found = source.of_file(recording)
        assert found == source.of_file(recording)
        assert {one.phone for one in found.segments} <= {None, "AA", "IY", "S", "[SIL]"}
        found.require_length(1.0)
    assert found.segments[0].start_s == 0
    assert found.segments[-1].end_s == pytest.approx(1.0, abs=1e-5)
    assert "none: random weights" in found.maker.words


def test_a_ctc_model_without_its_parts_is_refused(ctc_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no vocab\.json"):
        CtcModel(tmp_path)
    (tmp_path / "vocab.json").write_text('{"a": 0, "b": 2}')
    with pytest.raises(ModelError, match="does not number its symbols"):
        CtcModel(tmp_path)
    (tmp_path / "vocab.json").write_text('{"a": 0, "b": 1}')
    with pytest.raises(ModelError, match="no CTC model that can be loaded"):
        CtcModel(tmp_path)


def test_a_recogniser_that_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("hama", "pocketsphinx"):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingPartError, match=rf"need the package {package}\. pip install 'earwitness\[phones\]'"):
            phones_named(package).build()


def test_hama_is_read_frame_by_frame(monkeypatch: pytest.MonkeyPatch, recording: Path) -> None:
    class Model:
        decoder_tokens = ("<blank>", "ɹ", "ø", "<wb>")
        decode_cfg = SimpleNamespace(blank_token="<blank>")

        def transcribe_waveform(self, samples: np.ndarray, rate: int) -> SimpleNamespace:
            assert (len(samples), rate) == (RATE, RATE)
            return SimpleNamespace(frame_token_ids=[0, 1, 0, 3, 2, 0])

    module = ModuleType("hama")
    module.ASRModel = Model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hama", module)
    monkeypatch.setattr("earwitness.speaker.phones.recognisers.version", lambda package: "9")
    found = phones_named("hama").build().of_file(recording)
    assert [(one.start_s, one.end_s, one.phone) for one in found.segments] == [
        (0.02, 0.06, "R"),
        (0.06, 0.08, None),
        (0.08, 0.12, None),
    ]
    assert found.unmapped == (("ø", 1),)
    assert found.maker.name == "hama 9"


@pytest.mark.peer
@pytest.mark.parametrize("name", ["hama", "pocketsphinx"])
def test_a_recogniser_hears_the_same_twice(name: str, shared_data: Path) -> None:
    pytest.importorskip(name)
    file = sorted((shared_data / "speechocean762" / "0001").glob("*.flac"))[0]
    source = phones_named(name).build()
    first = source.of_file(file)
    source.of_file(sorted(file.parent.glob("*.flac"))[1])
    assert source.of_file(file) == first
    assert len({one.phone for one in first.segments} - {None, "[SIL]"}) >= 5


def test_sources_have_names_on_the_command_line() -> None:
    assert phones_named("ctc:models/x").model_dump()["folder"] == Path("models/x")
    assert phones_named("frames:x").model_dump()["frames"] is True
    assert phones_named("files:x").build().maker.words == "phones read from files (folder x; language: not stated)"
    with pytest.raises(UsageError, match=r"is called 'hamma'.*Did you mean 'hama'"):
        phones_named("hamma")


# --- pseudo-phones and what is kept


def test_pseudo_phones_are_never_called_phones(speechlike: Any, recording: Path) -> None:
    sounds = [speechlike(1.0, seed=seed) for seed in range(3)]
    source = PseudoPhones.learnt(sounds, 5, seed=1)
    assert np.array_equal(source.centres, PseudoPhones.learnt(sounds, 5, seed=1).centres)
    found = source.of_file(recording)
    assert found.inventory.phones == ("U00", "U01", "U02", "U03", "U04")
    assert not found.inventory.are_phones
    assert found.maker.words.startswith("pseudo-phones (5 clusters")
    assert "not phones" in found.maker.words
    labels = found.sample_labels(RATE, RATE)
    assert len(set(labels.tolist())) > 2
    assert NONE not in labels
    with pytest.raises(DataError, match="give no 5000 pseudo-phones"):
        PseudoPhones.learnt(sounds, 5000)


class Counting(Recogniser):
    """Says AA for the second half of whatever it hears, and counts how often it is asked."""

    maker = Maker("recogniser", "counting 1", "none")

    def __init__(self) -> None:
        self.asked = 0

    def marks(self, samples: np.ndarray) -> list[tuple[float, float, str | None]]:
        self.asked += 1
        return [(len(samples) / RATE / 2, len(samples) / RATE, "a"), (0, 0.01, "ø")]


def test_a_recording_is_heard_once_whatever_it_is_called(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARWITNESS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "copy.wav").write_bytes(recording.read_bytes())
    (tmp_path / "manifest.csv").write_text("id,path,start,end\nx,a.wav,,\ny,copy.wav,,\nz,a.wav,0.2,0.6\n")
    rows, recogniser, steps = Manifest.read(tmp_path / "manifest.csv"), Counting(), []
    found = tracks_of(rows, kept(recogniser), lambda: steps.append(1))
    assert recogniser.asked == 2  # the file, and its stretch
    assert len(steps) == 3
    assert found["x"] == found["y"]
    assert found["z"].segments[0] == PhoneSegment(0.2, 0.4, "AA")
    assert found["z"].unmapped == (("ø", 1),)
    file = next((tmp_path / "cache" / "phones").rglob("*.json"))
    file.write_text('{"segments": [[0, 1, "not a phone"]], "unmapped": []}')
    assert tracks_of(rows, kept(recogniser), lambda: None) == found
    assert recogniser.asked == 3  # what lay there was no track
    assert kept(PhoneFiles()).__class__ is PhoneFiles


def test_a_long_recording_is_heard_in_pieces(tmp_path: Path, speechlike: Any) -> None:
    soundfile.write(tmp_path / "long.wav", speechlike(45.0), RATE)
    recogniser = Counting()
    found = recogniser.of_file(tmp_path / "long.wav")
    assert recogniser.asked == 3
    spoken = [(round(one.start_s, 3), round(one.end_s, 3)) for one in found.segments if one.phone == "AA"]
    assert spoken == [(10.0, 20.0), (30.0, 40.0), (42.5, 45.0)]
    assert found.unmapped == (("ø", 3),)
