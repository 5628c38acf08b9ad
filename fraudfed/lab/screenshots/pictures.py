"""A browser goes through report and pages, and takes a picture of each that the docs show."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from playwright.sync_api import Page, sync_playwright

from fraudfed.errors import StateError
from fraudfed.lab.local_federation.consortium import Consortium
from fraudfed.lab.local_federation.kept import Kept, kept_open
from fraudfed.lab.local_federation.processes import Program, ProgramGroup
from fraudfed.lab.local_federation.served import ServedModel
from fraudfed.wire.messages import RunKind, RunSpec, parse

_WIDE, _PHONE = {"width": 1280, "height": 860}, {"width": 360, "height": 720}
_OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")
_JOIN_SECONDS = 120.0
_RUN_NAME = "Payments, spring training"


def take(demo: Path, out: Path, *, browser: Path) -> Iterator[Path]:
    """Yield the pictures of a finished demo, each when it is written.

    Raises
    ------
    FraudFedError
        The error of a program that does not start.
    StateError
        If the demo has no training that could be opened again.
    """
    work = demo / "work"
    banks = sorted(path.name for path in (work / "banks").iterdir())
    with (
        kept_open(work, bank=banks[0], served=_served(work, banks[0])) as kept,
        ProgramGroup(logs=work / "logs") as group,
        sync_playwright() as playwright,
    ):
        waiting = _run_that_waits(kept, work, banks, group)
        chromium = playwright.chromium.launch(executable_path=str(browser), args=list(_OPTIONS))

        @contextmanager
        def page(*, phone: bool = False, dark: bool = False) -> Iterator[Page]:
            size = _PHONE if phone else _WIDE
            context = chromium.new_context(
                viewport={"width": size["width"], "height": size["height"]},
                color_scheme="dark" if dark else "light",
            )
            yield context.new_page()
            context.close()

        def taken(shown: Page, name: str) -> Path:
            path = out / f"{name}.png"
            shown.screenshot(path=path)
            return path

        with page() as shown:
            shown.goto((demo / "report.html").resolve().as_uri())
            yield taken(shown, "report")
        with page() as shown:
            _sign_in(shown, kept.aggregator_url, kept.aggregator_token)
            shown.goto(f"{kept.aggregator_url}run?id={waiting}")
            yield taken(shown, "operator-run")
        with page(phone=True, dark=True) as shown:
            _sign_in(shown, kept.aggregator_url, kept.aggregator_token)
            yield taken(shown, "operator-phone")
        with page() as shown:
            _sign_in(shown, kept.bank_url, kept.bank_token)
            days = shown.locator("a[href^='./?day=']")
            if days.count():
                days.first.click()
            yield taken(shown, "bank-left")
            shown.goto(f"{kept.bank_url}run?id={waiting}")
            yield taken(shown, "bank-run")
            shown.goto(f"{kept.bank_url}alerts")
            shown.click("main tbody a >> nth=0")
            yield taken(shown, "bank-alert")
        chromium.close()


def _sign_in(page: Page, url: str, token: Path) -> None:
    page.goto(url)
    page.fill("#token", token.read_text().strip())
    page.click("main button")
    page.wait_for_selector("nav")


def _served(work: Path, bank: str) -> ServedModel:
    """Return the demo's best model, for the bank's service."""
    state = work / "banks" / bank
    for run in sorted((state / "runs").iterdir()):
        described = json.loads((run / "run.json").read_text())["spec"]
        contract = described["contract"]
        if contract is not None and contract["shared_risk"] and (run / "model.json").exists():
            return ServedModel(
                run_id=run.name,
                payments=work / "world" / bank / "transactions.parquet",
                scores=state / "scores.parquet",
                currency="EUR",
            )
    raise StateError(f"{state}: has no model with shared risk; take pictures of a generated world")


def _run_that_waits(kept: Kept, work: Path, banks: list[str], group: ProgramGroup) -> str:
    """Open a training like one of the demo's, and let all banks join it but the last."""
    logs = work / "logs"
    states = {bank: work / "banks" / bank for bank in banks}
    url = kept.aggregator_url.removesuffix("/pages/")
    consortium = Consortium(url, kept.aggregator_token, states, logs)
    spec = _training(work).model_copy(update={"name": _RUN_NAME})
    run_id = consortium.create_run(spec, file=work / "screenshots.json")
    nodes: list[Program] = []
    for bank in banks[:-1]:
        rows = work / "world" / bank / "transactions.parquet"
        if not rows.exists():
            raise StateError(f"{rows}: is not there; take pictures of a demo of a generated world")
        where = ("--state", str(states[bank]), "--data", str(rows), "--run", run_id)
        nodes.append(group.start(f"{bank}.screenshots", ["bank-node", "train", *where]))
    _await_members(url, kept.aggregator_token, run_id, nodes, group)
    return run_id


def _training(work: Path) -> RunSpec:
    """Return the demo's training with the fewest features, which banks are ready for soonest."""
    found = []
    for path in sorted(work.glob("*.json")):
        spec = parse(RunSpec, path.read_bytes(), source=str(path))
        if spec.kind is RunKind.TRAINING and spec.contract is not None:
            found.append((len(spec.contract.features), path.name, spec))
    if not found:
        raise StateError(f"{work}: holds the description of no training; run the demo again")
    return min(found)[2]


def _await_members(
    url: str, token: Path, run_id: str, nodes: list[Program], group: ProgramGroup
) -> None:
    number = len(nodes)
    headers = {"Authorization": f"Bearer {token.read_text().strip()}"}
    deadline = time.monotonic() + _JOIN_SECONDS
    while time.monotonic() < deadline:
        failure = group.first_failure(nodes)
        if failure is not None:
            raise failure
        answer = httpx.get(f"{url}/v1/runs/{run_id}", headers=headers, timeout=10)
        if len(answer.json()["members"]) >= number:
            return
        time.sleep(0.5)
    raise StateError(f"run {run_id}: {number} banks did not join within {_JOIN_SECONDS:.0f} s")
