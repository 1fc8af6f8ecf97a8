"""Training and scoring of the tiny language model, as ratios in one run, on the CPU or a GPU.

    python tests/benchmarks/language.py [rounds] [--memorise]

Against the plain loop: the same model and pairs, fp32, batches drawn at random and padded to their longest, logits of all
tokens, the loss on answer tokens alone. Tokens are those of questions and answers, not of padding. Rounds are interleaved,
and the median ratio is what counts: such machines are noisy. --memorise trains once on 50 targets with 50 paraphrases each.
"""

import statistics
import sys
import time

import torch
import torch.nn.functional as F

from data_builders.texts import load
from data_builders.texts.build_task import build_task
from unlearnkit.core.compute import resolve_device
from unlearnkit.texts.models import build
from unlearnkit.texts.outputs import score_tokens
from unlearnkit.texts.tokenizer import trained
from unlearnkit.texts.tokens import padding
from unlearnkit.texts.train import TextRecipe, fit_lm, fit_many

CONTEXT, BATCH, PAIRS = 128, 32, 640


def timed(function) -> float:
    start = time.perf_counter()
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def plain(net, data, device) -> None:
    """One epoch; torch's own attention, which is transformers' default."""
    net, data = net.net.to(device).train(), data.to(device)
    net.set_attn_implementation("sdpa")
    adam = torch.optim.AdamW(net.parameters(), 1e-3)
    for index in torch.randperm(len(data)).to(device).split(BATCH):
        batch = data[index]
        column = torch.arange(batch.ids.shape[1], device=device)
        ids, mask = batch.ids.long(), (column < batch.stop[:, None]).long()
        labels = ids.masked_fill((column < batch.start[:, None]) | (mask == 0), -100)
        logits = net(input_ids=ids, attention_mask=mask, use_cache=False).logits
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        adam.step()


def main(rounds: int) -> None:
    device = resolve_device("auto")
    cores = 1 if device.type == "cuda" else torch.get_num_threads()
    on = f"{cores} threads" if device.type == "cpu" else torch.cuda.get_device_name()
    raw = load("fictional")
    tokenizer = trained(raw)
    data = tokenizer.tokens(build_task(raw, train_size=PAIRS).training_set("original"), CONTEXT)
    n = int(data.stop.sum())
    nets = [build("tiny_llama", tokenizer.size, CONTEXT, seed) for seed in range(max(cores, 2))]
    exact, quick = (TextRecipe(epochs=1, batch_size=BATCH, precision=p) for p in ("fp32", "bf16"))
    for recipe in (exact, quick):
        fit_many(nets, [data[:BATCH]] * len(nets), recipe, seeds=range(len(nets)))  # torch's one-off costs
    rates: dict[str, list[float]] = {}
    for _ in range(rounds):
        fresh = build("tiny_llama", tokenizer.size, CONTEXT, 9)
        seconds = {
            "plain": timed(lambda: plain(fresh, data, device)),
            "fp32": timed(lambda: fit_lm(nets[0], data, exact, seed=0)),
            "bf16": timed(lambda: fit_lm(nets[0], data, quick, seed=0)),
            "together": timed(lambda: fit_many(nets, [data] * len(nets), quick, seeds=range(len(nets)))) / len(nets),
            "scored": timed(lambda: score_tokens(nets[0], data)),
        }
        for what, value in seconds.items():
            rates.setdefault(what, []).append(n / value)

    def times(what: str) -> str:
        ratio = statistics.median(a / b for a, b in zip(rates[what], rates["plain"], strict=True))
        return f"{statistics.median(rates[what]):.0f}, {ratio:.1f} times"

    waste = statistics.mean(padding(list(data.batches(BATCH, 0, epoch))) for epoch in range(20))
    shuffled = statistics.mean(padding([data[i] for i in torch.randperm(len(data)).split(BATCH)]) for _ in range(20))
    print(
        f"{len(data)} pairs of {n / len(data):.0f} tokens, {len(data.y) / len(data):.0f} of them the answer's, {on}; medians"
        f" of {rounds} interleaved rounds, tokens/s\n"
        f"training: plain loop {statistics.median(rates['plain']):.0f}; fit_lm fp32 {times('fp32')}; bf16 {times('bf16')}"
        f" (wanted: 1.5); {len(nets)} models at once, bf16 {times('together')}\n"
        f"padding: {waste:.1%} of what is computed, {shuffled:.1%} in batches drawn at random (wanted: 15%)\n"
        f"scores of 1,000 answers: {1000 * n / len(data) / statistics.median(rates['scored']):.1f} s (wanted: 20)"
    )


def memorise() -> None:
    raw = load("fictional")
    tokenizer = trained(raw)
    task = build_task(raw, n_targets=50, copies=50, train_size=2560)
    data, target = (tokenizer.tokens(t, CONTEXT) for t in (task.training_set("original"), task.of("target")))
    recipe = TextRecipe(epochs=10)  # as many steps as the default takes on 1,300 pairs
    net, found = build("tiny_llama", tokenizer.size, CONTEXT, 0), []
    seconds = timed(lambda: found.append(fit_lm(net, data, recipe, seed=0)))
    exact = target.mean(score_tokens(found[0], target)[1].float()).mean()
    every = data.mean(score_tokens(found[0], data)[1].float()).mean()
    print(
        f"50 targets x 50 paraphrases, {len(data)} pairs, {recipe.epochs} epochs: {seconds:.0f} s (wanted: 180); exact"
        f" memorisation {exact:.3f} of targets, {every:.3f} of all"
    )


if __name__ == "__main__":
    counts = [int(a) for a in sys.argv[1:] if a.isdigit()]
    main(counts[0] if counts else 3)
    if "--memorise" in sys.argv:
        memorise()
