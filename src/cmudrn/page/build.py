"""Makes the folder of a page that restores photographs in the browser."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmudrn.engines.native.lowering import lower
from cmudrn.engines.native.program_writer import TooLongError
from cmudrn.errors import ModelFileError, TargetError
from cmudrn.files import atomic_file
from cmudrn.models import find_model, shipped_models
from cmudrn.models.model_file import make_info, open_model_file
from cmudrn.version import __version__

ASSETS = Path(__file__).parent / "assets"

SERVED: Mapping[str, str] = {
    "": "index.html",
    "app.js": "app.js",
    "backend.js": "server_backend.js",
    "style.css": "style.css",
    "icon.svg": "icon.svg",
}
"""Address below the server's root -> file of `ASSETS`."""

_COPIED: Mapping[str, str] = {
    **{name: name for name in SERVED.values() if name not in ("index.html", "server_backend.js")},
    "backend.js": "browser_backend.js",
    **dict.fromkeys(("photo_worker.js", "tile_worker.js", "engine.wasm"), ""),
    **dict.fromkeys(
        ("tiles.js", "change_gate.js", "range_ends.js", "containers.js", "veil.js"), ""
    ),
    **dict.fromkeys(("manifest.webmanifest", "icon-192.png", "icon-512.png", "LICENCES.txt"), ""),
}
"""File of the page -> file of `ASSETS`; "" is the same name."""

POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; worker-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)
"""The Content Security Policy of the page; WebAssembly is the only code beside the files."""

_VEIL_LAYERS = (
    *("enter", "reduce", "look", "judge", "thickness"),
    *("gather", "spread", "gate", "airlight"),
)
"""The layers of a veil estimator, in the order in which veil.js reads them."""

_HEAD = "  <!-- of a page without a server -->\n"
_OWN_HEAD = f"""\
  <meta http-equiv="Content-Security-Policy" content="{POLICY}">
  <link rel="manifest" href="manifest.webmanifest">
"""


def build_page(
    folder: str | os.PathLike[str],
    models: Sequence[str | os.PathLike[str]] = ("cmudrn",),
    *,
    overwrite: bool = False,
) -> dict[str, int]:
    """Write a page that restores photographs in the browser, and return the size of each file.

    The same version and models give the same bytes. The folder may be served by any web server as
    it is, at any address; browsers keep the page after the first visit.

    Args:
        folder: where the files go; it is made if it is missing.
        models: shipped names or model files; the first is the one that the page begins with.
        overwrite: whether files of those names are replaced.

    Raises:
        ModelFileError: a model is missing or damaged, or browsers cannot run it.
        TargetError: a file exists already, or cannot be written.
    """
    files = _page_files(models)
    target = Path(folder)
    for name in files:
        if (target / name).exists() and not overwrite:
            sentence = f"{target / name} exists already."
            raise TargetError(sentence, path=target / name, exists=True)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TargetError(f"Cannot make {target}: {error.strerror}.", path=target) from error
    for name, data in files.items():
        with atomic_file(target / name) as file:
            file.write(data)
    return {name: len(data) for name, data in files.items()}


def _page_files(models: Sequence[str | os.PathLike[str]]) -> dict[str, bytes]:
    """Return name -> bytes of every file, the service worker last."""
    html = (ASSETS / "index.html").read_text(encoding="utf-8")
    assert _HEAD in html
    files = {"index.html": html.replace(_HEAD, _OWN_HEAD).encode()}
    for name, source in _COPIED.items():
        files[name] = (ASSETS / (source or name)).read_bytes()
    records = []
    for model in models:
        record, program = _compile(model)
        files[record["file"]] = program
        records.append(record)
    offer = {"version": __version__, "default": records[0]["name"], "models": records}
    files["models.json"] = json.dumps(offer, indent=1, sort_keys=True).encode()
    files["service_worker.js"] = _service_worker(files)
    return files


def _service_worker(files: Mapping[str, bytes]) -> bytes:
    """Return the service worker for these files."""
    source = (ASSETS / "service_worker.js").read_text(encoding="utf-8")
    digest = hashlib.sha256(source.encode())
    for name, data in sorted(files.items()):
        digest.update(name.encode() + b"\0" + hashlib.sha256(data).digest())
    kept = ["./", *(name for name in files if name != "index.html")]
    for name, value in (
        ("VERSION", digest.hexdigest()[:16]),
        ("FILES", kept),
        ("POLICY", f"{POLICY}; frame-ancestors 'none'"),
    ):
        empty = json.dumps(type(value)())
        assert f"const {name} = {empty};" in source
        source = source.replace(
            f"const {name} = {empty};", f"const {name} = {json.dumps(value, indent=2)};"
        )
    return source.encode()


def _compile(model: str | os.PathLike[str]) -> tuple[dict[str, Any], bytes]:
    """Return a model's record for the page, and its program.

    Raises:
        ModelFileError: the model is missing or damaged, or browsers cannot run it.
    """
    path = find_model(model)
    info = make_info(open_model_file(path))
    layers = info.layers()
    radius = info.receptive_radius()
    if layers is None or radius is None:
        reason = "its operators are not known"
        raise ModelFileError(f"The page cannot run the model {path}: {reason}.", path=path)
    restored = "restored" if "restored" in layers.outputs else next(iter(layers.outputs))
    tasks = [task for task in info.tasks if task in layers.outputs and task != restored]
    try:
        program = lower(layers.restricted((restored, *tasks)))
    except TooLongError as error:
        raise ModelFileError(
            f"The page cannot run the model {path}: it is a network of {error}.", path=path
        ) from error
    assert program.outputs == (restored, *tasks)
    code, numbers = program.code.astype("<i8").tobytes(), program.numbers.astype("<f4").tobytes()
    veil = _pack_veil(info.veil_weights)
    name = str(model) if model in shipped_models() else path.stem
    shipped = shipped_models().get(name)
    record = {
        "name": name,
        "description": shipped.description if shipped else "",
        "licence": shipped.licence if shipped else str(info.metadata.get("licence", "")),
        "parameters": info.parameters,
        "sha256": info.sha256,
        "tasks": tasks,
        "adjustable": False,
        "dehazes": bool(veil),
        "radius": radius,
        "alignment": info.alignment,
        "change_gating_db": info.change_gating_db,
        "file": f"{name}.{info.sha256[:16]}.bin",
        "code_bytes": len(code),
        "veil_bytes": len(veil),
        "veil_features": len(info.veil_weights.get("enter.bias", ())),
    }
    return record, code + numbers + veil


def _pack_veil(weights: Mapping[str, NDArray[np.float32]]) -> bytes:
    """Return the weights of a veil estimator in the order that veil.js reads; none are b""."""
    if not weights:
        return b""
    parts = [weights[f"{layer}.{kind}"] for layer in _VEIL_LAYERS for kind in ("weight", "bias")]
    return b"".join(part.astype("<f4").tobytes() for part in parts)
