"""From codes to the published columns of credit applications, bank by bank."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from data_gen.credit.applications import CHANNELS, PURPOSES, Applications, make_applications
from data_gen.credit.bureau import ENQUIRY_DAYS, BureauReports, earlier_within, make_reports
from data_gen.credit.config import CreditConfig
from data_gen.credit.outcomes import Outcomes, debt_service_share, make_outcomes
from data_gen.credit.people import AGE_BANDS, EMPLOYMENTS, HOUSINGS, SEXES, People, make_people
from data_gen.credit.schema import CREDIT_SCHEMA
from data_gen.identifiers import numbered_strings
from data_gen.rng import FloatArray, IntArray
from data_gen.settings.config import bank_names

_APPLICATION_DIGITS: Final = 8
_PERSON_DIGITS: Final = 7


@dataclass(frozen=True)
class CreditWorld:
    """Everything of a credit data set, all banks together."""

    config: CreditConfig
    people: People
    applications: Applications
    reports: BureauReports
    outcomes: Outcomes
    debt_service: FloatArray
    own_before: IntArray

    def bank_table(self, bank: int) -> pa.Table:
        """Return the applications at one bank in the published schema, sorted by time."""
        rows = np.flatnonzero(self.applications.bank == bank)
        asked = self.applications
        who = asked.person[rows]
        people = self.people
        name = bank_names(self.config.banks)[bank]
        known = self.reports.is_known[rows]
        months = people.job_months[who]
        columns = [
            numbered_strings(f"{name}_a", np.arange(len(rows)), _APPLICATION_DIGITS),
            pa.array(asked.time[rows]),
            pa.array(self.outcomes.label_time[rows]),
            numbered_strings("person", who, _PERSON_DIGITS),
            _names(people.age_band[who], AGE_BANDS),
            _names(people.sex[who], SEXES),
            pa.array(people.income[who]),
            _names(people.employment[who], EMPLOYMENTS),
            pa.array(months, mask=months < 0),
            _names(people.housing[who], HOUSINGS, missing=_is_broker(asked.channel[rows])),
            _names(asked.purpose[rows], PURPOSES),
            _names(asked.channel[rows], CHANNELS),
            pa.array(asked.amount[rows]),
            pa.array(asked.term_months[rows]),
            pa.array(people.loans[who]),
            pa.array(people.debt[who]),
            pa.array(self.debt_service[rows]),
            pa.array(self.reports.score[rows], mask=~known),
            pa.array(self.reports.enquiries[rows], mask=~known),
            pa.array(self.own_before[rows]),
            pa.array(self.outcomes.is_default[rows]),
        ]
        return pa.table(columns, schema=CREDIT_SCHEMA.arrow)


def make_credit_world(config: CreditConfig) -> CreditWorld:
    """Return all people, applications and outcomes, a function of the configuration alone."""
    people = make_people(config)
    applications = make_applications(config, people)
    own = applications.person * config.banks + applications.bank
    return CreditWorld(
        config=config,
        people=people,
        applications=applications,
        reports=make_reports(config, people, applications),
        outcomes=make_outcomes(config, people, applications),
        debt_service=debt_service_share(people, applications),
        own_before=earlier_within(
            own,
            applications.time,
            counted=np.ones(len(applications), dtype=np.bool_),
            days=ENQUIRY_DAYS,
        ),
    )


def _is_broker(channel: IntArray) -> npt.NDArray[np.bool_]:
    """Return which applications came through a broker, who does not ask about housing."""
    is_broker: npt.NDArray[np.bool_] = channel == CHANNELS.index("broker")
    return is_broker


def _names(
    code: IntArray, names: tuple[str, ...], *, missing: npt.NDArray[np.bool_] | None = None
) -> pa.Array:
    """Return the name of each code, null where it is missing."""
    return pc.take(pa.array(names, type=pa.string()), pa.array(code, mask=missing))
