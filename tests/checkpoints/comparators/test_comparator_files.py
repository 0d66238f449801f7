"""The authors' weight files: what is read; wrong or hostile files give one error sentence."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.weights_by_rule import fill_by_rule, fill_hdcwnet_by_rule, keras_weights

from cmudrn.checkpoints.comparators import comparator
from cmudrn.checkpoints.comparators.comparator import open_comparator
from cmudrn.errors import CmudrnError
from cmudrn.evaluation.methods import COMPARATORS, is_comparator
from cmudrn.networks.comparators import hdcwnet, tkl
from cmudrn.networks.comparators import hdcwnet_roles as roles
from cmudrn.networks.comparators.airnet import AirNet
from cmudrn.networks.comparators.costs import count_macs
from cmudrn.networks.comparators.prenet import PReNet
from cmudrn.networks.comparators.tkl import TKL

State = dict[str, torch.Tensor]


class Bomb:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return exec, (f"open({str(self.path)!r}, 'w').close()",)


class Shell(Bomb):
    """The same by a shell."""

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def prn() -> State:
    network = PReNet(recurrent=False)
    fill_by_rule(network, 0.5)
    return network.state_dict()


def test_the_kinds_that_the_command_line_knows_are_those_that_are_opened() -> None:
    assert tuple(comparator.KINDS) == COMPARATORS
    assert is_comparator("tkl:a") and not is_comparator("tkl") and not is_comparator("a.tkl:b")
    with pytest.raises(CmudrnError, match="is not one of tkl:FILE, hdcwnet:FILE"):
        open_comparator("ours:a")


@pytest.mark.parametrize("recurrent", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_prenet_files_say_which_of_four_networks_they_are(
    tmp_path: Path, recurrent: bool, shared: bool
) -> None:
    network = PReNet(recurrent=recurrent, shared=shared)
    fill_by_rule(network, 0.5)
    torch.save(network.state_dict(), tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    theirs = open_comparator(f"prenet:{tmp_path / 'a.pth'}")
    picture = np.random.default_rng(1).random((9, 14, 3), np.float32)
    batch = torch.from_numpy(picture).permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = network(batch).clamp(0, 1)[0].permute(1, 2, 0).numpy()
    assert np.allclose(theirs(picture), expected, atol=1e-6)
    assert theirs.parameters == sum(p.numel() for p in network.parameters())
    assert theirs.macs == count_macs(network, 8, 8) // 64


def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the networks that are opened small, so that their files are."""
    monkeypatch.setattr(tkl, "TKL", partial(TKL, 4, 1))
    monkeypatch.setattr(comparator, "AirNet", partial(AirNet, 8, 1, 1))
    widths = hdcwnet.Widths.scaled(1 / 16)
    monkeypatch.setattr(hdcwnet, "HDCWNet", partial(hdcwnet.HDCWNet, widths=widths))
    monkeypatch.setattr(hdcwnet, "PICTURE", (16, 32))


def test_a_tkl_checkpoint_with_optimiser_and_schedule_is_read_without_running_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow(monkeypatch)
    network = TKL(4, 1)
    fill_by_rule(network)
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 250)
    mark = tmp_path / "ran"
    checkpoint = {
        "epoch": 250,
        "state_dict": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": {"after": schedule, "hostile": Bomb(mark)},
        "ckt_module": {"a": torch.nn.Conv2d(2, 2, 1)},
    }
    torch.save(checkpoint, tmp_path / "student")
    theirs = open_comparator(f"tkl:{tmp_path / 'student'}")
    assert not mark.exists()
    picture = np.random.default_rng(1).random((33, 50, 3), np.float32)
    assert theirs(picture).shape == picture.shape
    whole = torch.from_numpy(np.random.default_rng(1).random((32, 48, 3), np.float32))
    with torch.no_grad():
        expected = network(whole.permute(2, 0, 1)[None]).clamp(0, 1)[0].permute(1, 2, 0)
    assert np.allclose(theirs(whole.numpy()), expected.numpy(), atol=1e-6)
    assert "mirrored" in theirs.note


def test_airnet_is_read_without_its_slow_encoder_and_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow(monkeypatch)
    network = AirNet(8, 1, 1, queue=40)
    fill_by_rule(network, 0.5)
    torch.save(network.state_dict(), tmp_path / "All.pth")
    theirs = open_comparator(f"airnet:{tmp_path / 'All.pth'}")
    picture = np.random.default_rng(1).random((7, 9, 3), np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(picture).permute(2, 0, 1)[None])
    assert np.allclose(theirs(picture), expected.clamp(0, 1)[0].permute(1, 2, 0), atol=1e-6)
    restoring = sum(p.numel() for p in network.R.parameters())
    assert restoring < theirs.parameters < restoring + 6_000


def without(state: State, name: str) -> State:
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (lambda s: without(s, "conv.0.bias"), "conv.0.bias is missing"),
        (lambda s: s | {"more": torch.zeros(1)}, "more is none of its weights"),
        (lambda s: s | {"conv.0.bias": torch.zeros(4)}, r"shape \(4,\) instead of \(3,\)"),
        (lambda s: s | {"conv.0.bias": torch.full((3,), torch.nan)}, "that are no numbers"),
        (lambda s: s | {"conv.0.bias": torch.zeros(3, dtype=torch.cfloat)}, "no plain array"),
        (lambda s: s | {"conv.0.bias": torch.zeros(3).to_sparse()}, "no plain array"),
        (lambda s: s | {"conv.0.bias": 7}, "no table of weights"),
        (lambda s: {}, "no table of weights"),
        (lambda s: [s], "no table of weights"),
        (lambda s: {"state_dict": 5}, "no table of weights"),
        (lambda s: {1: torch.zeros(1)}, "no table of weights"),
    ],
)
def test_wrong_torch_files_end_in_one_sentence(
    tmp_path: Path, content: Callable[[State], object], sentence: str
) -> None:
    torch.save(content(prn()), tmp_path / "a.pth")
    with pytest.raises(CmudrnError, match=sentence) as caught:
        open_comparator(f"prenet:{tmp_path / 'a.pth'}")
    assert str(caught.value).count("\n") == 0


def test_hostile_and_broken_torch_files_end_in_one_sentence(tmp_path: Path) -> None:
    mark, path = tmp_path / "ran", tmp_path / "a.pth"
    torch.save(prn(), path)
    whole = path.read_bytes()
    torch.save({"state_dict": Shell(mark)}, tmp_path / "shell.pth")
    hostile = (tmp_path / "shell.pth").read_bytes()
    for content in (b"", b"no", whole[: len(whole) // 2], hostile, pickle.dumps(Bomb(mark)),
                    pickle.dumps({"a": Shell(mark)}), pickle.dumps(prn)):  # fmt: skip
        path.write_bytes(content)
        with pytest.raises(CmudrnError, match="is not a weight file of PReNet or PRN") as caught:
            open_comparator(f"prenet:{path}")
        assert str(caught.value).count("\n") == 0
        assert not mark.exists()
    for missing in (tmp_path / "none", tmp_path):
        with pytest.raises(CmudrnError, match="There is no weight file"):
            open_comparator(f"prenet:{missing}")


def write_keras(
    path: Path,
    first: int = 1,
    inside: str = "",
    order: list[str] | None = None,
    change: Callable[[Any, str], None] = lambda file, name: None,
) -> dict[str, str]:
    """Write HDCW-Net's weights, narrow and by rule, as Keras does; return role -> layer."""
    import h5py

    network = hdcwnet.HDCWNet((48, 64))
    weights = keras_weights(network)
    names = {role: name for name, role in roles.NAMED.items()}
    for base, kind in roles.NUMBERED.items():
        for i, role in enumerate(roles.created(kind)):
            names[role] = f"{base}_{i + first}" if i + first else base
    with h5py.File(path, "w") as file:
        root = file.create_group(inside) if inside else file
        listed = ["input_1", *(names[role] for role in order or roles.in_file()), "add_1"]
        root.attrs["layer_names"] = np.array(listed, "S")
        for name in ("input_1", "add_1"):
            root.create_group(name).attrs["weight_names"] = np.array([], "S")
        for role, name in names.items():
            layer = root.create_group(name)
            held = roles.WEIGHTS[roles.class_of(role)]
            layer.attrs["weight_names"] = np.array([f"{name}/{w}:0" for w in held], "S")
            for weight in held:
                layer[f"{name}/{weight}:0"] = weights[f"{role}.{weight}"]
        change(root, names["x1L.conv2d0"])
    return names


@pytest.mark.parametrize("first", [0, 1, 139])
@pytest.mark.parametrize("inside", ["", "model_weights"])
def test_a_keras_file_is_read_whatever_it_counts_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int, inside: str
) -> None:
    pytest.importorskip("h5py")
    narrow(monkeypatch)
    write_keras(tmp_path / "a.h5", first, inside)
    theirs = open_comparator(f"hdcwnet:{tmp_path / 'a.h5'}")
    network = hdcwnet.HDCWNet((48, 64))
    fill_hdcwnet_by_rule(network)
    for ours, read in zip(network.parameters(), theirs.network.parameters(), strict=True):
        assert torch.equal(ours, read)
    assert theirs(np.full((20, 70, 3), 0.5, np.float32)).shape == (20, 70, 3)
    assert "windows" in theirs.note and "by name" not in theirs.note


def test_layers_in_another_order_are_told_apart_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("h5py")
    narrow(monkeypatch)
    write_keras(tmp_path / "a.h5", order=roles.in_file()[::-1])
    theirs = open_comparator(f"hdcwnet:{tmp_path / 'a.h5'}")
    network = hdcwnet.HDCWNet((48, 64))
    fill_hdcwnet_by_rule(network)
    for ours, read in zip(network.parameters(), theirs.network.parameters(), strict=True):
        assert torch.equal(ours, read)
    assert "told apart by name" in theirs.note


def _replace(value: object) -> Callable[[Any, str], None]:
    def change(root: Any, name: str) -> None:
        del root[name][f"{name}/kernel:0"]
        root[name][f"{name}/kernel:0"] = value

    return change


def _link(root: Any, name: str) -> None:
    import h5py

    del root[name][f"{name}/kernel:0"]
    root[name][f"{name}/kernel:0"] = h5py.ExternalLink("other.h5", "/a")


def _loop(root: Any, name: str) -> None:
    import h5py

    del root[name]
    root[name] = h5py.SoftLink(f"/{name}")


def _outside(root: Any, name: str) -> None:
    shape = root[name][f"{name}/kernel:0"].shape
    del root[name][f"{name}/kernel:0"]
    root[name].create_dataset(
        f"{name}/kernel:0", shape, "f4", external=[("/etc/hostname", 0, 4 * int(np.prod(shape)))]
    )


def _rename(root: Any, name: str) -> None:
    names = root.attrs["layer_names"].tolist()
    changed = [b"lambda_1" if n == name.encode() else n for n in names]
    root.attrs["layer_names"] = np.array(changed, "S")
    root.move(name, "lambda_1")


def _forget(root: Any, name: str) -> None:
    names = root.attrs["layer_names"].tolist()
    root.attrs["layer_names"] = np.array([n for n in names if n != name.encode()], "S")


def _unlist(root: Any, name: str) -> None:
    del root.attrs["layer_names"]


def _cut(root: Any, name: str) -> None:
    root[name].attrs["weight_names"] = [f"{name}/kernel:0"]


SHAPE = (7, 7, 12, 4)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_replace(np.zeros((7, 7, 3, 4), np.float32)), "kernel:0 has the shape"),
        (_replace(np.zeros(3, np.float32)), "kernel:0 has the shape"),
        (_replace(b"text"), "kernel:0 has the shape"),
        (_link, "is a link"),
        (_loop, "is a link"),
        (_outside, "is no array in this file"),
        (_rename, "it has no layer called 'lambda_1'"),
        (_forget, "138 layers of the kind conv2d, not 137"),
        (_unlist, "the list 'layer_names' is missing"),
        (_cut, "has 1 weights instead of 2"),
    ],
)
def test_wrong_and_hostile_keras_files_end_in_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Any, str], None],
    sentence: str,
) -> None:
    pytest.importorskip("h5py")
    narrow(monkeypatch)
    write_keras(tmp_path / "a.h5", change=change)
    with pytest.raises(CmudrnError, match="is not the weight file of HDCW-Net") as caught:
        open_comparator(f"hdcwnet:{tmp_path / 'a.h5'}")
    assert sentence in str(caught.value) and str(caught.value).count("\n") == 0


@pytest.mark.parametrize("content", [b"", b"no", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_what_is_no_keras_file_ends_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("h5py")
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(CmudrnError, match="is not the weight file of HDCW-Net"):
        open_comparator(f"hdcwnet:{tmp_path / 'a.h5'}")
    with pytest.raises(CmudrnError, match="There is no weight file"):
        open_comparator(f"hdcwnet:{tmp_path / 'none.h5'}")


def test_without_h5py_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(CmudrnError, match=r"pip install 'cmudrn\[comparators\]'"):
        open_comparator(f"hdcwnet:{tmp_path / 'a.h5'}")
