"""The command line: each bad input is one line, its exit code, and an untouched state."""

import json
import socket
import stat
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost
from cli_programs import Ended, run_program
from federations.bank_states import Member

from bank_node.approval_rules import ApprovalRules
from bank_node.http.retry import RetryPolicy
from bank_node.state.audit_log import read_audit_log
from bank_node.state.directory import StateDirectory
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.key_ceremony import acknowledge
from fraudfed.consortium.public.fingerprint import fingerprint, roster_code
from fraudfed.consortium.roster import PinnedRoster
from fraudfed.paillier.kernels.kernel import kernel_names, kernel_note
from fraudfed.wire.messages import KeyEpoch, MemberKeys, RunKind, RunState

NO_LOCK = ".lock"


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    """Everything in a state directory but the lock, which holds nothing."""
    return {
        str(path.relative_to(root)): (stat.S_IMODE(path.stat().st_mode), path.read_bytes())
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != NO_LOCK
    }


@pytest.fixture
def bank(tmp_path, aggregator) -> Path:
    """Make a bank that is the only member."""
    aggregator.empty()
    name = f"bank-{uuid.uuid4().hex[:8]}"
    return aggregator.enrol(tmp_path / "bank", name).path


@dataclass(frozen=True)
class Consortium:
    """A bank with a state directory, and two others without."""

    state: Path
    others: list[Member]
    key_epoch: KeyEpoch

    @property
    def name(self) -> str:
        return StateDirectory(self.state).config.name

    @property
    def keys(self) -> MemberKeys:
        return StateDirectory(self.state).pinned_roster().members[self.name]


@pytest.fixture
def consortium(tmp_path, aggregator, key_package) -> Consortium:
    """Make three banks; two have acknowledged a key epoch that the first has not seen."""
    others = aggregator.members(2)
    name = f"a-{uuid.uuid4().hex[:8]}"
    state = aggregator.enrol(tmp_path / "bank", name)
    own = MemberKeys(
        name=name,
        signing_key=state.config.signing_key,
        agreement_key=state.config.agreement_key,
    )
    steward = others[0]
    roster = tuple(sorted((own, *(m.keys for m in others)), key=lambda keys: keys.name))
    key_epoch = aggregator.publish_epoch(
        key_package, steward.identity, steward.name, steward.client, roster
    )
    for member in others:
        member.client.acknowledge(acknowledge(key_epoch, member.identity, member.name))
    return Consortium(state.path, others, key_epoch)


@pytest.fixture
def make_run(consortium, run_bank, aggregator, make_spec) -> Callable[..., str]:
    """Open runs of the consortium, after the bank has accepted the key."""
    accepted = run_bank("keys", "accept", "--state", consortium.state)
    assert accepted.code == 0, accepted.err

    def make(**changes: Any) -> str:
        return aggregator.create_run(make_spec(consortium.key_epoch.epoch, **changes))

    return make


@pytest.fixture
def joined(consortium, make_run, run_bank, good_file) -> Path:
    """Make a bank that knows an open run."""
    run_id = make_run()
    where = ("--state", consortium.state, "--data", good_file)
    assert run_bank("check-data", *where, "--run", run_id).code == 0
    return consortium.state


def private(root: Path) -> dict[str, tuple[int, bytes]]:
    """Everything but the audit log, which grows with every request."""
    return {name: found for name, found in snapshot(root).items() if name != "audit.log"}


@pytest.fixture
def good_file(tmp_path, make_rows) -> Path:
    path = tmp_path / "good.csv"
    make_rows().to_csv(path, index=False)
    return path


def join(run_bank, state: Path, aggregator, name: str, invite: str, *options: str | Path):
    return run_bank(
        *("join", "--state", state, "--name", name, "--aggregator", aggregator.url),
        *("--invite", invite, *options),
    )


@pytest.mark.e2e
def test_join_makes_keys_registers_and_pins(tmp_path, run_bank, aggregator) -> None:
    (other,) = aggregator.members(1)
    name, state = f"bank-{uuid.uuid4().hex[:8]}", tmp_path / "bank"
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("open sesame\nignored\n")
    code = aggregator.invite(name)
    rules = tmp_path / "rules.toml"
    rules.write_text("[rules]\ntolerated_colluders = 4\n")
    options = ("--passphrase-file", passphrase, "--rules", rules, "--insecure-trust-first-use")
    done = join(run_bank, state, aggregator, name, code, *options)
    assert done.code == 0, done.err
    config = StateDirectory(state).config
    assert fingerprint(name, config.signing_key, config.agreement_key) in done.out
    assert config.registered
    assert config.rules.tolerated_colluders == 4
    assert config.rules.insecure_trust_first_use
    pins = StateDirectory(state).pinned_roster()
    assert set(pins.members) == {name, other.name}
    written = b"".join(path.read_bytes() for path in state.rglob("*") if path.is_file())
    assert code.encode() not in written
    # The keys on disk are encrypted, so what signs needs the passphrase.
    refused = run_bank("roster", "--state", state)
    assert refused.code == 4
    assert "passphrase" in refused.error()
    shown = run_bank("roster", "--state", state, "--passphrase-file", passphrase, "--json")
    assert {one["name"]: one["self"] for one in json.loads(shown.out)["members"]} == {
        name: True,
        other.name: False,
    }
    # Again: nothing to do, and no other keys.
    again = join(run_bank, state, aggregator, name, code, "--passphrase-file", passphrase)
    assert again.code == 0
    assert StateDirectory(state).config == config


@pytest.mark.e2e
def test_a_registration_cut_off_is_finished_with_the_same_keys(
    tmp_path, run_bank, aggregator
) -> None:
    aggregator.empty()
    name, state = f"bank-{uuid.uuid4().hex[:8]}", tmp_path / "bank"
    code = aggregator.invite(name)
    assert join(run_bank, state, aggregator, name, code).code == 0
    made = StateDirectory(state)
    # As if the answer had never arrived.
    made.save_config(made.config.model_copy(update={"registered": False, "audit_key": None}))
    early = run_bank("roster", "--state", state)
    assert early.code == 5
    assert "not registered yet" in early.error()
    again = join(run_bank, state, aggregator, name, code)
    assert again.code == 0, again.err
    assert StateDirectory(state).config.signing_key == made.config.signing_key
    assert StateDirectory(state).config.registered


@pytest.mark.e2e
def test_invites_that_do_not_let_in(tmp_path, run_bank, aggregator) -> None:
    aggregator.empty()
    name, thief = f"bank-{uuid.uuid4().hex[:8]}", f"thief-{uuid.uuid4().hex[:8]}"
    code = aggregator.invite(name)
    cases = [
        ("stolen", thief, code, 7),
        ("unknown", name, "A" * 43, 7),
        ("short", name, "abc", 2),
    ]
    for directory, who, invite, exit_code in cases:
        ended = join(run_bank, tmp_path / directory, aggregator, who, invite)
        assert ended.code == exit_code, ended.err
    assert not (tmp_path / "short").exists(), "nothing was made for what is no code"
    assert join(run_bank, tmp_path / "good", aggregator, name, code).code == 0
    reused = join(run_bank, tmp_path / "reused", aggregator, name, code)
    assert reused.code == 7
    assert "used before" in reused.error()
    # A good invite takes the same directory and keys up.
    made = StateDirectory(tmp_path / "stolen").config
    good = join(run_bank, tmp_path / "stolen", aggregator, thief, aggregator.invite(thief))
    assert good.code == 0
    assert StateDirectory(tmp_path / "stolen").config.signing_key == made.signing_key


def test_join_refuses_a_foreign_directory_and_another_bank(bank, tmp_path, run_bank) -> None:
    before = snapshot(bank)
    name = StateDirectory(bank).config.name
    code = "A" * 43
    url = StateDirectory(bank).config.aggregator
    for state, who, where in (
        (tmp_path, name, url),
        (bank, "other", url),
        (bank, name, "http://127.0.0.1:9"),
    ):
        ended = run_bank(
            *("join", "--state", state, "--name", who, "--aggregator", where, "--invite", code)
        )
        assert ended.code == 5, ended.err
    assert snapshot(bank) == before


def test_join_refuses_what_it_cannot_use_before_it_makes_anything(tmp_path, run_bank) -> None:
    state = tmp_path / "bank"
    code = "A" * 43
    where = ("join", "--state", state, "--name", "a", "--invite", code, "--aggregator")
    for arguments, message in (
        (("http://aggregator.example",), "use https"),
        (("https://a.example", "--ca-file", tmp_path / "none"), "--ca-file"),
        (("https://a.example", "--client-key", tmp_path / "none"), "belong together"),
    ):
        ended = run_bank(*where, *arguments)
        assert ended.code == 2, ended.err
        assert message in ended.error()
        assert not state.exists()
    (tmp_path / "empty").write_text("\n")
    for path in (tmp_path / "empty", tmp_path / "none"):
        ended = run_bank(*where, "http://127.0.0.1:9", "--passphrase-file", path)
        assert ended.code == 4
        assert not state.exists()


def test_join_without_an_aggregator_keeps_the_keys(tmp_path, run_bank, monkeypatch) -> None:
    monkeypatch.setattr(
        "bank_node.http.client.RetryPolicy", lambda: RetryPolicy(patience_seconds=0.2)
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    state = tmp_path / "bank"
    where = ("--state", state, "--name", "a", "--aggregator", url, "--invite", "A" * 43)
    ended = run_bank("join", *where)
    assert ended.code == 6
    assert ended.error().startswith(f"error: {url}: aggregator not reachable")
    key = (state / "identity.key").read_bytes()
    assert run_bank("join", *where).code == 6
    assert (state / "identity.key").read_bytes() == key


@pytest.mark.parametrize(
    "arguments",
    [
        ["join", "--state", "x", "--name", "Not A Name", "--aggregator", "y", "--invite", "z"],
        ["join", "--state", "x", "--aggregator", "https://a.example", "--invite", "z"],
        ["keys", "create", "--state", "x", "--key-bits", "1024"],
        ["train", "--state", "x", "--data", "y", "--min-cohort", "3"],
        ["train", "--state", "x", "--data", "y", "--round-timeout", "0"],
        ["--log-format", "xml", "status", "--state", "x"],
        ["unknown"],
        ["init", "--state", "x"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments, run_bank) -> None:
    ended = run_bank(*arguments)
    assert ended.code == 2
    assert ended.error()


@pytest.mark.parametrize(
    "command",
    [
        *("train", "score", "check-data", "status", "roster", "keys create", "keys rotate"),
        *("keys accept", "keys show", "audit verify", "audit explain"),
    ],
)
def test_commands_on_what_is_no_state_directory(command, tmp_path, run_bank, good_file) -> None:
    options = {
        "train": ["--data", good_file],
        "check-data": ["--data", good_file],
        "score": ["--data", good_file, "--out", tmp_path / "o.csv"],
    }.get(command, [])
    for state in (tmp_path, tmp_path / "none"):
        ended = run_bank(*command.split(), "--state", state, *options)
        assert ended.code == 5
        assert str(state) in ended.error()


@pytest.mark.e2e
def test_commands_before_there_is_a_key_or_a_run(bank, tmp_path, run_bank, good_file) -> None:
    for arguments, code, message in (
        (["train", "--data", good_file], 2, "no training run is open to this bank"),
        (["search", "--data", good_file], 2, "no search run is open to this bank"),
        (["check-data", "--data", good_file], 2, "no training or search run is open to this bank"),
        (["score", "--data", good_file, "--out", tmp_path / "o.csv"], 5, "bank-node train"),
        (["check-data", "--data", good_file, "--run", "no-such-run"], 8, "no-such-run"),
        (["check-data", "--data", good_file, "--run", "../../etc"], 2, "no run id"),
        (["roster", "--confirm"], 8, "no roster was shown to anybody yet"),
        (["roster", "--confirm", "nobody"], 8, "no roster was shown to anybody yet"),
        (["roster", "--confirm-member", "nobody"], 8, "no roster was shown to anybody yet"),
        (["roster"], 0, None),
        (["roster", "--confirm", "nobody"], 2, "is no roster code"),
        (["roster", "--confirm", "0" * 60], 8, "nothing was confirmed"),
        (["roster", "--confirm-member", "nobody"], 8, "no member 'nobody' was shown"),
        (["roster", "--remove", "nobody"], 8, "no member 'nobody' is pinned"),
        (["roster", "--owner", "nobody=x"], 8, "no member 'nobody' is pinned"),
        (["roster", "--owner", "nobody"], 2, "expected NAME=OWNER"),
        (["roster", "--confirm", "--owner", "a=b"], 2, "one at a time"),
    ):
        ended = run_bank(arguments[0], "--state", bank, *arguments[1:])
        assert ended.code == code, ended.err
        assert message is None or message in ended.err
    assert list((bank / "runs").iterdir()) == []
    shown = run_bank("keys", "show", "--state", bank)
    assert (shown.code, shown.out) == (0, "no key epoch was accepted yet\n")


@pytest.mark.e2e
def test_the_key_ceremony_of_three_banks(tmp_path, run_bank, aggregator) -> None:
    aggregator.empty()
    tag = uuid.uuid4().hex[:8]
    states = {}
    for letter in "abc":
        name = f"{letter}-{tag}"
        states[name] = aggregator.enrol(tmp_path / letter, name).path
    first, *rest = states.values()
    # The epochs of earlier members are behind: this consortium continues their numbers.
    earlier = aggregator.last_epoch()
    if earlier:
        refused = run_bank("keys", "create", "--state", first)
        assert refused.code == 2
        assert "keys rotate" in refused.error()
    made = run_bank("keys", "rotate" if earlier else "create", "--state", first, "--key-bits", 2048)
    assert made.code == 0, made.err
    number = earlier + 1
    assert f"key epoch {number} is made and sealed to {', '.join(states)}" in made.out
    assert "still have to accept it" in made.out
    for state in rest:
        accepted = run_bank("keys", "accept", "--state", state)
        assert accepted.code == 0, accepted.err
    assert "runs can use it" in accepted.out
    secrets = {StateDirectory(state).key_package(number).fingerprint for state in states.values()}
    assert len(secrets) == 1

    # A bank that left cannot open what comes after; its own number is not reused by the others.
    left = rest[-1]
    aggregator.remove(list(states)[-1])
    rotate = ("keys", "rotate", "--state", first, "--key-bits", "2048")
    # The operator's word alone leaves nobody out of a key: a person agrees to it.
    refused = run_bank(*rotate)
    assert refused.code == 10
    assert f"--without {list(states)[-1]}" in refused.error()
    rotated = run_bank(*rotate, "--without", list(states)[-1])
    assert rotated.code == 0, rotated.err
    assert list(states)[-1] not in rotated.out
    refused = run_bank("keys", "accept", "--state", left)
    assert refused.code == 7
    assert StateDirectory(left).epochs() == [number]
    report = json.loads(run_bank("keys", "show", "--state", first, "--json").out)["key_epochs"]
    assert [epoch["epoch"] for epoch in report] == [number, number + 1]
    assert report[0]["key_fingerprint"] != report[1]["key_fingerprint"]
    assert f"key epoch {number + 1}" in run_bank("keys", "show", "--state", first).out
    shown = json.loads(run_bank("roster", "--state", first, "--json").out)["members"]
    assert {one["name"]: one["member"] for one in shown}[list(states)[-1]] is False


def confirmed_by(run_bank, state: Path) -> set[str]:
    shown = json.loads(run_bank("status", "--state", state, "--json").out)["roster"]
    return {one["name"] for one in shown if one["confirmed"] and not one["self"]}


@pytest.mark.e2e
def test_a_roster_is_confirmed_by_its_code_or_one_by_one(consortium, run_bank) -> None:
    names = [member.name for member in consortium.others]
    where = ("--state", consortium.state)
    printed = run_bank("roster", *where).out
    for member in consortium.others:
        keys = member.keys
        groups = fingerprint(keys.name, keys.signing_key, keys.agreement_key).split()
        assert all(group in printed for group in groups)
    # What any other bank shows for the same members.
    everybody = [consortium.keys, *(member.keys for member in consortium.others)]
    code = roster_code(everybody)
    assert code in printed
    assert confirmed_by(run_bank, consortium.state) == set()
    assert run_bank("roster", *where, "--confirm-member", names[1]).code == 0
    assert confirmed_by(run_bank, consortium.state) == {names[1]}
    assert run_bank("roster", *where, "--confirm", code).code == 0
    assert confirmed_by(run_bank, consortium.state) == set(names)


@pytest.mark.e2e
def test_a_quiet_roster_shows_nobody_anything(consortium, run_bank) -> None:
    where = ("--state", consortium.state)
    assert run_bank("--quiet", "roster", *where).code == 0
    assert run_bank("roster", *where, "--confirm").code == 8
    assert run_bank("--quiet", "roster", *where, "--json").code == 0
    assert run_bank("roster", *where, "--confirm").code == 0


@pytest.mark.e2e
@pytest.mark.parametrize("first_use", [False, True])
def test_unconfirmed_members_are_refused(
    first_use, consortium, make_run, run_bank, good_file
) -> None:
    """By default, and by a run that asks for it whatever the bank's rules are."""
    run_id = make_run(require_confirmed_roster=first_use)
    state = StateDirectory(consortium.state)
    rules = state.config.rules.model_copy(update={"insecure_trust_first_use": first_use})
    state.save_config(state.config.model_copy(update={"rules": rules}))
    where = ("--state", consortium.state, "--data", good_file, "--run", run_id)
    ended = run_bank("train", *where, "--cohort-timeout", "0.1")
    assert ended.code == 7
    if first_use:
        assert "takes only banks with a confirmed roster" in ended.error()
        return
    assert all(member.name in ended.error() for member in consortium.others)
    assert "bank-node roster --confirm" in ended.error()
    assert run_bank("roster", "--state", consortium.state).code == 0
    assert run_bank("roster", "--state", consortium.state, "--confirm").code == 0
    ended = run_bank("train", *where, "--cohort-timeout", "0.1")
    assert ended.code == 10, "now it waits for the others"
    assert "INSECURE" not in ended.err


@pytest.mark.e2e
def test_trust_on_first_use_is_said_at_every_run_and_in_the_status(
    consortium, make_run, run_bank, good_file
) -> None:
    where = ("--state", consortium.state, "--data", good_file, "--run", make_run())
    ended = run_bank("train", *where, "--cohort-timeout", "0.1")
    assert ended.code == 10
    assert "INSECURE: insecure_trust_first_use is set" in ended.err
    assert "INSECURE" in run_bank("roster", "--state", consortium.state).out
    assert "INSECURE" in run_bank("status", "--state", consortium.state).out
    report = json.loads(run_bank("status", "--state", consortium.state, "--json").out)
    assert report["trust"] == {
        "kind": "first-use",
        "tolerated_colluders": 1,
        "least_banks": 3,
        "counted_owners": 3,
    }


@pytest.mark.e2e
def test_a_changed_key_of_a_known_bank_stops_everything(
    consortium, make_run, run_bank, good_file, aggregator
) -> None:
    run_id = make_run()
    state = StateDirectory(consortium.state)
    victim = consortium.others[0].name
    pins = state.pinned_roster()
    # As if the bank had seen other keys before: the aggregator's are then the changed ones.
    state.save_pinned_roster(
        PinnedRoster(
            pins=tuple(
                pin.model_copy(update={"keys": Identity.generate().member(victim)})
                if pin.keys.name == victim
                else pin
                for pin in pins.pins
            )
        )
    )
    before = len(list(read_audit_log(state.audit_path)))
    for names, options in (
        (["train"], ["--data", good_file, "--run", run_id]),
        (["keys", "accept"], []),
        (["keys", "rotate"], []),
        (["roster"], []),
    ):
        ended = run_bank(*names, "--state", consortium.state, *options)
        assert ended.code == 8, ended.err
        assert f"keys of {victim} have CHANGED" in ended.error()
    sent = list(read_audit_log(state.audit_path))[before:]
    assert [(entry.method, entry.path) for entry in sent] == [("GET", "/v1/roster")] * 4
    assert aggregator.status(run_id).members == ()


@pytest.mark.e2e
def test_an_epoch_that_changed_under_its_number_is_refused(
    consortium, run_bank, make_run, good_file
) -> None:
    run_id = make_run()
    path = consortium.state / "keys" / f"epoch-{consortium.key_epoch.epoch}.json"
    other = consortium.key_epoch.model_copy(update={"signature": "1" * 128})
    path.write_text(other.model_dump_json())
    where = ("--state", consortium.state)
    for ended in (
        run_bank("keys", "accept", *where),
        run_bank("train", *where, "--data", good_file, "--run", run_id),
    ):
        assert ended.code == 8
        assert "serves another one than this bank accepted" in ended.error()


@pytest.mark.e2e
def test_runs_that_break_the_banks_rules_are_refused(
    consortium, make_run, run_bank, aggregator, good_file
) -> None:
    state = StateDirectory(consortium.state)
    ends = {
        "num_boost_round": "any",
        "max_depth": [1, 4],
        "max_bin": "any",
        "min_child_weight": [1, 9],
    }
    approval = ApprovalRules.model_validate({"columns": ["*"], "parameters": ends})
    state.save_config(state.config.model_copy(update={"approval": approval}))
    cases = [
        ({"parameters": {"max_depth": 5}}, "max_depth is 5, outside [1, 4]"),
        (
            {"parameters": {"min_child_weight": 0.5, "max_depth": 3}},
            "min_child_weight is 0.5, outside [1, 9]",
        ),
    ]
    for changes, message in cases:
        run_id = make_run(**changes)
        where = ("--state", consortium.state, "--data", good_file, "--run", run_id)
        ended = run_bank("train", *where)
        assert ended.code == 7, ended.err
        assert message in ended.error()
        assert aggregator.status(run_id).members == ()
        assert not (consortium.state / "runs" / run_id).exists()
    several = run_bank("train", "--state", consortium.state, "--data", good_file)
    assert several.code == 2
    assert "choose one with --run" in several.error()


@pytest.mark.e2e
def test_a_run_of_an_older_epoch_is_refused(
    consortium, make_run, run_bank, aggregator, good_file
) -> None:
    run_id = make_run()
    rotated = run_bank("keys", "rotate", "--state", consortium.state, "--key-bits", "2048")
    assert rotated.code == 0, rotated.err
    where = ("--state", consortium.state, "--data", good_file, "--run", run_id)
    ended = run_bank("train", *where)
    assert ended.code in {4, 11}, ended.err
    assert aggregator.status(run_id).members == ()


@pytest.mark.e2e
def test_a_bank_that_was_removed_is_refused(joined, run_bank, aggregator, good_file) -> None:
    aggregator.remove(StateDirectory(joined).config.name)
    ended = run_bank("train", "--state", joined, "--data", good_file)
    assert ended.code == 7
    assert "removed" in ended.error()


@pytest.mark.e2e
def test_another_identity_is_refused(joined, run_bank, good_file) -> None:
    (joined / "identity.key").write_bytes(Identity.generate().expose_bytes())
    ended = run_bank("train", "--state", joined, "--data", good_file)
    assert ended.code == 4
    assert "other keys than bank.toml names" in ended.error()


@pytest.mark.e2e
def test_the_audit_log_of_a_bank(joined, run_bank) -> None:
    where = ("--state", joined)
    checked = run_bank("audit", "verify", *where)
    assert checked.code == 0
    assert "chain and signatures are whole" in checked.out
    text = run_bank("audit", "explain", *where).out
    assert "registration: 1 requests" in text
    assert "acknowledgement: 1 requests" in text
    log = joined / "audit.log"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:1] + lines[2:]))
    for command in ("verify", "explain"):
        ended = run_bank("audit", command, *where)
        assert ended.code == 5
        assert "removed, inserted or reordered" in ended.error()


@pytest.mark.e2e
def test_an_aggregator_with_another_audit_key_is_refused(joined, run_bank) -> None:
    state = StateDirectory(joined)
    state.save_config(state.config.model_copy(update={"audit_key": "1" * 64}))
    ended = run_bank("audit", "verify", "--state", joined, "--against-aggregator")
    assert ended.code == 8
    assert "the log was replaced" in ended.error()


@pytest.mark.e2e
def test_bad_files_leave_state_and_run_untouched(
    joined, tmp_path, run_bank, make_rows, aggregator
) -> None:
    (tmp_path / "empty.csv").touch()
    make_rows().drop(columns="age").to_csv(tmp_path / "column.csv", index=False)
    make_rows().assign(amount="x").to_csv(tmp_path / "type.csv", index=False)
    make_rows().assign(amount=np.inf).to_csv(tmp_path / "infinite.csv", index=False)
    make_rows().assign(label=3).to_csv(tmp_path / "label.csv", index=False)
    before = private(joined)
    for name, message in {
        "none.csv": "no such file",
        "empty.csv": "the file is empty",
        "column.csv": "column 'age' (numeric feature) is missing",
        "type.csv": "row 1 (line 2), column 'amount': got 'x', expected a number",
        "infinite.csv": "row 1 (line 2), column 'amount': got inf",
        "label.csv": "row 1 (line 2), column 'label': got 3, expected 0 or 1",
    }.items():
        for command in ("check-data", "train"):
            ended = run_bank(command, "--state", joined, "--data", tmp_path / name)
            assert ended.code == 3, ended.err
            assert message in ended.error()
            assert str(tmp_path / name) in ended.error()
    assert private(joined) == before
    status = aggregator.status(StateDirectory(joined).config.last_run(RunKind.TRAINING))
    assert (status.state, status.members) == (RunState.OPEN, ())
    assert status.ciphertexts == 0


@pytest.mark.e2e
def test_check_data_prints_what_a_person_wants_to_know(
    joined, tmp_path, run_bank, make_rows
) -> None:
    rows = make_rows().assign(label=1)
    rows.to_parquet(tmp_path / "d.parquet")
    ended = run_bank("check-data", "--state", joined, "--data", tmp_path / "d.parquet")
    assert ended.code == 0
    words = " ".join(ended.out.replace("│", " ").replace("┃", " ").split())
    assert "rows for training 60" in words
    assert "prevalence 100.0000%" in words
    assert "amount 1 1.67%" in words
    assert "all 60 labels are 1" in words
    quiet = run_bank("--quiet", "check-data", "--state", joined, "--data", tmp_path / "d.parquet")
    assert quiet.out == ""


@pytest.mark.e2e
def test_status_with_and_without_the_aggregator(joined, consortium, run_bank) -> None:
    ended = run_bank("status", "--state", joined, "--json")
    report = json.loads(ended.out)
    assert report["name"] == consortium.name
    assert report["registered"]
    assert report["run"]["state"] == "open"
    assert consortium.name in report["run"]["cohort"]
    assert report["key_epochs"][-1]["key_bits"] == 2048
    assert report["key_epochs"][-1]["epoch"] == consortium.key_epoch.epoch
    assert sum(not one["confirmed"] for one in report["roster"]) == 2
    assert report["record"] is None
    assert report["kernel"] == kernel_note()
    shown = run_bank("status", "--state", joined).out
    assert consortium.name in shown
    assert "Paillier kernel" in shown
    assert f"{kernel_names()[0]} (" in shown
    state = StateDirectory(joined)
    state.save_config(state.config.model_copy(update={"aggregator": "http://127.0.0.1:9"}))
    ended = run_bank("status", "--state", joined, "--json")
    assert ended.code == 0
    assert "not reachable" in json.loads(ended.out)["run"]["error"]
    # Without its private keys it says what it can.
    (joined / "identity.key").chmod(0o644)
    ended = run_bank("status", "--state", joined, "--json")
    assert ended.code == 0
    assert "chmod 600" in json.loads(ended.out)["run"]["error"]


@pytest.fixture
def model_file(tmp_path, make_rows) -> Path:
    """Train a model of xgboost's own over the contract's features."""
    rows = make_rows(n_rows=300)
    features = rows[["amount", "age"]].assign(channel=rows["channel"] == "web")
    matrix = xgboost.DMatrix(
        features.to_numpy(np.float32),
        label=rows["label"],
        feature_names=list(features.columns),
        feature_types=["q", "q", "c"],
        enable_categorical=True,
    )
    booster = xgboost.train({"objective": "binary:logistic", "max_depth": 3}, matrix, 5)
    path = tmp_path / "model.json"
    booster.save_model(path)
    np.save(tmp_path / "expected.npy", booster.predict(matrix))
    return path


@pytest.mark.e2e
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_scores_are_xgboosts(joined, tmp_path, run_bank, make_rows, model_file, suffix) -> None:
    rows = make_rows(n_rows=300).drop(columns="label")
    rows.insert(0, "transaction_id", [f"t{i:03}" for i in range(300)])
    rows.to_csv(tmp_path / "new.csv", index=False)
    out = tmp_path / f"scores{suffix}"
    ended = run_bank(
        *("score", "--state", joined, "--data", tmp_path / "new.csv", "--out", out),
        *("--model", model_file),
    )
    assert ended.code == 0, ended.err
    assert "300 scores" in ended.out
    found = pd.read_csv(out) if suffix == ".csv" else pd.read_parquet(out)
    assert list(found["transaction_id"]) == list(rows["transaction_id"])
    scores = found["score"].to_numpy(np.float32)
    np.testing.assert_array_equal(scores, np.load(tmp_path / "expected.npy"))
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


@pytest.mark.e2e
def test_workers_write_the_scores_and_features_of_one_machine(
    joined, tmp_path, run_bank, make_rows, model_file
) -> None:
    data = tmp_path / "parts"
    data.mkdir()
    for number in range(2):
        rows = make_rows(seed=number, n_rows=50).drop(columns="label")
        rows.to_parquet(data / f"{number}.parquet")
    for command, more in (("score", ("--model", model_file)), ("features", ())):
        written = []
        for engine in ((), ("--engine", "dask", "--workers", "1", "--dashboard", "off")):
            out = tmp_path / f"{command}{len(engine)}.parquet"
            where = ("--state", joined, "--data", data, "--out", out)
            ended = run_bank(command, *where, *more, *engine)
            assert ended.code == 0, ended.err
            assert ("Dask cluster: 1 worker" in ended.err) is bool(engine)
            written.append(out.read_bytes())
        assert written[1] == written[0]
    # A cluster that is not there, and an option without the engine that it is for.
    where = ("--state", joined, "--data", data, "--out", out, "--model", model_file)
    ended = run_bank("score", *where, "--engine", "dask", "--scheduler", "tcp://192.0.2.1:8786")
    assert ended.code == 2
    ended = run_bank("score", *where, "--workers", "2")
    assert ended.code == 2
    assert "--workers is for --engine dask" in ended.error()
    assert out.read_bytes() == written[0]


@pytest.mark.e2e
def test_scoring_that_cannot_be(joined, tmp_path, run_bank, good_file, model_file) -> None:
    where = ("--state", joined, "--data", good_file)
    (tmp_path / "bad.json").write_text("{}")
    booster = xgboost.Booster(model_file=model_file)
    booster.feature_names = ["amount", "age", "other"]
    booster.save_model(tmp_path / "other.json")
    # XGBoost's own loader crashes at the first of these, and never ends at the second.
    for name, child in (("far.json", 2**30), ("circle.json", 0)):
        document = json.loads(model_file.read_text())
        trees = document["learner"]["gradient_booster"]["model"]["trees"]
        tree = next(tree for tree in trees if tree["left_children"][0] != -1)
        tree["left_children"][0] = tree["right_children"][0] = child
        (tmp_path / name).write_text(json.dumps(document))
    out = tmp_path / "out.csv"
    cases = [
        (["--out", out], 5, "train first"),
        (["--out", out, "--model", tmp_path / "none.json"], 5, "no such model"),
        (["--out", out, "--model", tmp_path / "bad.json"], 5, "is no model that can be used"),
        (["--out", out, "--model", tmp_path / "far.json"], 5, "left_children holds a number"),
        (["--out", out, "--model", tmp_path / "circle.json"], 5, "the root for a child"),
        (["--out", out, "--model", tmp_path / "other.json"], 5, "they differ in channel"),
        (["--out", tmp_path / "no" / "o.csv", "--model", model_file], 5, "cannot be written"),
        (["--out", tmp_path, "--model", model_file], 2, "expected .csv or .parquet"),
        (["--out", tmp_path / "o.txt", "--model", model_file], 2, "expected .csv or .parquet"),
    ]
    for options, code, message in cases:
        ended = run_bank("score", *where, *options)
        assert ended.code == code, ended.err
        assert message in ended.error()
    assert not out.exists()


@pytest.mark.e2e
def test_scores_into_a_directory_that_is_not_writable(
    joined, run_bank, good_file, model_file
) -> None:
    # Not even root creates files there.
    ended = run_bank(
        *("score", "--state", joined, "--data", good_file, "--out", "/proc/scores.csv"),
        *("--model", model_file),
    )
    assert ended.code == 5
    assert "/proc/scores.csv: cannot be written" in ended.error()


@pytest.mark.e2e
def test_every_command_of_a_member_answers_in_json(
    joined, consortium, tmp_path, run_bank, good_file, make_rows, model_file
) -> None:
    def run(*arguments: str | Path) -> Ended:
        return run_program("bank-node", *arguments, "--state", joined, "--json")

    assert run("status").answer("bank-node status")["run"]["state"] == "open"
    shown = run("roster").answer("bank-node roster")
    members = run("roster", "--confirm", shown["code"]).answer("bank-node roster")["members"]
    assert [one["confirmed"] for one in members] == [True] * 3
    accepted = run("keys", "accept").answer("bank-node keys accept")
    assert (accepted["active"], accepted["missing"]) == (True, [])
    checked = run("check-data", "--data", good_file).answer("bank-node check-data")
    assert (checked["rows"], checked["features"][0]["missing"]) == (60, 1)
    out = tmp_path / "scores.csv"
    scored = run("score", "--data", good_file, "--out", out, "--model", model_file)
    expected = {"out": str(out), "rows": 60, "probabilities": False}
    assert scored.answer("bank-node score") == expected
    verified = run("audit", "verify", "--against-aggregator").answer("bank-node audit verify")
    assert verified["compared_runs"] == 0
    make_rows().drop(columns="age").to_csv(tmp_path / "column.csv", index=False)
    for command in ("check-data", "train"):
        failed = run(command, "--data", tmp_path / "column.csv").error("data")
        assert "column 'age' (numeric feature) is missing" in failed.error.message
    out = tmp_path / "f.csv"
    exported = run("features", "--data", good_file, "--out", out).answer("bank-node features")
    assert exported == {"out": str(out), "rows": 60, "features": 3}
    run("train", "--data", good_file, "--cohort-timeout", "0.1").error("cohort")
    run("risk", "update", "--data", good_file).error("configuration")
    run("statistics", "--data", good_file).error("configuration")
    run("search", "--data", good_file).error("configuration")
    rotated = run("keys", "rotate", "--key-bits", "2048").answer("bank-node keys rotate")
    assert len(rotated["missing"]) == 2
    run("keys", "create", "--key-bits", "2048").error("configuration")
