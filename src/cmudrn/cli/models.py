"""`cmudrn models`: the models that ship."""

from __future__ import annotations

from typing import Annotated

import typer

from cmudrn.cli import options
from cmudrn.cli.application import app
from cmudrn.cli.terminal import say, show_json

Credits = Annotated[
    bool,
    typer.Option("--credits", help="List the training photographs: author, licence, source."),
]


@app.command()
def models(as_json: options.Json = False, with_credits: Credits = False) -> None:
    """List the models that ship with cmudrn: licence, hash, training data, scores."""
    from dataclasses import asdict

    from cmudrn.models import shipped_models
    from cmudrn.models.credits import training_photographs

    if with_credits:
        photographs = training_photographs()
        if as_json:
            show_json([asdict(x) for x in photographs], indent=2)
            return
        for x in photographs:
            author = f"{x.author}. " if x.author else ""
            say(f"{x.file}  {author}{x.licence}. {x.page or f'{x.source}: {x.path_in_source}'}")
        return
    shipped = shipped_models()
    if as_json:
        records = [{**asdict(model), "path": str(model.path)} for model in shipped.values()]
        show_json(records, indent=2)
        return
    for model in shipped.values():
        say(f"{model.name}  {model.description}")
        say(f"  licence     {model.licence}")
        say(f"  sha256      {model.sha256}")
        say(f"  trained on  {model.trained_on}")
        for name, scores in model.scores.items():
            row = ", ".join(f"{measure} {value:g}" for measure, value in scores.items())
            say(f"  {name:<24}{row}")
