"""Help as plain text in sections, two columns wide: readable at 80 columns and in a log."""

from __future__ import annotations

import copy
import inspect
import re
import types
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

from typer.core import TyperCommand, TyperGroup
from typer.models import ParameterInfo

_METAVARS = {Path: "PATH", str: "TEXT", int: "N", float: "N"}
"""What stands for a value of a type; flags have none, choices name themselves."""
_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")
"""A number that every reader of numbers takes for the same."""


class Command(TyperCommand):
    """A command whose arguments and options are listed by panel, without a frame.

    What a value of them is stands in its function's `kinds`: parameter -> annotation.
    """

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters."""
        kinds = getattr(self.callback, "kinds", {})
        return [_convert_less(one, kinds.get(one.name)) for one in super().get_params(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the sections; those of a panel follow those without one."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx)
            if row is None:
                continue
            name, sentence = row
            plain = "Options"
            if parameter.param_type_name == "argument":
                name, plain = parameter.metavar or parameter.name.upper(), "Arguments"
            panel = getattr(parameter, "rich_help_panel", None) or plain
            sections.setdefault(panel, []).append((name.removeprefix(" / "), sentence))
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(rows, col_max=24)


class Group(TyperGroup):
    """Commands, each with the whole first sentence of its help."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters."""
        return [_convert_less(parameter) for parameter in super().get_params(ctx)]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands."""
        rows = []
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                first = inspect.cleandoc(command.help or "").partition("\n\n")[0]
                rows.append((name, " ".join(first.split())))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def with_metavar(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return a parameter of a command whose help names its value in one short word."""
    if get_origin(parameter.annotation) is not Annotated:
        return parameter
    kind, info = get_args(parameter.annotation)[:2]
    metavar = _METAVARS.get(_value_type(kind))
    if not isinstance(info, ParameterInfo) or info.metavar is not None or metavar is None:
        return parameter
    named = copy.copy(info)
    named.metavar = metavar if info.__class__.__name__ == "OptionInfo" else parameter.name.upper()
    return parameter.replace(annotation=Annotated[kind, named])


def _convert_less(parameter: Any, annotation: Any = None) -> Any:
    """Return a parameter that takes plain texts and numbers without Typer's own conversion.

    That imports pydantic, which takes a tenth of a second. It still words every refusal.
    """
    if "process_value" in vars(parameter):
        return parameter
    convert = parameter.process_value
    value_type, info = (*get_args(annotation), None, None)[:2]
    kind, several = _value_type(value_type), parameter.multiple or parameter.nargs == -1

    def process_value(context: Any, value: Any) -> Any:
        ready = value is None and not parameter.required
        ready = ready or (kind in (*_METAVARS, bool) and isinstance(value, kind))
        if several:
            ready = bool(value) and all(type(one) is kind for one in value)
            value = list(value) if ready else value
        elif kind in (int, float) and isinstance(value, str) and _NUMBER.fullmatch(value):
            number = float(value)
            ready = (kind is float or "." not in value) and _within(number, info)
            value = kind(number) if ready else value
        if not ready:
            return convert(context, value)
        return parameter.callback(context, parameter, value) if parameter.callback else value

    parameter.process_value = process_value
    return parameter


def _within(number: float, info: Any) -> bool:
    return (info.min is None or number >= info.min) and (info.max is None or number <= info.max)


def _value_type(annotation: Any) -> Any:
    """Return the type of one value: of `list[Path] | None` it is Path."""
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(one for one in get_args(annotation) if one is not types.NoneType)
    return get_args(annotation)[0] if get_origin(annotation) is list else annotation
