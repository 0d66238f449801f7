"""`cmudrn desktop`: "Restore with CMUDRN" in the file managers of Linux."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from cmudrn.cli.application import app
from cmudrn.cli.terminal import say
from cmudrn.errors import CmudrnError

NAME = "Restore with CMUDRN"
_TYPES = ("image/jpeg", "image/png", "image/tiff", "image/webp", "image/avif", "image/bmp")
_CLIPS = ("video/mp4", "video/quicktime", "video/x-matroska", "video/webm")
_HELPER = "cmudrn/restore-files"

_SCRIPT = """#!/bin/sh
# Made by `cmudrn desktop`: restores the files of a file manager and says how it went.
say() {{
    if command -v notify-send > /dev/null; then notify-send -i image-x-generic CMUDRN "$1"
    elif command -v zenity > /dev/null; then zenity --info --text "$1"
    else printf '%s\\n' "$1" >&2; fi
}}
if [ $# -eq 0 ] && [ -n "$NAUTILUS_SCRIPT_SELECTED_FILE_PATHS" ]; then
    IFS='
'
    set -f
    set -- $NAUTILUS_SCRIPT_SELECTED_FILE_PATHS
fi
if told=$({command} restore "$@" 2>&1); then say "Restored; the results are beside the files."
else say "$told"; exit 1; fi
"""

_LAUNCHER = """[Desktop Entry]
Type=Application
Name={name}
Comment=Remove rain and snow from photographs and video
Exec={helper} %F
Icon=image-x-generic
Terminal=false
NoDisplay=true
Categories=Graphics;Photography;
MimeType={types};
"""

_DOLPHIN = """[Desktop Entry]
Type=Service
MimeType={types};
Actions=restore
X-KDE-ServiceTypes=KonqPopupMenu/Plugin

[Desktop Action restore]
Name={name}
Icon=image-x-generic
Exec={helper} %F
"""

_NEMO = """[Nemo Action]
Name={name}
Comment=Remove rain and snow
Exec={helper} %F
Icon-Name=image-x-generic
Selection=NotNone
Mimetypes={types};
Quote=double
"""

Remove = Annotated[bool, typer.Option("--remove", help="Take the entries away again.")]


@app.command()
def desktop(remove: Remove = False) -> None:
    """Add "Restore with CMUDRN" to the file managers of this user (Linux)."""
    if not sys.platform.startswith("linux"):
        raise CmudrnError("This command is for the file managers of Linux.")
    folder = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    for name, (text, mode) in entries(folder, sys.executable).items():
        path = folder / name
        if remove:
            path.unlink(missing_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        say(str(path))


def entries(folder: Path, python: str) -> Mapping[str, tuple[str, int]]:
    """Return path below the user's data folder -> (content, mode) of each entry.

    Args:
        folder: the user's data folder.
        python: the interpreter that has this package.
    """
    helper = folder / _HELPER
    script = _SCRIPT.format(command=f"{shlex.quote(python)} -m cmudrn")
    types = ";".join((*_TYPES, *_CLIPS))
    words = {"name": NAME, "types": types, "helper": _quoted(helper)}
    return {
        _HELPER: (script, 0o755),
        "applications/cmudrn-restore.desktop": (_LAUNCHER.format(**words), 0o644),
        "kio/servicemenus/cmudrn-restore.desktop": (_DOLPHIN.format(**words), 0o755),
        "nemo/actions/cmudrn-restore.nemo_action": (_NEMO.format(**words), 0o644),
        f"nautilus/scripts/{NAME}": (script, 0o755),
    }


def _quoted(path: Path) -> str:
    """Return a path for the key Exec: in quotes, with percent signs doubled."""
    escaped = re.sub(r'([\\"`$])', r"\\\1", str(path)).replace("%", "%%")
    return '"' + escaped.replace("\\", "\\\\") + '"'  # the file's own escapes come on top
