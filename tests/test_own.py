"""Image sets of the user's own: .npz, folders, Parquet; and how a data set is found."""

import io
import os

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data_builders import RawImages, datasets, find, load
from data_builders.build_task import build_task
from data_builders.user_images import TEST_SHARE, read
from unlearnkit.core.errors import BadValue, UnknownName
from unlearnkit.core.paths import dataset_id

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (20, 8, 6), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (20, 8, 6, 3), dtype=np.uint8)
Y = np.arange(20) % 4


@pytest.fixture
def data(tmp_path, monkeypatch):
    """The data folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("UNLEARNKIT_DATA", str(folder))
    return folder


def encoded(pixels: np.ndarray, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def write(folder, files: dict) -> None:
    """files: path -> pixels, or bytes as they are."""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content if isinstance(content, bytes) else encoded(content))


def everything(raw: RawImages) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images, labels and ids of both splits, by id."""
    ids = torch.cat([raw.ids, raw.test_ids])
    order = ids.argsort()
    return torch.cat([raw.x, raw.test_x])[order], torch.cat([raw.y, raw.test_y])[order], ids[order]


# ---- .npz

LAYOUTS = {
    "grey": (GREY, GREY[:, None]),
    "NHWC": (COLOUR, COLOUR.transpose(0, 3, 1, 2)),
    "NHW1": (GREY[..., None], GREY[:, None]),
    "NCHW": (COLOUR.transpose(0, 3, 1, 2), COLOUR.transpose(0, 3, 1, 2)),
    "N1HW": (GREY[:, None], GREY[:, None]),
    "fortran": (np.asfortranarray(COLOUR), COLOUR.transpose(0, 3, 1, 2)),
    "float32": ((GREY / 255).astype(np.float32), GREY[:, None]),
    "float64": (COLOUR / 255, COLOUR.transpose(0, 3, 1, 2)),
    "big-endian float": ((GREY / 255).astype(">f4"), GREY[:, None]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_npz_of_every_layout_is_read(data, layout):
    stored, expected = LAYOUTS[layout]
    np.savez(data / "mine.npz", x=stored, y=Y)
    x, y, ids = everything(load("mine.npz"))
    assert x.dtype == torch.uint8 and np.array_equal(x.numpy(), expected)
    assert y.dtype == torch.int64 and np.array_equal(y.numpy(), Y)
    assert ids.tolist() == list(range(20))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint64", ">i4"])
def test_npz_labels_of_any_whole_type_are_read(data, dtype):
    np.savez_compressed(data / "mine.npz", x=GREY, y=Y.astype(dtype))
    assert np.array_equal(everything(load("mine.npz"))[1].numpy(), Y)


def test_npz_with_a_test_set_keeps_it(data):
    np.savez(data / "mine.npz", x=GREY, y=Y, test_x=GREY[:4] ^ 255, test_y=[3, 5, 0, 1])
    raw = load("mine.npz")
    assert np.array_equal(raw.x.numpy(), GREY[:, None]) and np.array_equal(raw.test_x.numpy(), GREY[:4, None] ^ 255)
    assert raw.test_y.tolist() == [3, 5, 0, 1] and raw.n_classes == 6
    assert not set(raw.ids.tolist()) & set(raw.test_ids.tolist())


BAD_NPZ = {
    "no x": ({"y": Y}, "has no array 'x'; it has y"),
    "no y": ({"x": GREY, "labels": Y}, "has no array 'y'; it has labels, x"),
    "nothing": ({}, "has no array 'x'; it has none"),
    "half a test set": ({"x": GREY, "y": Y, "test_x": GREY}, "has no array 'test_y'; it has test_x, x, y"),
    "2 dimensions": ({"x": GREY[:, 0], "y": Y}, "images must be .* got \\(20, 6\\)"),
    "5 dimensions": ({"x": COLOUR[None], "y": Y[:1]}, "images must be .* got \\(1, 20, 8, 6, 3\\)"),
    "2 channels": ({"x": COLOUR[..., :2], "y": Y}, "with 1 or 3 channels.* got \\(20, 8, 6, 2\\)"),
    "no image": ({"x": GREY[:0], "y": Y[:0]}, "at least one; got \\(0, 1, 8, 6\\)"),
    "whole numbers": ({"x": GREY.astype(np.int64), "y": Y}, "images must be uint8, or floats .* got int64"),
    "yes and no": ({"x": GREY > 99, "y": Y}, "images must be uint8, or floats .* got bool"),
    "float labels": (
        {"x": GREY, "y": Y * 1.0},
        "labels must be 20 whole numbers, one per image, got float64 \\(20,\\)",
    ),
    "text labels": ({"x": GREY, "y": Y.astype(str)}, "labels must be 20 whole numbers"),
    "negative labels": ({"x": GREY, "y": Y - 1}, "labels must be 0, 1, 2, ..., got -1"),
    "too few labels": ({"x": GREY, "y": Y[:19]}, "labels must be 20 whole numbers, one per image, got int64 \\(19,\\)"),
    "labels in a column": ({"x": GREY, "y": Y[:, None]}, "got int64 \\(20, 1\\)"),
    "labels one-hot": ({"x": GREY, "y": np.eye(4)[Y]}, "got float64 \\(20, 4\\)"),
    "a bad test set": ({"x": GREY, "y": Y, "test_x": GREY[0], "test_y": Y[:8]}, "got \\(8, 6\\)"),
    "floats to 255": ({"x": GREY * 1.0, "y": Y}, "divide bytes by 255"),
    "not a number": ({"x": GREY * np.nan, "y": Y}, "finite"),
    "another size": (
        {"x": GREY, "y": Y, "test_x": GREY[:, :6], "test_y": Y},
        "\\(1, 8, 6\\), test images \\(1, 6, 6\\)",
    ),
    "one of a class": ({"x": GREY, "y": [9, *Y[1:]]}, "mine.npz: class 9 has one image; it needs two"),
}


@pytest.mark.parametrize("what", BAD_NPZ)
def test_a_bad_npz_is_named(data, what):
    arrays, message = BAD_NPZ[what]
    np.savez(data / "mine.npz", **arrays)
    with pytest.raises(BadValue, match=message):
        load("mine.npz")


@pytest.mark.parametrize("what", ["floats to 255", "another size"])
def test_a_bad_npz_is_named_with_its_file(data, what):
    """Where RawImages finds the fault, too."""
    np.savez(data / "mine.npz", **BAD_NPZ[what][0])
    with pytest.raises(BadValue, match="mine.npz"):
        load("mine.npz")


def test_pickled_objects_are_refused_and_not_run(data):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(data / "sprung"),)

    np.savez(data / "mine.npz", x=np.array([Trap()], dtype=object), y=Y[:1])
    with pytest.raises(BadValue, match="mine.npz cannot be read as .npz without pickles"):
        load("mine.npz")
    assert not (data / "sprung").exists()


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text", "npy"])
def test_a_damaged_npz_is_named(data, damage):
    np.savez(data / "mine.npz", x=GREY, y=Y)
    whole = (data / "mine.npz").read_bytes()
    plain = io.BytesIO()
    np.save(plain, GREY)
    flipped = bytearray(whole)
    flipped[400] ^= 255  # within the pixels
    content = {"cut": whole[:-300], "flipped": flipped, "empty": b"", "text": b"a,b\n1,2\n", "npy": plain.getvalue()}
    (data / "mine.npz").write_bytes(content[damage])
    with pytest.raises(BadValue, match="mine.npz cannot be read as .npz"):
        load("mine.npz")


# ---- the test split


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(2, 23), min_size=1, max_size=4))
def test_without_a_test_set_a_fifth_of_each_class_becomes_one(tmp_path_factory, sizes):
    y = np.repeat(np.arange(len(sizes)), sizes)[::-1]
    x = np.arange(len(y), dtype=np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2)  # image i says i
    file = tmp_path_factory.getbasetemp() / "sizes.npz"
    np.savez(file, x=x, y=y)
    raw = read(file)
    assert torch.bincount(raw.test_y).tolist() == [max(n // TEST_SHARE, 1) for n in sizes]
    images, labels, ids = everything(raw)
    assert ids.tolist() == list(range(len(y))) and labels.tolist() == y.tolist()
    assert images[:, 0, 0, 0].tolist() == ids.tolist()
    assert torch.equal(raw.x[:, 0, 0, 0], raw.ids.to(torch.uint8))
    again = read(file)
    assert torch.equal(again.test_ids, raw.test_ids)


def test_the_split_is_drawn_and_does_not_depend_on_the_pixels(data):
    np.savez(data / "a.npz", x=np.zeros((500, 4, 4), np.uint8), y=np.zeros(500, int))
    np.savez(data / "b.npz", x=np.ones((500, 4, 4), np.uint8), y=np.zeros(500, int))
    a, b = load("a.npz"), load("b.npz")
    assert torch.equal(a.test_ids, b.test_ids)
    assert 150 < a.test_ids.float().mean() < 350 and a.test_ids.diff().unique().numel() > 3


def test_a_set_of_ones_own_is_composed_with_its_ids(data):
    x = RNG.integers(0, 256, (200, 8, 8), dtype=np.uint8)
    np.savez(data / "mine.npz", x=x, y=np.arange(200) % 4)
    task = build_task(load("mine.npz"), n_targets=3, copies=2, train_size=60)
    rows = task.index("target", "filler", "decoy", "test")
    assert np.array_equal(task.x[rows].numpy()[:, 0], x[task.source[rows].numpy()])


def test_a_gap_in_the_labels_is_named_when_composed(data):
    np.savez(data / "mine.npz", x=GREY, y=np.where(Y == 2, 5, Y))
    with pytest.raises(BadValue, match="6 classes, but has no training image of \\[2, 4\\]"):
        build_task(load("mine.npz"), n_targets=1, copies=0, train_size=4)


# ---- folders


def classes(n: int = 5, pixels: np.ndarray = COLOUR, below: str = "", names=("cat", "dog")) -> dict:
    """n images of each class, no two alike."""
    return {f"{below}{name}/{i}.png": pixels[k * n + i] for k, name in enumerate(names) for i in range(n)}


def test_a_folder_of_classes_is_read(data):
    write(data / "pets", classes())
    raw = load("pets/")
    x, y, ids = everything(raw)
    assert y.tolist() == [0] * 5 + [1] * 5 and len(raw.test_y) == 2 and raw.n_classes == 2
    assert np.array_equal(x.numpy(), COLOUR[:10].transpose(0, 3, 1, 2)) and ids.tolist() == list(range(10))


def test_a_folder_with_train_and_test_is_read(data):
    write(data / "pets", classes(below="train/") | classes(2, COLOUR[10:], "test/"))
    raw = load("pets/")
    assert raw.y.tolist() == [0] * 5 + [1] * 5 and raw.test_y.tolist() == [0, 0, 1, 1]
    assert np.array_equal(raw.test_x.numpy(), COLOUR[10:14].transpose(0, 3, 1, 2))


def test_a_test_set_may_lack_a_class_and_labels_stay(data):
    write(data / "pets", classes(below="train/") | classes(2, COLOUR[10:], "test/", names=["dog"]))
    assert load("pets/").test_y.tolist() == [1, 1]


def test_a_test_class_without_training_images_is_named(data):
    write(data / "pets", classes(below="train/") | classes(2, COLOUR[10:], "test/", names=("cat", "yak")))
    with pytest.raises(BadValue, match="yak"):
        load("pets/")


def test_grey_among_colour_becomes_colour(data):
    write(data / "pets", classes() | {"cat/0.png": GREY[0]})
    x = everything(load("pets/"))[0]
    assert x.shape == (10, 3, 8, 6)
    assert np.array_equal(x[0].numpy(), GREY[0][None].repeat(3, 0))
    assert np.array_equal(x[1].numpy(), COLOUR[1].transpose(2, 0, 1))


def test_a_grey_test_set_of_a_coloured_training_set_becomes_colour(data):
    write(data / "pets", classes(below="train/") | classes(2, GREY, "test/"))
    assert load("pets/").test_x.shape == (4, 3, 8, 6)


def test_grey_alone_stays_grey(data):
    write(data / "pets", classes(pixels=GREY))
    assert np.array_equal(everything(load("pets/"))[0].numpy(), GREY[:10, None])


@pytest.mark.parametrize(("name", "form"), [("x.bmp", "BMP"), ("x.TIF", "TIFF"), ("x.ppm", "PPM"), ("x.webp", "WEBP")])
def test_other_formats_are_read(data, name, form):
    write(data / "pets", classes() | {f"cat/{name}": encoded(COLOUR[19], form)})
    assert len(everything(load("pets/"))[0]) == 11


def test_what_is_no_image_is_left_out(data):
    write(data / "pets", classes() | {"README.txt": b"pets", "cat/notes.txt": b"tabby", "loose.png": COLOUR[0]})
    assert len(everything(load("pets/"))[0]) == 10


@pytest.mark.parametrize("hidden", [".ipynb_checkpoints", "empty"])
def test_a_folder_without_images_is_no_class(data, hidden):
    write(data / "pets", classes())
    (data / "pets" / hidden).mkdir()
    assert load("pets/").n_classes == 2


def test_16_bit_images_keep_their_greys_or_are_refused(data):
    """A ramp over the full range of 16 bits must not come out as black and white."""
    ramp = np.linspace(0, 65535, 48).reshape(8, 6).astype(np.uint16)
    write(data / "pets", {f"{name}/{i}.png": ramp for name in ("cat", "dog") for i in range(5)})
    try:
        x = load("pets/").x
    except BadValue:
        return
    assert len(x[0, 0].unique()) > 20


def test_transparent_and_palette_images_become_colour(data):
    clear = np.dstack([COLOUR[0], np.full((8, 6), 255, np.uint8)])
    palette = Image.fromarray(GREY[1]).convert("P")
    file = io.BytesIO()
    palette.save(file, "PNG")
    write(data / "pets", classes() | {"cat/0.png": clear, "cat/1.png": file.getvalue()})
    x = everything(load("pets/"))[0].numpy()
    assert np.array_equal(x[0], COLOUR[0].transpose(2, 0, 1)) and np.array_equal(x[1], GREY[1][None].repeat(3, 0))


BAD_FOLDERS = {
    "cut off": (classes() | {"dog/3.png": encoded(COLOUR[0])[:90]}, "pets/dog/3.png is not an image .* or is cut off"),
    "no image": (classes() | {"dog/3.png": b"<html>not found</html>"}, "pets/dog/3.png is not an image"),
    "empty file": (classes() | {"cat/0.png": b""}, "pets/cat/0.png is not an image"),
    "another size": (
        classes() | {"dog/3.png": COLOUR[0][:5]},
        "pets/dog/3.png has \\(5, 6\\) pixels, pets/cat/0.png has \\(8, 6\\): bring all images to one size",
    ),
    "one image": (classes() | {"fox/0.png": COLOUR[10]}, "pets: class 2 \\('fox'\\) has one image; it needs two"),
    "no class": ({"a.png": COLOUR[0]}, "pets/ holds no images: it needs one folder per class with .png"),
    "no training set": (classes(below="test/"), "pets/ has a folder test, but none called train"),
    "no test images": (classes(below="train/") | {"test/x.txt": b""}, "test/ holds no images"),
}


@pytest.mark.parametrize("what", BAD_FOLDERS)
def test_a_bad_folder_is_named(data, what):
    files, message = BAD_FOLDERS[what]
    write(data / "pets", files)
    with pytest.raises(BadValue, match=message):
        load("pets/")


def test_test_images_of_another_size_are_named(data):
    write(data / "pets", classes(below="train/") | classes(2, COLOUR[:, :5], "test/"))
    with pytest.raises(BadValue, match="\\(3, 8, 6\\), test images \\(3, 5, 6\\)"):
        load("pets/")


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM"]), st.floats(0, 1, exclude_max=True))
def test_an_image_cut_off_anywhere_is_whole_or_named(tmp_path_factory, form, share):
    """Whole where only what follows the pixels is gone."""
    folder = tmp_path_factory.mktemp("cut") / "pets"
    names = [f"{name}/{i}.png" for name in ("cat", "dog") for i in range(5)]
    whole = encoded(COLOUR[0], form)
    write(folder, dict.fromkeys(names, whole))
    expected = read(folder).x[0]
    write(folder, {"dog/4.png": whole[: int(share * len(whole))]})
    try:
        assert torch.equal(everything(read(folder))[0][-1], expected)
    except BadValue as error:
        assert "dog/4.png" in str(error)


# ---- Parquet


def table(pixels=COLOUR, style="struct", **columns) -> pd.DataFrame:
    png = [encoded(p) for p in pixels]
    configs = [{"bytes": b, "path": f"{i}.png"} for i, b in enumerate(png)] if style == "struct" else png
    return pd.DataFrame({"image": configs, "label": Y[: len(png)], **columns})


@pytest.mark.parametrize("style", ["struct", "bytes"])
def test_parquet_is_read(data, style):
    table(style=style).to_parquet(data / "mine.parquet")
    raw = load("mine.parquet")
    x, y, ids = everything(raw)
    assert np.array_equal(x.numpy(), COLOUR.transpose(0, 3, 1, 2)) and np.array_equal(y.numpy(), Y)
    assert ids.tolist() == list(range(20)) and len(raw.test_y) == 4


def test_parquet_with_a_split_keeps_it(data):
    split = np.where(np.arange(20) % 3 == 0, "test", "train")
    table(GREY, split=split, extra="ignored").to_parquet(data / "mine.parquet")
    raw = load("mine.parquet")
    assert np.array_equal(raw.test_x.numpy(), GREY[split == "test", None])
    assert np.array_equal(raw.x.numpy(), GREY[split == "train", None])
    assert np.array_equal(raw.test_y.numpy(), Y[split == "test"])


def test_parquet_with_a_split_of_training_images_gets_a_test_set(data):
    table(split="train").to_parquet(data / "mine.parquet")
    assert len(load("mine.parquet").test_y) == 4


def test_parquet_mixes_grey_with_colour(data):
    table([GREY[0], *COLOUR[1:]]).to_parquet(data / "mine.parquet")
    assert np.array_equal(everything(load("mine.parquet"))[0][0].numpy(), GREY[0][None].repeat(3, 0))


PNG = encoded(COLOUR[0])
BAD_TABLES = {
    "no image column": (table().rename(columns={"image": "img"}), "has no column 'image'; it has img, label"),
    "no label column": (table().rename(columns={"label": "fine_label"}), "no column 'label'; it has image, fine_label"),
    "another split": (table(split=["train"] * 19 + ["validation"]), "split must say train or test, got 'validation'"),
    "no split named": (table(split=["train"] * 19 + [None]), "split must say train or test"),
    "test images only": (table(split="test"), "mine.parquet.*train"),
    "no rows": (table().iloc[:0], "mine.parquet"),
    "text labels": (table().assign(label="cat"), "mine.parquet: labels must be 20 whole numbers"),
    "missing label": (table().assign(label=[None, *range(19)]), "labels must be 20 whole numbers.*float64"),
    "negative label": (table().assign(label=Y - 1), "labels must be 0, 1, 2, ..., got -1"),
    "cut off": (table(style="bytes").assign(image=[PNG[:90]] + [PNG] * 19), "row 0 is not an image.* or is cut off"),
    "missing image": (table(style="bytes").assign(image=[PNG] * 19 + [None]), "mine.parquet, row 19 is not an image"),
    "path without bytes": (table().assign(image=[{"bytes": None, "path": "a.png"}] * 20), "row 0 is not an image"),
    "no bytes at all": (table().assign(image=[{"path": "a.png"}] * 20), "mine.parquet.*"),
    "text for images": (table().assign(image="a.png"), "row 0 is not an image"),
    "another size": (
        table([*COLOUR[:19], COLOUR[19][:5]]),
        "mine.parquet, row 19 has \\(5, 6\\) pixels, mine.parquet, row 0 has \\(8, 6\\)",
    ),
    "one of a class": (table().assign(label=[9, *Y[1:]]), "class 9 has one image"),
}


@pytest.mark.parametrize("what", BAD_TABLES)
def test_a_bad_parquet_is_named(data, what):
    frame, message = BAD_TABLES[what]
    frame.to_parquet(data / "mine.parquet")
    with pytest.raises(BadValue, match=message):
        load("mine.parquet")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"a,b\n1,2\n"])
def test_what_is_no_parquet_is_named(data, content):
    (data / "mine.parquet").write_bytes(content)
    with pytest.raises(BadValue, match="mine.parquet cannot be read as Parquet"):
        load("mine.parquet")


def test_a_cut_parquet_is_named(data):
    table().to_parquet(data / "mine.parquet")
    (data / "mine.parquet").write_bytes((data / "mine.parquet").read_bytes()[:-20])
    with pytest.raises(BadValue, match="mine.parquet cannot be read as Parquet"):
        load("mine.parquet")


# ---- find


@pytest.mark.parametrize("name", ["mine.npz", "mine.parquet", "some/folder", "folder/", "/nowhere/mine.npz"])
def test_a_set_that_is_not_there_is_named(data, name):
    with pytest.raises(BadValue, match=f"no data set at {name!r}: not in UNLEARNKIT_DATA, the working directory or"):
        find(name)


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'digits'"):
        find("digit")


def test_a_set_is_found_by_its_place(data, tmp_path, monkeypatch):
    """In the data folder first, then in the working directory, or where an absolute path says."""
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "mine.npz", x=GREY, y=Y)
    assert load("mine.npz").x.shape[1:] == (1, 8, 6)
    np.savez(data / "mine.npz", x=COLOUR, y=Y)
    assert load("mine.npz").x.shape[1:] == (3, 8, 6)
    assert load(str(tmp_path / "mine.npz")).x.shape[1:] == (1, 8, 6)
    (data / "deep").mkdir()
    (data / "mine.npz").rename(data / "deep" / "other.npz")
    source = find("deep/other.npz")
    assert (source.name, source.licence, source.source) == (dataset_id("deep/other.npz"), "your own", "other.npz")
    assert source.load().x.shape[1:] == (3, 8, 6)


def test_a_folder_is_found_without_a_slash(data):
    write(data / "pets", classes())
    assert load("pets").n_classes == 2


def test_a_registered_set_is_found_by_name(raw):
    source = find("digits")
    assert source.load().digest() == raw.digest() == load("digits").digest()
    assert source.fingerprint() == {} and source.code == datasets["digits"]
    assert "CC BY 4.0" in source.licence and "UCI" in source.source


def test_a_registered_set_wins_over_a_folder_of_its_name(data, raw):
    write(data / "digits", classes())
    assert load("digits").digest() == raw.digest()


@pytest.mark.parametrize("name", ["mine.npz", "mine.parquet"])
def test_a_changed_file_has_another_fingerprint(data, name):
    prints = []
    for pixels in (GREY, GREY ^ 255, GREY):
        if name.endswith("npz"):
            np.savez(data / name, x=pixels, y=Y)
        else:
            table(pixels).to_parquet(data / name)
        prints.append(find(name).fingerprint())
    assert list(prints[0]) == [name]
    assert prints[0] != prints[1] and prints[0] == prints[2]


@pytest.mark.parametrize(
    "change",
    [
        {"cat/0.png": COLOUR[19]},
        {"dog/0.png": COLOUR[19]},
        {"dog/9.png": COLOUR[19]},
        {"cat/0.png": COLOUR[5], "dog/0.png": COLOUR[0]},
    ],
    ids=["first class", "second class", "one more", "swapped"],
)
def test_a_changed_folder_has_another_fingerprint(data, change):
    write(data / "pets", classes())
    before = find("pets/").fingerprint()
    assert before == find("pets/").fingerprint()
    write(data / "pets", change)
    assert find("pets/").fingerprint() != before


def test_an_image_moved_to_another_class_changes_the_fingerprint(data):
    write(data / "pets", classes() | {"cat/tom.png": COLOUR[19]})
    before = find("pets/").fingerprint()
    (data / "pets/cat/tom.png").rename(data / "pets/dog/tom.png")
    assert find("pets/").fingerprint() != before
