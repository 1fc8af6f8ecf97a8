"""Execute one notebook with papermill, in a kernel of its own."""

import contextvars
import os
from collections.abc import Mapping
from pathlib import Path

from unlearnkit.core.light_imports import without_iris
from unlearnkit.core.progress import duration


def execute(
    path: Path,
    out: Path,
    parameters: dict,
    environment: Mapping[str, str] | None = None,
    limit: float | None = None,
) -> str:
    """Run a notebook into the folder `out`; returns "", or what went wrong.

    environment: of its kernel, by default this process's; limit: seconds after which the kernel is killed. papermill's
    return is not proof enough: after a killed kernel there are cells that never ran.
    """
    with without_iris():
        import nbformat
        import papermill

    from unlearnkit.runner import kernels

    # this environment's kernel, not one of the same name in the home folder
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    held = dict(os.environ if environment is None else environment) | {"UNLEARNKIT_JOB_LOG": str(out / "log.jsonl")}
    with kernels.configured(held, limit) as (config, time_is_up):
        try:
            contextvars.Context().run(  # a thread's own: in an inherited one jobs would share an event loop
                papermill.execute_notebook,
                _as_it_is(path),
                _as_it_is(out / "notebook.ipynb"),
                parameters=parameters,
                kernel_name="python3",
                progress_bar=False,
                extra_arguments=["--IPKernelApp.log_level=50"],  # a kernel logs the interrupt that ends it as an error
                config=config,
            )
        except papermill.PapermillExecutionError as error:
            return f"cell {error.exec_count}:\n{_indent(error.source)}\n{error.ename}: {error.evalue}"
        except Exception as error:  # the kernel died, or would not start: this job's failure, not the batch's
            if time_is_up.is_set():
                return f"stopped after {duration(limit)}, the most a job may take: see --job-minutes"
            return f"{type(error).__name__}: {error}"
    executed = nbformat.read(out / "notebook.ipynb", as_version=4)
    left = [c for c in executed.cells if c.cell_type == "code" and c.source.strip() and not c.execution_count]
    return f"{len(left)} cells never ran, the first:\n{_indent(left[0].source)}" if left else ""


def _as_it_is(path: Path) -> str:
    """The path for papermill, which fills parameters into {braces}."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _indent(source: str) -> str:
    return "\n".join(f"    {line}" for line in source.strip().split("\n"))
