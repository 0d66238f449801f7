"""`cmudrn evaluate` on the command line."""

import csv
import shutil
from pathlib import Path

import pytest
from support.trees import make_csd, save, scene
from typer.testing import CliRunner

from cmudrn.cli import app
from cmudrn.errors import CmudrnError

RUNNER = CliRunner()


def run(*arguments: object) -> str:
    """Return what a command printed; its error is raised here as it is in `main`."""
    result = RUNNER.invoke(app, ["evaluate", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def csd(tmp_path: Path) -> Path:
    return make_csd(tmp_path / "CSD", train=2, test=2)


def test_models_files_and_folders_in_one_table(
    csd: Path, identity_model: Path, darkening_model: Path, tmp_path: Path
) -> None:
    shutil.copytree(csd / "Test" / "Gt", tmp_path / "perfect")
    lines = tmp_path / "pictures.csv"
    text = run(identity_model, darkening_model, "--pred", tmp_path / "perfect",
               "--data", f"csd:{csd}@test", "--pictures", lines)  # fmt: skip
    table, differences = text.strip().split("\n\n")
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    assert [row[2] for row in rows] == ["input", str(identity_model), str(darkening_model),
                                        "perfect"]  # fmt: skip
    assert {row[0] for row in rows} == {"CSD@test"} and {row[1] for row in rows} == {"2"}
    assert rows[0][4:] == rows[1][4:]  # the identity, in every rounded protocol
    assert rows[3][3] == "100.00 (100.00 to 100.00)"
    assert differences.count("perfect - ") == 1
    with lines.open(newline="") as file:
        records = list(csv.DictReader(file))
    assert len(records) == 8
    mean = sum(float(r["psnr_y"]) for r in records if r["model"] == "input") / 2
    assert rows[0][5].startswith(f"{mean:.2f} ")


def test_weather_is_laid_over_clean_pictures_only(csd: Path, tmp_path: Path) -> None:
    for n in range(2):
        save(scene(n, (64, 96)), tmp_path / "clean" / f"{n}.png")
    text = run("--data", f"folder:{tmp_path}/clean", "--data", f"csd:{csd}@test",
               "--weather", "snow,clear", "--format", "csv", "--no-intervals")  # fmt: skip
    rows = list(csv.reader(text.splitlines()))
    assert [row[0] for row in rows[1:]] == ["clean snow", "clean clear", "CSD@test"]
    assert rows[2][3] == "100.00" and float(rows[1][3]) < 40


@pytest.mark.parametrize(
    "variant",
    [
        {},
        {"shared_recursions": False},
        {"stage_reductions": [2]},
        {"kind": "drn", "tasks": ["snow"], "shared_recursions": False},
        {"kind": "prn", "tasks": ["snow"]},
    ],
    ids=["plain", "unshared", "reduced", "drn", "comparator"],
)
def test_a_checkpoint_and_its_run_folder_are_models(
    csd: Path, tmp_path: Path, variant: dict[str, object]
) -> None:
    pytest.importorskip("torch")
    from cmudrn.training.config import make_config
    from cmudrn.training.run import start_run

    source = {"dataset": f"csd:{csd}@train", "task": "snow", "weight": 1}
    config = make_config(
        {
            "name": "tiny",
            "network": {"features": 4, "stages": 1, "recursions": 1, **variant},
            "data": {"patch": 16, "batch": 2, "workers": 0, "sources": {"csd": source}},
            "training": {"steps": 1, "precision": "fp32"},
        }
    )
    start_run(config, tmp_path / "run", threads=1)
    text = run(tmp_path / "run", tmp_path / "run" / "last.safetensors", "--data",
               f"csd:{csd}@test", "--costs", "--no-intervals", "--format", "csv")  # fmt: skip
    rows = list(csv.DictReader(text.split("\n\n")[0].splitlines()))
    before, folder, checkpoint = ({k: v for k, v in row.items() if "dB" in k} for row in rows)
    assert folder == checkpoint != before
    assert int(rows[1]["MAC a pixel"].replace(",", "")) > 0
    text = run(tmp_path / "run", "--data", f"csd:{csd}@test", "--branches", "--no-intervals",
               "--format", "csv")  # fmt: skip
    rows = list(csv.DictReader(text.split("\n\n")[0].splitlines()))
    branch = next(row for row in rows if "snow" in row["model"])
    assert 0 < float(branch["PSNR RGB 8-bit dB"]) < 99
    if config.network.has_one_branch:
        assert branch["PSNR RGB 8-bit dB"] == folder["PSNR RGB 8-bit dB"]


def test_names_costs_and_columns(
    csd: Path, darkening_model: Path, foreign_model: Path, tmp_path: Path
) -> None:
    text = run(f"ours={darkening_model}", f"theirs={foreign_model}",
               "--pred", f"truth={csd / 'Test' / 'Gt'}", "--data", f"csd:{csd}@test", "--costs",
               "--protocols", "psnr_y,ssim_rgb", "--no-intervals", "--format", "csv")  # fmt: skip
    rows = list(csv.DictReader(text.split("\n\n")[0].splitlines()))
    assert [row["model"] for row in rows] == ["input", "ours", "theirs", "truth"]
    assert list(rows[0])[3:] == [
        "PSNR Y dB", "SSIM RGB", "parameters", "MAC a pixel", "ms a megapixel"
    ]  # fmt: skip
    assert rows[3]["PSNR Y dB"] == "100.00" and not rows[3]["ms a megapixel"]
    assert float(rows[1]["ms a megapixel"].replace(",", "")) > 0
    assert rows[2]["MAC a pixel"] == "0" and not rows[0]["parameters"]


def test_a_weight_file_of_the_drn_authors_is_a_model(csd: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from cmudrn.checkpoints.drn_authors import NAMES
    from cmudrn.networks.drn import DRN

    torch.manual_seed(0)  # some random networks of this depth make values far above 1
    ours = DRN(16, 7, 7).state_dict()
    theirs = {
        f"{layer}.{kind}": ours[f"{NAMES[layer]}.{kind}"]
        for layer in NAMES
        for kind in ("weight", "bias")
    }
    path = tmp_path / "net.pth"
    torch.save(theirs, path, _use_new_zipfile_serialization=False)  # as theirs are
    text = run(path, "--data", f"csd:{csd}@test", "--costs", "--limit", 1, "--format", "csv",
               "--no-intervals")  # fmt: skip
    row = list(csv.DictReader(text.splitlines()))[1]
    assert row["parameters"] == "10,595" and row["MAC a pixel"] == "460,656"


def test_latex(csd: Path) -> None:
    assert run("--data", f"csd:{csd}@test", "--format", "latex").startswith(r"\begin{tabular}")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Say what to score on"),
        (["--data", "csd:nowhere"], "no folder nowhere"),
        (["--pred", "nowhere", "--data", "csd:{csd}"], "no folder nowhere"),
        (["missing.safetensors", "--data", "csd:{csd}"], "no checkpoint missing.safetensors"),
        (["nothing:there", "--data", "csd:{csd}"], "no Python function nothing:there"),
        (["--data", "folder:{csd}/Test/Gt", "--weather", "hail"], "no weather 'hail'"),
        (["missing.pth", "--data", "csd:{csd}"], "no weight file missing.pth"),
        (["--protocols", "psnr", "--data", "csd:{csd}"], "no protocol 'psnr'; there are psnr_rgb"),
    ],
)
def test_what_is_wrong_is_one_sentence(csd: Path, arguments: list[str], sentence: str) -> None:
    with pytest.raises(CmudrnError, match=sentence):
        run(*(text.format(csd=csd) for text in arguments))


def test_a_table_replaces_a_file_only_when_asked_and_never_a_model(
    csd: Path, identity_model: Path, tmp_path: Path
) -> None:
    table, model = tmp_path / "table.csv", identity_model.read_bytes()
    table.write_text("something else")

    def score(output: Path, *options: str) -> None:
        run(identity_model, "--data", f"csd:{csd}@test", "--pictures", output, *options)

    with pytest.raises(CmudrnError, match=r"table.csv exists already"):
        score(table)
    assert table.read_text() == "something else"
    with pytest.raises(CmudrnError, match="would overwrite itself"):
        score(identity_model, "--overwrite")
    assert identity_model.read_bytes() == model
    score(table, "--overwrite")
    assert table.read_text().startswith("set,model,")


def test_no_half_file_is_left_where_a_result_is_missing(csd: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CmudrnError, match="holds no result for 1"):
        run("--pred", tmp_path / "empty", "--data", f"csd:{csd}@test",
            "--pictures", tmp_path / "out.csv")  # fmt: skip
    assert not (tmp_path / "out.csv").exists()
