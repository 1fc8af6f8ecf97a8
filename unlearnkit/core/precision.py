"""In which numbers nets compute: float32, or bfloat16 where this processor or GPU has instructions for it."""

import functools
import sys
import time

import torch

from unlearnkit.core.compute import resolve_device, threads
from unlearnkit.core.provenance import instructions

NATIVE = {"avx512_bf16", "amx_bf16", "bf16"}  # instruction sets with products of bfloat16, as Linux names them
SLOW = 1.2  # times as long as fp32 from which it is said


def native(device: str = "auto") -> str:
    """What `precision: auto` becomes here: "bf16" where the device computes in it without emulation, else "fp32"."""
    if (resolved := resolve_device(device)).type == "cuda":
        with torch.cuda.device(resolved):
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    known = NATIVE & set(instructions())
    x86 = "avx2" in instructions()
    taken = not x86 or torch.backends.cpu.get_cpu_capability() == "AVX512"  # ATEN_CPU_CAPABILITY may hold torch back
    return "bf16" if resolved.type == "cpu" and known and taken else "fp32"


def resolved(precision: str) -> str:
    """The concrete word of "auto", "fp32" or "bf16". Keys and identities hold this word, never "auto"."""
    return native() if precision == "auto" else precision


def say_if_slow(precision: str, device: str = "auto") -> None:
    """One line on stderr, once a process, if this precision is emulated here and takes longer than fp32 would."""
    if precision == "bf16":
        _say_if_slow(str(device))


@functools.cache
def _say_if_slow(device: str) -> None:
    if native(device) == "fp32" and (times := slowness(device)) > SLOW:
        advice = "say precision: auto, or fp32"
        print(f"bf16 is not native here: it takes {times:.1f} times as long as fp32; {advice}", file=sys.stderr)


def slowness(device: str = "auto", repeats: int = 5) -> float:
    """How many times as long as in fp32 a convolution takes in bf16, forward and backward, on one thread: the shortest of
    some repeats of 5 to 30 ms each."""
    where = resolve_device(device)
    net = torch.nn.Conv2d(32, 64, 3, padding=1).to(where, memory_format=torch.channels_last)
    x = torch.ones(32, 32, 16, 16, device=where).contiguous(memory_format=torch.channels_last)
    shortest = {}
    with threads(1):
        for half in (False, True):
            times = []
            for _ in range(repeats):
                start = time.perf_counter()
                with torch.autocast(where.type, torch.bfloat16, enabled=half):
                    net(x).float().square().mean().backward()
                if where.type == "cuda":
                    torch.cuda.synchronize(where)
                times.append(time.perf_counter() - start)
            shortest[half] = min(times)
    return shortest[True] / shortest[False]
