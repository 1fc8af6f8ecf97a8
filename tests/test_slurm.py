"""`unlearnkit study --slurm` on a one-node Slurm, in a network of its own that has the loopback alone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import batches
from batches import WORK, grids, write
from unlearnkit.core.errors import BadValue
from unlearnkit.runner import slurm

ALONE = ["unshare", "-n", "--fork", "--pid", "--kill-child", "--mount-proc"]


def missing() -> str:
    """Why a one-node Slurm cannot run here, "" if it can."""
    if absent := [name for name in ("slurmctld", "slurmd", "munged", "unshare", "ip") if not shutil.which(name)]:
        return f"a one-node Slurm needs {', '.join(absent)} (Debian: slurmctld, slurmd, munge, iproute2)"
    if subprocess.run([*ALONE, "true"], capture_output=True).returncode:
        return "a network of its own needs the right to `unshare -n`"
    return ""


@pytest.mark.slow
def test_a_study_on_workers_that_slurm_starts_and_one_that_it_ends(tmp_path, monkeypatch):
    """The second job ends its own Slurm job, as a walltime would: Slurm is asked again, and it runs to its end there."""
    pytest.importorskip("dask_jobqueue")
    if why := missing():
        pytest.skip(why)
    home = batches.home(tmp_path / "home", monkeypatch)
    end = """
import subprocess
job = os.environ["SLURM_JOB_ID"]
with open(paths.root() / "jobs", "a") as file:
    file.write(f"{n} in {job}\\n")
if (paths.root() / "jobs").read_text().count("2 in") == 1:
    subprocess.run(["scancel", job], check=True)
    time.sleep(60)
"""
    write(home, "1_first", WORK, end)
    grids(home, "profiles: {smoke: {n: [1, 2]}}\njobs:\n- {notebook: 1_first, each: [n]}\n")
    node = ["bash", str(Path(__file__).with_name("one_node_slurm.sh")), str(tmp_path / "slurm")]
    study = [sys.executable, "-m", "unlearnkit.cli", "study", "--profile", "smoke", "--slurm"]
    asked = ["partition=debug", "memory=1GB", "walltime=00:05:00", "interface=lo"]
    run = subprocess.run([*ALONE, *node, *study, *asked], capture_output=True, text=True, timeout=300, env=os.environ)
    assert run.returncode == 0 and "2 jobs: ran 2, cached 0, failed 0" in run.stdout, run.stdout + run.stderr
    jobs = [line.split(" in ") for line in (home / "jobs").read_text().splitlines()]
    assert [n for n, _ in jobs] == ["1", "2", "2"] and jobs[0][1] == jobs[1][1] != jobs[2][1]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["partition"], "--slurm takes NAME=VALUE, as in cores=8 or partition=cpu, got 'partition'"),
        (["--cores=8"], "--slurm takes NAME=VALUE"),
        (["jobs=0"], "--slurm jobs must be a whole number of at least 1, got '0'"),
        (["cores=many"], "--slurm cores must be a whole number of at least 1, got 'many'"),
    ],
)
def test_what_slurm_is_not_to_be_asked_for_is_named(given, line):
    with pytest.raises(BadValue) as error:
        slurm.read(given)
    assert str(error.value).startswith(line)


def test_slurm_is_asked_for_what_was_given():
    assert slurm.read(["cores=8", "qos=long=er"]) == slurm.DEFAULTS | {"cores": "8", "qos": "long=er"}


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with pytest.raises(BadValue, match=r"needs dask-jobqueue: pip install 'unlearnkit\[slurm\]'"), slurm.scheduler({}):
        pass


def sbatch(folder, monkeypatch, script):
    """This script in the place of sbatch, and no other command."""
    folder.mkdir()
    (folder / "sbatch").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_a_machine_without_sbatch_and_a_refusal_are_named(tmp_path, monkeypatch):
    pytest.importorskip("dask_jobqueue")
    asked = slurm.read(["interface=lo", "partition=nope"])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadValue, match="needs Slurm's sbatch on this machine"), slurm.scheduler(asked):
        pass
    sbatch(tmp_path / "bin", monkeypatch, "echo sbatch: error: invalid partition: nope >&2; exit 1")
    refused = "^Slurm refuses such jobs: sbatch: error: invalid partition: nope$"
    with pytest.raises(BadValue, match=refused), slurm.scheduler(asked):
        pass
