"""libvips opens six formats and no others, for every caller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyvips import nickname_find, type_from_name, type_map

from cmudrn.image.vips import LOADERS, pyvips


def installed_loaders() -> list[str]:
    names: set[str] = set()

    def walk(kind: Any) -> None:
        def visit(inner: Any, *_: Any) -> Any:
            names.add(nickname_find(inner))
            walk(inner)
            return pyvips.ffi.NULL

        type_map(kind, visit)

    walk(type_from_name("VipsForeignLoad"))
    return sorted(name for name in names if name and not name.endswith("_base"))


def test_what_may_be_opened_is_installed() -> None:
    assert set(LOADERS) < set(installed_loaders())


@pytest.mark.parametrize("name", [name for name in installed_loaders() if name not in LOADERS])
def test_no_other_loader_runs(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"1 2 3\n")
    source: Any = str(path)
    if name.endswith("_source"):
        source = pyvips.Source.new_from_memory(b"1 2 3\n")
    elif name.endswith("_buffer"):
        source = b"1 2 3\n"
    sizes = (1, 1, 1) if name == "rawload" else ()
    # libheif looks at the head before libvips says no; `new_from_source` does not get so far.
    with pytest.raises(pyvips.Error, match=r"operation is blocked|heif: Invalid input"):
        getattr(pyvips.Image, name)(source, *sizes)


@pytest.mark.parametrize(
    "data",
    [
        b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        b"P6 1 1 255\n\0\0\0",
        b"1,2,3\n",
        b"%PDF-1.4\n",
        b"P6 64 64 255\n" + bytes(64 * 64 * 3),
    ],
)
def test_nothing_is_opened_by_what_it_looks_like(data: bytes) -> None:
    with pytest.raises(pyvips.Error, match="not in a known format"):
        pyvips.Image.new_from_source(pyvips.Source.new_from_memory(data), "")
    with pytest.raises(pyvips.Error, match="not in a known format"):
        pyvips.Image.thumbnail_source(pyvips.Source.new_from_memory(data), 9)
