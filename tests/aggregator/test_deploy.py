"""Container files and systemd units agree with the commands, the API and the exit codes."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from examples.certificates import certify
from federations.server_process import ServerProcess

from aggregator.cli import cli as aggregator_cli
from aggregator.config import MAX_WAIT_SECONDS, ServiceConfig
from aggregator.service.app import declared_endpoints
from aggregator.service.state_directory import StateDirectory
from bank_node.cli import cli as bank_cli
from fraudfed.errors import (
    AuthError,
    ClusterError,
    FraudFedError,
    ServerError,
    StateError,
    TransportError,
    error_classes,
)
from fraudfed.http.server.arrivals import BODY_SECONDS, HEAD_SECONDS

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
HEALTHCHECK = DEPLOY / "healthcheck.py"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
BANK_COMPOSE = yaml.safe_load((DEPLOY / "compose.bank.yaml").read_text())
TOOLS = DEPLOY.parent / "build" / "deploy-tools"
with_tools = pytest.mark.skipif(
    not (TOOLS / "complete").exists(), reason="make deploy-tools has not been run"
)
#: A restart may cure what is behind these exit codes: a bug's moment, the network, the other side.
MAY_PASS = {FraudFedError.exit_code, TransportError.exit_code, ServerError.exit_code}
#: A full disk, a clock that was wrong and a cluster that is away may pass at a bank as well.
MAY_PASS_AT_A_BANK = {
    *MAY_PASS,
    *(StateError.exit_code, AuthError.exit_code, ClusterError.exit_code),
}

Instruction = tuple[str, str]


def stages() -> dict[str, list[Instruction]]:
    """Return the instructions of each stage of the Dockerfile, by the stage's name."""
    text = (DEPLOY / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    logical = re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines()
    found: dict[str, list[Instruction]] = {}
    stage: list[Instruction] = []
    for line in filter(None, map(str.strip, logical)):
        name, _, rest = line.partition(" ")
        assert name.isupper(), line
        if name == "FROM":
            stage = found.setdefault(rest.partition(" AS ")[2], [])
        elif not found:
            assert name == "ARG", line
        stage.append((name, rest))
    return found


def final(name: str) -> list[Instruction]:
    """Return the instructions of an image: those of the stage that it continues come first."""
    return [*stages()["runtime"], *stages()[name]]


def one(stage: list[Instruction], name: str) -> str:
    (value,) = [rest for found, rest in stage if found == name]
    return value


def parses(group: click.Group, arguments: list[str]) -> None:
    """Fail if a command line has an option that the command has not."""
    _, (name, *rest), _ = group.make_parser(click.Context(group)).parse_args(list(arguments))
    group.commands[name].make_context(name, rest)


def assert_probes(arguments: list[str], *, script: str) -> None:
    """Hold a health check against the script, the API and the state directory."""
    assert arguments[:2] == ["python", script]
    options = dict(zip(arguments[2::2], arguments[3::2], strict=True))
    assert options["--state"] == "/state"
    paths = {endpoint.prefix + endpoint.rule for endpoint in declared_endpoints()}
    assert options["--path"] in paths
    assert set(options) <= set(re.findall(r"--[a-z]+", HEALTHCHECK.read_text()))


# The image


def test_images_are_pinned_by_digest() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    (base,) = re.findall(r"^ARG PYTHON=(.*)$", text, re.MULTILINE)
    images = [base, *(one["image"] for one in COMPOSE["services"].values())]
    for image in images:
        if image.startswith("fraudfed-"):
            assert image.endswith(":0.1.0"), image
        else:
            assert re.fullmatch(r"\S+:[\w.-]*\d+\.\d+[\w.-]*@sha256:[0-9a-f]{64}", image), image
    # Every stage begins with that base, or with another stage.
    for stage in stages().values():
        begins = one(stage, "FROM").partition(" AS ")[0]
        assert begins == "${PYTHON}" or begins in stages()
    # What BuildKit would fetch to read the file is pinned by being absent.
    assert not re.search(r"^#\s*syntax", text, re.MULTILINE)
    assert {service["image"] for service in BANK_COMPOSE["services"].values()} == {
        "fraudfed-bank:0.1.0"
    }


@pytest.mark.parametrize("image", ["aggregator", "bank"])
def test_a_final_image_has_no_tools_to_build_and_no_root(image: str) -> None:
    assert "gcc" in str(stages()["source"])
    assert not re.search(r"gcc|apt-get|pip install|curl|git\b", str(final(image)))
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", one(final(image), "USER"))
    names = [name for name, _ in final(image)]
    for name in {"ENTRYPOINT", "CMD", "HEALTHCHECK"} & set(names):
        assert names.index("USER") < names.index(name)
    assert json.loads(one(final(image), "VOLUME")) == ["/state"]
    assert "/state" in next(rest for name, rest in final(image) if name == "RUN")
    # What only installs is gone before the environment is copied.
    assert "pip uninstall --yes setuptools pip" in str(stages()[f"{image}-build"])


@pytest.mark.parametrize("image", ["aggregator", "bank"])
def test_an_image_installs_from_the_lock_file_of_its_role(image: str) -> None:
    (install,) = [rest for name, rest in stages()[f"{image}-build"] if name == "RUN"]
    locked, ours, *_ = install.split(" && ")
    assert "--require-hashes --requirement" in locked
    assert "--no-deps --no-build-isolation ." in ours
    role = dict(stages()[f"{image}-build"]).get("ARG", "ROLE=aggregator").removeprefix("ROLE=")
    used = locked.split("--requirement ")[1].strip('" ').replace("${ROLE}", role)
    copied = next(rest for name, rest in stages()[f"{image}-build"] if name == "COPY")
    assert used in copied.split()
    assert (DEPLOY.parent / used).exists()


def test_everything_that_is_copied_exists_and_is_let_in() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    assert ignored[1] == "*"
    copied = set()
    for stage in stages().values():
        for name, rest in stage:
            words = [word for word in rest.split() if not word.startswith("--")]
            if name == "COPY" and "--from=" not in rest:
                copied |= set(words[:-1])
    assert copied == let_in
    for path in copied:
        assert (DEPLOY.parent / path).exists(), path


def test_the_image_installs_every_package() -> None:
    listed = set(re.findall(r"^    (\w+)$", (DEPLOY.parent / "setup.cfg").read_text(), re.M))
    packages = {"fraudfed", "bank_node", "aggregator", "data_gen"}
    assert packages <= listed
    copied = {rest.split()[0] for name, rest in stages()["source"] if name == "COPY"}
    assert packages <= copied


@pytest.mark.parametrize(
    ("image", "program", "group"),
    [("aggregator", "aggregator", aggregator_cli), ("bank", "bank-node", bank_cli)],
)
def test_an_image_starts_a_command_that_exists(
    image: str, program: str, group: click.Group
) -> None:
    found, *options = json.loads(one(final(image), "ENTRYPOINT"))
    assert found == program
    command = json.loads(one(final(image), "CMD"))
    if command == ["--help"]:
        group.make_parser(click.Context(group)).parse_args([*options, *command])
    else:
        parses(group, [*options, *command])


def test_the_image_probes_an_address_that_exists() -> None:
    health = one(final("aggregator"), "HEALTHCHECK")
    assert_probes(json.loads(health.partition("CMD ")[2]), script="/opt/fraudfed/healthcheck.py")
    # A probe that waits for the database must be heard out.
    assert int(re.search(r"--timeout=(\d+)s", health)[1]) > 6  # type: ignore[index]


@with_tools
def test_hadolint_has_no_objection() -> None:
    done = subprocess.run(
        [TOOLS / "bin" / "hadolint", DEPLOY / "Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "")


def run_healthcheck(state: Path, path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(HEALTHCHECK), "--state", str(state), "--path", path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"HTTP_PROXY": "http://127.0.0.1:1", "http_proxy": "http://127.0.0.1:1"},
    )


@pytest.mark.e2e
def test_the_health_check_asks_the_service_of_its_state_directory(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "state")
    state.create()
    settings = tmp_path / "settings.json"
    assert "no service runs" in run_healthcheck(state.path, "/v1/ready").stdout
    with ServerProcess(state.path) as server:
        assert run_healthcheck(state.path, "/v1/ready").returncode == 0
        # As a container serves it.
        state.write_url(f"http://0.0.0.0:{server.port}")
        for path in ("/v1/ready", "/v1/health"):
            assert run_healthcheck(state.path, path).returncode == 0
        assert run_healthcheck(state.path, "/v1/nothing").returncode == 1
        server.stop()
    assert run_healthcheck(state.path, "/v1/ready").returncode == 1
    # More room than there is: alive, but not ready.
    settings.write_text(json.dumps({"max_body_bytes": 2**60}))
    with ServerProcess(state.path, options=("--config", str(settings))):
        unready = run_healthcheck(state.path, "/v1/ready")
        assert unready.returncode == 1
        assert "503" in unready.stdout
        assert "make room" in unready.stdout
        assert run_healthcheck(state.path, "/v1/health").returncode == 0


# Compose


def service(name: str) -> dict[str, Any]:
    found: dict[str, Any] = COMPOSE["services"][name]
    return found


def test_the_composed_service_starts_a_command_that_exists() -> None:
    parses(aggregator_cli, service("aggregator")["command"])


def test_the_composed_service_is_confined() -> None:
    for name in ("aggregator", "init"):
        assert service(name)["read_only"] is True
        assert "cap_add" not in service(name)
    for found in COMPOSE["services"].values():
        assert found["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in found["security_opt"]
    assert COMPOSE["networks"]["inside"]["internal"] is True
    assert service("postgres")["networks"] == ["inside"]
    assert COMPOSE["networks"]["between"]["internal"] is True
    # The proxy alone can be reached from outside.
    assert [name for name, one in COMPOSE["services"].items() if "ports" in one] == ["proxy"]
    outside = [name for name, one in COMPOSE["services"].items() if "outside" in one["networks"]]
    assert outside == ["proxy"]


def test_no_container_that_holds_a_key_dumps_or_swaps_its_memory() -> None:
    for name in ("aggregator", "init", "proxy"):
        assert service(name)["ulimits"]["core"] == 0
    limits = service("aggregator")["deploy"]["resources"]["limits"]
    assert service("aggregator")["memswap_limit"] == limits["memory"]


def test_long_lived_services_restart_are_probed_and_bounded() -> None:
    for name in ("postgres", "aggregator", "proxy"):
        found = service(name)
        assert found["restart"] == "unless-stopped"
        assert found["healthcheck"]["test"][0] == "CMD"
        assert {"cpus", "memory"} <= set(found["deploy"]["resources"]["limits"])
    probe = service("aggregator")["healthcheck"]["test"][1:]
    assert_probes(probe, script="/opt/fraudfed/healthcheck.py")


def test_there_is_room_for_all_threads() -> None:
    command = service("aggregator")["command"]
    workers = int(command[command.index("--workers") + 1])
    assert workers <= float(service("aggregator")["deploy"]["resources"]["limits"]["cpus"])
    threads = ServiceConfig().threads + ServiceConfig().max_waiting + 16
    assert service("aggregator")["pids_limit"] > workers * threads


def test_stopping_leaves_time_to_finish() -> None:
    grace = int(service("aggregator")["stop_grace_period"].removesuffix("s"))
    assert grace > ServiceConfig().stop_seconds


def test_passwords_are_in_files_and_nowhere_else() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    assert "POSTGRES_PASSWORD:" not in text
    assert service("postgres")["environment"]["POSTGRES_PASSWORD_FILE"].startswith("/run/secrets/")
    used = {name for one in COMPOSE["services"].values() for name in one.get("secrets", [])}
    assert used == set(COMPOSE["secrets"])
    assert all(set(one) == {"file"} for one in COMPOSE["secrets"].values())
    ignored = (DEPLOY.parent / ".gitignore").read_text()
    assert "deploy/secrets/" in ignored
    # Not on a command line, which every process of the container's host can read.
    assert "--database -" in service("init")["command"][0]


PARSE = """
import sys
from compose_spec import PyCompose, PyOptions
found = PyCompose.from_yaml(sys.stdin.read())
print(*sorted(found.service_names()))
"""


@with_tools
@pytest.mark.parametrize("name", ["compose.yaml", "compose.bank.yaml"])
def test_the_specification_of_compose_has_no_objection(name: str) -> None:
    # Anchors and merges are YAML's, not Compose's; variables are replaced before it is read. An
    # engine takes a tag beside a digest, this parser one of the two.
    text = yaml.safe_dump(yaml.safe_load((DEPLOY / name).read_text()))
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", re.sub(r":[\w.-]+@sha256:", "@sha256:", text))

    def parsed(text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [TOOLS / "bin" / "python", "-c", PARSE],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    done = parsed(text)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == sorted(yaml.safe_load(text)["services"])
    assert parsed(text.replace("read_only:", "read_olny:")).returncode != 0


def test_the_bank_composed_is_confined() -> None:
    for name, found in BANK_COMPOSE["services"].items():
        assert found["read_only"] is True
        assert found["cap_drop"] == ["ALL"]
        assert "cap_add" not in found
        assert "ports" not in found
        assert found["security_opt"] == ["no-new-privileges:true"]
        assert found["ulimits"]["core"] == 0
        assert found["memswap_limit"] == found["deploy"]["resources"]["limits"]["memory"]
        assert ("outside" in found["networks"]) == (name == "node")
    assert BANK_COMPOSE["networks"]["cluster"]["internal"] is True
    # Workers see rows and no key; rows are never written to.
    for name in ("scheduler", "worker"):
        found = BANK_COMPOSE["services"][name]
        assert not any(":/state" in volume for volume in found.get("volumes", []))
        assert "passphrase" not in found["secrets"]
        assert "--protocol=tls" in found["command"]
    for found in BANK_COMPOSE["services"].values():
        data = [volume for volume in found.get("volumes", []) if ":/data" in volume]
        assert all(volume.endswith(":ro") for volume in data)
    secrets = {name for one in BANK_COMPOSE["services"].values() for name in one["secrets"]}
    assert secrets == set(BANK_COMPOSE["secrets"])


# The proxy


def directives(text: str) -> list[tuple[tuple[str, ...], list[str]]]:
    """Return every directive of a configuration of nginx, with the blocks that it stands in."""
    bare = "\n".join(line.partition("#")[0] for line in text.splitlines())
    found: list[tuple[tuple[str, ...], list[str]]] = []
    blocks: list[str] = []
    for words, end in re.findall(r"([^;{}]*)([;{}])", bare):
        if end == "{":
            blocks.append(words.strip())
        elif end == "}":
            blocks.pop()
        else:
            found.append((tuple(blocks), shlex.split(words)))
    assert blocks == []
    return found


NGINX = DEPLOY / "nginx.conf"


def nginx(name: str) -> list[str]:
    """Return the words behind a directive that is there once."""
    (words,) = [words[1:] for _, words in directives(NGINX.read_text()) if words[0] == name]
    return words


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def test_the_proxy_takes_whole_requests_within_limits() -> None:
    assert seconds(*nginx("client_header_timeout")) <= HEAD_SECONDS
    assert seconds(*nginx("client_body_timeout")) <= BODY_SECONDS
    assert nginx("client_header_buffer_size") == ["4k"]
    assert nginx("large_client_header_buffers") == ["2", "4k"]
    assert int(nginx("client_max_body_size")[0].removesuffix("m")) * 2**20 == (
        ServiceConfig().max_body_bytes
    )
    assert nginx("proxy_request_buffering") == ["on"]
    assert seconds(*nginx("proxy_read_timeout")) > MAX_WAIT_SECONDS
    assert nginx("limit_conn")[1:] == ["128"]
    assert nginx("limit_req")[0] == f"zone={nginx('limit_req_zone')[1].split('=')[1].split(':')[0]}"
    # A request is signed once; a second one would be refused as a replay.
    assert nginx("proxy_next_upstream") == ["off"]
    # With an address behind it nginx would decode and clean what is signed as it was sent.
    assert nginx("proxy_pass") == ["http://aggregator"]
    (address,) = nginx("server")
    port = address.split(":")[1]
    command = service("aggregator")["command"]
    assert port == command[command.index("--port") + 1] == nginx("listen")[0]
    assert service("proxy")["ports"] == [f"{port}:{port}"]
    mounted = {volume.split(":")[1] for volume in service("proxy")["volumes"]}
    assert mounted == {"/etc/nginx/nginx.conf"}
    secrets = {f"/run/secrets/{name}" for name in service("proxy")["secrets"]}
    assert {*nginx("ssl_certificate"), *nginx("ssl_certificate_key")} == secrets


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_nginx_accepts_the_configuration(tmp_path: Path) -> None:
    certificate, key = certify(tmp_path, "server", host="127.0.0.1").files
    text = NGINX.read_text().replace("server aggregator:8765", "server 127.0.0.1:8765")
    text = text.replace("/tmp/", f"{tmp_path}/")
    text = text.replace("/run/secrets/tls_certificate", str(certificate))
    text = text.replace("/run/secrets/tls_key", str(key))
    path = tmp_path / "nginx.conf"
    path.write_text(text)
    found = subprocess.run(
        ["nginx", "-t", "-e", "stderr", "-c", str(path), "-p", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 0, found.stderr


# systemd


def unit(path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        name, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_units_start_commands_that_exist(path: Path) -> None:
    (command,) = unit(path)["ExecStart"]
    program, *arguments = shlex.split(command)
    values = {"${HOST}": "127.0.0.1", "${PORT}": "8765", "${DATA}": "/srv/rows.parquet"}
    given = [
        values.get(word, word.replace("%i", "bank-a"))
        for word in arguments
        if not re.fullmatch(r"\$[A-Z_]+", word)
    ]
    parses({"aggregator": aggregator_cli, "bank-node": bank_cli}[Path(program).name], given)


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_restarts_what_a_restart_can_cure(path: Path) -> None:
    found = unit(path)
    assert found["Type"] == ["exec"]
    assert found["Restart"] == ["on-failure"]
    prevented = {int(code) for code in found["RestartPreventExitStatus"][0].split()}
    may_pass = MAY_PASS_AT_A_BANK if "bank" in path.name else MAY_PASS
    assert prevented == {cls.exit_code for cls in error_classes().values()} - may_pass


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_is_confined(path: Path) -> None:
    found = unit(path)
    assert found["NoNewPrivileges"] == ["yes"]
    assert found["ProtectSystem"] == ["strict"]
    assert found["UMask"] == ["0077"]
    assert found["StateDirectoryMode"] == ["0700"]
    assert found["CapabilityBoundingSet"] == [""]
    assert found["User"][0].startswith("fraudfed-")
    assert unit(path)["LimitCORE"] == ["0"]
    assert unit(path)["MemorySwapMax"] == ["0"]


def test_the_aggregators_unit_leaves_time_to_finish() -> None:
    seconds = int(unit(DEPLOY / "systemd" / "fraudfed-aggregator.service")["TimeoutStopSec"][0])
    assert seconds > ServiceConfig().stop_seconds


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_accepts_the_units(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / path.name.replace("@", "@bank-a")
    programs = str(Path(sys.executable).parent)
    copy.write_text(path.read_text().replace("/opt/fraudfed/bin", programs))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
