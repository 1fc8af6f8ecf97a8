"""The command line, `unlearnkit COMMAND`: the whole study and its parts. Thin: the package does all the work."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from unlearnkit import listing
from unlearnkit.core.errors import BadValue, UnlearnkitError


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0; 1 when a job or a check failed; 2 when the input was wrong."""
    parser = argparse.ArgumentParser(prog="unlearnkit", description=__doc__.split("\n")[0], allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    exact = {"allow_abbrev": False}  # --profil would pass for --profile

    study = commands.add_parser(
        "study", help="run all notebooks of a profile, or what is not finished of them", **exact
    )
    study.add_argument("--profile", default="small", help="smoke (seconds each), small (default; minutes)")
    study.add_argument("--only", nargs="+", default=[], metavar="ID", help="tables, figures or notebooks, say T2 F3")
    study.add_argument(
        "--workers", type=_positive, help="processes, one thread each (default: one per GPU, or per core)"
    )
    study.add_argument("--scheduler", metavar="ADDRESS", help="a running Dask scheduler, say tcp://host:8786")
    study.set_defaults(run=_study)

    cut = commands.add_parser(
        "cut", help="of the profile paper what a GPU does in 25 minutes, without notebooks or Dask", **exact
    )
    cut.add_argument("--minutes", type=float, default=25.0, help="no part is begun that would end later (default: 25)")
    cut.add_argument("--device", default="auto", help="auto (default), cuda, cuda:1, cpu")
    cut.add_argument("--workers", type=_positive, default=0, help="processes that score (default: one per core)")
    cut.add_argument("--to", default="", metavar="FOLDER", help="results folder (default: results/paper-cut)")
    cut.add_argument("--toy", action="store_true", help="digits, in seconds on a CPU: does everything run?")
    cut.set_defaults(run=_cut)

    tune = commands.add_parser(
        "tune",
        help="search the options of methods, by the gap to retrain on forget sets that no table reports",
        **exact,
    )
    tune.add_argument("methods", nargs="+", metavar="METHOD", help="methods, or `all` that unlearn such a model")
    tune.add_argument("--dataset", default="digits", help="a registered one, or a path of your own (default: digits)")
    tune.add_argument(
        "--model", default="small_cnn", help="architecture (default: small_cnn); a language model tunes on texts"
    )
    tune.add_argument("--trials", type=_positive, help="settings tried per method, its default first (default: 20)")
    tune.add_argument("--seeds", type=_positive, help="forget sets that each setting is tried on (default: 5)")
    tune.add_argument("--workers", type=_positive, help="methods at a time (default: one per GPU, or per core)")
    tune.add_argument(
        "-p",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="of the config: train_size 1000, test_size, recipe; of images pool, of texts context, vocabulary, lora",
    )
    tune.set_defaults(run=_tune)

    lists = commands.add_parser("list", help=f"what there is: {', '.join(listing.LISTS)}, tuned", **exact)
    lists.add_argument("what", choices=[*listing.LISTS, "tuned"])
    lists.add_argument("--json", action="store_true", help="for programs")
    lists.set_defaults(run=_list)

    export = commands.add_parser(
        "export", help="write a similar-sample task as Parquet files with a dataset card, for use without this package"
    )
    export.add_argument("folder", help="where to; new or empty")
    export.add_argument(
        "-p",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="as of unlearnkit.images.config.Config: copies 25",
    )
    export.add_argument(
        "--features", default="", metavar="BY", help="also measure pairs by `original` or a torchvision model"
    )
    export.set_defaults(run=_export)

    verify = commands.add_parser("verify", help="are the committed results whole, unmodified and fresh?", **exact)
    verify.add_argument("--strict", action="store_true", help="stale results fail, too")
    verify.set_defaults(run=_verify)

    report = commands.add_parser("report", help="the study as a static site, from what is published", **exact)
    report.add_argument("--profile", default="", help="of this one alone: small, real (default: all that published)")
    report.add_argument("--out", type=Path, metavar="FOLDER", help="where to; default: results/report")
    report.add_argument("--allow-stale", action="store_true", help="mark what is stale, damaged, missing or mixed")
    report.set_defaults(run=_report)

    again = commands.add_parser(
        "reproduce", help="make one run of a table anew in an empty cache, and compare", **exact
    )
    again.add_argument("what", metavar="TABLE|RUN", help="a table or figure, say T2, with --where; or the key of a run")
    again.add_argument("--where", nargs="+", default=[], metavar="NAME=VALUE", help="a row: copies=25; one run: seed=0")
    again.add_argument("--profile", default="small", help="whose results: small (default), real")
    again.set_defaults(run=_reproduce)

    readme = commands.add_parser("readme", help="check the numbers in README, notebooks and other prose", **exact)
    readme.add_argument("--write", action="store_true", help="fill them in from the results")
    readme.set_defaults(run=_readme)

    given = parser.parse_args(arguments)
    try:
        return given.run(given)
    except UnlearnkitError as error:
        print(f"unlearnkit: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] in (
            "papermill",
            "distributed",
            "yaml",
            "nbformat",
            "dask",
            "optuna",
            "nbconvert",
            "jinja2",
            "latex2mathml",
            "mistune",
        ):
            print(f"unlearnkit: this command needs {error.name}: pip install 'unlearnkit[notebooks]'", file=sys.stderr)
            return 2
        raise
    except KeyboardInterrupt:
        print("\nunlearnkit: stopped; the same command goes on from here", file=sys.stderr)
        return 130


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def _study(given) -> int:
    from unlearnkit.runner import batch, grid

    outcomes = batch.run(grid.load(given.profile, given.only), workers=given.workers, scheduler=given.scheduler)
    return int(any(outcome.state == "failed" for outcome in outcomes))


def _cut(given) -> int:
    from unlearnkit.runner import time_boxed as cut

    how = {name: getattr(given, name) for name in ("minutes", "device", "workers", "to")}
    plan = cut.TOY if given.toy else cut.PLAN
    scores = cut.run(plan, **how)
    if scores is not None:
        print(f"published to {given.to or plan.publish}/: seeds {', '.join(map(str, sorted(scores.seed.unique())))}")
    return int(scores is None)


def _tune(given) -> int:
    from unlearnkit.tuning import search as tuning
    from unlearnkit.tuning import search_space

    names = search_space.serving(given.model) if given.methods == ["all"] else list(dict.fromkeys(given.methods))
    chosen = {k: v for k, v in vars(given).items() if k in ("trials", "seeds") and v}
    settings = {name: _value(text) for name, text in given.p}
    tuning.run(names, given.dataset, given.model, workers=given.workers, **chosen, **settings)
    return 0


def _list(given) -> int:
    listing.show(given.what, given.json)
    return 0


def _export(given) -> int:
    from data_builders.export import export
    from unlearnkit.images.config import config_grid
    from unlearnkit.images.tasks import load_task
    from unlearnkit.study.reference_models import measured_pairs

    values = {"seed": 0} | {name: _value(text) for name, text in given.p}
    (config, *more) = config_grid(seeds=[values.pop("seed")], **values)
    if more:
        raise BadValue(f"one task is exported at a time, and these values make {len(more) + 1}: give no lists")
    task = replace(load_task(config), pairs=measured_pairs(config, given.features))
    folder = export(task, Path(given.folder), made=config.task_params() | {"feature_cosine": given.features or "none"})
    print(f"{folder.name}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    return 0


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:  # a word
        return text


def _verify(given) -> int:
    from unlearnkit import results
    from unlearnkit.methods import tuned_options as tuned

    found = results.verify() + tuned.states()
    for name, state, detail in found:
        print(f"{name:<20} {state:<8} {detail}")
    bad = {"damaged", "missing"} | ({"stale"} if given.strict else set())
    return int(any(state in bad for _, state, _ in found))


def _report(given) -> int:
    from unlearnkit import report

    problems = report.check(given.profile)
    if problems and not given.allow_stale:
        print("unlearnkit: no report was written of these results:", *problems, sep="\n  ", file=sys.stderr)
        print("Run `make study`, or mark them in the report: --allow-stale", file=sys.stderr)
        return 1
    page = report.build(given.out, given.profile)
    print(f"{page.name} and {sum(1 for _ in page.parent.rglob('*.html')) - 1} more pages in {page.parent.name}/")
    return 0


def _reproduce(given) -> int:
    from unlearnkit import results
    from unlearnkit.runner import reproduce

    (folder,) = results.folders(given.profile).values()
    parts = [pair.partition("=") for pair in given.where]
    for name, sign, value in parts:
        if not (name and sign and value):
            raise BadValue(f"--where takes NAME=VALUE, got {name + sign + value!r}")
    where = {name: value for name, _, value in parts}
    is_key = not where and len(given.what) >= 6 and set(given.what) <= set("0123456789abcdef")
    wanted = reproduce.find_run(given.what, folder) if is_key else reproduce.find(given.what, where, folder)
    found, what = reproduce.again(wanted)
    print(f"{what}\n\n{reproduce.shown(found)}")
    return int((found.state == "differs").any())


def _readme(given) -> int:
    from unlearnkit.results import readme

    lines, marks = readme.report(given.write)
    verdict = "filled anew" if given.write else "not as in the results"
    print(*lines, f"{marks} numbers, {len(lines)} {verdict}", sep="\n")
    return int(bool(lines) and not given.write)


if __name__ == "__main__":
    sys.exit(main())
