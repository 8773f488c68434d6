"""Model cards in the page: a small part of Markdown, everything else is shown as it is written.

Headings, paragraphs, lists, tables, fenced code, bold and code. Text is escaped first, and no links, images or raw HTML
are made, so a card from a stranger's model folder cannot do anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

from markupsafe import Markup

from earwitness.examine.svg import element, join, safe

_LONGEST = 40_000  # characters
_BULLET = re.compile(r"\s*(?:[-*+]|\d{1,3}[.)])\s+(?P<text>.*)")
_BOLD = re.compile(r"\*\*([^*]+)\*\*")
_CODE = re.compile(r"`([^`]+)`")


def render_card(text: str) -> Markup:
    """The card as safe HTML; headings start at level 4. A card of more than 40 000 characters is cut, and says so."""
    parts = list(_blocks(text[:_LONGEST].expandtabs(4).splitlines()))
    if len(text) > _LONGEST:
        parts.append(element("p", "The card is longer; the rest is in the model's folder."))
    return join(parts)


def _blocks(lines: list[str]) -> Iterator[Markup]:
    for kind, group in groupby(_marked(lines), key=lambda pair: pair[0]):
        texts = [line for _, line in group]
        if kind == "code":
            yield element("pre", join(safe(line) + Markup("\n") for line in texts))
        elif kind == "heading":
            yield from (_heading(line) for line in texts)
        elif kind == "list":
            yield _list(texts)
        elif kind == "table":
            yield _table(texts)
        elif kind == "text":
            yield element("p", _inline(" ".join(line.strip() for line in texts)))


def _marked(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Each line with its kind; fences themselves are left out, empty lines part blocks."""
    fenced, before = False, ""
    for line in lines:
        if line.lstrip().startswith("```"):
            fenced, before = not fenced, "empty"
            yield "empty", ""
            continue
        before = "code" if fenced else _kind(line, before)
        yield before, line


def _kind(line: str, before: str) -> str:
    if not line.strip():
        return "empty"
    if re.match(r"#{1,6}\s", line):
        return "heading"
    if line.lstrip().startswith("|"):
        return "table"
    if _BULLET.match(line) or (before == "list" and line.startswith("  ")):
        return "list"
    return "text"


def _heading(line: str) -> Markup:
    level = len(line) - len(line.lstrip("#"))
    return element(f"h{min(6, level + 3)}", _inline(line.lstrip("#").strip()))


def _list(lines: list[str]) -> Markup:
    items: list[str] = []
    for line in lines:
        if (match := _BULLET.match(line)) is not None:
            items.append(match["text"])
        else:  # the item goes on
            items[-1] += " " + line.strip()
    return element("ul", join(element("li", _inline(item)) for item in items))


def _table(lines: list[str]) -> Markup:
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines if not _is_rule(line)]
    headed = len(lines) > 1 and _is_rule(lines[1])
    return element(
        "table",
        join(
            element("tr", join(element("th" if headed and i == 0 else "td", _inline(cell)) for cell in row))
            for i, row in enumerate(rows)
        ),
    )


def _is_rule(line: str) -> bool:
    """Whether the line is the one between a table's head and its rows."""
    return "-" in line and set(line.strip()) <= set("|:- ")


def _inline(text: str) -> Markup:
    """Bold and code; the text is escaped before, so only these two tags can arise."""
    parts = _CODE.split(str(safe(text)))  # every second part was between backticks
    marked = [f"<code>{part}</code>" if i % 2 else _BOLD.sub(r"<b>\1</b>", part) for i, part in enumerate(parts)]
    return Markup("".join(marked))
