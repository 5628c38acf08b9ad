"""Settings of the service, each with its default; read from an optional JSON file."""

import ipaddress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fraudfed.errors import ConfigurationError
from fraudfed.http.address import check_prefix

#: Longest long poll: below the usual 60 s idle limit of proxies between a bank and the aggregator.
MAX_WAIT_SECONDS = 30

_MIB = 1024 * 1024


class MetricsAccess(StrEnum):
    """Who may read ``/metrics``."""

    VIEWER = "viewer"
    """Holders of a viewer's or an operator's token."""
    OPEN = "open"
    """Everybody that reaches the port."""
    OFF = "off"
    """Nobody: there is no such address."""


class AuditFormat(StrEnum):
    """What a collector of the audit log gets."""

    SYSLOG = "syslog"
    """RFC 5424, all fields as structured data."""
    CEF = "cef"
    """ArcSight's Common Event Format, version 0."""


class ServiceConfig(BaseModel):
    """Settings of ``aggregator serve``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_body_bytes: Annotated[int, Field(ge=1024)] = 64 * _MIB
    """Largest body of a contribution, an opening or a model; above it the answer is 413."""
    max_json_bytes: Annotated[int, Field(ge=1024)] = _MIB
    """Largest JSON body; above it the answer is 413."""
    threads: Annotated[int, Field(ge=2, le=1000)] = 64
    """Requests worked on at once, without those that only wait; above it the answer is 503."""
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that serve at once, each with its threads; more than one on PostgreSQL only."""
    max_waiting: Annotated[int, Field(ge=1, le=4000)] = 256
    """Requests that wait for other banks at once; more than the banks of all runs."""
    max_wait_seconds: Annotated[int, Field(ge=1, le=MAX_WAIT_SECONDS)] = MAX_WAIT_SECONDS
    """Longest that a request waits for other banks; less than any proxy waits for an answer."""
    requests_per_second: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 200
    """Of one bank or token, on average over ten seconds; above it the answer is 429."""
    anonymous_requests_per_second: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 50
    """Of all that one address sends without being known, likewise."""
    audit_push: str | None = None
    """Collector that gets every entry of the audit log: udp://, tcp:// or unix://."""
    audit_push_format: AuditFormat = AuditFormat.SYSLOG
    """How it gets them: syslog or cef."""
    two_operators: bool = False
    """Creating runs, dropping banks and removing members take two operators."""
    metrics: MetricsAccess = MetricsAccess.VIEWER
    """Who may read /metrics: viewer (and operator), open, or off."""
    insecure_allow_small_keys: bool = False
    """Accept runs whose Paillier key is below 2048 bits. For tests only."""
    stop_seconds: Annotated[int, Field(ge=1, le=300)] = 10
    """How long a stopping service lets requests end that are in flight."""
    tls_certificate: Path | None = None
    """PEM file with the service's certificate and those between it and a root: serve https."""
    tls_key: Path | None = None
    """PEM file with the certificate's private key; None if it is in the certificate's file."""
    path_prefix: str = ""
    """Path of the host under which the service stands, as a proxy in front leaves it there."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks of proxies in front that X-Forwarded-For and -Prefix count from."""
    client_ca: Path | None = None
    """PEM file of root certificates: every client must present a certificate of one of them."""

    @field_validator("path_prefix")
    @classmethod
    def _every_proxy_leaves_it(cls, prefix: str) -> str:
        try:
            return check_prefix(prefix, what="is")
        except ConfigurationError as error:
            raise ValueError(str(error)) from None

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            try:
                ipaddress.ip_network(text)
            except ValueError as error:
                raise ValueError(f"{error}; give an address, or a network as 10.0.0.0/8") from None
        return texts

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if self.tls_certificate is None and (self.tls_key or self.client_ca):
            raise ValueError("tls_key and client_ca need tls_certificate")
        return self


def load_config(path: Path | None) -> ServiceConfig:
    """Read settings from a JSON file; None gives the defaults.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, or a setting is unknown or out of range.
    """
    if path is None:
        return ServiceConfig()
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"settings file {path} cannot be read: {error.strerror}; give a readable JSON file"
        ) from None
    try:
        return ServiceConfig.model_validate_json(text)
    except ValidationError as error:
        raise _wrong(error, f"settings file {path}") from None


def with_options(config: ServiceConfig, options: dict[str, Any]) -> ServiceConfig:
    """Return the settings with those replaced that were given on the command line.

    Raises
    ------
    ConfigurationError
        If they do not go together.
    """
    try:
        return ServiceConfig.model_validate(config.model_dump() | options)
    except ValidationError as error:
        raise _wrong(error, "options") from None


def _wrong(error: ValidationError, source: str) -> ConfigurationError:
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return ConfigurationError(f"{source}: {where + ': ' if where else ''}{first['msg']}")
