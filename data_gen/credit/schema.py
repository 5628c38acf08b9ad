"""The published schema of credit applications, and what each column is for."""

from types import MappingProxyType
from typing import Final

from data_gen.credit.applications import CHANNELS, PURPOSES
from data_gen.credit.bureau import ENQUIRY_DAYS, MAX_SCORE, MIN_SCORE
from data_gen.credit.people import AGE_BANDS, EMPLOYMENTS, HOUSINGS, SEXES
from data_gen.schema.columns import Column
from data_gen.schema.rules import CREDIT, Rule, TableSchema

LABEL: Final = "is_default"
# Never features: discrimination by these attributes is prohibited (Charter of Fundamental Rights
# of the EU, article 21). They are in the table so that a model can be checked for it.
PROTECTED: Final = ("age_band", "sex")
FEATURES: Final = (
    "income_minor",
    "employment",
    "job_months",
    "housing",
    "purpose",
    "channel",
    "requested_minor",
    "term_months",
    "existing_loans",
    "existing_debt_minor",
    "debt_service_share",
    "bureau_score",
    "bureau_enquiries_90d",
    "own_applications_90d",
)

_MONEY: Final = "minor currency units (cents)"
_TIME: Final = "UTC epoch seconds"
_ENQUIRIES: Final = f"in the {ENQUIRY_DAYS} days before"

_COLUMNS: Final = (
    Column("application_id", "string", "", False, "unique over all banks"),
    Column("application_time", "int64", _TIME, False, "when the application was made"),
    Column(
        "label_time",
        "int64",
        _TIME,
        False,
        "when the bank knows is_default: the default, or the end of the performance window",
    ),
    Column(
        "applicant_id",
        "string",
        "",
        False,
        "the same for one person at all banks, so that applications elsewhere can be counted",
    ),
    Column("age_band", "string", "years", False, "protected: for checks of fairness only"),
    Column("sex", "string", "", False, "protected: for checks of fairness only"),
    Column("income_minor", "int64", _MONEY, False, "net income of a month"),
    Column("employment", "string", "", False, "kind of work"),
    Column("job_months", "int64", "months", True, "in the present job; null without one"),
    Column("housing", "string", "", True, "how the applicant lives; null for broker"),
    Column("purpose", "string", "", False, "what the loan is for"),
    Column("channel", "string", "", False, "where the application was made"),
    Column("requested_minor", "int64", _MONEY, False, "amount asked for"),
    Column("term_months", "int64", "months", False, "time to pay it back"),
    Column("existing_loans", "int64", "loans", False, "the applicant has already"),
    Column("existing_debt_minor", "int64", _MONEY, False, "owed on them"),
    Column(
        "debt_service_share",
        "float64",
        "share of the income",
        False,
        "what old loans and this one take from the income of a month",
    ),
    Column("bureau_score", "int64", "points", True, "high is good; null for a thin file"),
    Column(
        "bureau_enquiries_90d",
        "int64",
        "enquiries",
        True,
        f"of banks that the bureau knows of, {_ENQUIRIES}; null for a thin file",
    ),
    Column("own_applications_90d", "int64", "applications", False, f"at this bank, {_ENQUIRIES}"),
    Column(LABEL, "int8", "0 or 1", False, "the label: default within the performance window"),
)

CREDIT_SCHEMA: Final = TableSchema(
    kind=CREDIT,
    columns=_COLUMNS,
    rules=MappingProxyType(
        {
            "application_time": Rule(minimum=0),
            "label_time": Rule(minimum=0),
            "age_band": Rule(allowed=AGE_BANDS),
            "sex": Rule(allowed=SEXES),
            "income_minor": Rule(minimum=0),
            "employment": Rule(allowed=EMPLOYMENTS),
            "job_months": Rule(minimum=0),
            "housing": Rule(
                allowed=HOUSINGS, null_for=("broker",), present_for=("branch", "online")
            ),
            "purpose": Rule(allowed=PURPOSES),
            "channel": Rule(allowed=CHANNELS),
            "requested_minor": Rule(minimum=1),
            "term_months": Rule(minimum=1, maximum=480),
            "existing_loans": Rule(minimum=0),
            "existing_debt_minor": Rule(minimum=0),
            "debt_service_share": Rule(minimum=0.0),
            "bureau_score": Rule(minimum=MIN_SCORE, maximum=MAX_SCORE),
            "bureau_enquiries_90d": Rule(minimum=0),
            "own_applications_90d": Rule(minimum=0),
            LABEL: Rule(minimum=0, maximum=1),
        }
    ),
    identifier="application_id",
    time="application_time",
    label_time="label_time",
    channel="channel",
)
