"""`unlearnkit.unlearn`: any method of the study on a model of the caller's own."""

import re
from collections.abc import Mapping
from numbers import Integral

import torch
from torch import nn

from unlearnkit.core.compute import derive
from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.core.registry import Entry
from unlearnkit.methods import methods
from unlearnkit.own_model.prepare import Prepared, prepared
from unlearnkit.privacy_risk import rankers

ON_FEATURES = {"align", "boundary_expand", "classifier_only", "cmf_head", "muda"}  # these need a linear head
ON_ALL_WEIGHTS = {"influence", "salun"}  # these differentiate by each of them, adapters or not
SINGLE_SAMPLES = {"fisher", "influence", "ssd"}  # these take the gradient of each sample by itself
ALIASES = {"retain_loss": "retain"}  # here -> in the method
TRAINS_MORE = {"retraining", "folds", "shadows"}  # needs of rankers that train models of the study's own


def unlearn(
    model: nn.Module,
    forget,
    retain,
    method: str = "scrub",
    *,
    seed: int = 0,
    device: str | None = None,
    validation=None,
    recipe=None,
    tokenizer=None,
    prompt: str | None = None,
    **options,
) -> nn.Module:
    """A new model that has been asked to forget `forget`; `model` stays as it was.

    Args:
        model: any classifier of torch's that maps images (n, ...) to logits (n, classes), or a causal language model of
            transformers'. Its weights are float32, on one device.
        forget, retain: what is to go, and what the model was trained on beside it. Images: a pair (x, y) of tensors, a
            Dataset, or a DataLoader that neither shuffles nor drops. x: (n, ...) floats, as the model is fed; y: (n,),
            from 0. They are read once, through their own transforms. Texts: lists of (question, answer).
        method: a name of `unlearnkit list methods`, or one in a wrapper, "expand(scrub)".
        seed: decides all that is drawn; torch's global generators stay as they are.
        device: where to compute, "cpu", "cuda", "auto"; None: where the model is.
        validation: samples never trained on, which few methods need.
        recipe: how the model was trained, for methods that train anew (retrain, sisa): a dict of fields of
            unlearnkit.images.train.Recipe or unlearnkit.texts.train.TextRecipe.
        tokenizer, prompt: of a language model; the prompt is what stands before an answer, with {question} in it. None:
            the tokenizer's chat template, or ours (unlearnkit.texts.tokenizer.PROMPT) where it has none.
        options: of the method and its wrapper, see `unlearnkit list methods`. The option `retain` of methods for texts,
            the term that keeps the retain set, is called `retain_loss` here.

    Returns:
        A model of the same class (sisa: an ensemble of such) on the same device, in eval mode. Weights that are frozen
        (requires_grad=False) may have moved, except beside LoRA adapters, and are marked frozen again.

    Raises:
        UnknownName for a method or option that there is not; BadValue for a model or samples that cannot be used;
        NotApplicable for a method that has no meaning for them; NonFiniteLoss if it diverges.

    Example:
        >>> unlearned = unlearnkit.unlearn(model, (x[gone], y[gone]), (x[~gone], y[~gone]), method="scrub")
    """
    if not isinstance(method, str):
        raise BadValue(f"method must be a name of `unlearnkit list methods`, got {type(method).__name__}")
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise BadValue(f"seed must be a whole number, got {seed!r}")
    entry = methods[method]
    given = {"validation": validation, "recipe": recipe, "tokenizer": tokenizer, "prompt": prompt, "device": device}
    asked = prepared(model, forget, retain, **given)
    defaults = entry.info.get("text", {}) if asked.domain == "text" else {}
    resolved = entry.resolve(defaults | _renamed(entry, options))
    check_applicable(entry, resolved, asked)
    gpus = [torch.device(asked.device)] if asked.device.startswith("cuda") else []
    with torch.random.fork_rng(devices=gpus):
        torch.manual_seed(derive(seed, "dropout"))  # layers of the caller's may draw from the global generator
        try:
            after = entry(asked.model, asked.request, seed=seed, device=asked.device, **resolved)
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError) or not _parts(entry, resolved) & SINGLE_SAMPLES:
                raise
            reason = " ".join(str(error).split())[:200]
            raise NotApplicable(
                f"{method} takes the gradient of each sample by itself, which torch cannot for your model ({reason}): use "
                "another method"
            ) from error
    return asked.given_back(after, model)


def _renamed(entry: Entry, options: Mapping) -> dict:
    """The options by their own names, where one is called like a parameter of `unlearn`."""
    known = entry.options()
    return {ALIASES.get(name, name) if ALIASES.get(name) in known else name: v for name, v in options.items()}


def _parts(entry: Entry, options: Mapping) -> set[str]:
    """The names of the methods and wrappers that an entry is made of."""
    return set(re.findall(r"\w+", f"{entry.name} {options.get('refine', '')}"))


def check_applicable(entry: Entry, options: Mapping, asked: Prepared) -> None:
    """Raises NotApplicable or BadValue, in the caller's terms, if the method has no meaning for the model or sets."""
    name, parts = entry.name, _parts(entry, options)
    kind = {"image": "images", "text": "question-answer pairs"}[asked.domain]
    if asked.domain not in entry.info["domains"]:
        fit = ", ".join(sorted(m for m in methods if asked.domain in methods[m].info["domains"]))
        raise NotApplicable(f"{name} has no meaning for {kind}; for these there are {fit}")
    if entry.info["whole_classes"] and not asked.request.whole_classes:
        both = sorted({*asked.request.forget.y.tolist()} & {*asked.request.retain.y.tolist()})
        raise NotApplicable(
            f"{name} forgets whole classes, and retain holds samples of class {both[0]}, too: put all of them into "
            "forget, or use another method"
        )
    if asked.request.validation is None:
        if "scrub_r" in parts:
            raise BadValue(
                "scrub_r needs samples of the classes in forget that were never trained on: pass validation="
            )
        if "calibrated" in str(options.get("near", "")):
            raise BadValue("near='... calibrated' needs samples that were never trained on: pass validation=")
    if asked.missing_head:
        looks = f"{options.get('near', '')} {options.get('votes_by', '')}"
        if parts & ON_FEATURES or "feature" in looks:
            other = "near='pixel+label top 10'" if "feature" in str(options.get("near", "")) else "another method"
            raise NotApplicable(
                f"{name} needs the features that enter a last linear layer, and your model {asked.missing_head}: use {other}"
            )
    if getattr(asked.model, "adapted", False) and parts & ON_ALL_WEIGHTS:
        raise NotApplicable(
            f"{name} needs the gradients of all weights, and your model has adapters, which alone may move: merge them "
            "(model.merge_and_unload()), or use another method"
        )
    if "rsu" in parts and TRAINS_MORE & {*rankers[options["ranker"]].info["needs"]}:
        raise NotApplicable(
            f"rsu: the ranker {options['ranker']!r} trains more models, whose code it would have to know to store them: "
            "use ranker='loss'"
        )
