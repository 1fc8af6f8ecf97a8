"""Tables in Parquet files that no manifest lists: each holds a digest of its own content, so that damage is seen."""

import hashlib
import json
from pathlib import Path

import pandas as pd

from unlearnkit.core.errors import BadValue

SEAL = b"unlearnkit.sha256"  # of the schema's metadata


def write(table: pd.DataFrame, file: Path) -> None:
    """Write a table of numbers and words, without its index."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = pa.Table.from_pandas(table, preserve_index=False)
    seal = {SEAL: _digest(content.to_pandas())}  # as it will be read
    pq.write_table(content.replace_schema_metadata({**content.schema.metadata, **seal}), file, compression="zstd")


def read(file: Path) -> pd.DataFrame:
    """The table of a file. Raises BadValue for one that cannot be read, or does not hold what was written; one that was
    never sealed is read as it is."""
    import pyarrow.parquet as pq

    try:
        with file.open("rb") as opened:  # a folder is no table here
            content = pq.read_table(opened)
        seal, table = (content.schema.metadata or {}).get(SEAL), content.to_pandas()
        whole = seal is None or seal == _digest(table)
    except Exception as error:  # a reader of damaged bytes may raise anything
        why = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())[:200]
        raise BadValue(f"{file.name} is damaged ({why or type(error).__name__})") from error
    if not whole:
        raise BadValue(f"{file.name} is damaged (it does not hold what was written)")
    return table


def _digest(table: pd.DataFrame) -> bytes:
    found = hashlib.sha256()
    for name, column in table.items():
        numbers = column.dtype.kind in "biuf"
        values = column.to_numpy().tobytes() if numbers else json.dumps(column.where(column.notna(), None).tolist())
        found.update(f"{name} {column.dtype.kind} {len(column)} ".encode())
        found.update(values if isinstance(values, bytes) else values.encode())
    return found.hexdigest().encode()
