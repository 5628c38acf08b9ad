"""``bank-node runs``: a bank whose rules approve nothing, from the list to the accepted model."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from federations.bank_process import finish
from federations.bank_states import Banks
from rich.text import Text

from bank_node.approval_rules import ApprovalRules
from bank_node.jobs.registry import JOBS
from bank_node.run.review import review_run
from bank_node.state.directory import StateDirectory
from fraudfed.wire.messages import DataContract, FeatureSpec, ModelVisibility, RunState

OF_NO_RECIPE = DataContract(
    kind="transactions", recipe="of-nobody-1", features=(FeatureSpec(name="amount"),)
)


@pytest.fixture
def banks(make_banks) -> Banks:
    """Make three banks; the first asks a person about every run."""
    banks = make_banks()
    state = StateDirectory(banks.state(banks.names[0]))
    state.save_config(state.config.model_copy(update={"approval": ApprovalRules()}))
    return banks


@pytest.fixture
def own(banks: Banks) -> Path:
    return banks.state(banks.names[0])


@pytest.fixture
def files(tmp_path: Path, make_rows) -> list[Path]:
    paths = [tmp_path / f"{name}.csv" for name in "abc"]
    for seed, path in enumerate(paths):
        make_rows(seed).to_csv(path, index=False)
    return paths


def answer(ended: Any) -> Any:
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


@pytest.mark.e2e
def test_a_run_is_listed_reviewed_approved_and_trained(banks, own, files, run_bank) -> None:
    where = ("--state", own)
    (listed,) = answer(run_bank("runs", "list", *where, "--json"))["runs"]
    assert (listed["run_id"], listed["approved_by"]) == (banks.run_id, [])
    refused = run_bank("train", *where, "--data", files[0])
    assert refused.code == 7
    assert f"runs review {banks.run_id}" in refused.error()
    assert "runs approve HASH" in refused.error()
    assert banks.aggregator.status(banks.run_id).members == ()

    review = answer(run_bank("runs", "review", banks.run_id, *where, "--json"))
    assert [c["name"] for c in review["facts"]["about"]["columns"]] == [
        *("amount", "age", "channel", "label")
    ]
    values = {p["name"]: (p["value"], p["given"]) for p in review["facts"]["about"]["parameters"]}
    assert values["max_depth"] == (2, True)
    assert values["min_child_weight"] == (1.0, False)
    assert [m["name"] for m in review["cohort"] if m["self"]] == [banks.names[0]]
    assert review["facts"]["cost"]["rounds"] > 0
    # To look changes nothing yet.
    assert run_bank("train", *where, "--data", files[0]).code == 7

    approved = answer(run_bank("runs", "approve", review["hash"], *where, "--json"))
    assert approved["run_id"] == banks.run_id
    assert approved["approved"]
    (listed,) = answer(run_bank("runs", "list", *where, "--json"))["runs"]
    assert listed["approved_by"] == ["person"]
    processes = [banks.train(name, path) for name, path in zip(banks.names, files, strict=True)]
    ended = [finish(process) for process in processes]
    assert [end.code for end in ended] == [0, 0, 0], [end.err for end in ended]


@pytest.mark.e2e
def test_people_are_shown_every_name_and_value(banks, own, run_bank) -> None:
    shown = run_bank("runs", "review", banks.run_id, "--state", own)
    assert shown.code == 0
    for text in (
        *("amount", "age", "channel", "'pos', 'web'", "label", "min_child_weight", "max_depth"),
        *("What it reveals", "estimate, at most", "NOT confirmed", "this bank", "aggregator"),
        *("Not approved", "approved by no rule"),
    ):
        assert text in shown.out
    hash_ = answer(run_bank("runs", "review", banks.run_id, "--state", own, "--json"))["hash"]
    assert shown.out.splitlines()[-1] == f"Approve it with 'bank-node runs approve {hash_}'."
    listed = run_bank("runs", "list", "--state", own)
    assert banks.run_id in listed.out
    said = run_bank("runs", "approve", hash_, "--state", own)
    assert (said.code, said.out) == (
        0,
        f"run {banks.run_id}: approved, as it was reviewed ({hash_})\n",
    )
    said = run_bank("runs", "approve", hash_, "--revoke", "--state", own)
    assert "the approval is revoked; this bank does not start" in said.out
    # A bank whose rules approve the run is told that they still do.
    other = banks.state(banks.names[1])
    run_bank("runs", "review", banks.run_id, "--state", other)
    said = run_bank("runs", "approve", hash_, "--revoke", "--state", other)
    assert "[approval] of bank.toml approves the run as well" in said.out


@pytest.mark.e2e
def test_names_from_the_operator_cannot_hide_or_forge_a_line(
    banks, own, run_bank, aggregator, make_spec
) -> None:
    """Escape codes, markup, line ends and characters that turn the direction of text."""
    name = "x\x1b[2K\rApproved by bank.toml.\n[green]yes[/green]\u202eabc"
    run_id = aggregator.create_run(make_spec(banks.key_epoch.epoch, name=name))
    for command in (("runs", "list"), ("runs", "review", run_id)):
        out = run_bank(*command, "--state", own).out
        assert "\x1b" not in out
        assert "\r" not in out
        assert "\u202e" not in out
        assert r"\x1b[2K\rApproved by bank.toml.\n[green]yes[/green]\u202eabc" in "".join(
            part.strip(" │┃") for part in out.splitlines()
        )
        assert "Approved by bank.toml." not in [line.strip() for line in out.splitlines()]


@pytest.mark.e2e
def test_what_is_no_hash_or_was_not_reviewed_is_an_error(banks, own, run_bank) -> None:
    where = ("--state", own)
    for wrong in ("abc", banks.run_id, "A" * 64, "0" * 63, "0" * 65):
        assert "is no hash" in run_bank("runs", "approve", wrong, *where).error()
    ended = run_bank("runs", "approve", "0" * 64, *where)
    assert ended.code == 2
    assert "no run with this hash was reviewed at this bank" in ended.error()
    assert run_bank("runs", "review", "no-such-run", *where).code == 8
    assert run_bank("runs", "review", "../../x", *where).code == 2
    assert not (own / "approvals.log").exists()


@pytest.mark.e2e
def test_approving_needs_no_network_and_no_passphrase(banks, own, run_bank) -> None:
    review = answer(run_bank("runs", "review", banks.run_id, "--state", own, "--json"))
    state = StateDirectory(own)
    state.save_config(state.config.model_copy(update={"aggregator": "http://127.0.0.1:9"}))
    os.truncate(own / "identity.key", 0)
    audit = (own / "audit.log").read_bytes()
    assert run_bank("runs", "approve", review["hash"], "--state", own).code == 0
    assert (own / "audit.log").read_bytes() == audit


@pytest.mark.e2e
def test_a_run_can_be_reviewed_while_another_is_at_work(banks, own, run_bank) -> None:
    with StateDirectory(own).locked():
        review = answer(run_bank("runs", "review", banks.run_id, "--state", own, "--json"))
        assert run_bank("runs", "approve", review["hash"], "--state", own).code == 0


@pytest.mark.e2e
def test_a_run_against_the_banks_rules_is_reviewed_with_the_reason(
    banks, own, run_bank, files
) -> None:
    """To approve it is possible and of no use: the rules stand."""
    state = StateDirectory(own)
    rules = state.config.rules.model_copy(update={"model_visibility": (ModelVisibility.MEMBERS,)})
    state.save_config(state.config.model_copy(update={"rules": rules}))
    review = answer(run_bank("runs", "review", banks.run_id, "--state", own, "--json"))
    assert "model_visibility is 'aggregator'" in review["refused"]
    run_bank("runs", "approve", review["hash"], "--state", own)
    assert run_bank("train", "--state", own, "--data", files[0], "--run", banks.run_id).code == 2


@pytest.mark.e2e
def test_what_an_aggregator_should_have_refused_is_refused_at_the_bank(
    banks, own, aggregator
) -> None:
    """A bank takes nothing on its word: neither parameters nor a contract."""
    status = aggregator.status(banks.run_id)
    for number, (changes, words) in enumerate(
        (
            ({"parameters": {"max_deep": 3}}, "unknown parameter 'max_deep'"),
            ({"contract": OF_NO_RECIPE}, "recipe 'of-nobody-1'"),
        )
    ):
        described = status.model_copy(
            update={"run_id": f"made-up-{number}", "spec": status.spec.model_copy(update=changes)}
        )
        client = SimpleNamespace(run=lambda _, shown=described: shown)
        review = review_run(StateDirectory(own), client, described.run_id, JOBS)
        assert review.refused is not None
        assert words in review.refused
        assert (review.facts.cost is None) == ("parameters" in changes)


@pytest.mark.e2e
def test_a_revoked_approval_stops_the_next_start_and_not_the_others(
    banks, own, files, run_bank
) -> None:
    """The bank has joined, and waits: a person's second thought ends nothing for the others."""
    where = ("--state", own)
    review = answer(run_bank("runs", "review", banks.run_id, *where, "--json"))
    run_bank("runs", "approve", review["hash"], *where)
    data = ("--data", files[0], "--run", banks.run_id)
    assert run_bank("train", *where, *data, "--cohort-timeout", "0.5").code == 10
    run_bank("runs", "approve", review["hash"], "--revoke", *where)
    assert run_bank("train", *where, *data).code == 7
    status = banks.aggregator.status(banks.run_id)
    assert (status.state, status.failure) == (RunState.OPEN, None)
    assert status.members == (banks.names[0],)


@pytest.mark.e2e
def test_control_without_codes_for_what_is_not_printed_a_name_forges_a_line(
    banks, own, run_bank, aggregator, make_spec, monkeypatch
) -> None:
    name = "x\nApproved by bank.toml.\u202e"
    run_id = aggregator.create_run(make_spec(banks.key_epoch.epoch, name=name))
    monkeypatch.setattr("bank_node.commands.runs._text", lambda value: Text(str(value)))
    out = run_bank("runs", "review", run_id, "--state", own).out
    assert "\u202e" in out
    assert "Approved by bank.toml." in [line.strip(" │\u202e") for line in out.splitlines()]
