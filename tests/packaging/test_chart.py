"""The chart is what Helm accepts, renders what Kubernetes accepts, and confines what it starts.

Linted and rendered by Helm's own library, checked against the schemas of Kubernetes, both in an
environment of their own (``make deploy-tools``); without it these tests are skipped. No cluster has
run the result.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import click
import pytest
import yaml
from declared_requirements import ROOT

from aggregator.cli import cli as aggregator_cli
from aggregator.config import ServiceConfig
from aggregator.service.app import declared_endpoints
from bank_node.cli import cli as bank_cli

CHART = ROOT / "deploy" / "helm" / "fraudfed"
PYTHON = ROOT / "build" / "deploy-tools" / "bin" / "python"
CASES = {path.stem.removesuffix("-values"): path for path in sorted((CHART / "ci").iterdir())}
#: The oldest and the newest release of Kubernetes whose schemas the tools have.
KUBERNETES = ("1.33", "1.37")

pytestmark = pytest.mark.skipif(
    not (ROOT / "build" / "deploy-tools" / "complete").exists(),
    reason="make deploy-tools has not been run",
)

#: Reads [[name, values], ...], prints for each what Helm says and renders.
HELM = """
import json, sys
import helm_python
found = {}
for name, values in json.load(sys.stdin):
    report = helm_python.lint(sys.argv[1], values, strict=True, namespace="ff")
    with helm_python.Chart.load(sys.argv[1]) as chart:
        try:
            made = chart.render(values, name="rel", namespace="ff")
        except helm_python.HelmError as error:
            made = str(error)
    found[name] = {"lint": report, "made": made}
print(json.dumps(found))
"""
#: Reads [[version, document], ...], prints what is wrong with them.
VALIDATE = """
import json, sys
import kubernetes_validate
for version, document in json.load(sys.stdin):
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except Exception as error:
        print(document["kind"], version, error)
"""


def tool(program: str, given: Any, *arguments: str) -> str:
    done = subprocess.run(
        [str(PYTHON), "-c", program, *arguments],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def values(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(CASES[name].read_text())
    return found


def wrong_values() -> Iterator[tuple[str, dict[str, Any]]]:
    """Draw up values that must not be rendered, each with a word of the refusal."""
    bank = {"enabled": True}
    yield "images", {"images": {"aggregator": {"repository": "x", "tag": "latest"}}}
    yield "digest", {"images": {"bank": {"repository": "x", "digest": "sha256:short"}}}
    yield "runasuser", {"bank": {**bank, "runAsUser": 0}}
    yield "tlssecret", {"bank": {**bank, "dask": {"enabled": True}}}
    yield "tlssecret", {"bank": {**bank, "serve": {"enabled": True, "tokenSecret": "t"}}}
    yield "run", {"bank": {**bank, "train": {"enabled": True, "data": "/data/x.parquet"}}}
    yield "stopseconds", {"aggregator": {"enabled": True, "stopSeconds": 5}}


@pytest.fixture(scope="module")
def helm() -> dict[str, Any]:
    cases: list[tuple[str, Any]] = [(name, values(name)) for name in CASES]
    cases.append(("nothing", {}))
    cases += [(f"wrong {number}", case) for number, (_, case) in enumerate(wrong_values())]
    found: dict[str, Any] = json.loads(tool(HELM, cases, str(CHART)))
    return found


def documents(made: dict[str, str]) -> list[dict[str, Any]]:
    return [found for text in made.values() for found in yaml.safe_load_all(text) if found]


def pod(document: dict[str, Any]) -> dict[str, Any] | None:
    return document["spec"].get("template", {}).get("spec") if "spec" in document else None


def pods(helm: dict[str, Any]) -> list[dict[str, Any]]:
    made = [one for name in CASES for one in documents(helm[name]["made"])]
    return [found for found in map(pod, made) if found]


def containers(helm: dict[str, Any], kind: str | None = None) -> list[dict[str, Any]]:
    found = [
        one for each in pods(helm) for one in [*each.get("initContainers", []), *each["containers"]]
    ]
    return [one for one in found if kind in (None, one["name"])]


def test_helm_has_no_objection(helm: dict[str, Any]) -> None:
    for name in (*CASES, "nothing"):
        report = helm[name]["lint"]
        assert report["errors"] == []
        # 1 is advice: an icon.
        assert all(message["severity"] <= 1 for message in report["messages"]), report


def test_nothing_is_installed_until_it_is_asked_for(helm: dict[str, Any]) -> None:
    assert documents(helm["nothing"]["made"]) == []


def test_values_that_are_not_safe_are_refused(helm: dict[str, Any]) -> None:
    for number, (word, case) in enumerate(wrong_values()):
        found = helm[f"wrong {number}"]
        refused = str(found["lint"]["errors"]) + str(found["lint"]["messages"])
        assert re.search(word, refused, re.IGNORECASE), (case, refused)
        assert found["lint"]["errors"] or isinstance(found["made"], str)


def test_kubernetes_has_no_objection(helm: dict[str, Any]) -> None:
    made = [one for name in CASES for one in documents(helm[name]["made"])]
    # A kind of Prometheus's operator, of which the tools have no schema.
    known = [one for one in made if one["kind"] != "ServiceMonitor"]
    assert len(known) == len(made) - 1
    assert tool(VALIDATE, [[version, one] for version in KUBERNETES for one in known]) == ""
    broken = json.loads(json.dumps(known))
    broken[0]["sepc"] = {}
    assert "sepc" in tool(VALIDATE, [[KUBERNETES[0], broken[0]]])


def test_every_pod_is_confined(helm: dict[str, Any]) -> None:
    assert {one["name"] for one in containers(helm)} == {
        *("init", "aggregator", "console", "train", "serve", "scheduler", "worker"),
    }
    for each in pods(helm):
        assert each["automountServiceAccountToken"] is False
        assert each["securityContext"]["runAsNonRoot"] is True
        assert each["securityContext"]["runAsUser"] == 10001
        assert each["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(each)
        assert not any("hostPath" in volume for volume in each["volumes"])
        # A file system that a container could fill is bounded.
        temporary = [one["emptyDir"] for one in each["volumes"] if "emptyDir" in one]
        assert all("sizeLimit" in one for one in temporary)
    for one in containers(helm):
        context = one["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert {"requests", "limits"} == set(one["resources"])
        assert "memory" in one["resources"]["limits"]


def test_no_secret_is_in_an_argument_or_in_plain_environment(helm: dict[str, Any]) -> None:
    for one in containers(helm):
        given = {variable["name"] for variable in one.get("env", [])}
        settings = {name for name in given if name.startswith("DASK_DISTRIBUTED__COMM__TIMEOUTS__")}
        assert given - settings <= {"HOME", "BANK_NODE_PASSPHRASE_FILE"}
        assert "postgresql://" not in str(one)
    made = [one for name in CASES for one in documents(helm[name]["made"])]
    # Secrets are made by those who hold them, not by a chart whose values lie in a repository.
    assert not [one for one in made if one["kind"] == "Secret"]


def test_workers_of_a_cluster_have_rows_and_no_key(helm: dict[str, Any]) -> None:
    for one in containers(helm, "worker") + containers(helm, "scheduler"):
        mounted = {volume["mountPath"] for volume in one["volumeMounts"]}
        assert not mounted & {"/state", "/passphrase"}
        assert "--protocol=tls" in one["args"]
        assert {"--tls-ca-file", "--tls-cert", "--tls-key"} <= {
            word.partition("=")[0] for word in one["args"]
        }


def test_everything_has_a_network_policy(helm: dict[str, Any]) -> None:
    for name in CASES:
        made = documents(helm[name]["made"])
        policies = [one["spec"] for one in made if one["kind"] == "NetworkPolicy"]
        for document in made:
            if pod(document) is None:
                continue
            labels = document["spec"]["template"]["metadata"]["labels"]
            covering = [policy for policy in policies if selects(policy["podSelector"], labels)]
            assert len(covering) == 1, document["metadata"]["name"]
            assert covering[0]["policyTypes"] == ["Ingress", "Egress"]
    (bank,) = [
        one["spec"]
        for one in documents(helm["bank-dask"]["made"])
        if one["kind"] == "NetworkPolicy" and one["metadata"]["name"].endswith("-bank")
    ]
    # Banks only call out.
    assert bank["ingress"] == []


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    exact = selector.get("matchLabels", {}).items()
    listed = selector.get("matchExpressions", [])
    assert all(one["operator"] == "In" for one in listed)
    return exact <= labels.items() and all(labels[one["key"]] in one["values"] for one in listed)


def test_selectors_find_the_pods_that_they_mean(helm: dict[str, Any]) -> None:
    for name in CASES:
        made = documents(helm[name]["made"])
        labelled = [
            one["spec"]["template"]["metadata"]["labels"] for one in made if pod(one) is not None
        ]
        for document in made:
            selector = document.get("spec", {}).get("selector")
            if document["kind"] == "Service":
                selector = {"matchLabels": selector}
            if document["kind"] in {"Service", "Deployment", "StatefulSet", "PodDisruptionBudget"}:
                assert selector
                found = [labels for labels in labelled if selects(selector, labels)]
                assert len(found) == 1, document["metadata"]["name"]


def test_probes_ask_addresses_that_exist(helm: dict[str, Any]) -> None:
    known = {endpoint.prefix + endpoint.rule for endpoint in declared_endpoints()}
    (aggregator,) = containers(helm, "aggregator")
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert aggregator[kind]["httpGet"]["path"] in known
        assert aggregator[kind]["timeoutSeconds"] > 6
    (serve,) = containers(helm, "serve")
    assert serve["readinessProbe"]["httpGet"] == {
        **{"path": "/v1/ready", "port": "https", "scheme": "HTTPS"}
    }


def test_containers_start_commands_that_exist(helm: dict[str, Any]) -> None:
    groups: dict[str, click.Group] = {
        "aggregator": aggregator_cli,
        "train": bank_cli,
        "serve": bank_cli,
    }
    for kind, group in groups.items():
        for one in containers(helm, kind):
            name, *rest = one["args"]
            command = group.commands[name]
            known = {
                option: parameter
                for parameter in command.params
                for option in parameter.opts
                if isinstance(parameter, click.Option)
            }
            given = {word for word in rest if word.startswith("--")}
            assert given
            assert given <= set(known), given - set(known)


def test_stopping_leaves_time_to_finish(helm: dict[str, Any]) -> None:
    (found,) = [each for each in pods(helm) if each["containers"][0]["name"] == "aggregator"]
    assert found["terminationGracePeriodSeconds"] > ServiceConfig().stop_seconds


def test_a_job_ends_where_the_unit_of_systemd_stays_down(helm: dict[str, Any]) -> None:
    unit = (ROOT / "deploy" / "systemd" / "fraudfed-bank@.service").read_text()
    stays_down = re.search(r"^RestartPreventExitStatus=(.*)$", unit, re.MULTILINE)
    assert stays_down
    jobs = [one for name in CASES for one in documents(helm[name]["made"]) if one["kind"] == "Job"]
    assert len(jobs) == 2
    for job in jobs:
        (fails, _) = job["spec"]["podFailurePolicy"]["rules"]
        assert fails["onExitCodes"]["values"] == [int(code) for code in stays_down[1].split()]
        assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_one_main_process_serves_a_state_directory(helm: dict[str, Any]) -> None:
    made = documents(helm["aggregator"]["made"])
    (found,) = [one for one in made if one["kind"] == "StatefulSet"]
    assert found["spec"]["replicas"] == 1
    assert found["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Retain"
    (claim,) = [
        one for one in documents(helm["bank"]["made"]) if one["kind"] == "PersistentVolumeClaim"
    ]
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_every_value_has_a_place_in_the_schema() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    def compare(given: Any, described: dict[str, Any], path: str) -> None:
        if "$ref" in described:
            described = schema["$defs"][described["$ref"].rpartition("/")[2]]
        if isinstance(given, dict) and "properties" in described:
            assert described["additionalProperties"] is False, path
            assert set(given) <= set(described["properties"]), path
            for name, inner in given.items():
                compare(inner, described["properties"][name], f"{path}.{name}")

    compare(yaml.safe_load((CHART / "values.yaml").read_text()), schema, "values")


def test_the_chart_has_the_version_of_the_package() -> None:
    version = re.search(r"^version = (.*)$", (ROOT / "setup.cfg").read_text(), re.MULTILINE)
    assert version
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == version[1]
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())["images"]
    assert {defaults[name]["tag"] for name in ("aggregator", "bank")} == {version[1]}
