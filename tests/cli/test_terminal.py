"""Whatever strangers write, the terminal shows it and does not obey it; data stay the same data."""

from __future__ import annotations

import io
import json
import sys

import pytest

from earwitness.cli.terminal import DefusedStream, defused, defused_output

HOSTILE = {
    "window title": "\x1b]0;owned\x07",
    "clipboard": "\x1b]52;c;ZXZpbA==\x07",
    "screen": "\x1b[2J\x1b[1;1H",
    "one byte CSI": "\x9b31m",
    "backspace": "safe\x08\x08\x08\x08evil",
    "direction": "gpj.\u202eexe.wav",
    "isolate": "\u2066a\u2069",
    "invisible": "a\u200bb\ufeff",
    "tags": "\U000e0041",
    "half a pair": "\udcff",
    "line separator": "a\u2028b",
    "delete": "\x7f",
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_nothing_drives_the_terminal_and_json_stays_json(text: str) -> None:
    shown = defused(text)
    assert shown.isprintable()
    written = defused(json.dumps({"name": text}, ensure_ascii=False))
    assert written.isprintable()
    assert json.loads(written) == {"name": text}


@pytest.mark.parametrize("text", ["plain", "naïve – 京都\n\tзвук", "a\u00a0b\u202fc\u3000d", "🎧", ""])
def test_letters_of_any_script_stay(text: str) -> None:
    assert defused(text) == text


def test_only_colours_and_a_progress_bar_reach_a_terminal() -> None:
    drawn = "\x1b[1;31mred\x1b[0m\r\x1b[2K\x1b[1A\x1b[?25l\x1b]0;owned\x07\x1b[2J"
    out, err, pipe = Terminal(), Terminal(), io.StringIO()
    for stream, drawing in ((out, False), (err, True), (pipe, True)):
        assert DefusedStream(stream, drawing).write(drawn) == len(drawn)  # type: ignore[arg-type]
    assert out.getvalue().startswith("\x1b[1;31mred\x1b[0m\\u000d\\u001b[2K\\u001b[1A")
    assert err.getvalue() == "\x1b[1;31mred\x1b[0m\r\x1b[2K\x1b[1A\x1b[?25l\\u001b]0;owned\\u0007\\u001b[2J"
    assert "\x1b" not in pipe.getvalue()


def test_it_holds_for_what_any_code_prints_and_ends_with_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    with defused_output():
        print("\x1b[2Jout")
        print("\x1b]0;x\x07err", file=sys.stderr)
        sys.stdout.writelines(["\x07", "\n"])
    assert (sys.stdout, sys.stderr) == before
    shown = capsys.readouterr()
    assert shown.out == "\\u001b[2Jout\n\\u0007\n"
    assert shown.err == "\\u001b]0;x\\u0007err\n"
