"""The two ways a scan can end without a judgement, each with its exit code."""

from __future__ import annotations


class UsageError(Exception):
    """A file, option or samples that cannot be used (exit code 2). The message is one line that says what to do."""

    exit_code = 2


class CannotJudge(Exception):
    """A model that cannot be judged: NaN, no classifier, near chance, unsupported, hostile, time-out (exit code 3)."""

    exit_code = 3
