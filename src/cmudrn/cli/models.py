"""`cmudrn models`: the models that ship."""

from __future__ import annotations

import json

import typer

from cmudrn.cli import options
from cmudrn.cli.app import app
from cmudrn.cli.terminal import say


@app.command()
def models(as_json: options.Json = False) -> None:
    """List the models that ship with cmudrn: licence, hash, training data, scores."""
    from dataclasses import asdict

    from cmudrn.models import shipped_models

    shipped = shipped_models()
    if as_json:
        records = [{**asdict(model), "path": str(model.path)} for model in shipped.values()]
        typer.echo(json.dumps(records, indent=2))
        return
    for model in shipped.values():
        say(f"{model.name}  {model.description}")
        say(f"  licence     {model.licence}")
        say(f"  sha256      {model.sha256}")
        say(f"  trained on  {model.trained_on}")
        for name, scores in model.scores.items():
            row = ", ".join(f"{measure} {value:g}" for measure, value in scores.items())
            say(f"  {name:<24}{row}")
