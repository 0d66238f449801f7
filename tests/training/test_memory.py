"""Memory that is kept for the next step."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from cmudrn.training.memory import give_back_memory, keep_memory


def test_memory_is_kept_and_given_back() -> None:
    keep_memory()
    assert np.ones(1 << 20).sum() == 1 << 20
    give_back_memory()


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_other_c_libraries_are_left_alone(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_name: object) -> None:
        raise error

    monkeypatch.setattr(ctypes, "CDLL", fail)
    keep_memory()
