"""Safe pieces of HTML and SVG: every text is escaped; looks come from classes and attributes, never from `style`."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

from earwitness.examine.wording import shown


def safe(text: object) -> Markup:
    """Text for any place in the page. In an address the colon is an entity, so the source holds nothing to follow."""
    return Markup(str(escape(shown(str(text)))).replace("://", "&#58;//"))


def element(name: str, content: Markup | str = "", /, **attributes: object) -> Markup:
    """One SVG element; `_` in attribute names becomes `-`, a trailing `_` is dropped. Text content is escaped."""
    parts = [f'{key.rstrip("_").replace("_", "-")}="{_value(value)}"' for key, value in attributes.items()]
    inner = content if isinstance(content, Markup) else safe(content)
    return Markup(f"<{' '.join([name, *parts])}>{inner}</{name}>")


def _value(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(safe(value))


def join(parts: Iterable[Markup]) -> Markup:
    """The elements one after another."""
    return Markup("").join(parts)
