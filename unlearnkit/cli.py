"""The command line: `unlearnkit study | list | export | verify`. Thin; everything it does is a function of the package."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from unlearnkit.errors import BadValue, UnlearnkitError

LISTS = ("methods", "metrics", "datasets", "kinds", "models", "notebooks")


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
    study.add_argument("--workers", type=_positive, help="worker processes, one thread each (default: one per core)")
    study.add_argument("--scheduler", metavar="ADDRESS", help="a running Dask scheduler, say tcp://host:8786")
    study.set_defaults(run=_study)

    listing = commands.add_parser("list", help=f"what there is: {', '.join(LISTS)}", **exact)
    listing.add_argument("what", choices=LISTS)
    listing.add_argument("--json", action="store_true", help="for programs")
    listing.set_defaults(run=_list)

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
        help="as of unlearnkit.cell.Cell: copies 25",
    )
    export.add_argument(
        "--features", default="", metavar="BY", help="also measure pairs by `original` or a torchvision model"
    )
    export.set_defaults(run=_export)

    verify = commands.add_parser("verify", help="are the committed results whole, unmodified and fresh?", **exact)
    verify.add_argument("--strict", action="store_true", help="stale results fail, too")
    verify.set_defaults(run=_verify)

    given = parser.parse_args(arguments)
    try:
        return given.run(given)
    except UnlearnkitError as error:
        print(f"unlearnkit: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] in ("papermill", "distributed", "yaml", "nbformat", "dask"):
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
    from unlearnkit import batch, grid

    outcomes = batch.run(grid.load(given.profile, given.only), workers=given.workers, scheduler=given.scheduler)
    return int(any(outcome.state == "failed" for outcome in outcomes))


def _list(given) -> int:
    rows = _notebooks() if given.what == "notebooks" else _registered(given.what)
    if given.json:
        print(json.dumps(rows, indent=1, default=str))
    else:
        width = max(len(row["name"]) for row in rows)
        for row in rows:
            print(f"{row['name']:<{width}}  {row['summary']}")
    return 0


def _registered(what: str) -> list[dict]:
    if what == "methods":
        from unlearnkit.methods import methods as registry
    elif what == "metrics":
        from unlearnkit.metrics import metrics as registry
    elif what == "models":
        from unlearnkit.models import models as registry
    elif what == "kinds":
        from data_builders.kinds import kinds as registry
    else:
        from data_builders import datasets as registry
    return [
        {"name": name, "summary": entry.summary, **{k: v for k, v in entry.info.items() if not callable(v)}}
        | {"options": {n: {"default": p.default, "type": _type(p.annotation)} for n, p in entry.options().items()}}
        for name, entry in sorted({**registry, **getattr(registry, "families", {})}.items())
    ]


def _type(annotation) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _notebooks() -> list[dict]:
    from unlearnkit import notebook

    return [
        {
            "name": path.stem,
            "summary": notebook.title(path),
            "parameters": {n: {"default": d, "type": t} for n, (t, d) in notebook.parameters(path).items()},
        }
        for path in notebook.notebooks()
    ]


def _export(given) -> int:
    from data_builders.export import export
    from unlearnkit import study
    from unlearnkit.cell import cells

    values = {"seed": 0} | {name: _value(text) for name, text in given.p}
    (cell, *more) = cells(seeds=[values.pop("seed")], **values)
    if more:
        raise BadValue(f"one task is exported at a time, and these values make {len(more) + 1}: give no lists")
    task = replace(study.load_task(cell), pairs=study.measured_pairs(cell, given.features))
    folder = export(task, Path(given.folder), made=cell.task_params() | {"feature_cosine": given.features or "none"})
    print(f"{folder.name}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    return 0


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:  # a word
        return text


def _verify(given) -> int:
    from unlearnkit import results

    found = results.verify()
    for name, state, detail in found:
        print(f"{name:<20} {state:<8} {detail}")
    bad = {"damaged", "missing"} | ({"stale"} if given.strict else set())
    return int(any(state in bad for _, state, _ in found))


if __name__ == "__main__":
    sys.exit(main())
