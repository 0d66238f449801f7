"""Results beside their sources, told by their names, so that nothing is restored twice."""

from __future__ import annotations

import re
from collections.abc import Iterable

from cmudrn.files.kinds import AnyPath, result_name

_ENDINGS = re.compile(r"(.+?)(?:\.restored|\.removed-[a-z]+)$", re.DOTALL)
"""What the names of results, and of images of what was removed, end in before the suffix."""


def result_beside(source: AnyPath) -> AnyPath:
    """Return where the result of a file goes that has no other target.

    Example:
        >>> from pathlib import PurePath
        >>> result_beside(PurePath("in/photo.jpg")).name
        'photo.restored.jpg'
    """
    return result_name(source.with_name(f"{source.stem}.restored{source.suffix}"))


def find_results(paths: Iterable[AnyPath]) -> dict[AnyPath, AnyPath]:
    """Return result -> source for the files that are results of others among them.

    Example:
        >>> from pathlib import PurePath
        >>> paths = [PurePath(name) for name in ("a.jpg", "a.restored.png", "b.restored.jpg")]
        >>> {str(result): str(source) for result, source in find_results(paths).items()}
        {'a.restored.png': 'a.jpg'}
    """
    known = list(paths)
    by_stem = {(path.parent, path.stem): path for path in reversed(known)}
    found = {}
    for path in known:
        stem = path.stem
        while match := _ENDINGS.match(stem):
            stem = match[1]
            if source := by_stem.get((path.parent, stem)):
                found[path] = source
    return found
