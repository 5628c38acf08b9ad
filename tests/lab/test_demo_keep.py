"""``fraudfed demo --keep`` as a person types it: everything is up, and ends when it is told to."""

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest

from fraudfed.lab.local_federation.served import ServedModel, write_files

_SECONDS = 400.0


def payments(n_customers: int = 45, n_days: int = 80) -> pd.DataFrame:
    """Draw card payments of one bank each; large ones are fraud more often."""
    rng = np.random.default_rng(6)
    n_rows = n_customers * n_days // 2
    time_ = 1_700_006_400 + np.sort(rng.integers(0, n_days * 86_400, n_rows))
    amount = rng.lognormal(8, 1, n_rows).astype(np.int64)
    return pd.DataFrame(
        {
            "transaction_id": [f"t{number}" for number in range(n_rows)],
            "event_time": time_,
            "label_time": time_ + 3 * 86_400,
            "customer_id": [f"c{number}" for number in rng.integers(0, n_customers, n_rows)],
            "merchant_id": [f"m{number}" for number in rng.integers(0, 20, n_rows)],
            "terminal_id": [f"k{number}" for number in rng.integers(0, 30, n_rows)],
            "channel": rng.choice(["pos", "ecommerce"], n_rows),
            "amount_minor": amount,
            "is_fraud": ((amount > 8000) & (rng.random(n_rows) < 0.5)).astype(int),
        }
    )


def test_what_comes_in_follows_on_the_history_and_some_of_it_is_held(tmp_path: Path) -> None:
    rows = payments().sample(frac=1.0, random_state=1)
    scores = np.random.default_rng(1).random(len(rows))
    rows.to_parquet(tmp_path / "rows.parquet")
    pd.DataFrame({"score": scores}).to_parquet(tmp_path / "scores.parquet")
    model = ServedModel("r1", tmp_path / "rows.parquet", tmp_path / "scores.parquet", "GBP")
    files = write_files(model, tmp_path / "out")
    history = pd.read_parquet(files.history)
    times = [payment["event_time"] for payment in files.sent]
    assert len(history) + len(files.sent) == len(rows)
    assert times == sorted(times)
    assert history["event_time"].max() <= times[0]
    assert "is_fraud" not in files.sent[0]
    found = dict(zip(rows["transaction_id"], scores, strict=True))
    sent = sorted((found[payment["transaction_id"]] for payment in files.sent), reverse=True)
    limits = dict(re.findall(r"(hold|block) = ([0-9.]+)", files.policy.read_text()))
    assert float(limits["hold"]) == pytest.approx(sent[4], abs=1e-6)
    assert float(limits["block"]) == pytest.approx(sent[0], abs=1e-6)
    example = json.loads(files.example.read_text())
    assert (example["transaction_id"], example["event_time"] > times[-1]) == ("demo-1", True)


@contextmanager
def kept(rows: Path, out: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the demo until it says that everything is up."""
    command = [str(Path(sys.executable).parent / "fraudfed"), "demo", "--transactions", str(rows)]
    quick = ("--parameters", "parity", "--trees", "2", "--max-depth", "3", "--max-bin", "8")
    options = ("--banks", "3", "--key-bits", "2048", "--out", str(out), "--keep", "--json")
    said = out.parent / "said.txt"
    with said.open("w") as stderr, (out.parent / "answer.json").open("w") as stdout:
        process = subprocess.Popen([*command, *quick, *options], stdout=stdout, stderr=stderr)
        try:
            deadline = time.monotonic() + _SECONDS
            while "to stop" not in said.read_text():
                assert process.poll() is None, said.read_text()
                assert time.monotonic() < deadline, said.read_text()
                time.sleep(0.5)
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(60)


@pytest.mark.e2e
def test_aggregator_pages_and_service_stay_up_until_they_are_stopped(tmp_path: Path) -> None:
    rows, out = tmp_path / "payments.parquet", tmp_path / "out"
    payments().to_parquet(rows)
    with kept(rows, out) as process:
        said = (tmp_path / "said.txt").read_text()
        assert str(out / "report.html") in said
        operator, bank = re.findall(r"pages.*: +(http://\S+/pages/)$", said, re.M)
        tokens = re.findall(r"sign in with +(\S+)$", said, re.M)
        for url, token in zip((operator, bank), tokens, strict=True):
            assert "Sign out" in signed_in(url, token, "").text
        # What stands there can be typed as it is.
        command = shlex.split(re.findall(r"^ +(curl .+)$", said, re.M)[0])
        assert command[:4] == ["curl", "-H", "Content-Type: application/json", "-d"]
        body, url = Path(command[4].removeprefix("@")).read_bytes(), command[5]
        headers = {"Content-Type": "application/json"}
        answer = httpx.post(url, content=body, headers=headers, timeout=60)
        assert answer.status_code == 200, answer.text
        (scored,) = answer.json()["answers"]
        assert scored["step"] == "full"
        # The last payments have come in, the most suspicious were held, and the page says why.
        alerts = signed_in(bank, tokens[1], "alerts")
        assert "301 payments decided about" in alerts.text
        flagged = re.findall(r'href="(alert\?id=[^"]+)"', alerts.text)
        # More than five where many have the score of the fifth: two trees have few.
        assert flagged
        page = signed_in(bank, tokens[1], flagged[0]).text
        assert "Why it was flagged" in page
        assert "of what raised the score" in page
        assert "demo-1" in signed_in(bank, tokens[1], "alert?id=demo-1").text
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(bank, timeout=5)
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, timeout=5)
    answer_file = json.loads((tmp_path / "answer.json").read_text())
    assert answer_file["report_file"].endswith("report.html")


def signed_in(url: str, token: str, page: str) -> httpx.Response:
    """Return a page as a browser gets it after the sign-in."""
    with httpx.Client(base_url=url, timeout=60, follow_redirects=True) as client:
        field = re.search(r'name="form_token" value="([0-9a-f]{64})"', client.get("sign-in").text)
        assert field is not None
        client.post("sign-in", data={"form_token": field[1], "token": token})
        answer = client.get(page)
        assert answer.status_code == 200, answer.text
        assert "Sign out" in answer.text
        return answer
