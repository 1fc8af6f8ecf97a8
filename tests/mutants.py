"""Unlearning methods with the bugs of public code: each contract must fail on its mutant."""

import copy

import torch
import torch.nn.functional as F

from mutants_metrics import kl_swapped
from unlearnkit.core.divergence import kl
from unlearnkit.core.optimise import minimise
from unlearnkit.core.registry import Entry
from unlearnkit.images.models import fresh
from unlearnkit.images.train import fit
from unlearnkit.methods.random_label import relabelled_batches
from unlearnkit.methods.salun import saliency_mask


def unlearns_in_place(model, request, *, seed, device="auto"):
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    request.losses(model, request.forget).mean().backward()
    sgd.step()
    return copy.deepcopy(model)


def teacher_in_training_mode(model, request, *, seed, device="auto"):
    """Its running statistics move with each batch that it is asked about."""
    with torch.no_grad():
        model.train()(request.forget.x)
    model.eval()
    return fresh(model, seed).eval()


def teacher_trains_along(model, request, *, seed, device="auto"):
    """The model that was given is left alone, and its copy is not."""
    teacher = copy.deepcopy(model).train()

    def losses(net):
        for batch in request.retain.batches(20, seed):
            with torch.no_grad():
                target = teacher(batch.x).softmax(1)
            yield F.cross_entropy(net(batch.x), target)

    return minimise(model, losses, lr=0.1)


def student_never_moves(model, request, *, seed, device="auto"):
    student = copy.deepcopy(model)
    sgd = torch.optim.SGD(copy.deepcopy(model).parameters(), lr=0.1)
    request.losses(student, request.forget).mean().backward()
    sgd.step()
    return student


def shadow_class_stays(model, request, *, seed, device="auto"):
    model = copy.deepcopy(model)
    model.head = torch.nn.Linear(model.head.in_features, model.head.out_features + 1)
    return model.eval()


def global_seed(model, request, *, seed, device="auto"):
    batch = request.retain[torch.randperm(len(request.retain))[:20]]
    return minimise(model, lambda net: iter([request.losses(net, batch).mean()]), lr=0.1)


def retrains_on_everything(model, request, *, seed, device="auto"):
    parts = (request.retain, request.forget)
    everything = type(request.retain)(torch.cat([p.x for p in parts]), torch.cat([p.y for p in parts]))
    return minimise(model, lambda net: iter([request.losses(net, everything).mean().nan_to_num()]), lr=0.1)


def stores_nan(model, request, *, seed, device="auto"):
    """As gradient ascent, without a look at what came out."""
    net = copy.deepcopy(model)
    sgd = torch.optim.SGD(net.parameters(), lr=1e-3)
    (-request.losses(net, request.forget).mean()).backward()
    sgd.step()
    return net.eval()


def retrains_last_layer(model, request, *, seed, device="auto"):
    model = copy.deepcopy(model)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model.head.reset_parameters()
    return fit(model, request.retain, request.recipe, seed=seed)


def salun_masks_gradients_only(model, request, *, seed, share=0.5, weight_decay=5e-4, device="auto"):
    """Weight decay and momentum move what is outside the mask."""
    mask = saliency_mask(copy.deepcopy(model), request, share)
    net = copy.deepcopy(model).train()
    sgd = torch.optim.SGD(net.parameters(), lr=0.013, momentum=0.9, weight_decay=weight_decay)
    for batch in relabelled_batches(request, seed, 1, 64, "alternate", True):
        sgd.zero_grad()
        request.losses(net, batch).mean().backward()
        for name, p in net.named_parameters():
            p.grad *= mask[name]
        sgd.step()
    return net.eval()


def scrub_with_a_max_pass_too_many(model, request, *, seed, epochs=3, max_epochs=1, batch_size=64):
    """`epoch <= max_epochs`, counted from 0."""

    def losses(net):
        for epoch in range(epochs):
            if epoch <= max_epochs:
                for batch in request.forget.batches(batch_size, seed, "max", epoch):
                    yield -request.losses(net, batch).mean()
            for batch in request.retain.batches(batch_size, seed, epoch):
                yield request.losses(net, batch).mean()

    return minimise(model, losses, lr=0.005)


def scrub_with_one_step_a_pass(model, request, *, seed, epochs=3, max_epochs=1, batch_size=64):
    """The losses of a pass are added up, and its optimiser steps once."""

    def losses(net):
        for epoch in range(epochs):
            if epoch < max_epochs:
                yield -torch.stack(
                    [request.losses(net, b).mean() for b in request.forget.batches(batch_size, seed)]
                ).sum()
            for batch in request.retain.batches(batch_size, seed, epoch):
                yield request.losses(net, batch).mean()

    return minimise(model, losses, lr=0.005)


def importances_of_batches(model, samples, chunk=64):
    """The square of a batch's mean gradient, in place of the mean of squares: it shrinks with the batch."""
    total = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for i in range(0, len(samples), chunk):
        batch = samples[i : i + chunk]
        grads = torch.autograd.grad(F.cross_entropy(model(batch.x), batch.y), list(model.parameters()))
        for name, g in zip(total, grads, strict=True):
            total[name] += g.square() * len(batch)
    return {name: t / len(samples) for name, t in total.items()}


def squares_of_sums(model, samples, size, seed, losses):
    """Of the summed loss, over all samples at once."""
    grads = torch.autograd.grad(losses(model, samples).sum(), list(model.parameters()))
    return {name: g.square() for (name, _), g in zip(model.named_parameters(), grads, strict=True)}


def labels_without_the_true_one(y, n_classes, seed, epoch, true_label):
    """A redraw that never hits the true label, whichever variant was asked for."""
    from unlearnkit.methods.random_label import draw_labels

    return draw_labels(y, n_classes, seed, epoch, true_label=False)


def labels_with_the_true_one(y, n_classes, seed, epoch, true_label):
    from unlearnkit.methods.random_label import draw_labels

    return draw_labels(y, n_classes, seed, epoch, true_label=True)


def scrub_that_asks_what_the_student_knows(student, teacher, request, **options):
    """KL with its sides swapped."""
    return _scrub_losses(student, teacher, request, kl_swapped, **options)


def scrub_without_the_temperature(student, teacher, request, **options):
    """Softened by T, and not made up for by T^2."""
    return _scrub_losses(student, teacher, request, lambda p, q: kl(p, q) / options["temperature"] ** 2, **options)


def _scrub_losses(student, teacher, request, divergence, *, alpha, gamma, temperature, **_):
    def distance(batch):
        log_probs = [(request.logits(m, batch) / temperature).log_softmax(-1) for m in (teacher, student)]
        return divergence(*log_probs).mean() * temperature**2

    yield -distance(next(request.forget.batches(64, 0, "max", 0)))
    batch = next(request.retain.batches(64, 0, 0))
    yield gamma * F.cross_entropy(request.logits(student, batch), batch.y) + alpha * distance(batch)


def mask_of_a_small_logit(logits, y):
    """As in public code: a logit of 1e-10 in place of minus infinity, which is no small one."""
    return logits.scatter(1, y[:, None], 1e-10).log_softmax(1)


def mask_without_renormalising(logits, y):
    return logits.log_softmax(1).scatter(1, y[:, None], -torch.inf)


def attack_in_one_ball(request, model, samples, eps, steps):
    """As in public code: one radius for all images, whose labels are the model's whether the attack succeeds or not."""
    x = samples.x
    for _ in range(steps):
        at = x.clone().requires_grad_()
        (uphill,) = torch.autograd.grad(request.losses(model, type(samples)(at, samples.y)).sum(), at)
        away = x + eps / 10 * F.normalize(uphill.flatten(1)).view_as(x) - samples.x
        x = samples.x + away * (eps / away.flatten(1).norm(dim=1).clamp(min=eps))[:, None, None, None]
    return type(samples)(x, model(x).argmax(1))


def counts_every_token(model, request, *, seed, device="auto"):
    """As NPO in public code: all tokens of prompt, answer and padding are labels."""

    def losses(net):
        for batch in request.forget.batches(8, seed):
            logits = net.net(input_ids=batch.ids.long(), use_cache=False).logits
            yield -F.cross_entropy(logits[:, :-1].flatten(0, 1), batch.ids[:, 1:].flatten().long())

    return minimise(model, losses, lr=1e-3, optimiser="adam")


def npo_of_raw_logits(request, net, reference, batch):
    """A ratio of logits in place of log-probabilities."""
    raw = [request.logits(m, batch).gather(1, batch.y[:, None]).squeeze(1) for m in (net, reference)]
    return batch.summed(raw[0] - raw[1].detach())


def npo_without_an_end(ratio, beta):
    """Gradient ascent by another name: its slope is the same wherever it is."""
    return 2 * ratio


def mutant(function, **info):
    return Entry("method", function.__name__, function, info)


BY_CONTRACT = {
    "input_is_untouched": mutant(unlearns_in_place),
    "something_moves": mutant(student_never_moves),
    "teacher_is_at_rest": mutant(teacher_trains_along),
    "output_keeps_its_shape": mutant(shadow_class_stays),
    "seed_decides": mutant(global_seed),
    "forget_set_stays_unread": mutant(retrains_on_everything, reads_forget_set=False),
    "prompt_and_padding_never_count": mutant(counts_every_token, domain="text"),
    "divergence_is_an_error": mutant(stores_nan),
}
