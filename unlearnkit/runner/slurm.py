"""A Dask scheduler beside the command, whose workers Slurm starts: `unlearnkit study --slurm jobs=10 cores=8 partition=cpu`.

By dask-jobqueue (the extra `slurm`), which submits again what Slurm ends before the study does.
"""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence

from unlearnkit.core import paths
from unlearnkit.core.errors import BadValue
from unlearnkit.runner.cluster import quiet

DEFAULTS = {"jobs": "1", "cores": "1", "memory": "4GB", "walltime": "08:00:00"}
LOGS = "slurm-logs"  # in the folder of runs


def read(given: Sequence[str]) -> dict[str, str]:
    """{name: value} of texts NAME=VALUE, with DEFAULTS. Raises BadValue for one of another form, or no number of jobs."""
    settings = dict(DEFAULTS)
    for text in given:
        name, equals, value = text.partition("=")
        if not (equals and name and value) or name.startswith("-"):
            raise BadValue(f"--slurm takes NAME=VALUE, as in cores=8 or partition=cpu, got {text!r}")
        settings[name] = value
    for name in ("jobs", "cores"):
        if not settings[name].isdigit() or int(settings[name]) < 1:
            raise BadValue(f"--slurm {name} must be a whole number of at least 1, got {settings[name]!r}")
    return settings


@contextlib.contextmanager
def scheduler(settings: Mapping[str, str]) -> Iterator[str]:
    """The address of a scheduler that asks Slurm for `jobs` jobs, each of `cores` workers of one thread.

    settings: see `read`; all but jobs, cores, memory (of a job), walltime and interface (of the network, ib0) are options of
    sbatch. Connections are by TLS with a certificate of this run alone. Raises BadValue where dask-jobqueue or sbatch is
    missing, or Slurm refuses.
    """
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise BadValue("--slurm needs dask-jobqueue: pip install 'unlearnkit[slurm]'") from error
    import dask

    if not shutil.which("sbatch"):
        raise BadValue("--slurm needs Slurm's sbatch on this machine: run the command where jobs are submitted")
    quiet()
    options = dict(settings)
    jobs, cores = int(options.pop("jobs")), int(options.pop("cores"))
    own = {name: options.pop(name) for name in ("memory", "walltime", "interface") if name in options}
    folder = paths.runs() / LOGS
    folder.mkdir(parents=True, exist_ok=True)
    with SLURMCluster(
        cores=cores,
        processes=cores,
        **own,
        job_extra_directives=[f"--{name}={value}" for name, value in options.items()],
        job_script_prologue=["export OMP_NUM_THREADS=1"],
        local_directory='"${TMPDIR:-/tmp}"',
        log_directory=str(folder),
        worker_extra_args=["--no-dashboard"],
        scheduler_options={"dashboard_address": None},
        security=True,
        shared_temp_directory=str(folder),  # of the certificate, which this user alone can read
    ) as cluster:
        # in the background a refusal would be a line in a log
        asked = subprocess.run(["sbatch", "--test-only"], input=cluster.job_script(), capture_output=True, text=True)
        if asked.returncode:
            raise BadValue(f"Slurm refuses such jobs: {' '.join(asked.stderr.split())}")
        cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs)
        tls = cluster.security
        client = {"cert": tls.tls_client_cert, "key": tls.tls_client_key}
        with dask.config.set({"distributed.comm.tls.ca-file": tls.tls_ca_file, "distributed.comm.tls.client": client}):
            yield cluster.scheduler_address
