"""The Typer application that every command file registers on, and what all commands share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Annotated, Any, TypeVar, get_origin

import typer

from cmudrn.cli.help import Command, Group, with_metavar
from cmudrn.cli.terminal import begin, show

Function = TypeVar("Function", bound=Callable[..., Any])

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Print more: sizes, times, what runs the network.")
]


class App(typer.Typer):
    """A Typer application whose commands also take --quiet and --verbose."""

    def command(self, name: str | None = None, **options: Any) -> Callable[[Function], Function]:
        """Register a command, as `typer.Typer.command` does."""
        register = super().command(name, cls=Command, **options)

        def decorate(function: Function) -> Function:
            register(_with_verbosity(function))
            return function

        return decorate

    def put_in_order(self, names: Sequence[str]) -> None:
        """Have the help list commands in the order of their names here."""
        self.registered_commands.sort(
            key=lambda entry: names.index(getattr(entry.callback, "__name__", ""))
        )


def _with_verbosity(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command that also takes --quiet and --verbose, and keeps them for `terminal`."""
    signature = inspect.signature(function, eval_str=True)

    @wraps(function)
    def command(*args: Any, quiet: bool, verbose: bool, **values: Any) -> Any:
        begin(-1 if quiet else int(verbose), frozenset(signature.parameters))
        return function(*args, **values)

    added = {"quiet": Quiet, "verbose": Verbose}
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter(name, keyword, default=False, annotation=annotation)
        for name, annotation in added.items()
    ]
    own = map(with_metavar, signature.parameters.values())
    whole = signature.replace(parameters=[*own, *parameters])
    command.__signature__ = whole  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in whole.parameters.values()}
    command.kinds = {  # type: ignore[attr-defined]
        one.name: one.annotation
        for one in whole.parameters.values()
        if get_origin(one.annotation) is Annotated
    }
    return command


app = App(
    name="cmudrn",
    cls=Group,
    help="Remove rain and snow from photos, video and camera streams.",
    epilog="Exit codes: 0 all went well, 1 something failed and is named, 2 the command line is "
    "wrong, 130 interrupted.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:
    if value:
        from cmudrn.version import __version__

        show(f"cmudrn {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Remove rain and snow from photos, video and camera streams."""
