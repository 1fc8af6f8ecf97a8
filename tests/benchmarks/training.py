"""Training and inference of residual nets on 32x32 colour images, as ratios in one run, on the CPU or a GPU.

    python tests/benchmarks/training.py [rounds]

Against the ordinary loop: PIL images through torch's DataLoader, cropped, flipped and normalised one by one, fp32 in torch's
default layout; with the number of loader processes that is faster there. Rounds are interleaved, and the median ratio is
what counts: such machines are noisy. Arithmetic is counted by torch and compared with what a large product of bf16
matrices reaches in the same run. How many times as much as of fp32 that is bounds what bf16 can gain: 2 on Zen 4, more where
the processor has units for it.
"""

import copy
import statistics
import sys
import time
import warnings

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from data_builders.task import Samples
from unlearnkit.core.compute import resolve_device
from unlearnkit.images.models import build
from unlearnkit.images.predict import predict
from unlearnkit.images.train import Recipe, fit
from unlearnkit.images.train_many import fit_many

SHAPE, BATCH = (3, 32, 32), 128
RECIPE = Recipe(epochs=1, batch_size=BATCH, lr=0.01, augment="flip_shift", precision="bf16")
SIZES = {"resnet9": (1280, 3.0), "resnet18": (256, 2.2)}  # images per epoch on a CPU, ratio wanted of training
GPU_TIMES = 40  # as many images on a GPU


def timed(function) -> float:
    start = time.perf_counter()
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


class Pictures(Dataset):
    """As torchvision's CIFAR10 gives them, with the usual transforms."""

    def __init__(self, samples: Samples):
        from torchvision import transforms

        self.x, self.y = samples.stored.permute(0, 2, 3, 1).contiguous().numpy(), samples.y.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
            ]
        )

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int):
        from PIL import Image

        return self.transform(Image.fromarray(self.x[i])), self.y[i]


def ordinary(net, pictures, workers: int, device) -> None:
    """One epoch."""
    net = copy.deepcopy(net).to(device).train()
    sgd = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    for x, y in DataLoader(
        pictures, batch_size=BATCH, shuffle=True, num_workers=workers, pin_memory=device.type != "cpu"
    ):
        x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
        sgd.zero_grad()
        F.cross_entropy(net(x), y).backward()
        sgd.step()


@torch.no_grad()
def plain_inference(net, x, device) -> None:
    net = copy.deepcopy(net).to(device).eval()
    torch.cat([net(part.to(device)).cpu() for part in x.split(BATCH)])


def limit(device, precision: torch.dtype) -> float:
    """FLOP/s of the best of several large products."""
    n = 8192 if device.type == "cuda" else 2048
    a = torch.randn(n, n, device=device).to(precision)
    a @ a
    return 2 * n**3 / min(timed(lambda: a @ a) for _ in range(5))


def flops(net, n: int = 2) -> float:
    """Of one image, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        net(torch.rand(n, *SHAPE)).sum().backward()
    return counter.get_total_flops() / n


def main(rounds: int) -> None:
    warnings.filterwarnings("ignore", message=".*pin_memory.*")
    device = resolve_device("auto")
    cores = 1 if device.type == "cuda" else torch.get_num_threads()
    on = f"{cores} threads" if device.type == "cpu" else torch.cuda.get_device_name()
    print(f"images of {SHAPE} in batches of {BATCH}, {on}; medians of {rounds} interleaved rounds, images/s")
    for name, (n, wanted) in SIZES.items():
        n *= GPU_TIMES if device.type == "cuda" else 1
        g = torch.Generator().manual_seed(0)
        stored = torch.randint(0, 256, (n, *SHAPE), generator=g, dtype=torch.uint8)
        data = Samples(stored, torch.randint(10, (n,), generator=g))
        nets, pictures = [build(name, SHAPE, 10, seed=i) for i in range(cores)], Pictures(data)
        net, exact = nets[0], stored.float().div(255)
        fit_many(nets, [data[:BATCH]] * cores, RECIPE, seeds=range(cores))  # torch's one-off costs
        ordinary(net, Pictures(data[:BATCH]), 0, device)
        rates: dict[str, list[float]] = {}
        for _ in range(rounds):
            loaders = [timed(lambda: ordinary(net, pictures, workers, device)) for workers in (0, 2)]
            seconds = {
                "loop": min(loaders),
                "fit": timed(lambda: fit(net, data, RECIPE, seed=0)),
                "together": timed(lambda: fit_many(nets, [data] * cores, RECIPE, seeds=range(cores))) / cores,
                "plain": timed(lambda: plain_inference(net, exact, device)),
                "fp32": timed(lambda: predict(net, stored)),
                "bf16": timed(lambda: predict(net, stored, precision="bf16")),
            }
            for what, value in seconds.items():
                rates.setdefault(what, []).append(n / value)
            rates.setdefault("bf16 limit", []).append(limit(device, torch.bfloat16))
            rates.setdefault("fp32 limit", []).append(limit(device, torch.float32))
        rate = {what: statistics.median(values) for what, values in rates.items()}

        def times(what: str, to: str) -> float:
            return statistics.median(a / b for a, b in zip(rates[what], rates[to], strict=True))

        work = flops(net)
        share = {
            w: statistics.median(r * work / top for r, top in zip(rates[w], rates["bf16 limit"]))
            for w in ("fit", "together")
        }
        print(
            f"{name}: training: ordinary loop {rate['loop']:.0f}; fit {rate['fit']:.0f}, {times('fit', 'loop'):.1f} times;"
            f" {cores} models at once {rate['together']:.0f}, {times('together', 'loop'):.1f} times (wanted: {wanted})\n"
            f"    {work / 1e6:.0f} MFLOP an image: fit {share['fit']:.0%}, {cores} at once {share['together']:.0%} of the"
            f" limit of bf16, {rate['bf16 limit'] / 1e9:.0f} GFLOP/s (wanted: 45%), which is"
            f" {times('bf16 limit', 'fp32 limit'):.1f} times fp32's\n"
            f"    inference and features: plain fp32 {rate['plain']:.0f}; predict fp32 {times('fp32', 'plain'):.1f} times,"
            f" bf16 {rate['bf16']:.0f}, {times('bf16', 'plain'):.1f} times (wanted: 4)"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
