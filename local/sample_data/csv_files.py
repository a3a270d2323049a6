"""The workshop's nine tables as CSV files, with the columns that the workshop gave them."""

import csv
from pathlib import Path

from local.sample_data.load import SCHEMA, batches
from local.sample_data.progress import Progress, silent
from local.sample_data.rows import TABLES, SampleData

SCRIPT = "load.sql"

#: The ninth table fills itself: the shop caches presigned addresses there.
_EMPTY = ("image_urls", ("image_id", "region", "presigned_url", "created"))


def write_csv(data: SampleData, directory: Path, progress: Progress = silent) -> list[Path]:
    r"""Write the tables and a psql script that copies them; give the files in the order of loading.

    A table of more than 3,000 rows is cut into several files: one `\copy` is one transaction.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for old in (*directory.glob("*.csv"), directory / SCRIPT):
        old.unlink(missing_ok=True)
    counts = dict.fromkeys((table.name for table in TABLES), 0)
    files: list[Path] = []
    script = [
        "-- Run inside this directory: psql -f load.sql",
        "-- Each \\copy is a transaction of at most 3,000 rows.",
        "\\set ON_ERROR_STOP on",
    ]

    def write(table: str, columns: tuple[str, ...], rows: list[tuple[object, ...]], part: int) -> None:
        path = directory / (f"{table}.csv" if part == 1 else f"{table}.{part}.csv")
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(rows)
        files.append(path)
        script.append(
            f"\\copy {SCHEMA}.{table} ({', '.join(columns)}) from '{path.name}' with (format csv, header)"
        )

    done, total = 0, sum(len(data.rows(table.name)) for table in TABLES if table.workshop_columns)
    for table, batch in batches(data):
        width = table.workshop_columns
        if not width:
            continue
        counts[table.name] += 1
        write(table.name, table.columns[:width], [row[:width] for row in batch], counts[table.name])
        done += len(batch)
        progress("Writing CSV", done, total)
    write(*_EMPTY, [], 1)
    (directory / SCRIPT).write_text("\n".join([*script, ""]), encoding="utf-8")
    return files
