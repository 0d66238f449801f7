"""`cmudrn evaluate KIND:FILE`: networks of other authors with their weights."""

from pathlib import Path

import pytest
from support.trees import make_csd
from typer.testing import CliRunner, Result

from cmudrn.cli import app
from cmudrn.errors import CmudrnError

torch = pytest.importorskip("torch")

RUNNER = CliRunner()


def run(*arguments: object) -> Result:
    result = RUNNER.invoke(app, ["evaluate", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def csd(tmp_path: Path) -> Path:
    return make_csd(tmp_path / "CSD", train=1, test=1)


def test_a_network_that_adds_nothing_scores_as_the_input(csd: Path, tmp_path: Path) -> None:
    from cmudrn.networks.comparators.prenet import PReNet

    state = PReNet(recurrent=False, shared=True).state_dict()
    state["conv.0.weight"].zero_()
    state["conv.0.bias"].zero_()
    torch.save(state, tmp_path / "prn_r.pth")
    text = run(f"PRN_r=prenet:{tmp_path / 'prn_r.pth'}", "--data", f"csd:{csd}@test",
               "--no-intervals", "--costs", "--protocols", "psnr_rgb,ssim_rgb").stdout  # fmt: skip
    rows = [line.strip("| ").split(" | ") for line in text.splitlines()[2:]]
    assert [row[2] for row in rows] == ["input", "PRN_r"]
    assert rows[0][3:5] == rows[1][3:5]
    assert rows[1][5].replace(",", "") == "21123"


def test_how_it_differs_from_their_script_stands_under_the_table(
    csd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cmudrn.networks.comparators import tkl
    from cmudrn.networks.comparators.tkl import TKL

    monkeypatch.setattr(tkl, "TKL", lambda: TKL(2, 1))
    torch.save({"state_dict": TKL(2, 1).state_dict()}, tmp_path / "student")
    model = f"tkl:{tmp_path / 'student'}"
    printed = run(model, "--data", f"csd:{csd}@test", "--protocols", "psnr_y").stdout
    assert printed.rstrip().splitlines()[-1].startswith("TKL: pictures are mirrored")
    table = run(model, "--data", f"csd:{csd}@test", "--protocols", "psnr_y", "--format", "csv")
    assert "mirrored" not in table.stdout and "mirrored" in table.stderr


def test_a_file_that_is_not_theirs_ends_in_one_sentence(csd: Path, tmp_path: Path) -> None:
    with pytest.raises(CmudrnError, match="There is no weight file"):
        run(f"airnet:{tmp_path / 'All.pth'}", "--data", f"csd:{csd}@test")
    (tmp_path / "All.pth").write_bytes(b"no")
    with pytest.raises(CmudrnError, match="is not a weight file of AirNet"):
        run(f"airnet:{tmp_path / 'All.pth'}", "--data", f"csd:{csd}@test")
