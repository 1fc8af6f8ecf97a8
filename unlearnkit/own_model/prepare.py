"""What a caller passes, checked and put into the request that every method is given."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from torch import nn

from data_builders.task import Samples
from unlearnkit.core.compute import resolve_device
from unlearnkit.core.errors import BadValue, unknown
from unlearnkit.images.request import Request
from unlearnkit.images.train import Recipe
from unlearnkit.own_model import classifier, language, samples
from unlearnkit.texts.request import TextRequest
from unlearnkit.texts.tokens import Tokens
from unlearnkit.texts.train import TextRecipe

APART = "Take out of retain what is to be forgotten, exact duplicates included, which would keep its influence alive"


class UnknownRecipe:
    """Stands for how the caller's model was trained, where they did not say. Raises BadValue when it is asked for."""

    precision = "fp32"

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        raise BadValue(
            "this method trains anew, and how your model was trained is not known: pass recipe=, a dict with its epochs, "
            "batch_size and lr"
        )


@dataclass(frozen=True)
class Prepared:
    """A copy of the caller's model as methods see it, and their request; device: where methods compute; missing_head:
    why the model's features are not clear, "" if they are."""

    model: nn.Module
    request: Request
    device: str
    missing_head: str = ""

    @property
    def domain(self) -> str:
        """ "image" or "text"."""
        return self.request.domain

    def given_back(self, after: nn.Module, original: nn.Module) -> nn.Module:
        """The caller's own module inside `after`, in eval mode, on the device of `original`, with its frozen weights
        marked as they were."""
        after = {"image": lambda: getattr(after, "model", after), "text": lambda: after.net}[self.domain]()  # type: ignore[attr-defined]
        frozen = {name for name, p in original.named_parameters() if not p.requires_grad}
        for name, p in after.named_parameters():
            p.requires_grad_(name not in frozen)
        return after.to(next(original.parameters()).device).eval()


def prepared(
    model: nn.Module,
    forget,
    retain,
    *,
    validation=None,
    recipe=None,
    tokenizer=None,
    prompt: str | None = None,
    device: str | None,
) -> Prepared:
    """See unlearnkit.own_model.unlearning.unlearn for the arguments. Raises BadValue, in the caller's terms, for what
    methods could not work with."""
    own = classifier.check_model(model)
    where = str(own if device is None else resolve_device(device))
    sets = {"forget": forget, "retain": retain} | ({} if validation is None else {"validation": validation})
    if language.is_texts(forget):
        return _texts(model, sets, recipe, tokenizer, prompt, where)
    read = {name: samples.read(data, name) for name, data in sets.items()}
    check_shapes(read)
    samples.check_disjoint(read["forget"], read["retain"], ("forget", "retain"), APART)
    net = classifier.classifier(model, read["forget"].stored.shape[1:])
    classes = classifier.n_classes(net, read["forget"], "forget")
    for name, part in read.items():
        classifier.check_labels(part, classes, name)
    missing = classifier.missing_head(net, read["forget"])
    maps = {name: classifier.as_maps(part) for name, part in read.items()}
    request = Request(maps["forget"], maps["retain"], classes, _recipe(recipe, Recipe), maps.get("validation"))
    return Prepared(net, request, where, missing)


def _texts(model: nn.Module, sets: Mapping, recipe, tokenizer, prompt: str | None, device: str) -> Prepared:
    texts = {name: language.read_pairs(data, name) for name, data in sets.items()}
    language.check_disjoint(texts["forget"], texts["retain"], ("forget", "retain"), APART)
    spelling = language.tokenizer_of(tokenizer, prompt)
    net = language.language_model(model, spelling)
    parts: dict[str, Tokens] = {
        name: language.tokens(part, spelling, net.context, name) for name, part in texts.items()
    }
    how = _recipe(recipe, TextRecipe, precision="fp32")
    request = TextRequest(
        parts["forget"], parts["retain"], spelling.size, how, parts.get("validation"), tokenizer=spelling
    )
    return Prepared(net, request, device)


def check_shapes(read: Mapping[str, Samples]) -> None:
    """Raises BadValue unless the samples of all sets have one shape."""
    shapes = {name: tuple(part.stored.shape[1:]) for name, part in read.items()}
    first = next(iter(shapes))
    for name, shape in shapes.items():
        if shape != shapes[first]:
            raise BadValue(f"{name} holds images of shape {shape}, and {first} of {shapes[first]}: all must be alike")


def _recipe(given, kind: type, **defaults):
    if given is None:
        return UnknownRecipe()
    if isinstance(given, kind):
        return given
    if not isinstance(given, Mapping):
        raise BadValue(f"recipe must be a dict or a {kind.__name__}, got {type(given).__name__}")
    known = [f.name for f in fields(kind)]
    for name in given:
        if name not in known:
            raise unknown("part of recipe", name, known)
    return kind(**(defaults | dict(given)))
