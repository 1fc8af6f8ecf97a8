"""pyproject.toml declares, requirements.lock pins, environment.yml installs: the three agree."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HOME = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]
DECLARED = [*PROJECT["dependencies"], *(d for extra in PROJECT["optional-dependencies"].values() for d in extra)]
LOCK = (HOME / "requirements.lock").read_text()
PINNED = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", LOCK, re.M)


@pytest.mark.parametrize("line", DECLARED)
def test_every_dependency_is_pinned_to_a_version_it_admits(line):
    wanted = Requirement(line)
    versions = [v for name, v in PINNED if canonicalize_name(name) == canonicalize_name(wanted.name)]
    assert versions, f"{wanted.name} is not in requirements.lock: run `make lock`"
    assert all(v in wanted.specifier for v in versions)


def test_the_lock_has_hashes_for_all_and_names_no_index():
    blocks = re.split(r"^(?=[A-Za-z0-9._-]+==)", LOCK, flags=re.M)[1:]
    assert len(blocks) == len(PINNED) > 50
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in LOCK and "index" not in LOCK.replace("# via", "").split("\n")[0]


def test_the_conda_environment_installs_the_project_and_declares_nothing_itself():
    environment = yaml.safe_load((HOME / "environment.yml").read_text())
    (pip,) = (d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    (line,) = pip
    extras = re.fullmatch(r"-e \.\[([a-z,]+)\]", line).group(1).split(",")
    assert set(extras) <= set(PROJECT["optional-dependencies"])
    conda = [d for d in environment["dependencies"] if isinstance(d, str)]
    assert {re.split("[<>=]", d)[0] for d in conda} == {"python", "pip"}
    assert f"python{PROJECT['requires-python']}" in conda


def test_what_the_library_imports_is_declared():
    """The library itself works without the notebooks' packages."""
    blocked = ["papermill", "distributed", "dask", "seaborn", "matplotlib", "yaml", "nbformat", "torchvision", "optuna"]
    blocked += ["transformers", "tokenizers", "peft", "sentence_transformers"]
    program = (
        f"import sys\nfor name in {blocked}: sys.modules[name] = None\n"
        "import unlearnkit.study, unlearnkit.tables, unlearnkit.store, unlearnkit.tuning, unlearnkit.language.domain\n"
        "from unlearnkit.methods import methods\n"
        "from unlearnkit.metrics import metrics\nprint(len(methods), len(metrics))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_loads_nothing_heavy():
    program = (
        "import sys, unlearnkit; print([m for m in ('torch', 'pandas', 'sklearn', 'matplotlib') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip() == "[]"


def test_nothing_in_the_project_names_a_machine():
    tracked = subprocess.run(["git", "ls-files"], cwd=HOME, capture_output=True, text=True).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout")
    text = {".py", ".md", ".yaml", ".toml", ".yml", ".lock", ".json", ""}
    wrong = re.compile(r"/(?:home|root|Users|work)/|index-(?:url)|find-(?:links)")
    files = [HOME / name for name in tracked if Path(name).suffix in text]
    bad = [file.name for file in files if wrong.search(file.read_text(errors="replace"))]
    assert not bad
