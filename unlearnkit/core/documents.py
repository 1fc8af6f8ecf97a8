"""JSON and YAML files that people may have written: read whole, or refused in one line that names file and line."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from unlearnkit.core.errors import BadValue

MOST = 100_000  # values in a YAML file with all aliases written out: a small file can stand for billions


def read_json(file: Path, name: str = "") -> object:
    """The content of a JSON file. name: what messages call it, by default the file's name.

    Raises BadValue for a file that cannot be read, is not UTF-8 or JSON, is nested too deeply, or has a key twice.
    """
    return _read(file, name or Path(file).name, "JSON", lambda text: json.loads(text, object_pairs_hook=_once))


def read_yaml(file: Path, name: str = "") -> object:
    """The content of a YAML file, likewise; also refused are keys that are no words, and aliases that stand for more than
    MOST values or for what they are in. A date is not read as one: it stays text."""
    return _read(file, name or Path(file).name, "YAML", _yaml)


def _read(file: Path, name: str, form: str, parse: Callable[[str], object]) -> object:
    try:
        return parse(Path(file).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise BadValue(f"{name} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadValue(f"{name} is not valid {form}: it is not UTF-8, from byte {error.start} on") from error
    except RecursionError as error:
        raise BadValue(f"{name} is not valid {form}: it is nested too deeply") from error
    except (ValueError, OverflowError) as error:  # OverflowError: a number
        why = f"line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise BadValue(f"{name} is not valid {form}{' in ' if why.startswith('line ') else ': '}{why}") from error


def _once(pairs: list[tuple[str, object]]) -> dict:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [key for key, _ in pairs]
        raise ValueError(f"{next(k for k in names if names.count(k) > 1)!r} stands twice in one mapping")
    return content


def _yaml(text: str) -> object:
    import yaml

    class Loader(yaml.SafeLoader):
        """Reads a date as text."""

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    loader = Loader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        _check(root, {}, set())
        return loader.construct_document(root)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"{where}{getattr(error, 'problem', None) or error}") from error
    finally:
        loader.dispose()


def _check(node, sizes: dict[int, int], above: set[int]) -> int:
    """How many values a node of YAML stands for. Raises ValueError, with the line, for what JSON has not."""
    import yaml

    if id(node) in sizes:
        return sizes[id(node)]
    line = f"line {node.start_mark.line + 1}"
    if id(node) in above:
        raise ValueError(f"{line}: an alias stands for what it is in")
    if node.tag.rpartition(":")[2] not in ("null", "bool", "int", "float", "str", "seq", "map"):
        raise ValueError(f"{line}: {node.tag} is no plain value")
    children = []
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if not key.tag.endswith((":str", ":merge")):
                raise ValueError(f"line {key.start_mark.line + 1}: a key must be a word; put it into quotes")
            if key.value in seen:
                raise ValueError(f"line {key.start_mark.line + 1}: {key.value!r} stands twice in one mapping")
            seen.add(key.value)
            children.append(value)
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    above.add(id(node))
    size = 1 + sum(_check(child, sizes, above) for child in children)
    above.remove(id(node))
    if size > MOST:
        raise ValueError(f"{line}: its aliases stand for more than {MOST:,} values")
    sizes[id(node)] = size
    return size


def check_shape(content: object, schema: Mapping, name: str) -> None:
    """Raises BadValue, in one line with the place in the file, unless content fits a JSON schema; a schema's `description`
    says what its value must be."""
    import jsonschema

    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(content))
    if error:
        place = ".".join(map(str, error.absolute_path))
        got = "" if isinstance(error.instance, list | dict) else f", got {json.dumps(error.instance)}"
        why = f"{error.schema['description']}{got}" if "description" in error.schema else error.message
        raise BadValue(f"{name}: {place}: {why}" if place else f"{name}: {why}")
