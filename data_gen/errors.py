"""Errors of the generator.

::

    DataGenError                 exit
      |- ConfigurationError        2     an option or a setting is wrong
      |- DataError                 3     no readable data set, or not as the published schema has it
      |    '- CellError            3     (in table_reader) a value of a CSV file is not of its type
      '- OutputError               5     the output directory cannot be used

The exit codes are those of the other programs of this project for the same causes.
"""

from typing import ClassVar


class DataGenError(Exception):
    """Base of every error that the generator raises on purpose."""

    exit_code: ClassVar[int] = 1


class ConfigurationError(DataGenError, ValueError):
    """An option or a setting is out of its range."""

    exit_code = 2


class DataError(DataGenError):
    """What should hold a data set does not, cannot be read, or is not as the schema has it."""

    exit_code = 3


class OutputError(DataGenError):
    """The output directory is in use, not writable or not ours to replace."""

    exit_code = 5
