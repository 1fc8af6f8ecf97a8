import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from data_builders import load
from data_builders import near_duplicates as duplicates
from data_builders.near_duplicates import near_duplicates, recall
from unlearnkit.core.errors import BadValue
from unlearnkit.core.paths import data


def photographs(n, seed=0, channels=3, shape=(32, 32)):
    """Smooth random images, uint8: noise with amplitudes that fall as 1/frequency."""
    noise = torch.fft.rfft2(torch.randn(n, channels, *shape, generator=torch.Generator().manual_seed(seed)))
    frequency = torch.hypot(torch.fft.fftfreq(shape[0])[:, None], torch.fft.rfftfreq(shape[1]))
    x = torch.fft.irfft2(noise / frequency.clamp(min=1 / max(shape)), s=shape)
    return (x / x.std((2, 3), keepdim=True) * 50 + 128).clamp(0, 255).to(torch.uint8)


def altered(x, how):
    x = x.float()
    match how:
        case "noise":
            x = x + 10 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
        case "shift":
            x = F.pad(x, (1, 0, 1, 0), mode="replicate")[..., :-1, :-1]
        case "zoom":
            x = F.interpolate(x[..., 1:-1, 1:-1], size=x.shape[2:], mode="bilinear")
        case "contrast":
            x = 0.6 * x + 60
        case "coarse":
            x = F.interpolate(F.avg_pool2d(x, 2), size=x.shape[2:])
    return x.clamp(0, 255).round().to(torch.uint8)


def pairs(table):
    return set(zip(table.a, table.b))


def test_exact_copies_have_similarity_1_and_come_first():
    a = photographs(40)
    b = torch.cat([photographs(100, seed=1), a[[7, 3]], altered(a[[5]], "noise")])
    detected = near_duplicates(a, b)
    assert pairs(detected) == {(7, 100), (3, 101), (5, 102)}
    assert detected.similarity.tolist()[:2] == pytest.approx([1, 1], abs=1e-6)
    assert detected.similarity.is_monotonic_decreasing and detected.similarity.max() <= 1
    assert detected.columns.tolist() == ["a", "b", "similarity"] and detected.index.tolist() == [0, 1, 2]


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("how", ["noise", "shift", "zoom", "contrast", "coarse"])
def test_altered_copies_are_found(how, channels):
    a = photographs(200, channels=channels)
    b = torch.cat([photographs(200, seed=1, channels=channels), altered(a[:50], how)])
    published = pd.DataFrame({"a": range(50), "b": range(200, 250)})
    assert recall(near_duplicates(a, b), published)["pairs"] >= 0.9


def test_images_need_not_be_square():
    a = photographs(20, shape=(24, 40))
    assert pairs(near_duplicates(a, altered(a, "noise"))) == {(i, i) for i in range(20)}


def test_unrelated_images_are_not_found():
    a, b = (torch.randint(256, (500, 3, 32, 32), generator=torch.Generator().manual_seed(s)).byte() for s in (0, 1))
    assert near_duplicates(a, b).empty
    assert near_duplicates(a).empty
    assert near_duplicates(a[:1]).empty
    assert near_duplicates(photographs(500), photographs(500, seed=1)).empty


def test_blank_images_are_alike_and_like_no_other():
    blank = torch.full((4, 3, 32, 32), 200, dtype=torch.uint8)
    blank[1], blank[2, 0, 5, 5] = 0, 201
    detected = near_duplicates(torch.cat([blank, photographs(50)]), neighbours=3)
    assert pairs(detected) == {(i, j) for j in range(4) for i in range(j)}
    assert detected.similarity.min() > 0.9


def test_alone_each_pair_comes_once_and_no_image_is_its_own(raw):
    x = torch.cat([raw.x[:300], raw.x[:20]])
    detected = near_duplicates(x, neighbours=3)
    assert (detected.a < detected.b).all()
    assert not detected.duplicated(["a", "b"]).any()
    assert {(i, 300 + i) for i in range(20)} <= pairs(detected)
    assert recall(near_duplicates(x, threshold=0.9999), pd.DataFrame({"a": range(20), "b": range(300, 320)})) == {
        "pairs": 1,
        "images": 1,
    }


def test_more_neighbours_find_all_copies():
    x = photographs(50)
    copies = torch.cat([x, *(altered(x[:1], how) for how in ("noise", "shift", "contrast"))])
    assert len(near_duplicates(x, copies)) == 50
    assert {(0, 0), (0, 50), (0, 51), (0, 52)} <= pairs(near_duplicates(x, copies, neighbours=4))
    assert len(near_duplicates(x[:2], copies[:2], neighbours=99, threshold=0.9)) == 2


def test_the_order_of_rows_does_not_matter(raw):
    x = raw.x[:400]
    order = torch.randperm(400, generator=torch.Generator().manual_seed(0))
    detected, shuffled = near_duplicates(x, threshold=0.9), near_duplicates(x[order], threshold=0.9)
    back = {tuple(sorted(order[list(pair)].tolist())) for pair in pairs(shuffled)}
    assert len(detected) > 10 and back == pairs(detected)
    assert shuffled.similarity.tolist() == pytest.approx(detected.similarity.tolist(), abs=1e-5)


@pytest.mark.parametrize("block", [1, 399 * 7, 400 * 7, 2**30])
def test_the_size_of_blocks_does_not_matter(raw, monkeypatch, block):
    whole = near_duplicates(raw.x[:400]), near_duplicates(raw.x[:150], raw.x[100:500], neighbours=2)
    monkeypatch.setattr(duplicates, "BLOCK", block)
    monkeypatch.setattr(duplicates, "IMAGES", 33)
    parts = near_duplicates(raw.x[:400]), near_duplicates(raw.x[:150], raw.x[100:500], neighbours=2)
    for a, b in zip(whole, parts):
        assert pairs(a) == pairs(b)
        assert a.similarity.tolist() == pytest.approx(b.similarity.tolist(), abs=1e-5)


def test_recall_counts_pairs_and_images():
    detected = pd.DataFrame({"a": [0, 1, 5], "b": [3, 9, 2], "similarity": [1.0, 0.9, 0.8]})
    published = pd.DataFrame({"a": [0, 1, 2, 4], "b": [3, 4, 5, 6]})
    assert recall(detected, published) == {"pairs": 0.25, "images": 0.5}
    assert recall(detected[:0], published) == {"pairs": 0, "images": 0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"a": torch.zeros(4, 8, 8).byte()},
            "images must be \\(n, channels, height, width\\) uint8, got \\(4, 8, 8\\)",
        ),
        ({"a": torch.zeros(4, 1, 8, 8)}, "uint8, got \\(4, 1, 8, 8\\) torch.float32"),
        ({"b": torch.zeros(0, 1, 8, 8).byte()}, "got \\(0, 1, 8, 8\\)"),
        ({"b": torch.zeros(4, 3, 8, 8).byte()}, "of one shape, got \\(1, 8, 8\\) and \\(3, 8, 8\\)"),
        ({"threshold": 0}, "threshold must be above 0 and below 1, got 0"),
        ({"threshold": 1.0}, "got 1.0"),
        ({"threshold": float("nan")}, "got nan"),
        ({"neighbours": 0}, "neighbours must be at least 1, got 0"),
    ],
)
def test_bad_input_is_named(change, message):
    with pytest.raises(BadValue, match=message):
        near_duplicates(**{"a": torch.zeros(4, 1, 8, 8, dtype=torch.uint8), **change})


def test_published_near_duplicates_of_cifar10_are_found():
    """The list of Barz and Denzler (2020), among the first 3,000 images of each part."""
    path = data() / "cifar10_near_duplicates.csv"
    if not path.exists() or not (data() / "cifar-10-batches-py").exists():
        pytest.skip("UNLEARNKIT_DATA has no cifar-10-batches-py or no cifar10_near_duplicates.csv")
    images, table = load("cifar10"), pd.read_csv(path)
    n = len(table)
    tests, trains = (torch.tensor(table[column].to_numpy()) for column in ("TestID", "TrainID"))
    others = [torch.arange(3000)[~torch.isin(torch.arange(3000), ids)] for ids in (tests, trains)]
    detected = near_duplicates(images.test_x[torch.cat([tests, others[0]])], images.x[torch.cat([trains, others[1]])])
    shares = recall(detected, pd.DataFrame({"a": range(n), "b": range(n)}))
    assert shares["pairs"] > 0.65  # measured: 0.74
    assert (detected.a >= n).sum() < 0.01 * len(others[0])  # measured: 0.002
