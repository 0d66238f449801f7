"""Which shipped models let their depth be chosen, and what the others answer."""

from __future__ import annotations

import pytest

from cmudrn.errors import InvalidSettingError
from cmudrn.models import check_depth, shipped_models
from cmudrn.models.info import DEPTH_MODEL
from cmudrn.models.model_file import make_info, read_model_file


def test_the_model_that_sentences_name_takes_every_depth() -> None:
    info = make_info(read_model_file(shipped_models()[DEPTH_MODEL].path))
    assert info.adjustable and info.elastic
    assert check_depth(info, 1, 2) == (1, 2)


@pytest.mark.parametrize("depth", [(1, None), (None, 3), (3, 3), (10**9, 1)])
def test_the_default_model_refuses_a_depth(depth: tuple[int | None, int | None]) -> None:
    info = make_info(read_model_file(shipped_models()["cmudrn"].path))
    assert check_depth(info, None, None) == (info.stages, info.recursions)
    with pytest.raises(InvalidSettingError) as refusal:
        check_depth(info, *depth)
    assert DEPTH_MODEL in str(refusal.value) and "--" not in str(refusal.value)


@pytest.mark.parametrize("name", shipped_models())
def test_a_model_file_is_called_what_it_ships_as(name: str) -> None:
    model = shipped_models()[name]
    assert model.path.stem == name
    assert make_info(read_model_file(model.path)).name == name
