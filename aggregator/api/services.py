"""What views work with."""

from collections.abc import Callable
from dataclasses import dataclass

from flask import current_app

from aggregator.audit.log import AuditTrail
from aggregator.audit.push import AuditPush
from aggregator.config import ServiceConfig
from aggregator.consortium.confirmations import Confirmations
from aggregator.consortium.key_epochs import KeyEpochs
from aggregator.consortium.members import Members
from aggregator.guards.admission import Admission
from aggregator.guards.auth import Authenticator
from aggregator.guards.bodies import Bodies
from aggregator.guards.forwarded import Forwarded
from aggregator.guards.refusals import Refusals
from aggregator.monitoring.metrics import Metrics
from aggregator.monitoring.readiness import Readiness
from aggregator.runs.deadlines import Deadlines
from aggregator.runs.generations import GenerationService
from aggregator.runs.service import RunService
from aggregator.storage.database import Database


@dataclass(frozen=True)
class Services:
    """Everything that a request may need, made once for the application."""

    config: ServiceConfig
    database: Database
    authenticator: Authenticator
    confirmations: Confirmations
    members: Members
    epochs: KeyEpochs
    runs: RunService
    generations: GenerationService
    deadlines: Deadlines
    audit: AuditTrail
    audit_push: AuditPush | None
    refusals: Refusals
    bodies: Bodies
    admission: Admission
    readiness: Readiness
    metrics: Metrics
    openapi: Callable[[str], bytes]
    """The OpenAPI document of a service under a path (empty for none), JSON."""
    forwarded: Forwarded


def services() -> Services:
    """Return the services of the application that handles the current request."""
    found: Services = current_app.extensions["fraudfed"]
    return found
