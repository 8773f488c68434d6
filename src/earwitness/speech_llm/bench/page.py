"""The report as one self-contained page without scripts: what can be believed first, then the tables.

Nothing is loaded, everything is escaped, and a strict policy says so.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from earwitness.core.errors import printable
from earwitness.speech_llm.bench.report import Report
from earwitness.speech_llm.bench.statements import statements
from earwitness.speech_llm.bench.tables import as_text, tables


def render_html(report: Report) -> str:
    """The page; the same report gives the same bytes."""
    style = (files("earwitness.speech_llm.bench") / "templates" / "bench.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    return (
        _environment()
        .get_template("bench.html.j2")
        .render(
            policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
            style=Markup(style),
            title=", ".join(report.models) or report.settings.client,
            statements=statements(report),
            identical=report.identical,
            tables=list(tables(report)),
        )
    )


def render_text(report: Report) -> Iterator[str]:
    """The same for a terminal: lines without control characters."""
    for one in statements(report):
        yield printable(one.text)
    for table in tables(report):
        yield ""
        for line in as_text(table).split("\n"):
            yield printable(line)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("earwitness.speech_llm.bench"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_safe,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _safe(value: object) -> Markup:
    """Text for any place in the page; in an address the colon is an entity, so that nothing can be followed."""
    if isinstance(value, Markup):
        return value
    return Markup(str(escape(printable(str(value)))).replace("://", "&#58;//"))
