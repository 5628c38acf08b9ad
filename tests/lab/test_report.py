"""The report is one page that needs nothing else, says what was measured, and never varies."""

import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from examples.reports import example
from rich.console import Console

from fraudfed.evaluation.fairness import gaps
from fraudfed.evaluation.outcomes import Outcomes
from fraudfed.evaluation.report import GroupMetrics
from fraudfed.evaluation.score_histogram import Bounded, ReliabilityBin
from fraudfed.gate.decision import Verdict, gate_of
from fraudfed.lab.report.alerts import AlertPoint
from fraudfed.lab.report.compare import MODELS, BankResult, ModelScores, format_number, format_table
from fraudfed.lab.report.gate import ask_gate
from fraudfed.lab.report.judged import Curve, JudgedFacts
from fraudfed.lab.report.page import format_bytes, format_seconds, headline, render_report
from fraudfed.lab.report.plots import auprc_bars, bars, precision_recall

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Collects ids, attributes and text, and checks that elements close in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href", "data", "action", "srcset"):
                self.links.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def html() -> str:
    summary, curves = example()
    return render_report(summary, curves=curves)


def test_page_needs_nothing_but_itself(html: str) -> None:
    page = Page(html)
    assert page.open == []
    assert all(link.startswith("#") for link in page.links)
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert "@import" not in html
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", html))
    without_namespaces = re.sub(r'xmlns(:\w+)?="[^"]*"', "", html)
    assert "http:" not in without_namespaces
    assert "https:" not in without_namespaces


def test_ids_are_unique_and_references_resolve(html: str) -> None:
    page = Page(html)
    assert len(set(page.ids)) == len(page.ids)
    targets = {link[1:] for link in page.links} | set(re.findall(r"url\(#([^)]*)\)", html))
    assert targets
    assert targets <= set(page.ids)


def test_same_summary_same_bytes(html: str) -> None:
    summary, curves = example()
    assert render_report(summary, curves=curves) == html


def test_page_says_what_was_measured(html: str) -> None:
    summary, _ = example()
    text = Page(html).text
    for bank in summary.banks:
        assert bank.name in text
        for model in MODELS:
            scores = bank.models[model]
            for value in (scores.auprc, scores.auc, scores.recall_at_1pct_fpr):
                assert format_number(value) in text
            if scores.auprc_interval is not None:
                assert f"{scores.auprc_interval.lower:.2f} to " in text
        assert format_number(bank.gain, signed=True) in text
    for fact in (
        "3072 bits",
        "c4" * 32,
        "gmp",
        "214 rounds",
        "37.1 MB",
        "48\N{NARROW NO-BREAK SPACE}230",
        "0123456789abcdef" * 4,
        "30 of 30 trees",
        "2025-04-01 to 2025-04-22",
        "reported within 8 days",
        "share0.02-lambda1",
        "what the search with shared risk chose",
        "4 to 15, 2 to 30, 1 to 60 trees",
        "0.52 to 0.62",
        "+0.201 to +0.302",
        "+0.11 to +0.22",
        "max_depth",
        "3.0.0",
        "encrypt",
        "31.2 s",
        "2 min 8 s",
        "feature_11",
        "9\N{NARROW NO-BREAK SPACE}000 in 36 rounds",
        "fedcba9876543210" * 4,
        "at least 3 of its own customers",
        "gain is federated + risk minus own",
        "Synthetic transactions of five unequal banks, seed 7.",
        'load_model("model.json")',
        headline(summary),
    ):
        assert fact in text, fact
    assert "feature_12" not in text


def test_the_gates_answer_stands_in_the_report(html: str) -> None:
    text = Page(html).text
    assert "What each bank's gate answers" in text
    assert "+7.9 points (+1.2 to +14.6)" in text
    # The last bank has no model of its own.
    assert text.count("adopt") >= 4
    assert text.count("cannot be asked") == 1
    summary, _ = example()
    banks = tuple(replace(bank, gate=None) for bank in summary.banks)
    assert "gate answers" not in render_report(replace(summary, banks=banks))


def outcomes_of(labels: np.ndarray) -> Outcomes:
    return Outcomes(labels=labels, is_blocked=np.zeros(labels.size, dtype=np.bool_))


def test_the_gate_of_a_report_is_that_of_a_bank() -> None:
    rng = np.random.default_rng(2)
    labels = (rng.random(20_000) < 0.02).astype(np.float32)
    outcomes = outcomes_of(labels)
    strong = (rng.normal(size=20_000) + 4 * labels).astype(np.float32)
    weak = (rng.normal(size=20_000) + labels).astype(np.float32)
    found = ask_gate(strong, weak, outcomes, seed=3)
    expected = gate_of(strong, weak, outcomes, generator=np.random.default_rng(3))
    assert found is not None
    assert (found.verdict, found.words, found.reason) == (Verdict.ADOPT, "adopt", "")
    assert (found.difference, found.cases) == (expected.difference.estimate, expected.n_cases)
    back = ask_gate(weak, strong, outcomes, seed=3)
    assert back is not None
    assert back.words == "keep your own"
    few = outcomes_of(np.where(np.arange(20_000) < 20, 1, 0).astype(np.float32))
    undecided = ask_gate(strong, weak, few, seed=3)
    assert undecided is not None
    assert undecided.reason.startswith("20 cases, and fewer than 50")
    assert ask_gate(None, weak, outcomes, seed=3) is None
    assert ask_gate(strong, weak, outcomes_of(np.zeros(20_000, np.float32)), seed=3) is None


def test_all_banks_together_is_one_more_figure() -> None:
    summary, _ = example()
    rng = np.random.default_rng(5)
    labels = (rng.random(500) < 0.1).astype(np.float32)
    scores = {"federated": rng.random(500) + labels, "pooled": rng.random(500) + 2 * labels}
    page = render_report(summary, scores=scores, labels=labels)
    assert "Precision-recall curves of all banks: federated, pooled" in page
    one_class = render_report(summary, scores=scores, labels=np.zeros(500, dtype=np.float32))
    assert "Precision-recall curves" not in one_class
    with pytest.raises(ValueError, match="scores and labels must be given together"):
        render_report(summary, scores=scores)


def test_optional_parts_may_be_left_out() -> None:
    summary, _ = example(
        identical_trees_on_same_bins=None,
        top_features=(),
        stage_seconds={},
        wall_seconds={},
        data="",
        split="",
        shared_risk=None,
    )
    text = Page(render_report(summary)).text
    assert "Precision against recall" not in text
    assert "Where the time went" not in text
    assert "looks at" not in text
    assert "Equal to XGBoost" not in text
    assert "Shared risk" not in text
    assert "None" not in text


def test_text_from_outside_is_escaped() -> None:
    summary, _ = example(
        data="<script>alert(1)</script>",
        parameters={"<b>": "</dd><script>"},
        top_features=(("<script>$x$</script>&", 2.0), ("a" * 80, 1.0)),
    )
    page = Page(render_report(summary))
    assert "script" not in page.tags
    assert "<script>alert(1)</script>" in page.text
    assert "<script>$x$</script>&" in page.text


@pytest.mark.parametrize(
    ("own", "federated", "expected"),
    [
        (
            0.4,
            0.5,
            "1 banks trained one model and shared risk without showing a row: "
            "mean AUPRC 0.400 → 0.500",
        ),
        (0.5, 0.4, "Sharing brought these 1 banks nothing: mean AUPRC 0.500 → 0.400"),
        (0.5, 0.5, "Sharing brought these 1 banks nothing"),
        (None, 0.5, "do not allow a comparison"),
    ],
)
def test_headline_goes_either_way(own: float | None, federated: float, expected: str) -> None:
    scores = [ModelScores(value, None, None) for value in (own, federated, 0.6)]
    models = dict(zip(("local", "federated", "pooled"), scores, strict=True))
    summary, _ = example(banks=(BankResult("a", 9, 9, 0.1, models),))
    assert expected in headline(summary)
    assert headline(summary) in Page(render_report(summary)).text


def test_plots_are_well_formed_and_take_the_page_colours() -> None:
    summary, curves = example()
    plots = [
        auprc_bars(summary.banks, summary.models),
        auprc_bars((), MODELS),
        precision_recall("bank-a", curves["bank-a"], prevalence=0.02, name="bank-a"),
        bars({"one": 0.0}, name="zero", label="nothing & <nothing>", unit=""),
        bars({}, name="empty", label="nothing", unit="s"),
    ]
    for plot in plots:
        root = ElementTree.fromstring(plot)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.get("role") == "img"
        assert root.get("aria-label")
        assert root.get("viewBox")
        assert root.get("width") is None
        assert root.get("height") is None
        assert not re.search(r"#0[0-9a-f]0[0-9a-f]0[0-9a-f]\b", plot)
    assert "currentColor" in plots[0]
    assert "var(--federated)" in plots[0]
    assert "var(--federated-shared)" in plots[0]
    assert "var(--pooled)" in plots[2]


def test_units() -> None:
    assert [format_bytes(size) for size in (0, 999, 1000, 1_500_000, 2_340_000_000)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "1.5 MB",
        "2.34 GB",
    ]
    assert [format_seconds(time) for time in (0.04, 59.94, 61, 3599.9)] == [
        "0.0 s",
        "59.9 s",
        "1 min 1 s",
        "60 min 0 s",
    ]


@pytest.mark.parametrize(
    "titles",
    [
        ("三菱", "Банк <Ж> & Söhne", "[red]Bank[/red]"),
        ("line\nbreak", "\x1b[2J", "\u202eknab"),
        ("all banks", "a" * 200, "a" * 201),
    ],
)
def test_banks_are_called_as_the_data_call_them(titles: tuple[str, str, str]) -> None:
    summary, curves = example()
    # Names that differ by nothing but what an id cannot hold.
    names = ("a-b", "a_b", "a_-b")
    scores = summary.banks[0].models
    banks = tuple(
        BankResult(name, 9, 9, 0.1, scores, title)
        for name, title in zip(names, titles, strict=True)
    )
    curve = next(iter(curves.values()))
    labels = np.array([0, 1, 0, 1])
    named, _ = example(banks=banks)
    html = render_report(
        named,
        curves=dict.fromkeys(names, curve),
        scores={"federated": np.array([0.1, 0.9, 0.4, 0.6])},
        labels=labels,
    )
    page = Page(html)
    assert page.open == []
    assert len(set(page.ids)) == len(page.ids)
    printed = Console(width=150, record=True, file=io.StringIO())
    printed.print(format_table(named))
    text = printed.export_text()
    assert len({bank.shown for bank in banks}) == 3
    for bank in banks:
        assert bank.shown in page.text
        assert f"({bank.name})" in page.text
        assert bank.shown[:20] in text
    assert [bank["title"] for bank in named.to_json()["banks"]] == list(titles)
    assert not re.search("[\x00-\x08\x1b\u202e]", html + text)


def test_alerts_groups_calibration_and_search_are_shown() -> None:
    share = Bounded(0.0123, 0.0121, 0.0125)
    group = GroupMetrics(
        group="channel",
        value="transfer",
        clean=900,
        frauds=60,
        cases=41,
        auprc=share,
        auc=share,
        recall=share,
        case_recall=Bounded(0.5, 0.5, 0.5),
        alert_rate=share,
        false_positive_rate=share,
        true_positive_rate=Bounded(0.25, 0.25, 0.25),
    )
    judged = JudgedFacts(
        note="on later payments",
        rows=960,
        frauds=60,
        cases=41,
        alerts=212,
        reliability=(
            ReliabilityBin(-5.0, -4.0, 900, 9, Bounded(0.011, 0.01, 0.012)),
            ReliabilityBin(None, -10.0, 60, 0, Bounded(1e-6, 0.0, 1e-5)),
        ),
        groups=(group, replace(group, value="atm", true_positive_rate=Bounded(0.75, 0.7, 0.8))),
        gaps=gaps((group, replace(group, value="atm"))),
        curves=(Curve("first", ((1, 0.1), (2, 0.2)), True), Curve("second", ((1, 0.05),), False)),
    )
    points = tuple(
        AlertPoint(share, 10 * at, 1.5 * at, 0.5, 0.1 * at, 123_456_00 * at)
        for at, share in enumerate((0.001, 0.01), start=1)
    )
    summary, curves = example(
        judged=judged, alerts={"local": points, "federated_shared": points, "pooled": points}
    )
    html = render_report(summary, curves=curves)
    page = Page(html)
    assert len(set(page.ids)) == len(page.ids)
    for text in (
        "What alerts cost, and what they save",
        "How the parameters were chosen",
        "Is a score a probability?",
        "On whom alerts fall",
        "1.23 % (1.21 to 1.25)",
        "123\N{NARROW NO-BREAK SPACE}456",
        "false-positive-rate ratio",
    ):
        assert text in page.text, text
    assert json.loads(json.dumps(summary.to_json(), allow_nan=False))["alerts"]["local"]
