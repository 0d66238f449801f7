"""Several training processes against one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_loop import Brightened, config
import torch
from cmudrn.training.loop import Run
from cmudrn.training.distributed import join_process_group

torch.set_num_threads(1)
settings = config(training={{"validate_every": 1, "steps": 8}}, data={{"batch": 6}})
processes = join_process_group()
sources = dict.fromkeys(settings.data.sources, Brightened())
Run(settings, Path(sys.argv[1]), sources, processes).train()
processes.close()
"""


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").open()]


@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_have_the_losses_of_one(tmp_path: Path, processes: int) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parent)))
    subprocess.run([sys.executable, script, tmp_path / "one"], check=True)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc-per-node={processes}",
            script,
            tmp_path / "several",
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    one, several = losses(tmp_path / "one"), losses(tmp_path / "several")
    assert len(one) == 8
    # Sums in another order round differently, and each step of Adam amplifies that.
    assert several[0] == pytest.approx(one[0], abs=1e-6)
    assert several == pytest.approx(one, rel=1e-3)
