"""Pictures as users have them: seen as a person sees them, none left out in silence, classes by their names."""

import io
import json
import os
import struct
import unicodedata
import zipfile
import zlib

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from data_builders import sources
from data_builders.build_task import build_task
from data_builders.dataset_card import card
from data_builders.export import _describe, export
from data_builders.image_files import decode, endings
from data_builders.image_folders import natural
from data_builders.raw_images import RawImages
from data_builders.user_images import read
from unlearnkit.core.errors import BadValue, UnknownName
from unlearnkit.runner import notebook
from unlearnkit.study.protocols import protocols

RNG = np.random.default_rng(0)
C = RNG.integers(0, 256, (60, 8, 6, 3), dtype=np.uint8)


def encoded(image, form: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, form, **options)
    return file.getvalue()


def pixels(data: bytes) -> np.ndarray:
    """(height, width, 3) or (height, width)."""
    x = decode(data, "a.png").numpy()
    return x[0] if len(x) == 1 else x.transpose(1, 2, 0)


def folder(place, files=(), names=("a", "b"), n=2, below=("",)):
    """A folder with n images of each class, below each of some folders, and these files (bytes) beside."""
    made = {f"{s}{k}/{i}.png": encoded(C[20 * j + n * m + i]) for j, s in enumerate(below) for m, k in enumerate(names)
            for i in range(n)}  # fmt: skip
    for name, content in (made | dict(files)).items():
        (place / "pets" / name).parent.mkdir(parents=True, exist_ok=True)
        (place / "pets" / name).write_bytes(content)
    return place / "pets"


def everything(raw):
    order = torch.cat([raw.ids, raw.test_ids]).argsort()
    return torch.cat([raw.x, raw.test_x])[order].numpy(), torch.cat([raw.y, raw.test_y])[order].tolist()


# ---- one picture


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_exif_says(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = {1: C[0], 2: C[0][:, ::-1], 3: C[0][::-1, ::-1], 4: C[0][::-1], 5: C[0].transpose(1, 0, 2),
              6: np.rot90(C[0], -1), 7: np.rot90(C[0], 2).transpose(1, 0, 2), 8: np.rot90(C[0])}  # fmt: skip
    assert np.array_equal(pixels(encoded(C[0], exif=exif)), turned[orientation])


def test_transparent_parts_are_white_whatever_colour_they_hide():
    alpha = np.zeros((8, 6), np.uint8)
    alpha[:4] = 255
    seen = pixels(encoded(np.dstack([C[0], alpha])))
    assert np.array_equal(seen[:4], C[0][:4]) and (seen[4:] == 255).all()
    grey = pixels(encoded(Image.merge("LA", [Image.fromarray(C[0][..., 0]), Image.fromarray(alpha)])))
    assert np.array_equal(grey[:4], C[0][:4, :, 0]) and (grey[4:] == 255).all() and grey.ndim == 2


def test_a_palette_and_its_transparent_colour_are_read():
    image = Image.fromarray((np.arange(48).reshape(8, 6) % 3).astype(np.uint8), "P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    colours = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]], np.uint8)[np.arange(48).reshape(8, 6) % 3]
    assert np.array_equal(pixels(encoded(image)), colours)
    clear = pixels(encoded(image, transparency=1))
    assert (clear[0, 1] == 255).all() and np.array_equal(clear[0, 0], colours[0, 0])


def test_black_and_white_is_0_and_255():
    image = Image.fromarray((np.arange(48).reshape(8, 6) % 2 * 255).astype(np.uint8)).convert("1")
    assert np.array_equal(pixels(encoded(image)), np.arange(48).reshape(8, 6) % 2 * 255)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_more_than_8_bits_are_refused_in_plain_words(form):
    deep = (np.arange(48).reshape(8, 6) * 1000).astype(np.uint16)
    with pytest.raises(BadValue) as caught:
        decode(encoded(deep, form), "a.png")
    assert str(caught.value) == "a.png has more than 8 bits a channel: convert the images to 8 bits first"


def test_an_animation_is_refused():
    frames = [Image.fromarray(c) for c in C[:3]]
    with pytest.raises(BadValue, match=r"a.png has 3 pictures: save each as a file of its own"):
        decode(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), "a.png")


def bomb(side: int) -> bytes:
    """A PNG of a few hundred bytes that says it has side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_bomb_is_refused_before_it_is_unpacked(side):
    with pytest.raises(BadValue, match="a.png has too many pixels"):
        decode(bomb(side), "a.png")


@pytest.mark.parametrize("data", [b"", b"<html>", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 6\n", None, 3])
def test_what_is_no_image_is_one_line(data):
    with pytest.raises(BadValue, match="^a.png is not an image that can be read") as caught:
        decode(data, "a.png")
    assert "0x" not in str(caught.value) and "\n" not in str(caught.value)


def test_every_kind_of_file_that_pillow_reads_is_an_image(tmp_path):
    forms = {"jfif": "JPEG", "tga": "TGA", "pcx": "PCX", "dib": "DIB", "jp2": "JPEG2000", "sgi": "SGI", "WebP": "WEBP"}
    assert (
        all(f".{name.lower()}" in endings() for name in forms) and ".eps" not in endings() and ".mpg" not in endings()
    )
    more = {f"a/x.{name}": encoded(C[40 + i], form) for i, (name, form) in enumerate(forms.items())}
    assert len(everything(read(folder(tmp_path, more)))[0]) == 4 + len(forms)


# ---- a folder of them


def test_what_systems_leave_behind_is_no_image(tmp_path):
    junk = b"\0\5\x16\7\0\2\0\0Mac OS X        "
    hidden = ("a/._0.png", "__MACOSX/a/._0.png", "__MACOSX/a/0.png", ".DS_Store", "@eaDir/a/0.png", "b/@eaDir/0.png")
    more = dict.fromkeys(hidden, junk) | {"a/.ipynb_checkpoints/0-checkpoint.png": encoded(C[30])}
    raw = read(folder(tmp_path, more))
    assert everything(raw)[1] == [0, 0, 1, 1] and raw.facts == {"classes": ["a", "b"]}


def test_what_is_left_out_is_said_and_kept(tmp_path, capsys):
    more = {"README.txt": b"", "a/notes.txt": b"", "loose.png": encoded(C[0])}
    raw = read(folder(tmp_path, more | {f"z{i}/x.heic": b"" for i in range(9)}))
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("pets/: left out")
    assert raw.facts["left_out"] == "a/notes.txt, loose.png, README.txt, z0/x.heic, z1/x.heic and 7 more"
    assert raw.facts["left_out"] in said and len(everything(raw)[0]) == 4


@pytest.mark.parametrize("split", ["val", "Validation", "extra"])
def test_a_folder_beside_train_is_not_left_out_in_silence(tmp_path, split):
    with pytest.raises(BadValue, match=f"pets/ has {split} beside train, with 4 images that would be left out"):
        read(folder(tmp_path, below=("train/", f"{split}/")))


def test_splits_by_other_names_are_no_classes(tmp_path):
    with pytest.raises(BadValue, match="no class folders, but Test, Train: call them train and test"):
        read(folder(tmp_path, below=("Train/", "Test/")))


def test_a_folder_named_like_an_image_is_a_folder(tmp_path):
    raw = read(folder(tmp_path, {"a/more.png/9.png": encoded(C[50]), "c.jpg/0.png": encoded(C[51]),
                                 "c.jpg/1.png": encoded(C[52])}))  # fmt: skip
    assert raw.facts["classes"] == ["a", "b", "c.jpg"] and len(everything(raw)[0]) == 7


def test_links_are_followed_once_and_a_broken_one_is_named(tmp_path):
    pets, other = folder(tmp_path), tmp_path / "other"
    other.mkdir()
    for i in range(2):
        (other / f"{i}.png").write_bytes(encoded(C[40 + i]))
    (pets / "c").symlink_to(other)
    (pets / "c" / "back").symlink_to(pets)
    raw = read(pets)
    assert raw.facts["classes"] == ["a", "b", "c"] and len(everything(raw)[0]) == 6
    assert len(sources.find(str(pets)).fingerprint()) == 6, "a changed file behind a link is noticed"
    (pets / "a" / "lost.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(BadValue, match="pets/a/lost.png is no file that can be read"):
        read(pets)


def test_an_unreadable_image_is_named(tmp_path, monkeypatch):
    pets = folder(tmp_path)

    def denied(file):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(pets), "read_bytes", denied)
    with pytest.raises(BadValue, match="pets/a/0.png cannot be read: Permission denied"):
        read(pets)


def test_a_name_that_is_no_text_is_refused(tmp_path):
    pets = folder(tmp_path)
    os.mkdir(os.fsencode(pets) + b"/\xff")
    with open(os.fsencode(pets) + b"/\xff/0.png", "wb") as file:
        file.write(encoded(C[0]))
    with pytest.raises(BadValue, match="is not UTF-8: rename it"):
        read(pets)


# ---- classes


@pytest.mark.parametrize("names", [["1", "2", "10"], ["a2", "a10", "B1"], ["x", "x1", "x1b", "x02"]])
def test_classes_are_in_natural_order(names):
    assert sorted(set(names), key=natural) == names


@pytest.fixture
def houses(tmp_path):
    """Classes 1 to 12, whose labels are 0 to 11; the left half of an image says which."""
    for name in range(1, 13):
        (tmp_path / "houses" / str(name)).mkdir(parents=True)
        for i in range(12):
            x = RNG.integers(0, 256, (8, 8), dtype=np.uint8)
            x[:, :4] = name * 20
            (tmp_path / "houses" / str(name) / f"{i}.png").write_bytes(encoded(x))
    return read(tmp_path / "houses")


OPTIONS = {"targets": "class", "copies": 1, "train_size": 90}


def test_a_class_is_forgotten_by_its_name(houses):
    task = build_task(houses, forget_ids=["2", "11"], **OPTIONS)
    targets = task.index("target")
    assert set((task.x[targets, 0, 0, 0] // 20).tolist()) == {2, 11} and set(task.y[targets].tolist()) == {1, 10}


def test_a_number_that_may_mean_two_classes_is_refused(houses):
    with pytest.raises(
        BadValue, match=r"2 may be the class named '2', which has label 1, or '3', which has label 2.*\[\"2\"\]"
    ):
        build_task(houses, forget_ids=[2], **OPTIONS)
    task = build_task(houses, forget_ids=[0], **OPTIONS)  # no class has this name
    assert set((task.x[task.index("target"), 0, 0, 0] // 20).tolist()) == {1}


def test_a_class_that_is_not_there_is_named(houses):
    with pytest.raises(UnknownName, match="unknown class '13'. .*Known: 1, 10, 11"):
        build_task(houses, forget_ids=["13"], **OPTIONS)


def test_names_stand_in_the_card_and_in_the_export(houses, tmp_path):
    task = build_task(houses, forget_ids=["3"], **OPTIONS)
    text = card(task, _describe(task, None) | {"sha256": {}})
    assert '| 2 ("3") | ' in text and '| 11 ("12") | ' in text
    made = json.loads((export(task, tmp_path / "out") / "task.json").read_text(encoding="utf-8"))
    assert made["facts"]["classes"] == [str(i) for i in range(1, 13)]


def test_two_spellings_of_a_name_are_one_class(tmp_path):
    spelled = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    files = {
        f"{s}/{spelled[j]}/{i}.png": encoded(C[40 + 2 * j + i])
        for j, s in enumerate(("train", "test"))
        for i in range(2)
    }
    pets = folder(tmp_path, files, below=("train/",))
    assert read(pets).facts["classes"] == ["a", "b", spelled[0]] and read(pets).test_y.tolist() == [2, 2]
    (pets / "train" / spelled[1]).mkdir()
    (pets / "train" / spelled[1] / "0.png").write_bytes(encoded(C[50]))
    with pytest.raises(BadValue, match="in two Unicode spellings"):
        read(pets)


def test_names_of_the_hub_are_read_from_parquet(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pd.DataFrame({"image": [{"bytes": encoded(c), "path": None} for c in C[:8]], "label": [0, 1] * 4})
    features = {"info": {"features": {"label": {"names": ["cat", "dog", "yak"], "_type": "ClassLabel"}}}}
    held = pa.Table.from_pandas(table).replace_schema_metadata({"huggingface": json.dumps(features)})
    pq.write_table(held, tmp_path / "f.parquet")
    assert read(tmp_path / "f.parquet").facts == {"classes": ["cat", "dog"]}
    pq.write_table(held.replace_schema_metadata({"huggingface": '{"info": 3}'}), tmp_path / "f.parquet")
    assert read(tmp_path / "f.parquet").facts == {}


# ---- messages and work do not grow with a value


@pytest.mark.parametrize("label", [2_000_000, 2**40, 2**63])
def test_a_huge_label_is_short_and_quick(tmp_path, label):
    np.savez(tmp_path / "f.npz", x=C[:40], y=(np.arange(40, dtype=np.uint64) % 2) * np.uint64(label))
    with pytest.raises(BadValue, match="f.npz") as caught:
        read(tmp_path / "f.npz")
    assert len(str(caught.value)) < 200


def test_many_missing_classes_are_counted(houses):
    from dataclasses import replace

    with pytest.raises(BadValue, match=r"no training image of \[12, 13, .* 21\] and 999,978 more"):
        build_task(replace(houses, n_classes=10**6), copies=0)


# ---- archives


def test_arrays_that_are_left_out_are_said(tmp_path, capsys):
    np.savez(tmp_path / "f.npz", x=C[:8], y=[0, 1] * 4, val_x=C[:3], val_y=[0, 1, 0])
    assert read(tmp_path / "f.npz").facts == {"left_out": "val_x, val_y"}
    assert "f.npz: left out, being none of x, y, test_x, test_y: val_x, val_y" in capsys.readouterr().err


def test_an_archive_that_unpacks_to_more_than_the_memory_is_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "f.npz", x=np.zeros((10, 100, 100), np.uint8), y=[0, 1] * 5)
    monkeypatch.setattr("data_builders.user_images._memory", lambda: 50_000)
    with pytest.raises(
        BadValue, match="f.npz cannot be read .* it unpacks to 100,.* bytes, and this machine has 50,000"
    ):
        read(tmp_path / "f.npz")


@pytest.mark.parametrize("header", ["{'descr': '|u1', 'fortran_order': False, 'shape': (9999999, 9999999, 9999999)}",
                                    "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999,)}",
                                    "(" * 500, "{'descr': 'O'", "import os"])  # fmt: skip
def test_an_array_whose_header_lies_is_one_line(tmp_path, header):
    text = header.encode() + b"\n"
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
    with zipfile.ZipFile(tmp_path / "f.npz", "w") as archive:
        archive.writestr("x.npy", array)
    with pytest.raises(BadValue, match="f.npz cannot be read"):
        read(tmp_path / "f.npz")


def test_a_subclass_is_forgotten_by_its_name():
    x, part = torch.randint(256, (200, 1, 8, 8), dtype=torch.uint8), torch.arange(200) % 4
    names = ["cod", "eel", "oak", "elm"]
    raw = RawImages(
        x, part // 2, x[:8] ^ 255, part[:8] // 2, 2, part=part, test_part=part[:8], facts={"subclasses": names}
    )
    task = build_task(raw, targets="subclass", forget_ids=["oak"], copies=1, train_size=150)
    targets = task.index("target")
    assert set(part[task.source[targets]].tolist()) == {2} and set(task.y[targets].tolist()) == {1}
    with pytest.raises(UnknownName, match="unknown class 'oak'"):
        build_task(raw, targets="class", forget_ids=["oak"], copies=1, train_size=150)


def test_notebooks_take_classes_by_name():
    path = notebook.find("41_classical_protocols")
    notebook.check_arguments(path, {"classes": ["cat", 3]})
    notebook.check_arguments(notebook.find("73_backdoor"), {"forget_ids": ["cat"]})
    with pytest.raises(BadValue, match="'forget_ids' must be"):
        protocols(["classes"], "digits", classes=[0.5])
