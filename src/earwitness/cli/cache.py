"""`earwitness cache`: what is kept so that it need not be made again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from earwitness.core.cache import Kept

app = typer.Typer(help="The cache folder: info, clear.", no_args_is_help=True)


@app.command()
def info(as_json: Annotated[bool, typer.Option("--json", help="Print as data.")] = False) -> None:
    """Where the cache lies and what it holds. The environment variable EARWITNESS_CACHE names another folder.

    Example: `earwitness cache info`
    """
    import json
    from dataclasses import asdict

    from earwitness.core.cache import cache_contents, cache_folder
    from earwitness.core.errors import printable

    found = cache_contents()
    if as_json:
        typer.echo(json.dumps({"folder": str(cache_folder()), "kinds": [asdict(kept) for kept in found]}, indent=2))
        return
    typer.echo(printable(str(cache_folder())))
    for kept in found:
        typer.echo(f"  {_words(kept)}: {kept.what}")


@app.command()
def clear(
    kinds: Annotated[
        list[str] | None, typer.Argument(metavar="[KIND...]", help="What `info` lists; all of it.")
    ] = None,
) -> None:
    """Remove what the cache holds. It is made again where it is needed; nothing of yours is touched.

    Example: `earwitness cache clear prints`
    """
    from earwitness.core.cache import clear_cache

    for kept in clear_cache(kinds or ()):
        typer.echo(f"removed {_words(kept)}", err=True)


def _words(kept: Kept) -> str:
    return f"{kept.kind}: {kept.files} file(s), {kept.bytes / 1e6:.1f} MB"
