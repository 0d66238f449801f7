"""Studies that extend others."""

from __future__ import annotations

from pathlib import Path

import pytest

from cmudrn.errors import InvalidSettingError
from cmudrn.experiments.study import read_study


def test_a_study_may_extend_another(tmp_path: Path) -> None:
    path = tmp_path / "city.toml"
    path.write_text('extends = "ablation"\ntitle = "In cities"\n[test]\npictures = 3\n')
    city, base = read_study(str(path)), read_study("ablation")
    assert (city.title, city.test.pictures, city.rows) == ("In cities", 3, base.rows)
    assert city.test.weathers == base.test.weathers
    path.write_text(f'extends = "{path}"\n')
    with pytest.raises(InvalidSettingError, match="extends itself"):
        read_study(str(path))
