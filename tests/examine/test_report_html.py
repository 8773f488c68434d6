"""The report as a page: self-contained, bounded, and nothing in it can run but our own script."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import av
import numpy as np
import pytest
from PIL import Image

from earwitness.audio.recording import Recording, Segment
from earwitness.core.errors import AudioError, UsageError
from earwitness.examine.card_markdown import render_card
from earwitness.examine.finding import Fact, ModelCredit, Track
from earwitness.examine.report_html import render_html
from earwitness.examine.report_media import PLAYER_BITS_PER_S, PLAYER_MINUTES, audio_for_report, audio_from_blocks
from earwitness.examine.report_timeline import thinned

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\n\x1b[31m\u202egpj https://evil.example/x"
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """Tags in order, attributes, texts; complains about tags that are not closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts, self.open = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.texts.append(data)

    @property
    def text(self):
        return " ".join("".join(self.texts).split())

    def values(self, name):
        return [value for key, value in self.attributes if key == name]


@pytest.fixture(scope="module")
def sound(speechlike):
    return audio_for_report(Recording(speechlike(10.0), 16_000))


def test_the_page_tells_everything(make_report, sound):
    page = Page(render_html([make_report()], [sound]))
    expected = [
        "call.m4a",
        "Is the voice genuine or synthetic?",
        "The recording supports a genuine voice.",
        "moderately strong support",
        "about 130 times more likely if the voice is genuine",
        "LLR +4.90",
        "0:04.0–0:06.5",
        "Limits of this answer",
        "Newer synthesis may not be recognised.",
        "No answer: only 0.4 s of speech.",
        "compressed copy for listening (MP3",
        "The analysis used the original file with SHA-256 " + "ab" * 32,
        "Level",
        "dBFS",
        "refs/claimed one.wav",
        "cd" * 32,
        "earwitness examine evidence/call.m4a --reference 'refs/claimed one.wav'",
        "How to read this report",
        "It is not the probability that an explanation is true",
        "9f" * 32,
        "Apache-2.0",
        "Card",
        "2026-11-20 10:12 UTC",
    ]
    missing = [part for part in expected if part not in page.text]
    assert not missing


def test_answers_come_before_the_drawing_and_the_tables(make_report, sound):
    text = Page(render_html([make_report()], [sound])).text
    order = [
        "The recording supports",
        "Limits of this answer",
        "The recording over time",
        "Measured properties",
        "Command",
    ]
    assert sorted(order, key=text.index) == order


def evil_report(make_report):
    finding = make_report().findings[0]
    names = dict.fromkeys(("question", "answer", "score_meaning", "scale_name", "scale_words", "window_policy"), EVIL)
    finding = replace(
        finding,
        **names,
        hypotheses=(EVIL, EVIL),
        evidence=(EVIL,),
        limits=(EVIL,),
        facts=(Fact(EVIL, EVIL, EVIL, EVIL),),
        tracks=(Track(EVIL, EVIL, (0.0,), (2.0,), (1.0,), EVIL, EVIL),),
        model=ModelCredit(EVIL, EVIL, EVIL, EVIL, EVIL),
    )
    fields = dict.fromkeys(("path", "sha256", "container", "codec", "created", "command"), EVIL)
    return make_report(
        **fields,
        findings=(finding,),
        facts=(Fact(EVIL, EVIL, EVIL, EVIL),),
        references=((EVIL, EVIL),),
        steps=(EVIL, EVIL),
        versions={EVIL: EVIL, "earwitness": EVIL},
    )


def test_no_text_becomes_markup(make_report, sound):
    clean, evil = (
        Page(render_html([make_report()] * 2, [sound] * 2)),
        render_html([evil_report(make_report)] * 2, [sound] * 2),
    )
    page = Page(evil)
    assert page.tags.count("script") == page.tags.count("style") == 1
    assert set(page.tags) <= set(clean.tags) | {"p"}
    assert not [name for name, _ in page.attributes if name.startswith("on") or name == "style"]
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", evil)
    assert "<script>alert(1)</script>" in page.text  # it is shown, as text
    assert "\\n\\x1b[31m\\u202egpj https://evil.example/x" in page.text


@pytest.mark.parametrize("evil", [False, True])
def test_nothing_points_outside(make_report, sound, evil):
    report = evil_report(make_report) if evil else make_report()
    html = render_html([report], [sound])
    assert not re.search(r"https?://|ftp://|\bwss?://|@import|url\((?!#)", html)
    page = Page(html)
    assert all(value.startswith(("#", "data:image/png;base64,")) for value in page.values("href"))
    assert all(value.startswith("data:audio/mpeg;base64,") for value in page.values("src"))
    assert not {"link", "iframe", "object", "embed", "form", "base", "img"} & set(page.tags)


def test_the_policy_allows_exactly_our_own_style_and_script(make_report, sound):
    html = render_html([make_report()], [sound])
    policy = next(value for value in Page(html).values("content") if "default-src" in value)
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        inside = re.search(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy


def test_several_recordings_have_a_summary_with_links(make_report, sound):
    left, right = make_report(channel=0, channels=2), make_report("synthetic", channel=1, channels=2)
    page = Page(render_html([left, right, make_report("inconclusive", path="c.wav")], [sound, sound, None]))
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {href[1:] for href in page.values("href") if href.startswith("#")} <= set(ids)
    for part in (
        "3 recordings",
        "Summary",
        "call.m4a · channel 1 of 2",
        "call.m4a · channel 2 of 2",
        "c.wav",
        "LLR −5.20",
    ):
        assert part in page.text
    assert page.tags.count("audio") == 2


def test_one_recording_needs_no_summary(make_report, sound):
    assert "Summary" not in Page(render_html([make_report()], [sound])).text


def test_same_input_same_bytes(make_report, sound):
    assert render_html([make_report()], [sound]) == render_html([make_report()], [sound])


def test_without_audio_the_tracks_are_still_drawn(make_report):
    page = Page(render_html([make_report()], [None]))
    assert "audio" not in page.tags
    assert "Score (LLR)" in page.text


def test_a_bare_report_is_a_page_too(make_report):
    bare = make_report(findings=(), facts=(), references=(), steps=(), versions={}, created="")
    assert "What was examined" in Page(render_html([bare], [None])).text


def test_reports_and_audio_must_match(make_report, sound):
    with pytest.raises(UsageError):
        render_html([make_report()], [sound, sound])
    with pytest.raises(UsageError):
        render_html([], [])


def test_a_minute_is_small(make_report, speechlike):
    minute = speechlike(60.0) + 0.05 * np.random.default_rng(0).standard_normal(960_000).astype(np.float32)
    page = render_html([make_report(seconds=60.0)], [audio_for_report(Recording(minute, 16_000))])
    assert len(page.encode()) <= 2_000_000


def test_the_listening_copy_is_bounded_and_the_page_says_what_it_holds(make_report, speechlike):
    assert PLAYER_MINUTES * 60 * PLAYER_BITS_PER_S / 8 * 4 / 3 < 5_500_000  # as base64, however long the recording
    blocks = (speechlike(3.0) for _ in range(10))
    audio = audio_from_blocks(blocks, 16_000, 480_000, player_minutes=0.1)
    assert len(audio.player) == pytest.approx(6 * PLAYER_BITS_PER_S / 8, rel=0.05)
    assert "of the first 0:06.0 only" in Page(render_html([make_report(seconds=30.0)], [audio])).text


def test_listening_copies_beyond_the_page_limit_are_left_out_and_named(make_report, sound, monkeypatch):
    monkeypatch.setattr("earwitness.examine.report_html.MOST_PLAYER_BYTES", len(sound.player) + 10)
    page = Page(render_html([make_report(), make_report(path="b.wav")], [sound, sound]))
    assert page.tags.count("audio") == 1
    assert page.text.count("holds no listening copy of this recording") == 1


def test_blocks_give_the_same_as_the_whole(speechlike):
    samples = speechlike(3.0)
    whole = audio_for_report(Recording(samples, 16_000))
    parts = audio_from_blocks(np.array_split(samples, 31), 16_000, len(samples))
    np.testing.assert_array_equal(whole.low, parts.low)
    np.testing.assert_array_equal(whole.high, parts.high)
    assert whole.spectrogram == parts.spectrogram
    assert whole.player == parts.player


def test_the_envelope_holds_every_extreme():
    samples = np.zeros(16_000, np.float32)
    samples[[0, 7_999, 15_999]] = 0.5, -0.8, 0.3
    audio = audio_for_report(Recording(samples, 16_000))
    assert (audio.high[0], audio.low[599], audio.high[1199]) == (np.float32(0.5), np.float32(-0.8), np.float32(0.3))
    assert np.count_nonzero(audio.low) + np.count_nonzero(audio.high) == 3


def test_the_spectrogram_is_dark_where_the_tone_is(tone):
    samples = np.concatenate([tone(1.0, hz=2000), np.zeros(16_000, np.float32)])
    picture = Image.open(io.BytesIO(audio_for_report(Recording(samples, 16_000)).spectrogram))
    shades = np.asarray(picture.convert("L"))
    assert shades.shape == (256, 1200)
    assert shades[:, 300].argmin() in range(189, 195)  # 2 of 8 kHz from below
    assert (shades[:, 700:] == 255).all()


def test_the_listening_copy_has_the_recording_and_its_length(tone):
    audio = audio_for_report(Recording(tone(2.0, hz=440), 16_000), player_minutes=1 / 60)
    assert audio.player_s == 1.0
    with av.open(io.BytesIO(audio.player)) as container:
        heard = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert abs(len(heard) - 16_000) <= 1152
    assert np.abs(np.fft.rfft(heard[:16_000])).argmax() == pytest.approx(440, abs=2)


@pytest.mark.parametrize("length", [1, 2, 3, 700, 1199, 1201])
def test_very_short_recordings(make_report, length):
    samples = np.full(length, 0.1, np.float32)
    audio = audio_for_report(Recording(samples, 16_000))
    assert len(audio.low) == min(1200, length)
    Page(render_html([make_report(duration_s=length / 16_000)], [audio]))


def test_silence_and_bad_samples_are_drawn_white():
    for value in (0.0, np.nan):
        audio = audio_for_report(Recording(np.full(16_000, value, np.float32), 16_000))
        assert np.asarray(Image.open(io.BytesIO(audio.spectrogram)).convert("L")).min() == 255
        assert np.isfinite(audio.low).all()


def test_no_samples_is_an_audio_error():
    with pytest.raises(AudioError):
        audio_from_blocks([], 16_000, 0)


def test_the_marker_stands_on_its_side_and_within_the_axis(make_report):
    def marker(llr):
        finding = replace(make_report().findings[0], llr=llr, llr_low=None, llr_high=None)
        html = render_html([make_report(findings=(finding,))], [None])
        return float(re.search(r'class="marker" d="M([\d.]+) ', html)[1])

    assert marker(-5.2) < 500 < marker(4.9) < marker(5.5)
    assert marker(0.0) == 500
    assert 12 <= marker(-1e6) <= marker(1e6) <= 988


def test_stretches_are_buttons_and_shades(make_report, sound):
    finding = replace(make_report().findings[0], stretches=(Segment(1.0, 2.0), Segment(4.0, 4.001)))
    page = Page(render_html([make_report(findings=(finding,))], [sound]))
    assert page.values("data-seconds") == ["1.0", "4.0"]
    assert sum("stands-out" in (value or "") for value in page.values("class")) == 4  # in the waveform and in the track


def test_overlapping_windows_meet_half_way_and_gaps_stay():
    track = Track("s", "", (0.0, 1.0, 2.0, 3.0), (2.0, 3.0, 4.0, 5.0), (1.0, 2.0, None, 4.0), "", "")
    assert thinned(track) == [(0.0, 1.5, 1.0), (1.5, 2.5, 2.0), (3.5, 5.0, 4.0)]


def test_very_many_windows_keep_their_extremes():
    count = 50_000
    values = [0.0] * count
    values[12_345], values[40_000] = -9.0, 7.0
    times = tuple(map(float, range(count)))
    few = thinned(Track("s", "", times, tuple(t + 1 for t in times), tuple(values), "", ""))
    assert len(few) <= 2000
    assert (min(w[2] for w in few), max(w[2] for w in few)) == (-9.0, 7.0)


def test_cards_show_their_form():
    html = str(
        render_card(
            "# T\n\nA **bold** `x < y`\ntext.\n\n- one\n  more\n- two\n\n| a | b |\n|---|---|\n| 1 | <i> |\n\n"
            "```\n<b>\t&\n```\n"
        )
    )
    assert html == (
        "<h4>T</h4><p>A <b>bold</b> <code>x &lt; y</code> text.</p><ul><li>one more</li><li>two</li></ul>"
        "<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>&lt;i&gt;</td></tr></table><pre>&lt;b&gt; &amp;\n</pre>"
    )


@pytest.mark.parametrize(
    "card",
    [
        "[x](javascript:alert(1))",
        "![x](https://evil.example/i.png)",
        "<iframe src=x>",
        "`**a` b**",
        "  - x",
        "|" * 30_000 + "x",
        "```",
    ],
)
def test_cards_cannot_do_anything(card):
    tags = set(Page(str(render_card(card))).tags)
    assert tags <= {"p", "ul", "li", "code", "b", "table", "tr", "td", "th", "pre"}


def test_a_huge_card_is_cut_and_says_so():
    html = str(render_card("word " * 100_000))
    assert len(html) < 60_000
    assert "The card is longer" in html
