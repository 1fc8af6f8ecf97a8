"""MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100: small sets of the same layout; the real ones where they are there."""

import hashlib
import os
import pickle
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.datasets

from data_builders import RawImages, find, load
from data_builders import torchvision_sets as vision
from data_builders.torchvision_sets import SUPERCLASS
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue

FOLDERS = {
    "mnist": ("MNIST", "MNIST/raw"),
    "fashion_mnist": ("FashionMNIST", "FashionMNIST/raw"),
    "cifar10": ("CIFAR10", "cifar-10-batches-py"),
    "cifar100": ("CIFAR100", "cifar-100-python"),
}
MNISTS, CIFARS = ("mnist", "fashion_mnist"), ("cifar10", "cifar100")
N, N_TEST = 30, 10
MISSING = "is not in the data folder \\(or damaged there\\).*Set UNLEARNKIT_DATA"


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """An empty data folder and no network; the addresses that were asked for."""
    addresses = []

    def fail(request, *args, **kwargs):
        addresses.append(request.full_url)
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("UNLEARNKIT_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(urllib.request, "urlopen", fail)
    return addresses


def idx(array: np.ndarray) -> bytes:
    """The format of MNIST's files."""
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def small(name: str, folder: Path, monkeypatch) -> dict[str, np.ndarray]:
    """Write N and N_TEST random images as `name` is laid out, and tell torchvision and FACTS; the arrays written."""
    rng = np.random.default_rng(len(name))
    shape = (28, 28) if name in MNISTS else (3, 32, 32)
    n_classes = 100 if name == "cifar100" else 10
    arrays = {
        "x": rng.integers(0, 256, (N, *shape), dtype=np.uint8),
        "y": rng.permutation(np.arange(N) * n_classes // N),
        "test_x": rng.integers(0, 256, (N_TEST, *shape), dtype=np.uint8),
        "test_y": rng.integers(0, n_classes, N_TEST),
    }
    kind, below = FOLDERS[name]
    place = folder / below
    place.mkdir(parents=True)
    if name in MNISTS:
        for part, of in (("train", ""), ("t10k", "test_")):
            (place / f"{part}-images-idx3-ubyte").write_bytes(idx(arrays[f"{of}x"]))
            (place / f"{part}-labels-idx1-ubyte").write_bytes(idx(arrays[f"{of}y"].astype(np.uint8)))
    else:
        _small_cifar(name, place, arrays, monkeypatch)
    monkeypatch.setitem(vision.FACTS, kind, (N, int(arrays["x"].sum(dtype=np.int64))))
    return arrays


def _small_cifar(name: str, place: Path, arrays: dict, monkeypatch) -> None:
    kind = getattr(torchvision.datasets, FOLDERS[name][0])
    fine = name == "cifar100"

    def stored(file: str, content: dict) -> list[str]:
        (place / file).write_bytes(pickle.dumps(content))
        return [file, hashlib.md5((place / file).read_bytes()).hexdigest()]

    def batch(x: np.ndarray, y: np.ndarray) -> dict:
        labels = {"fine_labels": y.tolist(), "coarse_labels": [19] * len(y)} if fine else {"labels": y.tolist()}
        return {"data": x.reshape(len(x), -1), "filenames": ["a.png"] * len(x)} | labels

    names = [part[0] for part in kind.train_list]
    cut = np.array_split(np.arange(N), len(names))
    batches = [stored(n, batch(arrays["x"][rows], arrays["y"][rows])) for n, rows in zip(names, cut)]
    monkeypatch.setattr(kind, "train_list", batches)
    monkeypatch.setattr(kind, "test_list", [stored(kind.test_list[0][0], batch(arrays["test_x"], arrays["test_y"]))])
    words = {kind.meta["key"]: [f"thing {i}" for i in range(100 if fine else 10)]}
    filename, md5 = stored(kind.meta["filename"], words)
    monkeypatch.setattr(kind, "meta", {**kind.meta, "filename": filename, "md5": md5})


@pytest.mark.parametrize("act", [load, lambda name: find(name).fingerprint()], ids=["load", "fingerprint"])
@pytest.mark.parametrize("name", FOLDERS)
def test_without_files_or_network_the_way_out_is_told(asked, name, act):
    with pytest.raises(BadValue, match=f"^{FOLDERS[name][0]} {MISSING}.*no network"):
        act(name)
    assert asked
    with pytest.raises(BadValue, match=MISSING):  # nor has the first attempt left anything to load
        load(name)


@pytest.mark.parametrize("name", FOLDERS)
def test_files_of_an_empty_folder_are_missing(asked, tmp_path, name):
    """As a download that broke off leaves it: no fingerprint, which would be that of nothing."""
    (tmp_path / "data" / FOLDERS[name][1]).mkdir(parents=True)
    with pytest.raises(BadValue, match=MISSING):
        find(name).fingerprint()


@pytest.mark.parametrize("name", FOLDERS)
def test_a_data_folder_that_cannot_be_made_is_named(asked, tmp_path, name):
    (tmp_path / "data").write_text("a file")
    with pytest.raises(BadValue, match="Set UNLEARNKIT_DATA"):
        load(name)


@pytest.mark.parametrize("name", FOLDERS)
def test_files_in_torchvisions_layout_are_read(asked, tmp_path, monkeypatch, name):
    arrays = small(name, tmp_path / "data", monkeypatch)
    raw = load(name)
    for field, written in arrays.items():
        read = getattr(raw, field)
        assert np.array_equal(read.numpy(), written[:, None] if written.ndim == 3 else written)
    assert raw.x.dtype == torch.uint8 and raw.x.is_contiguous() and raw.y.dtype == torch.int64
    assert raw.n_classes == (100 if name == "cifar100" else 10)
    assert raw.ids.tolist() + raw.test_ids.tolist() == list(range(N + N_TEST))
    assert not asked


@pytest.mark.parametrize("name", FOLDERS)
def test_a_change_of_the_files_changes_the_fingerprint(asked, tmp_path, monkeypatch, name):
    small(name, tmp_path / "data", monkeypatch)
    place = tmp_path / "data" / FOLDERS[name][1]
    before = find(name).fingerprint()
    assert set(before) == {file.name for file in place.iterdir()}
    (place / "train-images-idx3-ubyte.gz").write_bytes(b"what it was unpacked from")
    assert find(name).fingerprint() == before
    changed = sorted(before)[0]
    (place / changed).write_bytes(b"something else")
    after = find(name).fingerprint()
    assert {file for file in before if before[file] != after[file]} == {changed}


@pytest.mark.parametrize("name", FOLDERS)
def test_another_byte_sum_is_refused(asked, tmp_path, monkeypatch, name):
    small(name, tmp_path / "data", monkeypatch)
    kind = FOLDERS[name][0]
    count, total = vision.FACTS[kind]
    for facts in ((count, total + 1), (count + 1, total)):
        monkeypatch.setitem(vision.FACTS, kind, facts)
        message = (
            f"{kind}'s training set is not the published one: {N} images with byte sum {total}, expected {facts[0]}"
        )
        with pytest.raises(BadValue, match=message):
            load(name)


@pytest.mark.parametrize("name", MNISTS)
def test_a_small_set_is_not_taken_for_the_published_one(asked, tmp_path, monkeypatch, name):
    facts = dict(vision.FACTS)
    small(name, tmp_path / "data", monkeypatch)
    monkeypatch.setattr(vision, "FACTS", facts)
    with pytest.raises(BadValue, match=f"{N} images with byte sum .*, expected 60000 and"):
        load(name)


def damaged(whole: bytes, damage: str) -> bytes:
    half = len(whole) // 2
    return {
        "cut": whole[:half],
        "empty": b"",
        "page": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "zeros": bytes(len(whole)),
        "header": whole[:5],
    }[damage]


DAMAGES = ("cut", "empty", "page", "zeros", "header", "gone")


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("part", ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"])
@pytest.mark.parametrize("name", MNISTS)
def test_a_damaged_idx_file_is_missing_or_damaged(asked, tmp_path, monkeypatch, name, part, damage):
    small(name, tmp_path / "data", monkeypatch)
    file = tmp_path / "data" / FOLDERS[name][1] / f"{part}-ubyte"
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(damaged(file.read_bytes(), damage))
    with pytest.raises(BadValue, match=MISSING):
        load(name)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("cifar10", "data_batch_3"),
        ("cifar10", "test_batch"),
        ("cifar10", "batches.meta"),
        ("cifar100", "train"),
        ("cifar100", "test"),
        ("cifar100", "meta"),
    ],
)
def test_a_damaged_pickle_is_missing_or_damaged(asked, tmp_path, monkeypatch, name, part, damage):
    small(name, tmp_path / "data", monkeypatch)
    file = tmp_path / "data" / FOLDERS[name][1] / part
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(damaged(file.read_bytes(), damage))
    with pytest.raises(BadValue, match=MISSING):
        load(name)


@pytest.mark.parametrize("name", CIFARS)
def test_a_pickle_with_another_checksum_is_never_unpickled(asked, tmp_path, monkeypatch, name):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    small(name, tmp_path / "data", monkeypatch)
    kind = getattr(torchvision.datasets, FOLDERS[name][0])
    (tmp_path / "data" / FOLDERS[name][1] / kind.test_list[0][0]).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(BadValue, match="damaged"):
        load(name)
    assert not (tmp_path / "sprung").exists()


# ---- the real sets

MNIST_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
REAL = {  # shape, images and test images, of each class, the first labels
    "mnist": ((1, 28, 28), 60000, MNIST_COUNTS, [5, 0, 4, 1, 9]),
    "fashion_mnist": ((1, 28, 28), 60000, [6000] * 10, [9, 0, 0, 3, 0]),
    "cifar10": ((3, 32, 32), 50000, [5000] * 10, [6, 9, 9, 4, 1]),
    "cifar100": ((3, 32, 32), 50000, [500] * 100, [19, 29, 0, 11, 1]),
}


@pytest.mark.parametrize("name", REAL)
def test_the_published_set_is_read(name):
    folder = os.environ.get("UNLEARNKIT_DATA")
    if not folder or not (Path(folder) / FOLDERS[name][1]).is_dir():
        pytest.skip(f"UNLEARNKIT_DATA names no folder with {FOLDERS[name][1]}")
    shape, n, counts, first = REAL[name]
    raw = load(name)
    n_test = len(raw.test_x)
    assert raw.x.shape == (n, *shape) and raw.test_x.shape == (n_test, *shape)
    assert n_test in ((3000, 10000) if name == "mnist" else (10000,))  # MNIST circulates with 3,000 test images, too
    assert raw.x.dtype == torch.uint8 and (int(raw.x.min()), int(raw.x.max())) == (0, 255)
    assert torch.bincount(raw.y).tolist() == counts and raw.y[:5].tolist() == first
    assert raw.test_y.unique().tolist() == list(range(raw.n_classes)) == list(range(len(counts)))
    assert raw.ids.tolist() == list(range(n)) and raw.test_ids.tolist() == list(range(n, n + n_test))
    assert len(find(name).fingerprint()) >= (3 if name == "cifar100" else 4)


# ---- what large sets need: duplicates dropped, fewer images drawn


def numbered(pixels: list[int], test_pixels: list[int], **ids) -> RawImages:
    """Images of one colour each; the label is the place, modulo 3."""
    x, test_x = (
        torch.tensor(p, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 4, 4) for p in (pixels, test_pixels)
    )
    return RawImages(x, torch.arange(len(x)) % 3, test_x, torch.arange(len(test_x)) % 3, 3, **ids)


def test_duplicates_go_and_ids_stay():
    raw = numbered([7, 8, 7, 9, 5, 8, 1, 7], [5, 6, 6], ids=torch.arange(8) + 100)
    distinct = raw.distinct()
    assert distinct.x[:, 0, 0, 0].tolist() == [7, 8, 9, 1]  # the first of each; 5 is a test image
    assert distinct.ids.tolist() == [100, 101, 103, 106] and distinct.y.tolist() == [0, 1, 0, 0]
    assert torch.equal(distinct.test_x, raw.test_x) and torch.equal(distinct.test_ids, raw.test_ids)
    assert len(raw.x) == 8


def test_distinct_images_stay_as_they_are():
    raw = numbered([1, 2, 3], [4])
    assert raw.distinct().digest() == raw.digest()
    twice = numbered([1, 1, 2], [2]).distinct()
    assert twice.distinct().digest() == twice.digest() and twice.x[:, 0, 0, 0].tolist() == [1]


def test_floats_that_round_to_one_image_are_duplicates():
    x = torch.tensor([0.5, 0.5001, 0.6])[:, None, None, None].expand(-1, 1, 4, 4)
    raw = RawImages(x, torch.zeros(3).long(), x[2:] + 0.0001, torch.zeros(1).long(), 1)
    assert raw.distinct().ids.tolist() == [0]


@pytest.mark.parametrize(("pool", "test"), [(20, 5), (1, 1), (20, 0), (0, 5), (59, 19), (60, 20), (600, 200), (0, 0)])
def test_so_many_are_drawn_with_their_ids(pool, test):
    rng = generator(0, "drawn")
    raw = numbered(list(range(60)), list(range(100, 120)), ids=torch.randperm(60, generator=rng) + 1000)
    subset = raw.limited_to(pool, test)
    assert (len(subset.x), len(subset.test_x)) == (min(pool or 60, 60), min(test or 20, 20))
    assert subset.digest() == raw.limited_to(pool, test).digest()
    rows = subset.x[:, 0, 0, 0].long()
    assert len(rows.unique()) == len(rows) and torch.equal(rows, rows.sort().values)
    assert torch.equal(subset.ids, raw.ids[rows]) and torch.equal(subset.y, raw.y[rows])
    test_rows = subset.test_x[:, 0, 0, 0].long() - 100
    assert torch.equal(subset.test_ids, raw.test_ids[test_rows]) and torch.equal(subset.test_y, raw.test_y[test_rows])
    assert subset.n_classes == 3


def test_what_is_drawn_is_not_the_beginning():
    rows = numbered(list(range(200)), list(range(50))).limited_to(50, 0).ids
    assert 60 < rows.float().mean() < 140 and int(rows.max()) > 150


def test_training_and_test_images_are_drawn_apart():
    raw = numbered(list(range(60)), list(range(20)))
    both, pool = raw.limited_to(20, 5), raw.limited_to(20, 0)
    assert torch.equal(both.ids, pool.ids) and torch.equal(both.test_ids, raw.limited_to(0, 5).test_ids)


def test_each_superclass_of_cifar100_has_five_classes():
    assert sorted(SUPERCLASS) == [k for k in range(20) for _ in range(5)]
    assert [SUPERCLASS[k] for k in (1, 32, 67, 73, 91)] == [1] * 5  # aquarium fish, flatfish, ray, shark, trout
