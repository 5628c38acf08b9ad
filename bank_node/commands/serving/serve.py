"""``bank-node serve``: score payments as they come."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bank_node.commands.options import (
    PATH,
    map_option,
    passphrase_option,
    rows_option,
    state_option,
)
from bank_node.commands.output import PagesListening, ServiceListening
from bank_node.consortium.connection import read_passphrase
from bank_node.state.directory import StateDirectory
from fraudfed.console import examples, json_option, say
from fraudfed.errors import ConfigurationError
from fraudfed.foreign_text import visible

if TYPE_CHECKING:
    from flask import Flask

    from bank_node.service.loading import Sources
    from bank_node.serving.store.arrival import StoreTerms
    from fraudfed.features.mappings.mapping import Mapping
    from fraudfed.reading.location import Location

_LEAST_TOKEN = 20
#: Pages made at the same time, of all ``--threads``: payments come first.
_PAGES_AT_ONCE = 2
#: Between two lines about how far the filling of a store is.
_SAY_EVERY_SECONDS = 5.0


@click.command(
    epilog=examples(
        "bank-node serve --state bank-a --policy policy.toml",
        "bank-node serve --state bank-a --warm history.parquet",
        "bank-node serve --state bank-a --host 0.0.0.0 --tls-certificate site.pem "
        "--token-file token",
    )
)
@state_option
@click.option("--run", "run_id", help="Run whose model answers.  [default: the champion]")
@click.option("--model", type=PATH, help="Model file.  [default: the champion, or --run's model]")
@click.option("--policy", type=PATH, help="What is done with a payment, TOML.  [default: nothing]")
@click.option(
    "--second-run",
    help="Run of the model without shared risk, for tables that are too old.  [default: the "
    "fallback of 'models']",
)
@click.option(
    "--challenger-run",
    help="Run of a model that scores in the shadow.  [default: the challenger of 'models']",
)
@click.option(
    "--max-risk-age-days",
    type=click.IntRange(0, 365),
    default=3,
    show_default=True,
    help="Tables of shared risk that end earlier than this are not used.",
)
@click.option(
    "--store",
    help="Where payments are remembered: a directory, redis://HOST:PORT/NUMBER, or memory:.  "
    "[default: serving/store]",
)
@rows_option(
    "--warm",
    required=False,
    help="Fill an empty store with the payments of this file first, CSV or Parquet.",
)
@map_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8780,
    show_default=True,
    help="Port to listen on; 0 picks a free one.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 256),
    default=8,
    show_default=True,
    help="Requests worked on at once.",
)
@click.option(
    "--deadline-ms",
    type=click.IntRange(1, 60_000),
    default=50,
    show_default=True,
    help="Milliseconds for one payment; then the ladder's next step answers.",
)
@click.option(
    "--allowed-lateness",
    "allowed_lateness_seconds",
    type=click.IntRange(0, 30 * 86_400),
    default=86_400,
    show_default=True,
    help="Seconds by which a payment may arrive late and is remembered all the same.",
)
@click.option(
    "--requests-per-second",
    type=click.FloatRange(min=0.1),
    default=2000.0,
    show_default=True,
    help="Requests of one address, on average over ten seconds.",
)
@click.option(
    "--pages/--no-pages",
    "with_pages",
    default=None,
    help="Show this bank's pages at /pages/ of the same port.  [default: shown, if only this "
    "machine can reach the address]",
)
@click.option("--token-file", type=PATH, help="File whose first line is the token of callers.")
@click.option("--tls-certificate", type=PATH, help="Serve https with this certificate (PEM).")
@click.option("--tls-key", type=PATH, help="Its private key, if it is in another file (PEM).")
@click.option(
    "--client-ca", type=PATH, help="Ask every caller for a certificate of these roots (PEM)."
)
@passphrase_option
@json_option(ServiceListening)
def serve(
    path: Path,
    run_id: str | None,
    model: Path | None,
    policy: Path | None,
    second_run: str | None,
    challenger_run: str | None,
    max_risk_age_days: int,
    store: str | None,
    warm: "Location | None",
    mapping: "Mapping | None",
    host: str,
    port: int,
    threads: int,
    deadline_ms: int,
    allowed_lateness_seconds: int,
    requests_per_second: float,
    with_pages: bool | None,
    token_file: Path | None,
    tls_certificate: Path | None,
    tls_key: Path | None,
    client_ca: Path | None,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Score payments over HTTP until SIGTERM or SIGINT; SIGHUP reads model and policy again."""
    from bank_node.service.loading import Sources
    from bank_node.service.pages.server import add_pages
    from bank_node.service.pages.token import token_file as pages_token_file
    from bank_node.service.server import serve as serve_until_stopped
    from bank_node.serving.store.arrival import StoreTerms
    from fraudfed.http.pages.site import PAGES
    from fraudfed.http.server.listening import is_loopback, listen, tls_context, url_of

    state = StateDirectory(path)
    passphrase = read_passphrase(passphrase_file)
    state.unlock(passphrase)
    sources = Sources(state, run_id, model, policy, second_run, challenger_run, max_risk_age_days)
    token = None if token_file is None else _read_token(token_file)
    if client_ca is not None and tls_certificate is None:
        raise ConfigurationError(
            "--client-ca is given without --tls-certificate, expected both: certificates of "
            "callers are asked for over https only"
        )
    tls = tls_context(tls_certificate, tls_key, client_ca)
    # What cannot work is said before anything listens.
    contract = sources.read().contract
    terms = StoreTerms.of(contract, allowed_lateness_seconds=allowed_lateness_seconds)
    if warm is not None:
        _fill(state, terms, store, warm, mapping)
    elif mapping is not None:
        raise ConfigurationError(
            "--map is given without --warm, expected both: it says how the columns of that file "
            "are read"
        )
    listener = listen(host, port)
    if not is_loopback(listener) and token is None and client_ca is None:
        listener.close()
        raise ConfigurationError(
            f"--host {host} is reached from other machines, and neither --token-file nor "
            "--client-ca is given: anybody there could score payments and read decisions; give one"
        )
    if with_pages and tls is None and not is_loopback(listener):
        listener.close()
        raise ConfigurationError(
            f"--pages is given with --host {host}, which other machines reach, and without "
            "--tls-certificate: what signs people in would be sent in the clear; give one, or run "
            "`bank-node pages` and reach it by a tunnel"
        )
    shown = is_loopback(listener) if with_pages is None else with_pages
    url = url_of(listener, tls=tls is not None)
    pages = None
    if shown:
        kept = pages_token_file(state.serving_path)
        if token is not None and kept.read_bytes().strip() == token.encode():
            listener.close()
            raise ConfigurationError(
                f"--token-file {token_file} holds the token of the pages; callers need another one"
            )
        pages = PagesListening(url=f"{url}{PAGES}/", token_file=str(kept))

    def build() -> "Flask":
        app = _build(state, sources, terms, store, token, deadline_ms / 1000, requests_per_second)
        if shown:
            add_pages(
                app,
                state,
                passphrase=passphrase,
                secure=tls is not None,
                at_once=_PAGES_AT_ONCE,
            )
        return app

    def announce() -> None:
        if as_json:
            say(ServiceListening(url=url, pages=pages).model_dump_json())
        else:
            say(f"scoring service listening on {url}")
            if pages is not None:
                say(f"pages: {pages.url} (sign in with the line in {pages.token_file})")
        sys.stdout.flush()

    serve_until_stopped(listener, build, threads=threads, tls=tls, on_ready=announce)


def _build(
    state: StateDirectory,
    sources: "Sources",
    terms: "StoreTerms",
    store: str | None,
    token: str | None,
    deadline_seconds: float,
    requests_per_second: float,
) -> "Flask":
    from bank_node.decisions.log import DecisionLog
    from bank_node.outcomes.history import LabelHistory
    from bank_node.service.api.handle import Limits
    from bank_node.service.app import create_app
    from bank_node.service.looking_up import LookupDesk
    from bank_node.service.scoring import ScoringService
    from bank_node.serving.store.open import open_store
    from bank_node.serving.store.store_secret import store_secret
    from fraudfed.http.server.rates import Rates

    place = state.serving_path
    scoring = ScoringService(
        sources,
        terms,
        open_store(store or place / "store", terms, secret=store_secret(place, state.vault)),
        DecisionLog(place / "decisions", state.vault),
        LabelHistory(place / "outcomes", state.vault),
        place,
        deadline_seconds=deadline_seconds,
    )
    return create_app(scoring, Limits(token, Rates(requests_per_second)), lookups=LookupDesk(state))


def _fill(
    state: StateDirectory,
    terms: "StoreTerms",
    store: str | None,
    path: "Location",
    mapping: "Mapping | None",
) -> None:
    """Fill the store, unless that was done with the same file, and say so."""
    from bank_node.serving.store.open import open_store
    from bank_node.serving.store.packed import PackedStore
    from bank_node.serving.store.store_secret import store_secret
    from bank_node.serving.store.warm import warm_from_file

    place, said, started = state.serving_path, time.monotonic(), time.monotonic()

    def progress(what: str, count: int) -> None:
        nonlocal said
        if time.monotonic() - said >= _SAY_EVERY_SECONDS:
            said = time.monotonic()
            say(f"filling the feature store: {count:,} payments {what}", err=True)

    secret = store_secret(place, state.vault)
    opened = open_store(store or place / "store", terms, secret=secret, refill=True)
    try:
        if not isinstance(opened, PackedStore):
            raise ConfigurationError(
                "--warm is given with --store memory:, expected a store that lasts; name a "
                "directory or redis://..., or leave --warm out"
            )
        count = warm_from_file(
            opened,
            path,
            work=place / "filling",
            mapping=mapping,
            currency=terms.currency,
            progress=progress,
        )
    finally:
        opened.close()
    if count is None:
        say(
            f"feature store: was filled from {visible(str(path))} before, nothing is done", err=True
        )
    else:
        seconds = time.monotonic() - started
        done = f"{count:,} payments of {visible(str(path))} in {seconds:.0f} s"
        say(f"feature store: filled with {done}", err=True)


def _read_token(path: Path) -> str:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--token-file {path}: cannot be read ({error})") from None
    token = lines[0].strip() if lines else ""
    if len(token) < _LEAST_TOKEN:
        raise ConfigurationError(
            f"--token-file {path}: first line has {len(token)} characters, expected a token of "
            f"{_LEAST_TOKEN} or more"
        )
    return token
