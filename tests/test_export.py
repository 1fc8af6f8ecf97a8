"""A task as a folder of Parquet files: it comes back equal, and others can read it without this package."""

import io
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data_builders import RawImages
from data_builders import export as module
from data_builders.build_task import build_task
from data_builders.export import export, load_export
from data_builders.task import ROLES, SimilarityTask
from unlearnkit.core.errors import BadValue

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def colour():
    """3 channels, and similar samples that are the targets themselves: psnr is infinite."""
    g = torch.Generator().manual_seed(0)
    x, y = torch.randint(0, 256, (80, 3, 8, 6), generator=g, dtype=torch.uint8), torch.arange(80) % 4
    facts = {"dataset": "noise | grün", "licence": "MIT", "source": "drawn", "raw_train": 60, "nested": {"a": [1, 0.5]}}
    raw = RawImages(x[:60], y[:60], x[60:], y[60:], 4, facts=facts)
    return build_task(raw, n_targets=3, copies=2, train_size=20, strength=0.0, perturbation_options={"block": 2})


@pytest.fixture(scope="module")
def lone(raw):
    return build_task(raw, copies=0, train_size=100)


@pytest.fixture
def folder(task, tmp_path):
    return export(task, tmp_path / "task")


def same(a: SimilarityTask, b: SimilarityTask) -> None:
    for name in ("x", "y", "role", "source"):
        one, other = getattr(a, name), getattr(b, name)
        assert one.dtype == other.dtype and torch.equal(one, other), name
    pd.testing.assert_frame_equal(a.pairs, b.pairs, check_exact=True)
    assert (a.n_classes, dict(a.facts), a.digest()) == (b.n_classes, dict(b.facts), b.digest())


@pytest.mark.parametrize("which", ["task", "colour", "lone"])
def test_a_task_comes_back_equal(which, request, tmp_path):
    given_ = request.getfixturevalue(which)
    folder = export(given_, tmp_path / "new" / "folder", made={"seed": 1})
    assert sorted(p.name for p in folder.iterdir()) == ["README.md", "pairs.parquet", "samples.parquet", "task.json"]
    same(load_export(folder), given_)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 5), st.sampled_from([1, 3]), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**31), st.text()
)
def test_any_images_come_back_equal(n, channels, height, width, seed, note):
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 256, (n, channels, height, width), generator=g, dtype=torch.uint8)
    y, source = torch.randint(0, 7, (n,), generator=g), torch.randint(-(2**60), 2**60, (n,), generator=g)
    role = torch.randint(0, len(ROLES), (n,), generator=g).to(torch.int8)
    pairs = pd.DataFrame({"anchor": [0] * n, "similar": range(n), "ssim": torch.rand(n, generator=g).numpy()})
    made = SimilarityTask(x, y, role, source, pairs, 7, {"note": f"| {note}"})
    with tempfile.TemporaryDirectory() as folder:
        same(load_export(export(made, Path(folder), made={"note": note})), made)


PROGRAM = """
import re, sys
from pathlib import Path
for name in ("unlearnkit", "data_builders"):
    sys.modules[name] = None  # importing them fails
import numpy as np
from datasets import Image, load_dataset
for folder in map(Path, sys.argv[1:]):
    samples = load_dataset(str(folder), "samples")["train"]
    assert isinstance(samples.features["image"], Image), samples.features
    default = load_dataset(str(folder), split="train")
    alone = load_dataset("parquet", data_files=str(folder / "samples.parquet"), split="train")
    assert samples.features == default.features == alone.features
    assert isinstance(alone.features["image"], Image) and samples[:] == default[:] == alone[:]
    rows = samples.to_dict() | {"image": [np.asarray(image) for image in samples["image"]]}
    np.savez(folder.parent / f"{folder.name}.npz", **{k: np.asarray(v) for k, v in rows.items()})
    for block in re.findall("```python\\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.S):
        names = {}
        exec(block.replace("path/to/this/folder", str(folder)), names)  # what the card says
        assert len(names["samples"]) == len(samples)
        if "pairs" in names:
            pairs = names["pairs"] if hasattr(names["pairs"], "loc") else names["pairs"].to_pandas()
            pairs.to_csv(folder.parent / f"{folder.name}.{'datasets' in block}.csv", index=False, float_format="%.6g")
assert sys.modules["unlearnkit"] is None
"""


def test_others_read_it_with_datasets_and_pandas(task, colour, lone, tmp_path):
    pytest.importorskip("datasets")
    tasks = {"grey": task, "colour": colour, "lone": lone}
    folders = [str(export(t, tmp_path / name)) for name, t in tasks.items()]
    home = {"HF_HOME": str(tmp_path / "hf"), "HF_DATASETS_CACHE": str(tmp_path / "hf" / "datasets")}
    env = os.environ | home | {"HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-I", "-c", PROGRAM, *folders]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name, t in tasks.items():
        with np.load(tmp_path / f"{name}.npz") as exported:
            image = exported["image"][:, None] if t.x.shape[1] == 1 else exported["image"].transpose(0, 3, 1, 2)
            assert np.array_equal(image, t.x.numpy())
            assert exported["id"].tolist() == list(range(len(t.x)))
            assert exported["label"].tolist() == t.y.tolist() and exported["source"].tolist() == t.source.tolist()
            assert exported["role"].tolist() == [ROLES[r] for r in t.role]
        csv = t.pairs.to_csv(index=False, float_format="%.6g")
        assert (tmp_path / f"{name}.False.csv").read_text() == csv
        assert name == "lone" or (tmp_path / f"{name}.True.csv").read_text() == csv


def test_pandas_reads_it(colour, tmp_path):
    folder = export(colour, tmp_path / "task")
    samples = pd.read_parquet(folder / "samples.parquet")
    assert list(samples) == ["id", "image", "label", "role", "source"]
    assert samples.id.tolist() == list(range(len(colour.x)))
    assert {str(samples[name].dtype) for name in ("id", "label", "source")} == {"int64"}
    for config, image in zip(samples.image, colour.x):
        assert config["path"] is None
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(config["bytes"]))), image.numpy().transpose(1, 2, 0))
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "pairs.parquet"), colour.pairs)


def test_the_card_says_what_it_is(colour, lone, tmp_path):
    made = {
        "dataset": str(tmp_path / "mine.npz"),
        "forget_ids": (1, 2),
        "perturbation_options": {"file": tmp_path / "b|c"},
    }
    folder = export(colour, tmp_path / "task", made=made)
    text = (folder / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(text.split("---\n")[1])
    assert head["license"] == "mit" and "license_name" not in head
    assert {c["config_name"]: c["data_files"] for c in head["configs"]} == {
        name: f"{name}.parquet" for name in ("samples", "pairs")
    }
    info = json.loads((folder / "task.json").read_text())
    assert info["made"] == {"dataset": "mine.npz", "forget_ids": [1, 2], "perturbation_options": {"file": "b|c"}}
    assert info["counts"]["target"] == 3 and info["counts"]["pairs"] == 12
    assert all(value in text for value in (*ROLES, *info["sha256"].values(), info["digest"], "noise \\| grün", "b\\|c"))
    assert f"| inf | 12 | {'█' * 20} |" in text and "| 1 | 12 |" in text  # psnr, and ssim, of identical images
    total = re.search(r"\| all \|(.*)\|", text)[1].split("|")
    assert [int(c) for c in total] == [*(len(colour.index(r)) for r in ROLES), len(colour.x)]
    for file in folder.iterdir():
        assert str(tmp_path).encode() not in file.read_bytes()
    text = (export(lone, tmp_path / "lone") / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(text.split("---\n")[1])
    assert (head["license"], head["license_name"]) == ("other", "none-stated")
    assert [c["config_name"] for c in head["configs"]] == ["samples"]  # `datasets` cannot load an empty table
    assert "No pairs" in text and "Not recorded." in text


@pytest.mark.parametrize("name", ["samples.parquet", "pairs.parquet", "task.json"])
def test_what_is_missing_or_damaged_is_named(folder, name):
    file = folder / name
    content = file.read_bytes()
    half = len(content) // 2
    flipped = content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]
    for damaged in (flipped, content[:-9], content[:half], b""):
        file.write_bytes(damaged)
        with pytest.raises(BadValue, match=f"{name} in task is damaged"):
            load_export(folder)
    file.unlink()
    with pytest.raises(BadValue, match=f"task has no {name}"):
        load_export(folder)


def change(folder: Path, seal: bool, **changes) -> None:
    """Edit task.json; seal: with its hash, as another version would write it."""
    info = json.loads((folder / "task.json").read_text()) | changes
    if seal:
        info["sha256"] = module._hashes(folder, info)
    (folder / "task.json").write_text(json.dumps(info))


@pytest.mark.parametrize(
    ("changes", "seal", "message"),
    [
        ({"facts": {"licence": "mine"}}, False, "task.json in task is damaged"),
        ({"format": 2}, False, "of another version: its format is 2, the one read here is 1"),
        ({"sha256": 3}, False, "task.json in task is damaged, or not an exported task's"),
        ({"digest": "0"}, True, "of another version: its digest is 0"),
        ({"pairs": {"score": "int64"}}, True, "another version, and cannot be read"),
        ({"shape": [1, 4, 4]}, True, "another version, and cannot be read"),
    ],
)
def test_another_version_is_named(folder, changes, seal, message):
    change(folder, seal, **changes)
    with pytest.raises(BadValue, match=message):
        load_export(folder)


def test_an_unknown_role_is_another_versions(folder):
    table = pd.read_parquet(folder / "samples.parquet")
    table.assign(role="neighbour").to_parquet(folder / "samples.parquet")
    change(folder, seal=True)
    with pytest.raises(BadValue, match="another version, and cannot be read"):
        load_export(folder)


def test_nothing_is_overwritten(task, colour, folder, tmp_path):
    with pytest.raises(BadValue, match="task exists and is not empty: nothing was overwritten"):
        export(colour, folder)
    same(load_export(folder), task)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(BadValue, match="file exists"):
        export(task, tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert load_export(export(colour, tmp_path / "empty")).digest() == colour.digest()


def test_a_failed_export_leaves_nothing_behind(task, tmp_path, monkeypatch):
    def fail(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "card", fail)
    with pytest.raises(KeyboardInterrupt):
        export(task, tmp_path / "new" / "deep" / "task")
    assert not list(tmp_path.iterdir())


def test_who_comes_second_overwrites_nothing(task, tmp_path, monkeypatch):
    def other(*args):
        (tmp_path / "task").mkdir()
        (tmp_path / "task" / "theirs").touch()
        return ""

    monkeypatch.setattr(module, "card", other)
    with pytest.raises(BadValue, match="exists and is not empty"):
        export(task, tmp_path / "task")
    assert [p.name for p in tmp_path.rglob("*")] == ["task", "theirs"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": torch.zeros(977, 2, 8, 8, dtype=torch.uint8)}, "1 or 3 channels"),
        ({"x": torch.zeros(977, 1, 8, 8)}, "x must be 977 of torch.uint8 below 256, got 977 of torch.float32"),
        ({"y": torch.zeros(977).int()}, "y must be"),
        ({"y": torch.full((977,), 10)}, "below 10"),
        ({"source": torch.arange(3)}, "source must be 977 of torch.int64, got 3"),
        ({"facts": {"size": (1, 2)}}, "fact 'size' must be a plain value"),
        ({"facts": {"file": "/data/mine.npz"}}, "fact 'file' must be a plain value and no local path"),
        ({"facts": {"loss": float("nan")}}, "plain value"),
        ({"facts": {"what": object()}}, "plain values"),
    ],
)
def test_what_would_not_come_back_is_refused(task, changes, message, tmp_path):
    with pytest.raises(BadValue, match=message):
        export(replace(task, **changes), tmp_path / "task")
    assert not list(tmp_path.iterdir())
