"""pyproject.toml declares, requirements.lock pins, environment.yml installs: the three agree."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import unlearnkit

pytestmark = pytest.mark.slow

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
    blocked += ["jinja2", "nbconvert"]
    blocked += ["transformers", "tokenizers", "peft", "sentence_transformers"]
    program = (
        f"import sys\nfor name in {blocked}: sys.modules[name] = None\n"
        "import unlearnkit.study, unlearnkit.analysis.tables, unlearnkit.core.store, unlearnkit.tuning.search\n"
        "import unlearnkit.texts.domain, unlearnkit.own_model\n"
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


def test_a_grid_is_read_without_the_grammar_of_internationalised_addresses():
    """It takes 1.4 s to import; who asks for it afterwards gets it."""
    program = "import sys; from unlearnkit.runner import grid; grid.makes('small'); grammar = 'rfc3987_syntax'\n"
    program += "assert 'jsonschema' in sys.modules and grammar not in sys.modules"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_nothing_in_the_project_names_a_machine():
    tracked = subprocess.run(["git", "ls-files"], cwd=HOME, capture_output=True, text=True).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout")
    text = {".py", ".md", ".yaml", ".toml", ".yml", ".lock", ".json", ""}
    wrong = re.compile(r"/(?:home|root|Users|work)/|index-(?:url)|find-(?:links)")
    files = [HOME / name for name in tracked if Path(name).suffix in text]
    bad = [file.name for file in files if wrong.search(file.read_text(errors="replace"))]
    assert not bad


def test_the_version_stands_in_one_place():
    assert "version" in PROJECT["dynamic"] and "version" not in PROJECT
    attribute = tomllib.loads((HOME / "pyproject.toml").read_text())["tool"]["setuptools"]["dynamic"]["version"]["attr"]
    assert attribute == "unlearnkit.__version__" and re.fullmatch(r"\d+\.\d+\.\d+", unlearnkit.__version__)
    assert metadata.version("unlearnkit") == unlearnkit.__version__ or "dev" in metadata.version("unlearnkit")
    cited = yaml.safe_load((HOME / "CITATION.cff").read_text())["version"]
    assert cited == unlearnkit.__version__ and f"## {cited}\n" in (HOME / "CHANGELOG.md").read_text()
    assert f"version = {{{cited}}}" in (HOME / "README.md").read_text()


def test_the_citation_has_what_the_format_requires():
    """Citation File Format 1.2.0: four keys are required; one of a few forms for each author."""
    cited = yaml.safe_load((HOME / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(cited) and str(cited["cff-version"]) == "1.2.0"
    assert cited["type"] in ("software", "dataset") and cited["license"] == PROJECT["license"]
    assert cited["authors"] and all(
        {"name"} <= set(a) or {"family-names", "given-names"} & set(a) for a in cited["authors"]
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """What `pip install .` installs, built without a network from a copy: building writes beside the sources."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    for name in ("unlearnkit", "data_builders"):
        shutil.copytree(HOME / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(HOME / name, copy)
    program = f"import setuptools.build_meta as b; print(b.build_wheel({str(out)!r}))"
    done = subprocess.run([sys.executable, "-c", program], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out / done.stdout.split()[-1]


def test_the_wheel_holds_all_of_the_package_and_nothing_else(wheel):
    held = set(zipfile.ZipFile(wheel).namelist())
    for package in ("unlearnkit", "data_builders"):
        files = [p for p in (HOME / package).rglob("*") if p.is_file() and "__pycache__" not in p.parts]
        left = {p.relative_to(HOME).as_posix() for p in files} - held
        assert not left, f"not installed: {sorted(left)}"
    assert any(name.endswith("templates/base.html") for name in held) and any(name.endswith(".css") for name in held)
    assert {name.split("/")[0].split("-")[0] for name in held} == {"unlearnkit", "data_builders"}


def test_the_wheel_alone_gives_library_and_command(wheel, tmp_path):
    """Installed without the notebooks' packages, away from the checkout; a command that needs these says how to get them."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    blocked = [
        "papermill",
        "distributed",
        "dask",
        "matplotlib",
        "yaml",
        "nbformat",
        "nbconvert",
        "jinja2",
        "latex2mathml",
    ]
    program = (
        f"import sys\nfor name in {blocked}: sys.modules[name] = None\n"
        f"sys.path.insert(0, {str(tmp_path / 'site')!r})\nimport unlearnkit, unlearnkit.cli as cli\n"
        f"assert unlearnkit.__file__.startswith({str(tmp_path)!r}), unlearnkit.__file__\n"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    (tmp_path / "empty").mkdir()
    bare = {k: v for k, v in os.environ.items() if not k.startswith(("UNLEARNKIT", "PYTHONPATH"))}

    def run(*arguments):
        command = [sys.executable, "-I", "-c", program, *arguments]
        return subprocess.run(command, cwd=tmp_path / "empty", env=bare, capture_output=True, text=True)

    listed = run("list", "methods")
    assert listed.returncode == 0 and "scrub" in listed.stdout, listed.stderr
    assert not list((tmp_path / "empty").iterdir())
    outside = run("report", "--allow-stale")
    assert outside.returncode == 2 and "run it in a checkout of the project" in outside.stderr
    bare["UNLEARNKIT_HOME"] = str(HOME)
    refused = run("report", "--allow-stale")
    assert refused.returncode == 2 and "pip install 'unlearnkit[notebooks]'" in refused.stderr


def test_the_rooms_are_few_and_none_is_empty():
    """At most three modules lie flat in the package, and a folder of it exists because modules share a subject."""
    package = HOME / "unlearnkit"
    flat = [file.name for file in package.glob("*.py") if file.name != "__init__.py"]
    assert len(flat) <= 3, flat
    modules = {
        room.name: len(list(room.rglob("*.py"))) for room in package.iterdir() if (room / "__init__.py").is_file()
    }
    assert len(modules) > 10 and min(modules.values()) >= 3, modules  # __init__ and two more


def test_the_layers_name_every_room():
    """import-linter holds the order (`make lint`); a room that its list leaves out would be held by nothing."""
    layers = tomllib.loads((HOME / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    rooms = {f"unlearnkit.{path.stem}" for path in (HOME / "unlearnkit").iterdir() if _holds_code(path)}
    assert set(layers) == rooms | {"data_builders"}


def _holds_code(path: Path) -> bool:
    return (path / "__init__.py").is_file() or (path.suffix == ".py" and path.name != "__init__.py")
