"""The Typer application that every command file registers on, and what all commands share."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from cmudrn.cli.terminal import set_verbosity


class Command(TyperCommand):
    """A command that also takes --quiet and --verbose."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.params += [
            _flag(["-q", "--quiet"], "Print errors only.", -1),
            _flag(["-v", "--verbose"], "Print more: sizes, times, what runs the network.", 1),
        ]


def _flag(names: list[str], sentence: str, level: int) -> TyperOption:
    def set_level(context: typer.Context, _: object, value: bool) -> None:
        if value:
            set_verbosity(context, level)

    return TyperOption(
        param_decls=names, is_flag=True, help=sentence, expose_value=False, callback=set_level
    )


class App(typer.Typer):
    """A Typer application whose commands are of the class `Command`."""

    def command(self, name: str | None = None, **options: Any) -> Any:
        """Register a command, as `typer.Typer.command` does."""
        return super().command(name, **{"cls": Command, **options})


app = App(
    name="cmudrn",
    help="Remove rain and snow from photos, video and camera streams.",
    epilog="Exit codes: 0 all went well, 1 something failed and is named, 2 the command line is "
    "wrong, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:
    if value:
        import cmudrn

        typer.echo(f"cmudrn {cmudrn.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[  # noqa: ARG001  (its callback ends the program)
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Remove rain and snow from photos, video and camera streams."""
