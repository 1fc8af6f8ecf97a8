"""What a reader needs to judge a number: versions of code and libraries, processor, threads, date."""

import ast
import importlib.util
import os
import platform
import sys
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

from unlearnkit.core import code_digest as code

# instruction sets that decide which kernels torch takes, and so the last digits: as Linux and macOS name them
INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_tile", "asimd", "sve", "bf16")


def provenance() -> dict:
    """Code version, library versions, torch build, processor, GPU, threads, date. Imports no torch."""
    torch = sys.modules.get("torch")  # a batch worker never loads it
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "code": code.version(),
        "python": platform.python_version(),
        "libraries": versions(),
        "torch_build": torch_build(),
        "processor": platform.machine(),
        "processor_model": processor_model(),
        "instructions": list(instructions()),
        "gpu": torch.cuda.get_device_name() if torch and torch.cuda.is_available() else None,
        "threads": torch.get_num_threads() if torch else threads(),
    }


@cache
def versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in ("torch", "numpy", "pandas", "scikit-learn")}


def threads() -> int:
    """How many threads a torch has that this process starts: `OMP_NUM_THREADS`, else one per core it may use."""
    given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if given.isdigit() and int(given):
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def torch_build() -> dict[str, str]:
    """Version, commit and accelerator of the installed torch, as its version.py states them, read without importing it."""
    found = importlib.util.find_spec("torch")
    file = Path(found.origin).with_name("version.py") if found and found.origin else None
    if file is None or not file.is_file():
        return {}
    stated = {}
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        target = node.target if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [None])[0]
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant):
            stated[target.id] = value.value
    names = {"__version__": "version", "git_version": "commit", "cuda": "cuda", "hip": "hip"}
    return {name: str(stated[key]) for key, name in names.items() if stated.get(key)}


@cache
def processor_model() -> str:
    """The processor's name as the system has it, "" where it has none."""
    return _cpuinfo().get("model name", "") or platform.processor()


@cache
def instructions() -> tuple[str, ...]:
    """Which of INSTRUCTIONS this processor has; where the system does not say, what torch takes, if it is loaded."""
    cpuinfo = _cpuinfo()
    flags = f"{cpuinfo.get('flags', '')} {cpuinfo.get('Features', '')}".split()
    if flags:
        return tuple(name for name in INSTRUCTIONS if name in flags)
    torch = sys.modules.get("torch")
    return (torch.backends.cpu.get_cpu_capability().lower(),) if torch else ()


def _cpuinfo() -> dict[str, str]:
    """The first processor's entries in /proc/cpuinfo, none where there is no such file."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").split("\n\n")[0].splitlines() if file.exists() else []
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
