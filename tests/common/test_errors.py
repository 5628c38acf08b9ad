"""One tree of errors: every class has a slug, a status and an exit code, all documented."""

import re
from collections import Counter

import click
import pytest

from fraudfed import errors
from fraudfed.console import EXIT_INTERRUPTED, run_command
from fraudfed.errors import DataError, FraudFedError, error_classes


def classes() -> list[type[FraudFedError]]:
    return [
        cls
        for name in vars(errors)
        if isinstance(cls := getattr(errors, name), type) and issubclass(cls, FraudFedError)
    ]


def test_every_class_is_exported_and_found_by_its_slug() -> None:
    assert set(error_classes().values()) == set(classes())
    assert all(error_classes()[cls.slug] is cls for cls in classes())


def test_slugs_are_unique() -> None:
    assert Counter(cls.slug for cls in classes()).most_common(1)[0][1] == 1


@pytest.mark.parametrize("cls", classes(), ids=lambda cls: cls.__name__)
def test_the_drawn_tree_tells_the_truth(cls: type[FraudFedError]) -> None:
    if cls is FraudFedError:
        return
    line = re.search(rf"{cls.__name__} +(\d+) +(\d+)", errors.__doc__ or "")
    assert line is not None, f"{cls.__name__} is not in the tree of fraudfed/errors.py"
    assert (int(line[1]), int(line[2])) == (cls.exit_code, cls.http_status)


@pytest.mark.parametrize(
    ("failure", "code", "printed"),
    [
        (DataError("row 3 is wrong"), 3, "error: row 3 is wrong\n"),
        (KeyboardInterrupt(), EXIT_INTERRUPTED, "interrupted\n"),
        (click.UsageError("no such option"), 2, "no such option"),
        (ZeroDivisionError("secret"), 1, "error: unexpected ZeroDivisionError"),
        (None, 0, ""),
    ],
)
def test_a_command_ends_with_one_line_and_its_code(
    failure: BaseException | None,
    code: int,
    printed: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @click.command()
    def command() -> None:
        if failure is not None:
            raise failure

    monkeypatch.setattr("sys.argv", ["test"])
    with pytest.raises(SystemExit) as stop:
        run_command(command, prog_name="test")
    assert stop.value.code == code
    stderr = capsys.readouterr().err
    assert printed in stderr
    assert "secret" not in stderr
