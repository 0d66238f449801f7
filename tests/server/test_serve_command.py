"""What `cmudrn serve` refuses at its start."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")

from cmudrn.cli.serve import serve
from cmudrn.errors import CmudrnError


@pytest.mark.parametrize("models", [["a/x.onnx", "b/x.onnx"], ["cmudrn", "cmudrn"]])
def test_two_models_of_one_name_are_refused(models: list[str]) -> None:
    with pytest.raises(CmudrnError, match="would both be served as"):
        serve(model=models)


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [
        ("nonsense.invalid", 0, "Cannot listen on nonsense.invalid port 0: "),
        ("ä..b", 0, "is not the name or address"),
        ("127.0.0.1", 70_000, "A port is a number"),
    ],
)
def test_addresses_that_cannot_be_listened_on_get_one_sentence(
    darkening_model: Path, host: str, port: int, words: str
) -> None:
    with pytest.raises(CmudrnError, match=words) as caught:
        serve(host=host, port=port, model=[str(darkening_model)])
    assert "Unknown error" not in str(caught.value) and str(caught.value).endswith(".")
