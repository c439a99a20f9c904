"""The study's errors. Each message is one sentence: what is wrong, where, what is allowed, what to do.

A user sees only the message (the command line and the workflow print it without a traceback), so it must be enough.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class StudyError(Exception):
    """Something the user can mend; `str(error)` says how."""


class SettingError(StudyError, ValueError):
    """A method or experiment was given a setting outside its limits."""


class DataError(StudyError):
    """A dataset is missing, truncated or not the one recorded."""


class ConfigError(StudyError):
    """The configuration is wrong. Holds every fault found, one sentence each."""

    def __init__(self, faults: str | Iterable[str]):
        self.faults = [faults] if isinstance(faults, str) else list(faults)
        super().__init__("\n".join(self.faults))


def nearest(word: object, allowed: Iterable[str]) -> str:
    """`" (did you mean `papers`?)"` when one of `allowed` is close to `word`, else nothing."""
    close = difflib.get_close_matches(str(word), list(allowed), n=1, cutoff=0.6)
    return f" (did you mean `{close[0]}`?)" if close else ""


def listed(words: Iterable[object]) -> str:
    """`a, b or c`, for the part of a message that says what is allowed."""
    words = [str(word) for word in words]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}" if words else "nothing"
