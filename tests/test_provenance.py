import platform
import subprocess
import sys

import pytest
import torch

from unlearnkit.core import provenance


def test_a_manifest_says_on_what_its_numbers_were_computed():
    made = provenance.provenance()
    assert made["processor"] == platform.machine() and made["threads"] == torch.get_num_threads()
    assert made["torch_build"]["version"] == torch.__version__
    assert made["torch_build"]["commit"] == torch.version.git_version
    assert made["torch_build"].get("cuda") == torch.version.cuda


@pytest.mark.skipif(platform.machine() != "x86_64" or sys.platform != "linux", reason="by the names of Linux on x86")
def test_instruction_sets_are_those_that_torch_finds():
    found = provenance.instructions()
    takes = torch.backends.cpu.get_cpu_capability()
    assert ("avx2" in found) == (takes in ("AVX2", "AVX512"))
    assert ("avx512f" in found) >= (takes == "AVX512")
    assert ("amx_tile" in found) == torch.cpu._is_amx_tile_supported()


def test_instruction_sets_by_the_flags_of_the_system(monkeypatch):
    for flags, found in (
        ({"flags": "fpu avx2 avx512f amx_bf16 avx512_bf16"}, ("avx2", "avx512f", "avx512_bf16", "amx_bf16")),
        ({"Features": "fp asimd bf16"}, ("asimd", "bf16")),
        ({}, (torch.backends.cpu.get_cpu_capability().lower(),)),
    ):
        monkeypatch.setattr(provenance, "_cpuinfo", lambda flags=flags: flags)
        assert provenance.instructions.__wrapped__() == found


def test_no_torch_is_imported_to_say_so_and_threads_are_those_of_a_torch_to_come():
    code = "import sys; from unlearnkit.core import provenance as p; m = p.provenance(); print(m['threads']); "
    code += "assert m['torch_build']['version'] and 'torch' not in sys.modules"
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "3"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert run.returncode == 0 and run.stdout == "3\n", run.stderr
