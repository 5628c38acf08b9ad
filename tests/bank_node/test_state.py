"""The state directory: private, atomic, never half made."""

import json
import shutil
import stat

import pytest

from bank_node.config import BankConfig
from bank_node.state.checkpoints import Checkpoint
from bank_node.state.directory import FEATURES_FILE, MODEL_FILE, StateDirectory
from bank_node.state.outbox import Kept
from bank_node.state.pinned_run import PinnedRun
from bank_node.vault.key_sources import KeySource, PassphraseSource
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.key_ceremony import seal_key_package
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.durable_file import write_atomic, write_stream
from fraudfed.errors import KeyMaterialError, StateError
from fraudfed.wire.messages import KeyEpoch, ModelSignatures, RunKind


@pytest.fixture(scope="module")
def identity() -> Identity:
    return Identity.generate()


@pytest.fixture
def config(identity) -> BankConfig:
    return BankConfig(
        name="bank-a",
        aggregator="https://a.example",
        signing_key=identity.public.signing_key,
        agreement_key=identity.public.agreement_key,
    )


@pytest.fixture
def state(tmp_path, config, identity) -> StateDirectory:
    return StateDirectory.create(tmp_path / "bank", config, identity)


@pytest.fixture
def key_epoch(identity, key_package) -> KeyEpoch:
    return seal_key_package(
        key_package,
        epoch=7,
        steward=identity,
        steward_name="bank-a",
        roster=[identity.member("bank-a")],
    )


@pytest.fixture
def run(make_spec, key_epoch) -> PinnedRun:
    return PinnedRun(
        run_id="r1", spec=make_spec(), cohort=("bank-a",), public_key=key_epoch.public_key
    )


RESULT = {MODEL_FILE: b"{}", FEATURES_FILE: b"{}"}
SIGNATURES = ModelSignatures(run_id="r1", sha256="0" * 64, plain_sha256="0" * 64, signatures=())


def fill(state: StateDirectory, run: PinnedRun, key_epoch: KeyEpoch, package: KeyPackage) -> None:
    """Write every kind of file that a bank keeps."""
    state.save_config(
        state.config.with_last_run(RunKind.TRAINING, "r1").model_copy(update={"registered": True})
    )
    state.save_epoch(key_epoch, package)
    pins = state.pinned_roster()
    state.save_pinned_roster(pins.show(pins.members.values(), now=0).confirm_shown())
    state.pin_run(run)
    state.outbox("r1").keep("0" * 64, b"frame", seed=bytes(32), label="cuts", round_number=0)
    state.audit_log(state.identity()).append(
        durable=True,
        event="sent",
        kind="question",
        method="GET",
        path="/v1/runs",
        request_id="1",
        body_bytes=0,
    )
    state.save_result("r1", RESULT, SIGNATURES, {"trees": 1})
    with state.locked():
        pass


def test_everything_is_private(state, run, key_epoch, key_package) -> None:
    fill(state, run, key_epoch, key_package)
    found = {str(path.relative_to(state.path)) for path in state.path.rglob("*")}
    assert found == {
        *(
            "bank.toml",
            "identity.key",
            "roster.json",
            "audit.log",
            "ledger",
            "privacy.ledger",
            ".lock",
            "keys",
            "runs",
        ),
        *("keys/epoch-7.key", "keys/epoch-7.json", "runs/r1", "runs/r1/run.json"),
        *("runs/r1/sealed", "runs/r1/model.json", "runs/r1/signatures.json"),
        "runs/r1/features.json",
        "runs/r1/record.json",
    }
    for path in (state.path, *state.path.rglob("*")):
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


def test_what_was_saved_is_read_again(state, identity, run, key_epoch, key_package) -> None:
    assert state.epochs() == []
    assert state.key_epoch(7) is None
    assert state.pinned_run("r1") is None
    fill(state, run, key_epoch, key_package)
    again = StateDirectory(state.path)
    assert again.config == state.config
    assert again.config.last_run(RunKind.TRAINING) == "r1"
    assert again.identity().public == identity.public
    assert again.epochs() == [7]
    assert again.key_epoch(7) == key_epoch
    assert again.key_package(7).fingerprint == key_package.fingerprint
    assert again.pinned_roster().members == {"bank-a": identity.member("bank-a")}
    assert again.current_run() == again.current_run("r1") == run
    assert "0" * 64 in again.outbox("r1")
    assert again.record("r1") == {"trees": 1}
    with pytest.raises(StateError, match="does not know run r2"):
        again.current_run("r2")


def test_what_a_run_needs_to_go_on_ends_with_it(state, run, key_epoch, key_package) -> None:
    checkpoint = Checkpoint(
        run_id="r1",
        bank="bank-a",
        step=0,
        generation=0,
        cohort=("bank-a",),
        first_step=0,
        first_round=0,
        round_number=1,
        transcript="a" * 64,
        facts_sha256="b" * 64,
        data_sha256="c" * 64,
        counted=(),
        more_rows=0,
        state=b"",
    )
    outbox, log = state.outbox("r1"), state.round_log("r1")
    outbox.keep("1" * 64, b"frame", seed=bytes(32), label="cuts", round_number=0)
    state.checkpoints("r1").save(checkpoint)
    assert state.checkpoints("r1").latest() == checkpoint
    assert state.outbox("r1").find("1" * 64) == Kept(b"frame", bytes(32))
    assert log.read(0) == state.round_log("r1").read(0) == []
    (state.path / "runs" / "r1" / "rounds.log").write_bytes(b"")
    fill(state, run, key_epoch, key_package)
    assert sorted(path.name for path in (state.path / "runs" / "r1").iterdir()) == [
        *("features.json", "model.json", "record.json"),
        *("run.json", "sealed", "signatures.json"),
    ]
    assert state.outbox("r1").find("1" * 64) == Kept(None, None)
    # Damage to what is not needed any more does not spoil a result.
    (state.path / "runs" / "r1" / "sealed").write_bytes(b"x" * 200)
    state.save_result("r1", RESULT, SIGNATURES, {"trees": 2})
    assert state.record("r1") == {"trees": 2}


def test_epochs_are_sorted_as_numbers(state, key_epoch, key_package) -> None:
    for number in (10, 2, 1):
        epoch = key_epoch.model_copy(update={"epoch": number})
        state.save_epoch(epoch, key_package)
    (state.path / "keys" / "epoch-3.json").write_text("a crash before the key was written")
    assert state.epochs() == [1, 2, 10]


def test_what_is_secret_may_be_encrypted(
    tmp_path, config, identity, key_epoch, key_package
) -> None:
    """Every secret file of a state directory; what each is for is tested where it is written."""
    source = PassphraseSource("open sesame")
    made = StateDirectory.create(tmp_path / "bank", config, identity, source=source)
    made.unlock("open sesame")
    made.save_epoch(key_epoch, key_package)
    for name, secret in {
        "identity.key": json.loads(identity.expose_bytes())["private_keys"],
        "keys/epoch-7.key": key_package.expose_secret().hex(),
    }.items():
        content = (made.path / name).read_bytes()
        assert stat.S_IMODE((made.path / name).stat().st_mode) == 0o600
        for part in (secret[:64], secret[-64:]):
            assert part.encode() not in content
            assert bytes.fromhex(part) not in content
    again = StateDirectory(made.path)
    assert again.key_source is KeySource.PASSPHRASE
    again.unlock("open sesame")
    assert again.identity().public == identity.public
    assert again.key_package(7).fingerprint == key_package.fingerprint
    for passphrase, message in ((None, "is encrypted"), ("wrong", "passphrase is wrong")):
        locked = StateDirectory(made.path)
        locked.unlock(passphrase)
        with pytest.raises(KeyMaterialError, match=message):
            locked.identity()
        with pytest.raises(KeyMaterialError, match=message):
            locked.key_package(7)
    # One secret file in the place of the other, and a plain one, are no way in.
    shutil.copy(made.path / "identity.key", made.path / "keys" / "epoch-7.key")
    with pytest.raises(KeyMaterialError, match="does not open"):
        again.key_package(7)
    (made.path / "identity.key").write_bytes(Identity.generate().expose_bytes())
    with pytest.raises(KeyMaterialError, match="not encrypted"):
        again.identity()


def test_control_without_a_vault_a_copy_of_the_files_shows_the_keys(
    state, identity, key_epoch, key_package
) -> None:
    state.save_epoch(key_epoch, key_package)
    private = json.loads(identity.expose_bytes())["private_keys"]
    assert private in (state.path / "identity.key").read_text()
    package = (state.path / "keys" / "epoch-7.key").read_text()
    assert key_package.expose_secret().hex() in package


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o601])
def test_a_secret_file_that_others_can_reach_is_refused(
    state, key_epoch, key_package, mode: int
) -> None:
    state.save_epoch(key_epoch, key_package)
    for name, read in (
        ("identity.key", state.identity),
        ("keys/epoch-7.key", lambda: state.key_package(7)),
    ):
        (state.path / name).chmod(mode)
        with pytest.raises(KeyMaterialError, match=rf"mode {mode:04o}.*chmod 600 .*{name}"):
            read()


def test_a_key_package_is_never_overwritten(state, key_epoch, key_package) -> None:
    state.save_epoch(key_epoch, key_package)
    before = (state.path / "keys" / "epoch-7.key").read_bytes()
    with pytest.raises(KeyMaterialError, match="never overwritten"):
        state.save_epoch(key_epoch, key_package)
    assert (state.path / "keys" / "epoch-7.key").read_bytes() == before


def test_a_foreign_directory_is_left_alone(tmp_path, config, identity) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(StateError, match="not an empty directory"):
        StateDirectory.create(tmp_path, config, identity)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    with pytest.raises(StateError, match="not the state directory of a bank"):
        StateDirectory(tmp_path)
    with pytest.raises(StateError, match="no such state directory"):
        StateDirectory(tmp_path / "none")


def test_a_place_that_cannot_be_written(tmp_path, config, identity) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StateError, match="cannot be used"):
        StateDirectory.create(tmp_path / "file" / "bank", config, identity)
    with pytest.raises(StateError, match="cannot be written"):
        write_atomic(tmp_path / "none" / "x", b"")


def test_a_write_that_fails_leaves_the_old_file(tmp_path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def fail(stream) -> None:
        stream.write(b"new")
        raise OSError(28, "No space left on device")

    with pytest.raises(StateError, match="No space left"):
        write_stream(path, fail, mode=0o600)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not toml", "not readable as TOML"),
        ('format_version = 1\nname = "a"', "format_version is 1"),
        ('name = "a"', "format_version is None"),
        ('format_version = 3\nname = "A B"', "name is 'A B'"),
        ('format_version = 3\nname = "a"', "aggregator"),
        ("EXTRA", "extra"),
        ("RUN", "last_runs.training"),
    ],
)
def test_a_damaged_bank_toml_is_named(state, text, message) -> None:
    whole = state.config.to_toml()
    text = {
        "EXTRA": whole.replace("\n[last_runs]", "extra = 1\n[last_runs]"),
        "RUN": whole.replace("[last_runs]", '[last_runs]\ntraining = "../x"'),
    }.get(text, text)
    (state.path / "bank.toml").write_text(text)
    with pytest.raises(StateError, match=message):
        StateDirectory(state.path)


def test_a_damaged_run_is_named(state, run) -> None:
    state.pin_run(run)
    for name, read in (("run.json", state.pinned_run), ("record.json", state.record)):
        (state.path / "runs" / "r1" / name).write_text("{")
        with pytest.raises(StateError, match=name):
            read("r1")


def test_two_holders_of_one_directory(state) -> None:
    other = StateDirectory(state.path)
    with state.locked(), pytest.raises(StateError, match="another bank-node"), other.locked():
        pass
    with other.locked():
        pass


def test_seeds_and_the_secret_of_the_ledger_are_sealed(tmp_path, config, identity, run) -> None:
    source = PassphraseSource("open sesame")
    made = StateDirectory.create(tmp_path / "bank", config, identity, source=source)
    made.unlock("open sesame")
    made.pin_run(run)
    context, seed = "5" * 64, bytes(range(32))
    made.outbox("r1").keep(context, b"frame", seed=seed, label="x", round_number=0)
    key = made.ledger().key("rows", b"x")
    again = StateDirectory(made.path)
    again.unlock("open sesame")
    kept = again.outbox("r1").find(context)
    assert kept is not None
    assert (kept.seed, kept.contribution) == (seed, b"frame")
    assert again.ledger().key("rows", b"x") == key
    content = (made.path / "runs" / "r1" / "sealed").read_bytes()
    assert b"frame" in content, "what others are sent is not secret"
    assert seed not in content
    secret = again.ledger()._opened_secret()
    assert secret not in (made.path / "ledger").read_bytes()
    # What was noted is read without the passphrase; nothing is noted without it.
    locked = StateDirectory(made.path)
    assert locked.ledger().summary().sets == 0
    with pytest.raises(KeyMaterialError, match="is encrypted"):
        locked.ledger().key("rows", b"x")


def test_a_seed_in_the_place_of_another_does_not_open(state, run) -> None:
    state.pin_run(run)
    outbox = state.outbox("r1")
    for number in (1, 2):
        outbox.keep(
            f"{number}" * 64, b"", seed=bytes([number]) * 32, label="x", round_number=number
        )
    path = state.path / "runs" / "r1" / "sealed"
    data = path.read_bytes()
    seeds = [b"\x11" * 32 + b"\x01" * 32, b"\x22" * 32 + b"\x02" * 32]
    assert all(seed in data for seed in seeds)
    # A record's checksum finds damage; somebody who makes a new one is found by the context.
    kept = outbox._payload(outbox._places[b"\x11" * 32].contribution)
    assert kept is not None
    with pytest.raises(KeyMaterialError, match="another context"):
        outbox._secrets_in(kept, b"\x22" * 32)


def test_control_without_a_vault_the_file_shows_the_seed(state, run) -> None:
    state.pin_run(run)
    state.outbox("r1").keep("5" * 64, b"", seed=bytes(range(32)), label="x", round_number=0)
    assert bytes(range(32)) in (state.path / "runs" / "r1" / "sealed").read_bytes()


@pytest.mark.parametrize("passphrase", [None, "a long passphrase"])
def test_what_a_bank_entered_in_statistics_is_kept_sealed_at_any_size(
    tmp_path, config, identity, passphrase: str | None
) -> None:
    source = None if passphrase is None else PassphraseSource(passphrase)
    state = StateDirectory.create(tmp_path / "bank", config, identity, source=source)
    state.unlock(passphrase)
    with pytest.raises(StateError, match="take part in another statistics run"):
        state.own_statistics("r1")
    content = b"counts of this bank " * 50_000
    state.keep_own_statistics("r1", content)
    state.keep_own_statistics("r2", b"another")
    assert state.own_statistics("r1") == content
    path = state.path / "runs" / "r1" / "statistics.own"
    assert path.stat().st_mode & 0o077 == 0
    assert (b"counts of this bank" in path.read_bytes()) == (passphrase is None)
    if passphrase is not None:
        # It opens in its own place only.
        path.write_bytes((state.path / "runs" / "r2" / "statistics.own").read_bytes())
        with pytest.raises(KeyMaterialError):
            state.own_statistics("r1")
