"""Changes that nobody else's change is lost to: they name the version that they are for."""

from typing import NamedTuple


class Expected(NamedTuple):
    """The versions of a resource that a change is for; None for whichever it has."""

    versions: frozenset[int] | None

    def includes(self, version: int) -> bool:
        """Tell whether the change is for this version."""
        return self.versions is None or version in self.versions

    def includes_recent(self, version: int) -> bool:
        """Tell whether the change is for this version or for the one before, which it may itself have ended.

        A change that is sent again after its answer was lost finds itself stored, which is no conflict.
        """
        return self.includes(version) or self.includes(version - 1)
