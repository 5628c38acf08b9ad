"""Errors of the generator.

::

    DataGenError                 exit
      |- ConfigurationError        2     an option or a setting is wrong
      |- DataError                 3     a directory to describe holds no readable data set
      '- OutputError               5     the output directory cannot be used

The exit codes are those of the other programs of this project for the same causes.
"""

from typing import ClassVar

__all__ = ["ConfigurationError", "DataError", "DataGenError", "OutputError"]


class DataGenError(Exception):
    """Base of every error that the generator raises on purpose."""

    exit_code: ClassVar[int] = 1


class ConfigurationError(DataGenError, ValueError):
    """An option or a setting is out of its range."""

    exit_code = 2


class DataError(DataGenError):
    """A directory that should hold a generated data set does not, or not in full."""

    exit_code = 3


class OutputError(DataGenError):
    """The output directory is in use, not writable or not ours to replace."""

    exit_code = 5
