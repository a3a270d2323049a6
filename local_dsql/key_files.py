"""Access keys in files that others write while the server runs: an emulator of AWS, say, for each session.

A file holds JSON objects, one after the other: access key id to the fields of `tokens.Key`.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from local_dsql.tokens import Key

#: A file's time and size.
_State = tuple[int, int]


def read_keys(text: str) -> dict[str, Key]:
    """Read the text of a file of keys; of two with one id the later counts. Raises ValueError."""
    keys: dict[str, Key] = {}
    while text := text.lstrip():
        given, end = json.JSONDecoder().raw_decode(text)
        text = text[end:]
        try:
            keys |= {name: _key(**fields) for name, fields in given.items()}
        except (TypeError, AttributeError) as error:
            raise ValueError(f"is no key: {error}") from error
    return keys


def _key(actions: list[str] | None = None, **fields: str) -> Key:
    return Key(**fields) if actions is None else Key(actions=frozenset(actions), **fields)  # type: ignore[arg-type]


def write_keys(path: Path, keys: Mapping[str, Key]) -> None:
    """Write a file of keys, for this user alone."""
    path.touch(mode=0o600)
    path.write_text(
        json.dumps({name: {**key._asdict(), "actions": sorted(key.actions)} for name, key in keys.items()}),
        encoding="utf-8",
    )


class KeyFiles(Mapping[str, Key]):
    """The keys of all files of a directory, as they are when one is asked for.

    Of a file that cannot be read now, because it is being written, count those that were read before; of one
    that is gone, none.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: dict[Path, tuple[_State, dict[str, Key]]] = {}

    def __getitem__(self, access_key_id: str) -> Key:
        """Give a key. Raises KeyError."""
        return self._now()[access_key_id]

    def __iter__(self) -> Iterator[str]:
        """Give the ids of all keys."""
        return iter(self._now())

    def __len__(self) -> int:
        """Count the keys."""
        return len(self._now())

    def _now(self) -> dict[str, Key]:
        keys: dict[str, Key] = {}
        for path in sorted(self._directory.iterdir()):
            try:
                stat = path.stat()
                state = (stat.st_mtime_ns, stat.st_size)
                if self._read.get(path, ((0, -1), {}))[0] != state:
                    self._read[path] = state, read_keys(path.read_text(encoding="utf-8"))
            except ValueError:
                pass
            except OSError:
                self._read.pop(path, None)
            keys |= self._read.get(path, ((0, -1), {}))[1]
        return keys
