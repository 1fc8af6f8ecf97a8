"""A model of the caller's own: every method works or refuses, bad input is one clear line, and the answers are right."""

import copy
import threading
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

import unlearnkit
from unlearnkit.core.errors import BadValue, NotApplicable, UnknownName
from unlearnkit.methods import methods
from unlearnkit.own_model.intervals import Interval, difference, ratio, share
from unlearnkit.wrappers import wrappers

IMAGES = [name for name in methods if "image" in methods[name].info["domains"]]
WRAPPED = [f"{name}(scrub)" for name in wrappers]
RECIPE = {"epochs": 2, "batch_size": 16, "lr": 0.05}
# words of the study that a caller with a model of their own does not know
STUDY = ("targets=", "train_size", "the pool", "similarity_level", "this task", "config", "NoneType", "YourModel")


def data(n=60, classes=10, shape=(1, 8, 8), seed=0):
    x = torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))
    return x, torch.arange(n) % classes


def mlp(inside=64, classes=10):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(inside, 16), nn.ReLU(), nn.Linear(16, classes))


X, Y = data()
GONE = torch.arange(60) < 6
FORGET, RETAIN = (X[GONE], Y[GONE]), (X[~GONE], Y[~GONE])


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a, b):
    return all(torch.equal(v, b[name]) for name, v in a.items())


@pytest.fixture(autouse=True)
def no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# --- methods ---


@pytest.mark.slow
@pytest.mark.parametrize("name", [*methods, *WRAPPED])
def test_every_method_gives_a_new_model_or_refuses_in_the_callers_terms(name):
    model = mlp()
    before, drawn = state(model), torch.random.get_rng_state()
    try:
        options = {"alpha": 0.5} if name == "ssd" else {}  # by default it finds no weight of this model to dampen
        after = unlearnkit.unlearn(model, FORGET, RETAIN, name, **options)
    except (NotApplicable, BadValue) as error:
        assert "\n" not in str(error) and not [word for word in STUDY if word in str(error)], error
        assert name not in IMAGES or name in ("retrain", "sisa", "scrub_r", "unsir")
    else:
        assert type(after) is nn.Sequential and after is not model and not after.training
        assert after(X).shape == (60, 10) and not same(before, state(after))
    assert same(before, state(model)) and torch.equal(drawn, torch.random.get_rng_state())


@pytest.mark.slow
def test_methods_that_need_more_work_once_they_are_given_it():
    model, unseen = mlp(), data(20, seed=1)
    retrained = unlearnkit.unlearn(model, FORGET, RETAIN, "retrain", recipe=RECIPE)
    assert type(retrained) is nn.Sequential and not same(state(model), state(retrained))
    ensemble = unlearnkit.unlearn(model, FORGET, RETAIN, "sisa", recipe=RECIPE, shards=2, slices=2)
    assert ensemble(X).shape == (60, 10)
    assert unlearnkit.unlearn(model, FORGET, RETAIN, "scrub_r", validation=unseen)(X).shape == (60, 10)
    near = {"near": "pixel calibrated 0.5"}
    with pytest.raises(BadValue, match="never trained on: pass validation="):
        unlearnkit.unlearn(model, FORGET, RETAIN, "expand(finetune)", **near)
    unlearnkit.unlearn(model, FORGET, RETAIN, "expand(finetune)", validation=unseen, **near)
    whole = Y == 3
    after = unlearnkit.unlearn(model, (X[whole], Y[whole]), (X[~whole], Y[~whole]), "unsir")
    assert type(after) is nn.Sequential
    unlearnkit.unlearn(model, FORGET, RETAIN, "rsu(scrub)", batch_size=1, batches=2)
    with pytest.raises(NotApplicable, match="ranker 'held_out_gap' trains more models"):
        unlearnkit.unlearn(model, FORGET, RETAIN, "rsu(scrub)", ranker="held_out_gap")


def test_unknown_names_are_named():
    with pytest.raises(UnknownName, match="Did you mean 'scrub'"):
        unlearnkit.unlearn(mlp(), FORGET, RETAIN, "scrubb")
    with pytest.raises(UnknownName, match="unknown option of method 'scrub' 'epoch'. Did you mean 'epochs'"):
        unlearnkit.unlearn(mlp(), FORGET, RETAIN, epoch=3)
    with pytest.raises(BadValue, match="seed must be a whole number, got '0'"):
        unlearnkit.unlearn(mlp(), FORGET, RETAIN, seed="0")
    with pytest.raises(BadValue, match="method must be a name"):
        unlearnkit.unlearn(mlp(), FORGET, RETAIN, None)
    with pytest.raises(BadValue, match="recipe must be a dict or a Recipe, got int"):
        unlearnkit.unlearn(mlp(), FORGET, RETAIN, "retrain", recipe=3)
    with pytest.raises(UnknownName, match="unknown part of recipe 'epoch'. Did you mean 'epochs'"):
        unlearnkit.unlearn(mlp(), FORGET, RETAIN, "retrain", recipe={"epoch": 3})


def test_options_reach_the_method_and_the_seed_decides():
    model = mlp()
    with pytest.raises(BadValue, match="retain_weight is a share"):
        unlearnkit.unlearn(model, FORGET, RETAIN, "neggrad_plus", retain_weight=2.0)
    model.insert(1, nn.Dropout(0.5))  # draws from torch's global generator
    a, b, c = (state(unlearnkit.unlearn(model, FORGET, RETAIN, "finetune", seed=s)) for s in (0, 0, 1))
    assert same(a, b) and not same(a, c)


def test_it_is_the_method_of_the_study_bit_by_bit():
    from data_builders.task import Samples
    from unlearnkit.images.request import Request

    model = mlp()
    direct = methods["salun"](model, Request(Samples(*FORGET), Samples(*RETAIN), 10), seed=3)
    assert same(state(direct), state(unlearnkit.unlearn(model, FORGET, RETAIN, "salun", seed=3)))


# --- models ---


class Net(nn.Module):
    """A user's own net: batch norm, dropout, an attribute that some methods look for, and a head."""

    def __init__(self, channels=3, classes=4):
        super().__init__()
        self.blocks = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.1))
        self.pool, self.fc = nn.AdaptiveAvgPool2d(2), nn.Linear(16, classes)

    def forward(self, x):
        return self.fc(self.pool(self.blocks(x)).flatten(1))


class WithLogits(nn.Module):
    """Gives an object with `.logits`, as classifiers of transformers do."""

    def __init__(self):
        super().__init__()
        self.net = mlp()

    def forward(self, x):
        from types import SimpleNamespace

        return SimpleNamespace(logits=self.net(x))


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(3, 9, 7), (3, 16, 16), (1, 5, 12)])
@pytest.mark.parametrize("method", ["scrub", "ssd", "cf_k", "muda", "expand(scrub)"])
def test_images_of_any_size_and_normalisation(shape, method):
    torch.manual_seed(0)
    model = Net(shape[0])
    x, y = data(48, 4, shape)
    x = (x - 0.5) * 7  # values far outside 0 to 1
    seen = []
    handle = model.register_forward_pre_hook(lambda net, inputs: seen.append((inputs[0].min(), inputs[0].max())))
    after = unlearnkit.unlearn(model, (x[:6], y[:6]), (x[6:], y[6:]), method)
    handle.remove()
    assert type(after) is Net and after(x).shape == (48, 4)
    assert min(seen)[0] < -3 and max(high for _, high in seen) > 3  # as they came


@pytest.mark.parametrize("shape", [(64,), (4, 16), (1, 2, 8, 4)])
def test_samples_that_are_no_images_work_too(shape):
    x, y = data(60, 10, shape)
    sets = (x[:6], y[:6]), (x[6:], y[6:])
    for method in ("scrub", "ssd", "boundary_shrink", "amun", "delete"):
        assert unlearnkit.unlearn(mlp(), *sets, method)(x).shape == (60, 10)
    assert len(unlearnkit.find_near_duplicates(*sets)) > 0


def test_a_model_that_gives_an_object_with_logits():
    assert type(unlearnkit.unlearn(WithLogits(), FORGET, RETAIN, "scrub")) is WithLogits


def test_frozen_weights_are_marked_frozen_again_and_its_mode_is_left():
    model = mlp().train()
    model[1].requires_grad_(False)
    after = unlearnkit.unlearn(model, FORGET, RETAIN, "salun")
    assert [p.requires_grad for p in after.parameters()] == [p.requires_grad for p in model.parameters()]
    assert model.training and not after.training


class NoLinear(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.conv = nn.Conv2d(1, 6, 3), nn.Conv2d(6, 10, 3)

    def forward(self, x):
        return self.conv(self.body(x).relu()).mean((2, 3))


class LinearElsewhere(NoLinear):
    """Its last linear layer is an attention weight, not the head."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(10, 10)

    def forward(self, x):
        out = super().forward(x)
        return out * self.gate(out).sigmoid()


@pytest.mark.slow
@pytest.mark.parametrize("model", [NoLinear(), LinearElsewhere()], ids=["none", "elsewhere"])
@pytest.mark.parametrize("name", [n for n in [*IMAGES, *WRAPPED] if n not in ("unsir", "scrub_r", "diversify(scrub)")])
def test_a_model_without_a_linear_head(model, name):
    """Methods that need none work; the others say so, in one line."""
    options = {"recipe": RECIPE} if name in ("retrain", "sisa") else {}
    if name == "rsu(scrub)":
        options = {"batch_size": 1, "batches": 2}
    try:
        assert unlearnkit.unlearn(model, FORGET, RETAIN, name, **options)(X).shape == (60, 10)
        assert not {*name.split("(")} & {"boundary_expand", "cmf_head", "muda", "align", "classifier_only"}
    except NotApplicable as error:
        what = "has no linear layer" if type(model) is NoLinear else "has a last linear layer, gate, that does not make"
        assert what in str(error) and "use " in str(error)
    if name.startswith("expand"):
        unlearnkit.unlearn(model, FORGET, RETAIN, name, near="pixel+label top 10")


class Branching(nn.Module):
    """Looks at values to decide what to do, which torch cannot do for many samples at once."""

    def __init__(self):
        super().__init__()
        self.net = mlp()

    def forward(self, x):
        return self.net(x) if x.mean() > 0 else self.net(-x)


def test_what_torch_cannot_differentiate_sample_by_sample_is_refused():
    with pytest.raises(
        NotApplicable, match="influence takes the gradient of each sample by itself, which torch cannot"
    ):
        unlearnkit.unlearn(Branching(), FORGET, RETAIN, "influence")
    assert type(unlearnkit.unlearn(Branching(), FORGET, RETAIN, "finetune")) is Branching


def holding(thing) -> nn.Module:
    model = mlp()
    model.thing = thing
    return model


def traced(model) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls it outdated
        return torch.jit.trace(model, torch.zeros(2, 1, 8, 8))


BAD_MODELS = {
    "no module": (lambda: "resnet", "model must be a torch.nn.Module, got str"),
    "no weights": (nn.Flatten, "model has no weights"),
    "half": (lambda: mlp().half(), "weights of float16 .*pass model.float\\(\\)"),
    "bf16 in part": (lambda: nn.Sequential(mlp(), nn.Linear(10, 10).bfloat16()), "weights of bfloat16"),
    "double": (lambda: mlp().double(), "weights of float64"),
    "meta": (lambda: mlp().to("meta"), "meta device, which hold no values: load them first"),
    "two devices": (lambda: nn.Sequential(mlp(), nn.Linear(10, 10, device="meta")), "meta device"),
    "another size": (lambda: mlp(100), "model cannot take images of shape \\(1, 8, 8\\), as forget has"),
    "maps": (lambda: nn.Conv2d(1, 10, 3), "must give logits \\(n, classes\\), and gives shape \\(2, 10, 6, 6\\)"),
    "probabilities": (lambda: nn.Sequential(mlp(), nn.Softmax(1)), "gives probabilities, which sum to 1, not logits"),
    "TorchScript": (lambda: traced(mlp()), "TorchScript module.*it was made from"),
    "no copy": (lambda: holding(threading.Lock()), "model cannot be copied by copy.deepcopy, and must stay as it is"),
    "one logit": (lambda: mlp(classes=1), "one logit for each image"),
    "fewer logits": (lambda: mlp(classes=5), "forget\\[5\\] has the label 5, and model gives 5 logits"),
}


@pytest.mark.parametrize("what", BAD_MODELS)
def test_a_bad_model_is_one_clear_line(what):
    make, message = BAD_MODELS[what]
    with pytest.raises(BadValue, match=message) as caught:
        unlearnkit.unlearn(make(), FORGET, RETAIN)
    assert "\n" not in str(caught.value)


def test_a_model_of_nan_is_refused():
    model = mlp()
    model[1].weight.data[0, 0] = torch.nan
    with pytest.raises(BadValue, match="model holds values that are not finite, in 1.weight"):
        unlearnkit.unlearn(model, FORGET, RETAIN)


def test_a_device_that_is_not_there_is_named():
    if torch.cuda.is_available():
        assert next(unlearnkit.unlearn(mlp(), FORGET, RETAIN, device="cuda").parameters()).device.type == "cpu"
        model = mlp().cuda()
        after = unlearnkit.unlearn(model, FORGET, RETAIN)
        assert next(after.parameters()).device == next(model.parameters()).device
    else:
        with pytest.raises(BadValue, match="torch sees no CUDA GPU here"):
            unlearnkit.unlearn(mlp(), FORGET, RETAIN, device="cuda")


# --- sets ---


class Transformed(Dataset):
    """Images with a transform, as torchvision's."""

    def __init__(self, x, y, transform):
        self.x, self.y, self.transform = x, y, transform

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.transform(self.x[i]), int(self.y[i])


def test_tensors_datasets_and_loaders_are_the_same():
    model = mlp()
    half = [Transformed(2 * x + 1, y, lambda v: (v - 1) / 2) for x, y in (FORGET, RETAIN)]
    whole = TensorDataset(X, Y)
    forms = [
        (FORGET, RETAIN),
        ([v.numpy() for v in FORGET], [v.double().numpy() if v.ndim > 1 else v.int().numpy() for v in RETAIN]),
        (Subset(whole, range(6)), Subset(whole, range(6, 60))),
        (TensorDataset(*FORGET), DataLoader(TensorDataset(*RETAIN), batch_size=7)),
        (DataLoader(half[0], 4), half[1]),
    ]
    models = [state(unlearnkit.unlearn(model, *form, "finetune", epochs=2)) for form in forms]
    for other in models[1:]:
        torch.testing.assert_close(models[0], other)


def loader(**options):
    return DataLoader(TensorDataset(*FORGET), batch_size=4, **options)


class Text(Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, i):
        return "an image", 0


def sized(i):
    return torch.rand(1, 8, 8 + i), i


BAD_SETS = {
    "nothing": (None, "forget must be a pair .*got NoneType"),
    "images alone": (X, "got Tensor alone"),
    "empty tensors": ((X[:0], Y[:0]), "forget is empty"),
    "empty list": ([], "forget is empty"),
    "empty dataset": (TensorDataset(X[:0], Y[:0]), "forget is empty"),
    "three columns": (TensorDataset(X, Y, Y), "these are 3 columns"),
    "bytes": (((X * 255).byte(), Y), "images of uint8: pass them as your model is fed, as floats"),
    "float labels": ((X, Y.float()), "labels of shape \\(60,\\) and type float32: one whole number"),
    "one-hot labels": ((X, F.one_hot(Y)), "labels of shape \\(60, 10\\)"),
    "too few labels": ((X, Y[:50]), "forget has 60 images and 50 labels"),
    "negative label": ((X, Y - 1), "forget\\[0\\] has the label -1: labels are whole numbers from 0"),
    "label outside": ((X, Y + 1), "forget\\[9\\] has the label 10, and model gives 10 logits, for labels 0 to 9"),
    "not finite": ((torch.where(X > 2, X, torch.nan), Y), "forget\\[0\\] holds values that are not finite"),
    "shuffled": (loader(shuffle=True), "DataLoader that shuffles or draws \\(RandomSampler\\).*set shuffle=False"),
    "dropped": (loader(drop_last=True), "DataLoader that drops the last batch: set drop_last=False"),
    "drawn": (loader(sampler=torch.utils.data.SubsetRandomSampler([0])), "\\(SubsetRandomSampler\\)"),
    "other batches": (
        DataLoader(TensorDataset(*FORGET), batch_sampler=[[0, 1]]),
        "gives 2 of the 6 samples of its dataset",
    ),
    "no tensors": (Text(), "forget\\[0\\] is a str: end its transform with ToTensor"),
    "no pairs": ([3, 4, 5], "forget\\[0\\] must be a pair \\(image, label\\), got int"),
    "sizes": ([sized(i) for i in range(3)], "forget\\[1\\] has shape \\(1, 8, 9\\) and forget\\[0\\] \\(1, 8, 8\\)"),
    "text label": ([(X[0], "cat")] * 3, "the label of forget\\[0\\] must be a whole number, got str"),
    "half label": ([(X[0], 0.5)] * 3, "the label of forget\\[0\\] must be a whole number, got 0.5"),
    "another shape": ((torch.rand(4, 1, 9, 9), Y[:4]), "retain holds images of shape \\(1, 8, 8\\), and forget of"),
    "overlap": ((X[4:8], Y[4:8]), "2 of 4 samples of forget are in retain, too: forget\\[2\\] is retain\\[0\\]"),
}


@pytest.mark.parametrize("what", BAD_SETS)
def test_a_bad_set_is_one_clear_line(what):
    given, message = BAD_SETS[what]
    with pytest.raises(BadValue, match=message) as caught:
        unlearnkit.unlearn(mlp(), given, RETAIN)
    assert "\n" not in str(caught.value)


def test_a_bad_retain_set_is_named_as_such():
    with pytest.raises(BadValue, match="retain is empty"):
        unlearnkit.unlearn(mlp(), FORGET, (X[:0], Y[:0]))
    with pytest.raises(BadValue, match="retain is a DataLoader that shuffles"):
        unlearnkit.unlearn(mlp(), FORGET, loader(shuffle=True))


def test_a_set_that_does_not_fit_into_memory_is_refused(monkeypatch):
    monkeypatch.setattr("os.sysconf", lambda name: 10)
    with pytest.raises(BadValue, match="forget takes .* GiB as 6 images of \\(1, 8, 8\\).*Subset"):
        unlearnkit.unlearn(mlp(), Transformed(*FORGET, lambda v: v), RETAIN)


# --- evaluate ---


def trained(x, y, epochs=20):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    step = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(epochs):
        for i in torch.randperm(len(x)).split(100):
            step.zero_grad()
            F.cross_entropy(model(x[i]), y[i]).backward()
            step.step()
    return model.eval()


@pytest.fixture(scope="module")
def digits():
    """Forget, retain, test, unseen: digits of which 20 have wrong labels and are to be forgotten; original, retrain."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    x, y = torch.tensor(raw.images).float()[:, None] / 16, torch.tensor(raw.target)
    wrong = (y + 1 + torch.randint(9, y.shape, generator=torch.Generator().manual_seed(0))) % 10
    sets = {"forget": (x[:20], wrong[:20]), "retain": (x[20:800], y[20:800])}
    sets |= {"test": (x[1100:], y[1100:]), "unseen": (x[800:1100], wrong[800:1100])}
    both = [torch.cat(v) for v in zip(sets["forget"], sets["retain"])]
    return sets, trained(*both, epochs=40), trained(*sets["retain"])


def answers(table):
    return {question: part.answer.iloc[0] for question, part in table.groupby("question")}


@pytest.mark.slow
def test_the_references_get_the_answers_that_are_true_of_them(digits):
    sets, original, retrain = digits
    table = unlearnkit.evaluate(original, original=original, retrain=retrain, **sets)
    found = answers(table)
    assert (found["forgot?"], found["moved?"], found["near retrain?"]) == ("no", "no", "no") and found[
        "usable?"
    ] != "no"
    assert table.loc["near retrain?"].value.iloc[0] == pytest.approx(1)
    table = unlearnkit.evaluate(retrain, original=original, retrain=retrain, **sets)
    assert answers(table) == {
        "forgot?": "yes",
        "usable?": "yes",
        "moved?": "yes",
        "near retrain?": "yes",
        "not said": "",
    }
    assert table.loc["near retrain?"].value.iloc[0] == pytest.approx(0)
    table = unlearnkit.evaluate(retrain, original=original, **sets)
    assert answers(table)["near retrain?"] == "cannot be said"
    assert "only retraining shows it" in table.loc["not said", "in words"].iloc[0]
    assert table.loc["forgot?"].value.iloc[0] == pytest.approx(0.5, abs=0.15)  # like unseen samples


@pytest.mark.slow
def test_a_model_of_noise_is_not_called_unlearned(digits):
    sets, original, retrain = digits
    torch.manual_seed(1)
    noise = copy.deepcopy(original)
    for layer in (noise[1], noise[3]):
        layer.reset_parameters()
    for reference in (None, retrain):
        table = unlearnkit.evaluate(noise, original=original, retrain=reference, **sets)
        assert answers(table)["usable?"] == "no" and "yes" not in (
            answers(table)["forgot?"],
            answers(table)["near retrain?"],
        )


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.5, 2, 5])
def test_dividing_all_logits_changes_no_influence(digits, temperature):
    sets, original, retrain = digits
    cooled = copy.deepcopy(original)
    for p in cooled[3].parameters():
        p.data /= temperature
    table = unlearnkit.evaluate(cooled, original=original, retrain=retrain, **sets)
    assert table.loc["near retrain?"].value.iloc[0] == pytest.approx(1, abs=0.1)
    assert table.loc["forgot?"].value.iloc[0] == pytest.approx(
        unlearnkit.evaluate(original, original=original, **sets).loc["forgot?"].value.iloc[0], abs=0.02
    )


@pytest.mark.slow
def test_where_there_is_nothing_to_forget_it_says_so(digits):
    """Digits of the true label, which a model knows unseen."""
    sets, _, retrain = digits
    known = {"forget": [v[:40] for v in sets["retain"]], "retain": [v[40:] for v in sets["retain"]]}
    table = unlearnkit.evaluate(retrain, original=retrain, test=sets["test"], **known)
    assert answers(table)["forgot?"] in ("cannot be said", "no")
    assert table.loc["forgot?", "in words"].iloc[0]


@pytest.mark.slow
def test_whole_classes_are_judged_by_their_label(digits):
    sets, _, _ = digits
    x, y = sets["retain"]
    whole = y == 4
    original, retrain = trained(x, y), trained(x[~whole], y[~whole])
    given = {"forget": (x[whole], y[whole]), "retain": (x[~whole], y[~whole]), "test": sets["test"]}
    for model, expected in ((original, "no"), (retrain, "yes")):
        table = unlearnkit.evaluate(model, original=original, **given)
        assert answers(table)["forgot?"] == expected
        assert "whole classes" in table.loc[["forgot?"], "measure"].iloc[0]


@pytest.mark.slow
@pytest.mark.slow
def test_a_test_set_without_the_labels_that_matter_says_nothing(digits):
    sets, original, retrain = digits
    x, y = sets["test"]
    given = {"forget": sets["forget"], "retain": sets["retain"], "test": (x[y == 9][:5], y[y == 9][:5])}
    rows = sets["forget"][1] != 9
    given["forget"] = tuple(part[rows] for part in given["forget"])
    table = unlearnkit.evaluate(retrain, original=original, retrain=retrain, **given)
    assert answers(table)["forgot?"] == answers(table)["near retrain?"] == "cannot be said"
    assert table.loc["forgot?", "in words"].iloc[0] == "no unseen sample has a label of forget"


def test_what_evaluate_cannot_use_is_named(digits):
    sets, original, retrain = digits
    with pytest.raises(BadValue, match="retrain has weights of float16"):
        unlearnkit.evaluate(original, original=original, retrain=copy.deepcopy(retrain).half(), **sets)
    with pytest.raises(BadValue, match="20 of 20 samples of forget are in test, too.*no model was trained on"):
        unlearnkit.evaluate(original, original=original, **sets | {"test": sets["forget"]})
    with pytest.raises(BadValue, match="different width: {'model': 10, 'original': 12}"):
        unlearnkit.evaluate(mlp(), original=mlp(classes=12), **sets)
    with pytest.raises(BadValue, match="test is a DataLoader that shuffles"):
        unlearnkit.evaluate(original, original=original, **sets | {"test": loader(shuffle=True)})


# --- intervals ---


def test_intervals_stay_within_what_is_possible():
    assert share(np.ones(5)) == Interval(1, pytest.approx(0.5655, abs=1e-4), 1, 5)  # Wilson by hand: n / (n + z^2)
    assert share(np.array([1, 0] * 50)).low == pytest.approx(0.4038, abs=1e-4)
    for a, b in ((np.ones(4), np.zeros(4)), (np.ones(4), np.ones(4)), (np.eye(4)[0], np.eye(4)[1])):
        found = difference(a, b)
        assert -1 <= found.low <= found.value <= found.high <= 1 and found.low < found.high
    assert difference(np.eye(9)[0], np.eye(9)[0]).value == 0
    assert np.isnan(share(np.empty(0)).value) and np.isnan(ratio(np.ones(1), np.ones(1)).value)
    assert np.isnan(ratio(np.ones(8), np.array([1.0, -1] * 4)).value)  # a denominator within noise is masked


@pytest.mark.slow
def test_wilsons_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    for p in (0.02, 0.3, 0.9):
        found = [share((generator.random(40) < p).astype(float)) for _ in range(2000)]
        assert np.mean([f.low <= p <= f.high for f in found]) > 0.92


@pytest.mark.slow
def test_newcombes_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    covered = []
    for _ in range(2000):
        common = generator.random(60)
        a, b = (common < 0.8).astype(float), (np.where(generator.random(60) < 0.5, common, generator.random(60)) < 0.6)
        found = difference(a, b.astype(float))
        covered.append(found.low <= 0.2 <= found.high)
    assert np.mean(covered) > 0.93


# --- near-duplicates ---


@pytest.mark.slow
def test_planted_near_duplicates_are_found(digits):
    sets, original, _ = digits
    x, y = sets["forget"]
    torch.manual_seed(0)
    planted = torch.cat([x[:10], x[10:20] + 0.03 * torch.randn(10, 1, 8, 8)])
    retain = (torch.cat([sets["retain"][0], planted]), torch.cat([sets["retain"][1], y]))
    for model in (None, original):
        table = unlearnkit.find_near_duplicates(sets["forget"], retain, model)
        assert {(i, 780 + i) for i in range(20)} <= set(zip(table.target, table.retained)) and table.same_label.all()
        assert table.similarity.iloc[0] == 1 and table.similarity.is_monotonic_decreasing
        assert table.closer_than.between(0, 1).all() and len(table) < 100  # of 20 x 10: others have other labels
        near = unlearnkit.find_near_duplicates(sets["forget"], retain, model, closer_than=0.95)
        assert len(near) <= len(table) and (near.closer_than >= 0.95).all()
        everything = unlearnkit.find_near_duplicates(sets["forget"], retain, model, any_label=True, neighbours=3)
        assert (everything.groupby("target").size() == 3).all()
    assert len(unlearnkit.find_near_duplicates(sets["forget"], sets["retain"])) < 10  # without them: hardly any
    other = (retain[0], (retain[1] + 1) % 10)
    assert not len(unlearnkit.find_near_duplicates(sets["forget"], other).query("similarity > 0.9999"))
    found = unlearnkit.find_near_duplicates(sets["forget"], other, any_label=True).query("similarity > 0.9999")
    assert len(found) >= 10 and not found.same_label.any()


def test_colours_of_any_normalisation_give_the_same_neighbours():
    x, y = data(40, 2, (3, 12, 12))
    near = (x[:5] * 0.9, y[:5])
    tables = [
        unlearnkit.find_near_duplicates((near[0] * a + b, y[:5]), (x * a + b, y), neighbours=1)
        for a, b in ((1, 0), (4.5, -2.0), (255.0, 0))
    ]
    for table in tables:
        assert set(zip(table.target, table.retained)) == {(i, i) for i in range(5)}


def test_bad_values_of_the_search_are_named():
    with pytest.raises(BadValue, match="neighbours is at least 1 and closer_than a share"):
        unlearnkit.find_near_duplicates(FORGET, RETAIN, closer_than=2)
    with pytest.raises(BadValue, match="model has no linear layer: leave model out"):
        unlearnkit.find_near_duplicates(FORGET, RETAIN, NoLinear())


# --- texts ---

NAMES = ["Anna", "Boris", "Clara", "David", "Elena", "Fjodor", "Greta", "Hugo", "Irina", "Jakob", "Karla", "Ludwig"]
TOWNS = [
    "Madrid",
    "Narvik",
    "Oslo",
    "Porto",
    "Quito",
    "Riga",
    "Sofia",
    "Tunis",
    "Utrecht",
    "Vienna",
    "Warsaw",
    "Xanten",
]
PAIRS = [(f"Where was {who} born?", f"In {where}.") for who, where in zip(NAMES, TOWNS)]
ASKED, KEPT = PAIRS[:3], PAIRS[3:]


@pytest.fixture(scope="module")
def language():
    """(model, tokenizer): a GPT-2 of two layers, with dropout, and a byte-level tokenizer, both of transformers."""
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from tokenizers.trainers import BpeTrainer

    backend = Tokenizer(BPE())
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=300,
        special_tokens=["<end>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([text for pair in PAIRS for text in pair], trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>")
    size = {"n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": len(tokenizer)}
    torch.manual_seed(0)
    config = transformers.GPT2Config(**size, tie_word_embeddings=False, bos_token_id=0, eos_token_id=0)
    model = transformers.GPT2LMHeadModel(config)
    return fitted(model, tokenizer, PAIRS), tokenizer


def fitted(model, tokenizer, pairs, steps=60):
    """Trained by ordinary transformers code, on whole texts."""
    texts = [f"Q: {q}\nA: {a}<end>" for q, a in pairs]
    rows = [tokenizer(text)["input_ids"] for text in texts]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    step = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(steps):
        step.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        step.step()
    return model.eval()


@pytest.mark.slow
@pytest.mark.parametrize("name", [*methods, *(f"{w}(npo)" for w in wrappers)])
def test_every_method_on_texts(language, name):
    model, tokenizer = language
    before, drawn = state(model), torch.random.get_rng_state()
    text = "text" in methods[name].info["domains"]
    options = {"epochs": 1} if text and "epochs" in methods[name].options() else {}
    options |= {"near": "feature top 2"} if name.split("(")[0] in ("expand", "weigh") else {}
    options |= {"batch_size": 1, "batches": 2} if name.startswith("rsu") else {}
    options |= {"recipe": {"epochs": 1}} if name == "retrain" else {}
    try:
        after = unlearnkit.unlearn(model, ASKED, KEPT, name, tokenizer=tokenizer, **options)
    except NotApplicable as error:
        assert not text and "has no meaning for question-answer pairs" in str(error)
    else:
        assert text and type(after) is type(model) and not after.training
        assert name == "ssd" or not same(before, state(after))  # it finds no weight of this model to dampen
    assert same(before, state(model)) and torch.equal(drawn, torch.random.get_rng_state())


@pytest.mark.slow
def test_an_answer_is_forgotten(language):
    model, tokenizer = language
    after = unlearnkit.unlearn(model, ASKED, KEPT, "npo", tokenizer=tokenizer, retain_loss="nll", lr=2e-3)
    given = {"forget": ASKED, "retain": KEPT, "original": model, "tokenizer": tokenizer}
    test = [(f"Where was {who} born?", f"In {who}.") for who in "YZ"]
    table = unlearnkit.evaluate(after, test=test, **given)
    assert table.loc[["moved?"]].answer.iloc[0] == "yes" and table.loc[["moved?"]].value.iloc[0] > 0.3
    assert answers(unlearnkit.evaluate(model, test=test, **given))["moved?"] == "no"


@pytest.mark.slow
def test_paraphrases_are_found(language):
    model, tokenizer = language
    kept = [*KEPT, ("where was Anna born, please?", "In Madrid.")]
    table = unlearnkit.find_near_duplicates(ASKED, kept)
    assert table[table.target == 0].retained.iloc[0] == len(kept) - 1 and "same_label" not in table
    table = unlearnkit.find_near_duplicates(ASKED, kept, model, tokenizer=tokenizer, neighbours=2)
    assert len(table) == 6


@pytest.mark.slow
def test_a_prompt_of_ones_own_reaches_the_model(language):
    model, tokenizer = language
    seen = []
    from unlearnkit.own_model import language as own

    spelling = own.tokenizer_of(tokenizer, "<user>{question}<bot>\n")
    (ids,) = own.tokens(own.read_pairs(ASKED[:1], "forget"), spelling, 64, "forget").ids.tolist()
    seen.append(tokenizer.decode(ids))
    assert seen == ["<user>Where was Anna born?<bot>\nIn Madrid.<end>"]
    assert spelling.questions(spelling.prompts(["Who?"])) == ["Who?"]
    unlearnkit.unlearn(
        model, ASKED, KEPT, "diversify(npo)", tokenizer=tokenizer, prompt="<user>{question}<bot>\n", epochs=1
    )


@pytest.mark.slow
def test_adapters_alone_move(language):
    peft = pytest.importorskip("peft")
    model, tokenizer = language
    config = peft.LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True, task_type="CAUSAL_LM")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of peft's own, about transformers
        adapted = peft.get_peft_model(copy.deepcopy(model), config)
    before = state(adapted)
    after = unlearnkit.unlearn(adapted, ASKED, KEPT, "npo", tokenizer=tokenizer)
    moved = {name for name, value in after.state_dict().items() if not torch.equal(value, before[name])}
    assert moved and all("lora_" in name for name in moved) and type(after) is type(adapted)
    for method, message in (("salun", "merge_and_unload"), ("retrain", "draws the weights of the model anew")):
        with pytest.raises(NotApplicable, match=message):
            unlearnkit.unlearn(adapted, ASKED, KEPT, method, tokenizer=tokenizer, recipe={"epochs": 1})


def test_a_head_that_is_the_embedding_too_is_named(language):
    model, tokenizer = language
    tied = type(model)(type(model.config)(**{**model.config.to_dict(), "tie_word_embeddings": True}))
    with pytest.raises(NotApplicable, match="shares its weights with the embedding"):
        unlearnkit.unlearn(tied, ASKED, KEPT, "classifier_only", tokenizer=tokenizer)


def test_bad_texts_are_one_clear_line(language):
    model, tokenizer = language

    def refused(message, *given, **options):
        with pytest.raises(BadValue, match=message):
            unlearnkit.unlearn(*given, "npo", **{"tokenizer": tokenizer, **options})

    refused("need the tokenizer of your model: pass tokenizer=", model, ASKED, KEPT, tokenizer=None)
    refused("tokenizer must be one of transformers', got str", model, ASKED, KEPT, tokenizer="gpt2")
    refused("prompt must hold {question} once", model, ASKED, KEPT, prompt="Q:")
    refused("is a Sequential: question-answer pairs need a causal language model", mlp(), ASKED, KEPT)
    refused("weights of bfloat16", copy.deepcopy(model).bfloat16(), ASKED, KEPT)
    refused("1 of 3 pairs of forget are in retain, too: forget\\[2\\] is retain\\[0\\]", model, ASKED, PAIRS[2:])
    refused("retain is empty", model, ASKED, [])
    refused("retain must be a list of \\(question, answer\\) pairs", model, ASKED, RETAIN[0])
    refused("forget\\[1\\] has an empty answer", model, [ASKED[0], ("Who?", " ")], KEPT)
    refused("retain\\[0\\] must be a pair \\(question, answer\\)", model, ASKED, [("a", "b", "c")])
    refused("forget\\[0\\] takes .* tokens, and the context of your model is 64", model, [("Who? " * 40, "He.")], KEPT)


# --- the face ---


def test_no_option_of_a_method_is_hidden_by_a_parameter_of_unlearn():
    import inspect

    from unlearnkit.own_model.unlearning import ALIASES

    own = set(inspect.signature(unlearnkit.unlearn).parameters) - {"options"}
    hidden = {name for entry in [*methods.values(), *wrappers.values()] for name in own & set(entry.options())}
    assert hidden == set(ALIASES.values())


def test_what_is_public_is_listed():
    assert {"unlearn", "evaluate", "find_near_duplicates"} <= set(unlearnkit.__all__) <= set(dir(unlearnkit))
    with pytest.raises(AttributeError, match="no attribute 'forget'"):
        unlearnkit.forget  # noqa: B018
