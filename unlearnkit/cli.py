"""The command line, `unlearnkit COMMAND`: the whole study and its parts. Thin: the package does all the work."""

import argparse
import codecs
import contextlib
import io
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from unlearnkit import __version__, listing
from unlearnkit.core import paths
from unlearnkit.core.errors import BadValue, UnlearnkitError, unknown

# packages of the extra `notebooks`, which commands need and the library does not
NOTEBOOKS = {
    "bleach",
    "cryptography",
    "dask",
    "distributed",
    "jinja2",
    "jsonschema",
    "latex2mathml",
    "mistune",
    "nbconvert",
    "nbformat",
}
NOTEBOOKS |= {"optuna", "papermill", "yaml"}


EXAMPLES = {
    "study": [
        "",
        "--only T2 F3",
        "--profile full --workers 4",
        "--profile full --kept",
        "--minutes 25",
        "--slurm jobs=10 cores=8 partition=cpu",
    ],
    "tune": ["scrub salun", "all --dataset mnist --trials 8", "npo --dataset fictional --model nano_llama"],
    "list": ["methods", "method scrub", "profiles", "metrics --json"],
    "export": ["folder -p copies 25", "folder -p dataset mnist -p targets canary"],
    "verify": ["", "--strict"],
    "report": ["", "--profile small --out site", "--allow-stale"],
    "reproduce": ["T2 --where method=retrain targets=canary copies=0 seed=0", "017082b93ed3"],
    "readme": ["", "--write"],
}
CHECKOUT = {"study", "verify", "report", "reproduce", "readme"}  # work on the project's notebooks and results


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0; 1 when a job or a check failed; 2 when the input was wrong."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        _speak_utf8(stream)
    parser, commands = _parser()
    try:
        if arguments and not arguments[0].startswith("-") and arguments[0] not in commands:
            hint = "`cut` of version 0.1 is now `study --minutes`." if arguments[0] == "cut" else ""
            raise unknown("command", arguments[0], commands, hint)
        given = parser.parse_args(arguments)
        if arguments[0] in CHECKOUT:
            paths.need_checkout(f"`{arguments[0]}`")
        status = given.run(given)
        sys.stdout.flush()
        return status
    except UnlearnkitError as error:
        print(f"unlearnkit: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] in NOTEBOOKS:
            print(f"unlearnkit: this command needs {error.name}: pip install 'unlearnkit[notebooks]'", file=sys.stderr)
            return 2
        raise
    except BrokenPipeError:  # `unlearnkit list methods | head -3`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it ends
        return 141
    except OSError as error:  # the machine's: what of ours can say more has done so
        from unlearnkit.core.disk import REASONS

        if error.errno not in REASONS:
            raise
        place = f" at {error.filename}" if error.filename else ""
        print(f"unlearnkit: cannot read or write{place}: {REASONS[error.errno]}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nunlearnkit: stopped; the same command goes on from here", file=sys.stderr)
        return 130


def _speak_utf8(stream) -> None:
    """Where the locale is ASCII, write UTF-8 all the same; file names that are no text are written with escapes."""
    if isinstance(stream, io.TextIOWrapper):  # not what a notebook puts in its place
        ascii_only = codecs.lookup(stream.encoding).name == "ascii"
        stream.reconfigure(encoding="utf-8" if ascii_only else None, errors="backslashreplace")


def _parser() -> tuple[argparse.ArgumentParser, Sequence[str]]:
    """The parser, and the names of all commands."""
    about = "Run the study of machine unlearning, or a part of it. Each command has its own --help."
    parser = argparse.ArgumentParser(
        prog="unlearnkit", description=about, allow_abbrev=False, formatter_class=_Help,
        epilog="examples:\n  unlearnkit study\n  unlearnkit list method scrub\n  unlearnkit report --out site",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"unlearnkit {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run, sentence: str, more: str = "") -> argparse.ArgumentParser:
        # abbreviations are errors: --profil should not pass for --profile
        epilog = "\n".join(["examples:", *(f"  unlearnkit {name} {e}".rstrip() for e in EXAMPLES[name])])
        added = commands.add_parser(
            name,
            help=sentence,
            description=f"{sentence} {more}",
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=_Help,
        )
        added.set_defaults(run=run)
        return added

    study = command(
        "study", _study, "Run the notebooks of a profile that are not finished yet.",
        "Ctrl-C stops it, and the same command goes on. A killed job is run again, a finished one never.",
    )  # fmt: skip
    study.add_argument("--profile", default="small", help="which to run; see `unlearnkit list profiles`")
    study.add_argument("--only", nargs="+", default=[], metavar="ID",
                       help="tables, figures or notebooks, and what these wait for (default: all)")  # fmt: skip
    study.add_argument("--kept", action="store_true",
                       help="only what publishes, where scores are kept (default: all that is measured, too)")  # fmt: skip
    study.add_argument(
        "--minutes", type=_minutes, help="begin no job that would end later than this (default: no limit)"
    )
    study.add_argument(
        "--job-minutes", type=_minutes, help="stop a job that takes longer (default: hours, said at the start)"
    )
    study.add_argument("--workers", type=_positive, help="processes of one thread (default: one per GPU, or per core)")
    study.add_argument("--scheduler", metavar="ADDRESS",
                       help="a running Dask scheduler, tcp://host:8786 (default: workers of its own)")  # fmt: skip
    study.add_argument("--slurm", nargs="+", metavar="NAME=VALUE",
                       help="workers by Slurm: jobs=10 cores=8 memory=32GB walltime=08:00:00, or options of sbatch, "
                       "partition=cpu (default: workers of its own)")  # fmt: skip

    tune = command(
        "tune", _tune, "Search a method's options for the smallest gap to retraining.",
        "The search uses forget sets that no table reports. What it finds is kept in results/tuned.",
    )  # fmt: skip
    tune.add_argument("methods", nargs="+", metavar="METHOD", help="methods, or `all` that can unlearn such a model")
    tune.add_argument("--dataset", default="digits", help="a registered one, or a path of your own")
    tune.add_argument("--model", default="small_cnn", help="architecture, or a language model")
    tune.add_argument("--trials", type=_positive, default=20, help="settings tried per method, its default first")
    tune.add_argument("--seeds", type=_positive, default=5, help="forget sets that each setting is tried on")
    tune.add_argument("--workers", type=_positive, help="methods at a time (default: one per GPU, or per core)")
    tune.add_argument(
        "--force", action="store_true", help="replace records that had a larger budget, too (default: never)"
    )
    names = "train_size, test_size, recipe; of images max_pool_images; of texts context, vocabulary, lora"
    _take_parameters(tune, f"a parameter of the config (default: the config's): {names}")

    lists = command("list", _list, "List what there is: methods, metrics, datasets, notebooks and so on.",
                    "Or one of them in detail, with its options.")  # fmt: skip
    lists.add_argument(
        "what", metavar="WHAT", help=", ".join((*listing.LISTS, "tuned")) + "; or one, `method`, and NAME"
    )
    lists.add_argument("name", metavar="NAME", nargs="?", default="", help="one thing, in detail (default: all)")
    lists.add_argument("--json", action="store_true", help="for programs, with all that is known (default: for people)")

    export = command(
        "export", _export, "Write a task as Parquet files with a dataset card.", "They are read without this package."
    )
    export.add_argument("folder", help="where to; new or empty")
    _take_parameters(export, "a parameter of unlearnkit.images.config.Config: copies 25 (default: Config's)")
    export.add_argument("--features", default="", metavar="BY",
                        help="measure pairs also by `original` or a torchvision classifier (default: neither)")  # fmt: skip

    verify = command("verify", _verify, "Check that the committed results are whole and up to date.")
    verify.add_argument("--strict", action="store_true", help="fail on stale results, too (default: name them)")

    report = command("report", _report, "Write the study as a static site, from what is published.")
    report.add_argument("--profile", default="", help="one alone, small or full (default: all that published)")
    report.add_argument("--out", type=paths.at, metavar="FOLDER", help="where to (default: results/report)")
    report.add_argument("--allow-stale", action="store_true",
                        help="mark results that are stale, damaged, missing or mixed (default: refuse)")  # fmt: skip

    again = command(
        "reproduce", _reproduce, "Make a row or a run of a table again, and compare the numbers.",
        "It runs the notebook of that table in an empty cache, with no more than the row needs, and says first whether the "
        "numbers are equal, or differ by less than seeds do; the status is 1 if they differ by more.",
    )  # fmt: skip
    again.add_argument("what", metavar="TABLE|RUN", help="a table or figure, T2, with --where; or the key of a run")
    again.add_argument("--where", nargs="+", default=[], metavar="NAME=VALUE",
                       help="a row: copies=25; one run: seed=0 (default: the only row)")  # fmt: skip
    again.add_argument("--profile", default="small", help="whose results: small or full")

    readme = command("readme", _readme, "Check the numbers in README, notebooks and other prose against the results.")
    readme.add_argument("--write", action="store_true", help="fill them in (default: only compare)")
    return parser, list(commands.choices)


class _Help(argparse.RawDescriptionHelpFormatter):
    """Descriptions wrapped, examples as they stand, and the default of every option that says none itself."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fill = argparse.HelpFormatter._fill_text
        return super()._fill_text(text, width, indent) if "\n" in text else fill(self, text, width, indent)

    def _get_help_string(self, action: argparse.Action) -> str:
        given = action.option_strings and action.default not in (None, "", [], False, argparse.SUPPRESS)
        return f"{action.help} (default: %(default)s)" if given else action.help


def _take_parameters(parser: argparse.ArgumentParser, about: str) -> None:
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help=about)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = -1.0
    if not 0 < minutes < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text!r}")
    return minutes


def _study(given) -> int:
    from unlearnkit.runner import batch, forecast, grid, job, slurm

    asked = slurm.read(given.slurm) if given.slurm else {}
    if given.scheduler and asked:
        raise BadValue("give --scheduler or --slurm, not both")
    jobs = grid.load(given.profile, given.only, kept=given.kept)
    by_slurm = int(asked["jobs"]) * int(asked["cores"]) if asked else 0
    workers = by_slurm or given.workers or len(job.gpus()) or os.cpu_count() or 1
    print(forecast.announced(given.profile, jobs, workers, given.minutes), flush=True)
    settings = {name: getattr(given, name) for name in ("workers", "minutes", "job_minutes")}
    with slurm.scheduler(asked) if asked else contextlib.nullcontext(given.scheduler) as scheduler:
        outcomes = batch.run(jobs, scheduler=scheduler, **settings)
    print(forecast.ended(given.profile, jobs, outcomes), flush=True)
    return int(any(outcome.state == "failed" for outcome in outcomes))


def _tune(given) -> int:
    from unlearnkit.tuning import search as tuning
    from unlearnkit.tuning import search_space

    names = search_space.serving(given.model) if given.methods == ["all"] else list(dict.fromkeys(given.methods))
    chosen = {name: getattr(given, name) for name in ("trials", "seeds", "workers", "force")}
    tuning.run(names, given.dataset, given.model, **chosen, **{name: _value(text) for name, text in given.p})
    return 0


def _list(given) -> int:
    listing.show(given.what, given.name, given.json)
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
    folder = export(
        task, paths.at(given.folder), made=config.task_params() | {"feature_cosine": given.features or "none"}
    )
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
    from unlearnkit.runner import grid

    rows = results.verify(expected=grid.makes("small")) + tuned.states()
    for name, state, detail in rows:
        print(f"{name:<20} {state:<8} {detail}")
    bad = {"damaged", "missing"} | ({"stale"} if given.strict else set())
    return int(any(state in bad for _, state, _ in rows))


def _report(given) -> int:
    from unlearnkit import report

    problems = report.check(given.profile)
    if problems and not given.allow_stale:
        print("unlearnkit: no report was written of these results:", *problems, sep="\n  ", file=sys.stderr)
        print("Run `make study`, or mark them in the report: --allow-stale", file=sys.stderr)
        return 1
    start = time.monotonic()
    page = report.build(given.out, given.profile)
    files = [file for file in page.parent.rglob("*") if file.is_file()]
    pages, size = sum(file.suffix == ".html" for file in files), sum(file.stat().st_size for file in files)
    took = f"{size / 1e6:.0f} MB, in {time.monotonic() - start:.0f} s"
    print(f"{page.name} and {pages - 1} more pages in {page.parent.name}/, {took}")
    return 0


def _reproduce(given) -> int:
    from unlearnkit import results
    from unlearnkit.results import selection
    from unlearnkit.runner import comparison, reproduce

    (folder,) = results.folders(given.profile).values()
    parts = [pair.partition("=") for pair in given.where]
    for name, sign, value in parts:
        if not (name and sign):
            raise BadValue(f"--where takes NAME=VALUE, got {name + sign + value!r}")
    where = {name: value for name, _, value in parts}
    is_key = not where and len(given.what) >= 6 and set(given.what) <= set("0123456789abcdef")
    runs = selection.find_run(given.what, folder) if is_key else selection.find(given.what, where, folder)
    if begun := reproduce.forecast(runs):
        print(begun, file=sys.stderr, flush=True)
    numbers, what, elsewhere = reproduce.again(runs)
    verdict, stands = comparison.verdict(numbers, elsewhere)
    print(f"{verdict}\n{what}\n\n{comparison.shown(numbers)}")
    return int(not stands)


def _readme(given) -> int:
    from unlearnkit.results import readme

    lines, marks = readme.report(given.write)
    verdict = "filled anew" if given.write else "not as in the results"
    print(*lines, f"{marks} numbers, {len(lines)} {verdict}", sep="\n")
    return int(bool(lines) and not given.write)


if __name__ == "__main__":
    sys.exit(main())
