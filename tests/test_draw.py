"""Which images are targets, decoys and filler, and natural similar samples, through build_task."""

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data_builders import RawImages
from data_builders.backdoor import with_patch
from data_builders.build_task import build_task
from data_builders.natural_neighbours import neighbours
from data_builders.perturbations import perturbations
from data_builders.select_targets import HARD_SHARE, WHOLE, Targets, select_targets
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue, UnknownName
from unlearnkit.images.request import request_of

pytestmark = pytest.mark.slow

POOL, TEST, CLASSES = 160, 40, 4
NATURAL = [name for name, entry in perturbations.items() if entry.info["natural"]]


def random_set(seed: int = 0, pool: int = POOL, test: int = TEST, classes: int = CLASSES, ids=None) -> RawImages:
    """Random pixels, so no two images are alike; as many of each class."""
    rng = generator(seed, "random set")
    x = torch.randint(256, (pool + test, 1, 6, 6), generator=rng, dtype=torch.uint8)
    y = torch.cat([torch.arange(n)[torch.randperm(n, generator=rng)] % classes for n in (pool, test)])
    given_ids = {} if ids is None else {"ids": ids[:pool], "test_ids": ids[pool:]}
    return RawImages(x[:pool], y[:pool], x[pool:], y[pool:], classes, **given_ids)


RAW = random_set(ids=torch.randperm(1000, generator=generator(0, "ids"))[: POOL + TEST])  # ids that are no row numbers
LOSS = torch.rand(POOL, generator=generator(0, "loss"))
WIDE = torch.randn(POOL, 12, generator=generator(0, "features"))
ROW = {int(i): row for row, i in enumerate(RAW.ids)}
TEST_ROW = {int(i): row for row, i in enumerate(RAW.test_ids)}


def sources(task, *roles) -> list[int]:
    return task.source[task.index(*roles)].tolist()


def labels(task, *roles) -> list[int]:
    return task.y[task.index(*roles)].tolist()


def true_labels(ids: list[int]) -> list[int]:
    return [int(RAW.y[ROW[i]]) for i in ids]


def composed(targets, n=3, copies=1, train_size=80, seed=0, forget_ids=(), raw=RAW, **options):
    if targets == "ids" and not forget_ids:
        forget_ids = raw.ids[torch.randperm(len(raw.x), generator=generator(seed, "forget_ids"))[:n]].tolist()
    given_loss = LOSS if raw is RAW else None
    return build_task(
        raw,
        targets=targets,
        n_targets=n,
        forget_ids=forget_ids,
        copies=copies,
        train_size=train_size,
        seed=seed,
        difficulty=given_loss,
        **options,
    )


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(Targets.__args__),
    st.integers(1, 8),
    st.integers(0, 2),
    st.integers(80, 100),
    st.integers(0, 10**6),
)
def test_roles_are_as_many_as_asked_for_and_apart(targets, n, copies, train_size, seed):
    copies = min(copies, 1) if targets in WHOLE else copies
    task = composed(targets, n, copies, train_size, seed)
    assert len(task.training_set("original")) == train_size
    ids_of = {role: sources(task, role) for role in ("target", "filler", "decoy", "test")}
    if targets in WHOLE:
        n, n_decoys = len(ids_of["target"]), TEST // CLASSES
    else:
        n = n_decoys = train_size // 10 if targets == "tenth" else n
    assert len(ids_of["target"]) == n and len(ids_of["decoy"]) >= n_decoys
    more = targets in ("random", "spread", "canary")  # decoys without near-duplicates, as far as the pool has them
    assert more or len(ids_of["decoy"]) == n_decoys
    assert len(task.training_set("retrain")) == train_size - n
    assert len(ids_of["filler"]) == train_size - n * (1 + copies)
    everything = [i for ids in ids_of.values() for i in ids]
    assert len(set(everything)) == len(everything)
    for anchor, similar in (("target", "similar"), ("decoy", "decoy_similar")):
        assert sorted(sources(task, similar)) == sorted(ids_of[anchor][: n_decoys if anchor == "decoy" else n] * copies)
    for role, ids in ids_of.items():
        for row, i in zip(task.index(role).tolist(), ids, strict=True):
            x, y, at = (RAW.x, RAW.y, ROW[i]) if i in ROW else (RAW.test_x, RAW.test_y, TEST_ROW[i])
            triggered = targets == "backdoor" and role in ("target", "decoy")
            assert torch.equal(task.x[row], with_patch(x[at][None])[0] if triggered else x[at])
            wrong = triggered or (targets == "canary" and role in ("target", "decoy"))
            assert (int(task.y[row]) == int(y[at])) != wrong
    assert set(ids_of["test"]) <= set(TEST_ROW)
    if targets not in WHOLE:
        assert len(ids_of["test"]) == TEST and set(ids_of["decoy"]) <= set(ROW)


@pytest.mark.parametrize("targets", Targets.__args__)
def test_a_seed_draws_the_same_whatever_is_copied(targets):
    none, some = composed(targets, copies=0), composed(targets, copies=2 if targets not in WHOLE else 1)
    for role in ("target", "decoy", "test"):
        first = 3 if role == "decoy" and targets not in (*WHOLE, "tenth") else None  # of more, fewer are left
        assert sources(none, role)[:first] == sources(some, role)[:first]
    assert sources(none, "filler")[: len(sources(some, "filler"))] == sources(some, "filler")
    if targets != "ids":
        assert sources(none, "target") != sources(composed(targets, copies=0, seed=1), "target")


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 20))
def test_spread_covers_the_classes_evenly(seed, n):
    task = composed("spread", n, copies=0, seed=seed)
    for drawn in (labels(task, "target"), labels(task, "target") + labels(task, "decoy")[:n]):
        counts = torch.bincount(torch.tensor(drawn), minlength=CLASSES)
        assert counts.max() - counts.min() <= 1


def test_spread_takes_what_a_small_class_has():
    rare = torch.cat([torch.zeros(3), torch.ones(157)]).long()
    raw = RawImages(RAW.x, rare, RAW.test_x, RAW.test_y % 2, 2)
    task = build_task(raw, targets="spread", n_targets=5, copies=0, train_size=80)
    assert sorted(labels(task, "target") + labels(task, "decoy")[:5]) == [0, 0, 0, 1, 1, 1, 1, 1, 1, 1]


def test_hard_targets_are_the_hardest_but_not_always_the_same():
    limit = LOSS.sort(descending=True).values[HARD_SHARE * 2 * 5 - 1]
    ever_chosen = set()
    for seed in range(20):
        task = composed("hard", 5, seed=seed)
        chosen = [ROW[i] for i in sources(task, "target", "decoy")]
        assert (LOSS[chosen] >= limit).all()
        ever_chosen |= set(chosen)
    assert len(ever_chosen) > 20  # of 30


@pytest.mark.parametrize("loss", [None, LOSS[:-1]])
def test_hard_targets_need_the_loss_of_every_image(loss):
    with pytest.raises(BadValue, match="held-out loss of each image"):
        build_task(RAW, targets="hard", n_targets=3, train_size=80, difficulty=loss)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_canaries_take_every_wrong_label(seed):
    task = composed("canary", 20, copies=1, seed=seed)
    true = torch.tensor(true_labels(sources(task, "target", "decoy")))
    shift = (task.y[task.index("target", "decoy")] - true) % CLASSES
    assert set(shift.tolist()) == {1, 2, 3}
    pairs = task.pairs
    assert (task.y[torch.tensor(pairs.anchor)] == task.y[torch.tensor(pairs.similar)]).all()


@settings(max_examples=20, deadline=None)
@given(st.sets(st.integers(0, CLASSES - 1), max_size=CLASSES - 1), st.integers(0, 1000))
def test_a_class_is_forgotten_whole(classes, seed):
    task = composed("class", forget_ids=sorted(classes), copies=0, seed=seed, train_size=100)
    gone = set(labels(task, "target"))
    assert gone == classes if classes else len(gone) == 1
    assert not gone & set(labels(task, "filler")) and not gone & set(labels(task, "test"))
    decoys = {int(i) for i, y in zip(RAW.test_ids, RAW.test_y) if int(y) in gone}
    assert set(sources(task, "decoy")) == decoys and set(labels(task, "decoy")) == gone
    assert len(sources(task, "test")) == TEST - len(decoys)
    same_order = composed("random", 1, copies=0, seed=seed, train_size=100)
    first = [sources(same_order, role)[: None if role == "filler" else 1] for role in ("target", "decoy", "filler")]
    first = [i for ids in first for i in ids]
    base = first[:100]  # the training set before anything is chosen
    assert set(sources(task, "target")) == {i for i, y in zip(base, true_labels(base)) if y in gone}


def test_the_class_to_forget_is_drawn():
    drawn = {labels(composed("class", copies=0, seed=seed), "target")[0] for seed in range(30)}
    assert drawn == set(range(CLASSES))


def test_a_class_named_twice_is_one_class():
    once, twice = (composed("class", forget_ids=w, copies=0) for w in ([2], [2, 2]))
    assert once.digest() == twice.digest()


@pytest.mark.parametrize("which", [[0, 1, 2, 3], [3, 2, 1, 0, 0]])
def test_to_forget_every_class_is_an_error(which):
    with pytest.raises(BadValue, match="every class leaves nothing"):
        composed("class", forget_ids=which)


@pytest.mark.parametrize("label", [-1, 4, 99])
def test_a_class_that_is_not_there_is_named(label):
    with pytest.raises(BadValue, match=f"no class {label}; class names go from 0 to 3"):
        composed("class", forget_ids=[0, label])


def test_a_class_too_small_to_forget_is_named():
    y = torch.cat([torch.zeros(1), torch.ones(POOL - 1)]).long()
    raw = RawImages(RAW.x, y, RAW.test_x, RAW.test_y % 2, 2)
    with pytest.raises(BadValue, match="class \\[0\\] is too small: [01] images in a training set of 80"):
        composed("class", forget_ids=[0], raw=raw)


def test_a_class_with_too_many_copies_is_an_error():
    with pytest.raises(BadValue, match="train_size=80 leaves no filler beside .*: use at most [1-4] copies"):
        composed("class", forget_ids=[1], copies=9)


def test_a_class_may_be_most_of_the_pool():
    y = torch.cat([torch.zeros(100), torch.ones(60)]).long()
    raw = RawImages(RAW.x, y, RAW.test_x, RAW.test_y % 2, 2)
    task = composed("class", forget_ids=[0], copies=0, raw=raw, train_size=POOL)
    assert (len(task.index("target")), len(task.index("filler"))) == (100, 60)


@pytest.mark.parametrize(("train_size", "n"), [(80, 8), (79, 7), (10, 1)])
def test_tenth_is_a_tenth(train_size, n):
    task = composed("tenth", n=33, copies=2, train_size=train_size)
    assert len(task.index("target")) == len(task.index("decoy")) == n


def test_a_tenth_of_fewer_than_ten_names_train_size():
    with pytest.raises(BadValue, match="train_size"):
        composed("tenth", copies=0, train_size=9)


def test_ids_are_the_targets_in_their_order():
    which = RAW.ids[torch.tensor([40, 3, 77])].tolist()
    task = composed("ids", n=99, forget_ids=which)
    assert sources(task, "target") == which
    assert labels(task, "target") == true_labels(which)


@settings(max_examples=20, deadline=None)
@given(st.sets(st.integers(0, POOL - 1), min_size=1, max_size=10), st.integers(0, 1000))
def test_decoys_of_ids_are_of_the_classes_of_the_targets(rows, seed):
    which = RAW.ids[torch.tensor(sorted(rows))].tolist()
    task = composed("ids", forget_ids=which, seed=seed)
    assert set(labels(task, "decoy")) <= set(labels(task, "target"))
    assert not set(sources(task, "decoy")) & set(which)


def test_decoys_of_ids_go_beyond_a_class_that_is_used_up():
    rare = torch.cat([torch.zeros(5), torch.ones(155)]).long()
    raw = RawImages(RAW.x, rare, RAW.test_x, RAW.test_y % 2, 2)
    task = composed("ids", forget_ids=[0, 1, 2], raw=raw)
    assert sorted(labels(task, "decoy")) == [0, 0, 1]


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ([], "needs the ids of the targets in `forget_ids`"),
        ([12345], "no training image with id 12345; ids go from"),
        ([-1], "no training image with id -1"),
        ([int(RAW.ids[0]), int(RAW.test_ids[0])], f"target {int(RAW.test_ids[0])} is in the test split"),
        ([int(RAW.ids[i]) for i in (0, 1, 0)], f"named twice: \\[{int(RAW.ids[0])}\\]"),
    ],
    ids=["empty", "unknown", "negative", "test", "twice"],
)
def test_ids_that_cannot_be_targets_are_named(which, message):
    with pytest.raises(BadValue, match=message):
        build_task(RAW, targets="ids", forget_ids=which, copies=1, train_size=80)


@pytest.mark.parametrize("targets", ["random", "spread", "hard", "canary", "tenth"])
def test_which_goes_with_what_it_names_only(targets):
    with pytest.raises(BadValue, match=f"targets='ids', 'class', 'subclass' or 'backdoor', not '{targets}'"):
        composed(targets, forget_ids=[1])


def test_unknown_targets_get_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'spread'"):
        composed("spred")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n_targets must be at least 1, got 0"),
        ({"copies": -1}, "copies must be 0 or more"),
        ({"n": 10, "copies": 7}, "use at most 6 copies"),
        ({"n": 100, "copies": 0}, "use at most 0 copies, fewer targets or a larger train_size"),
        ({"n": 5, "train_size": 156}, "a train_size of at most 155"),
        ({"strength": -0.1}, "share of blocks set to 0, from 0 to 1, got -0.1"),
        ({"strength": float("nan")}, "from 0 to 1, got nan"),
    ],
)
def test_bad_numbers_are_named(options, message):
    with pytest.raises(BadValue, match=message):
        composed("random", **options)


def test_most_copies_and_largest_training_set_work():
    assert len(composed("random", 10, copies=6).index("filler")) == 10
    assert len(composed("random", 5, copies=0, train_size=155).index("filler")) == 150


def test_drawn_indices_are_of_the_pool_and_of_the_test_set():
    for targets in Targets.__args__:
        which = RAW.ids[:3].tolist() if targets == "ids" else []
        drawn = select_targets(RAW, targets, 3, which, 80, 0, LOSS)
        used = torch.cat([drawn.targets, drawn.decoys, drawn.others])
        assert len(used.unique()) == len(used)
        assert sorted([*drawn.test.tolist(), *drawn.test_decoys.tolist()]) == list(range(TEST))
        assert len(drawn.labels) == len(drawn.targets) + len(drawn.decoys) + len(drawn.test_decoys)


@pytest.mark.parametrize("targets", ["random", "class"])
def test_degrees_and_kinds_go_with_any_targets(targets):
    kind = {"random": "colour", "class": "exact_duplicate"}[targets]
    task = composed(targets, perturbation=kind, strength=0.0 if targets == "class" else 0.5)
    assert set(task.pairs.perturbation) == {kind}
    assert (task.pairs.ssim == 1).all() == (targets == "class")


# ---- natural similar samples


def similarity(kind: str) -> torch.Tensor:
    """(pool, pool), in double precision: what near means."""
    vectors = RAW.x.flatten(1).double() if kind == "pixel_neighbours" else WIDE.double()
    return (
        torch.corrcoef(vectors)
        if kind == "pixel_neighbours"
        else torch.cosine_similarity(vectors[:, None], vectors, dim=2)
    )


NEARNESS = {kind: similarity(kind) for kind in ("pixel_neighbours", "feature_neighbours")}


def natural(kind, copies=2, same_class=True, strength=0.0, targets="random", **options):
    given_options = {"perturbation_options": {"same_class": same_class}, "features": WIDE, "perturbation": kind}
    return composed(targets, copies=copies, strength=strength, **given_options | options)


def links(task) -> pd.DataFrame:
    """anchor, similar: rows of the pool, those of one anchor in order of their finding."""
    return task.pairs[["anchor", "similar"]].map(lambda row: ROW[int(task.source[row])])


def test_every_natural_kind_is_tested():
    assert set(NATURAL) == set(NEARNESS)


@pytest.mark.parametrize("kind", NATURAL)
@settings(max_examples=15, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.booleans(), st.integers(0, 1000))
def test_neighbours_are_the_nearest_that_are_left(kind, n, copies, same_class, seed):
    pairs = links(natural(kind, copies, same_class, n=n, seed=seed))
    anchors = pairs.anchor.unique().tolist()
    assert len(anchors) == 2 * n
    by_anchor = {a: pairs.similar[pairs.anchor == a].tolist() for a in anchors}
    taken = set(anchors)
    for turn in range(copies):
        for a in anchors:
            near = NEARNESS[kind][a]
            left = [c for c in range(POOL) if c not in taken and (not same_class or RAW.y[c] == RAW.y[a])]
            assert near[by_anchor[a][turn]] >= near[left].max() - 1e-5
            taken.add(by_anchor[a][turn])
    assert len(taken) == len(anchors) * (1 + copies)  # each used once


@pytest.mark.parametrize("kind", NATURAL)
@settings(max_examples=15, deadline=None)
@given(st.booleans(), st.sampled_from(["random", "canary", "ids", "tenth", "hard", "spread"]), st.integers(0, 1000))
def test_natural_similars_keep_their_labels_and_ids_and_are_no_filler(kind, same_class, targets, seed):
    task = natural(kind, 2, same_class, targets=targets, seed=seed)
    assert len(task.training_set("original")) == 80
    ids = sources(task, "similar", "decoy_similar")
    assert len(set(ids)) == len(ids) == len(task.pairs)
    assert not set(ids) & set(sources(task, "target", "filler", "decoy", "test"))
    assert labels(task, "similar", "decoy_similar") == true_labels(ids)
    for row, i in zip(task.index("similar", "decoy_similar").tolist(), ids):
        assert torch.equal(task.x[row], RAW.x[ROW[i]])
    pairs = links(task)
    if same_class:
        assert (RAW.y[torch.tensor(pairs.anchor)] == RAW.y[torch.tensor(pairs.similar)]).all()


def test_neighbours_of_any_class_are_of_several():
    pairs = links(natural("pixel_neighbours", 3, same_class=False, n=5))
    assert (RAW.y[torch.tensor(pairs.anchor)] != RAW.y[torch.tensor(pairs.similar)]).any()


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 8), st.booleans())
def test_fewer_copies_are_among_more(strength, seed, n, same_class):
    few, more = (links(natural("pixel_neighbours", c, same_class, strength, n=n, seed=seed)) for c in (1, 3))
    for anchor, of_it in few.groupby("anchor"):
        assert set(of_it.similar) <= set(more.similar[more.anchor == anchor])


@pytest.mark.parametrize("kind", NATURAL)
@pytest.mark.parametrize("same_class", [True, False])
def test_more_strength_begins_further_down_the_order(kind, same_class):
    mean = []
    for strength in (0.0, 0.5, 1.0):
        pairs = links(natural(kind, 2, same_class, strength, n=4))
        mean.append(float(NEARNESS[kind][pairs.anchor.tolist(), pairs.similar.tolist()].mean()))
    assert mean[0] > mean[1] + 0.1 and mean[1] > mean[2] + 0.1


def test_strength_1_finds_the_farthest():
    pairs = links(natural("pixel_neighbours", 1, True, 1.0, n=1))
    for anchor, similar in pairs.itertuples(index=False):
        near = NEARNESS["pixel_neighbours"][anchor]
        left = [c for c in range(POOL) if RAW.y[c] == RAW.y[anchor] and c not in set(pairs.anchor)]
        assert near[similar] <= near[left].min() + 1e-5


def test_pixel_neighbours_look_past_brightness_and_contrast():
    image = RAW.x[0]
    darker = (image.float() / 2 + 20).to(torch.uint8)
    x = torch.stack([image, darker, 255 - image, *RAW.x[1:5]])
    vectors = perturbations["pixel_neighbours"](x, None)
    y = torch.zeros(len(x)).long()
    ranked = neighbours(vectors, y, torch.tensor([0]), torch.arange(1, len(x)), len(x) - 1, 0.0, True)[0].tolist()
    assert (ranked[0], ranked[-1]) == (1, 2)  # the negative comes last


def test_no_neighbours_are_none():
    task = natural("pixel_neighbours", 0)
    assert not len(task.pairs) and not len(task.index("similar", "decoy_similar"))


def test_a_class_too_small_for_its_neighbours_is_named():
    with pytest.raises(BadValue, match="class [0-3] is too small: .* 8 neighbours.*or same_class=False"):
        natural("pixel_neighbours", 8, n=8, train_size=100)
    assert len(natural("pixel_neighbours", 7, same_class=False, n=4, train_size=60).pairs) == 56


def test_a_pool_too_small_for_neighbours_is_named():
    y, others = torch.zeros(4).long(), torch.arange(2, 4)
    with pytest.raises(BadValue, match="the pool is too small: 2 images .* 3 neighbours(?!.*same_class)"):
        neighbours(torch.eye(4), y, torch.tensor([0]), others, 3, 0.0, False)
    with pytest.raises(BadValue, match="the pool is too small: 1 images .* 2 neighbours"):
        neighbours(torch.eye(4), y, torch.tensor([0, 1]), others, 2, 0.0, False)
    assert len(neighbours(torch.eye(4), y, torch.tensor([0, 1]), others, 1, 0.0, False).unique()) == 2


def test_a_pool_without_enough_filler_left_is_named():
    with pytest.raises(
        BadValue, match="needs 135 fillers, and as many .* 10, to refill .* 130 are left in the pool of 160"
    ):
        natural("pixel_neighbours", 2, n=5, train_size=150)


def test_feature_neighbours_need_features():
    with pytest.raises(BadValue, match="needs the features of the pool"):
        natural("feature_neighbours", features=None)


@pytest.mark.parametrize("kind", NATURAL)
def test_natural_kinds_take_no_degree(kind):
    with pytest.raises(BadValue, match=f"{kind} finds real images.*leave similarity_level empty"):
        natural(kind, similarity_level="ssim~0.6")


@pytest.mark.parametrize("kind", NATURAL)
def test_natural_kinds_do_not_go_with_classes(kind):
    with pytest.raises(BadValue, match=f"{kind} finds neighbours of single images"):
        natural(kind, 1, targets="class")


def test_a_similar_sample_of_a_decoy_must_not_be_trained_on(raw):
    task = build_task(raw, perturbation="pixel_neighbours", strength=0.0, n_targets=3, copies=2, train_size=100)
    source, x = task.source.clone(), task.x.clone()
    leak, filler = task.index("decoy_similar")[0], task.index("filler")[0]
    source[leak], x[leak] = source[filler], x[filler]
    with pytest.raises(BadValue, match="in both the trained and the decoy"):
        type(task)(x, task.y, task.role, source, task.pairs, task.n_classes).check()


# --- parts of classes


def test_subclass_targets_are_all_of_a_part_while_its_class_stays():
    from data_builders import datasets

    parity = datasets["digits_parity"]()
    task = build_task(parity, targets="subclass", forget_ids=[4], copies=0, train_size=300)
    raw_id = {int(i): int(p) for i, p in zip(parity.ids, parity.part)}
    raw_id |= {int(i): int(p) for i, p in zip(parity.test_ids, parity.test_part)}
    parts = {
        role: {raw_id[int(i)] for i in task.source[task.index(role)]} for role in ("target", "filler", "decoy", "test")
    }
    assert parts["target"] == parts["decoy"] == {4}
    assert parts["filler"] == parts["test"] == set(range(10)) - {4}
    assert set(task.y[task.index("target")].tolist()) == {0} and task.n_classes == 2
    assert request_of(task).whole_classes == []  # 4 goes, and other even digits stay


def test_a_subclass_is_drawn_if_none_is_named_and_an_unknown_one_refused():
    from data_builders import datasets

    parity = datasets["digits_parity"]()
    drawn = [build_task(parity, targets="subclass", copies=0, train_size=300, seed=s) for s in range(3)]
    assert len({len(t.index("target")) for t in drawn}) > 1
    with pytest.raises(BadValue, match="no subclass 10"):
        build_task(parity, targets="subclass", forget_ids=[10], copies=0, train_size=300)


def test_without_parts_a_subclass_is_a_class(raw):
    pair = [build_task(raw, targets=t, forget_ids=[3], copies=0, train_size=300) for t in ("class", "subclass")]
    assert pair[0].digest() == pair[1].digest()
