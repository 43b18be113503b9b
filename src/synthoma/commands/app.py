"""The application: its verbs, and how every error ends in a message of one or two lines and an exit code."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from synthoma.commands import (
    demo,
    doctor,
    evaluate,
    export,
    generate,
    info,
    prepare,
    recipes,
    report,
    run,
    study,
    train,
    weights,
)
from synthoma.errors import Interrupted, SynthomaError

__all__ = ["app", "main"]

STOPPED = "Stopped. Nothing half-written was left; the same command begins again."

app = typer.Typer(
    name="synthoma",
    help="From a folder of tumour scans to a synthetic cohort, and an honest account of it.",
    epilog="Exit codes: 2 wrong input, 3 missing part, 4 refusal (leak, privacy), 130 Ctrl-C.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for verb in (
    demo.demo,
    prepare.prepare,
    info.info,
    train.train,
    generate.generate,
    evaluate.evaluate,
    export.export,
    run.run,
    report.report,
    doctor.doctor,
):
    app.command()(verb)
app.add_typer(recipes.app, name="recipes")
app.add_typer(weights.app, name="weights")
app.add_typer(study.app, name="study")


def _version(asked: bool) -> None:
    if asked:
        from synthoma import __version__

        typer.echo(f"synthoma {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from (SYNTHOMA_DEBUG=1).")] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code; ``--debug`` may stand anywhere."""
    given = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    debug = "--debug" in given or os.environ.get("SYNTHOMA_DEBUG", "") not in ("", "0")
    try:
        words = [text for text in given if text != "--debug"]
        code = app(words, prog_name="synthoma", standalone_mode=False, obj=debug)
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            raise
        text, code = _last_words(error)
        typer.echo(text, err=True)
    else:
        if code == Interrupted.exit_code:  # what the parser makes of Ctrl-C
            typer.echo(STOPPED, err=True)
    sys.exit(code if isinstance(code, int) else 0)


def _last_words(error: BaseException) -> tuple[str, int]:
    """What is said of an error, and the exit code."""
    if isinstance(error, Interrupted):
        return str(error), error.exit_code
    if isinstance(error, SynthomaError):
        return f"error: {error}", error.exit_code
    say = getattr(error, "format_message", None)
    if say is not None:  # the parser's own: an unknown option, a missing argument
        context = getattr(error, "ctx", None)
        hint = f"\nSee {context.command_path} --help." if context else ""
        return f"error: {say()}{hint}", getattr(error, "exit_code", 2)
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return STOPPED, Interrupted.exit_code
    first = next(iter(str(error).splitlines()), "")
    return f"internal error ({type(error).__name__}: {first}); run again with --debug to see where.", 1
