"""Generations of a run's banks, steps of a training, and handovers.

Revision 0003, after 0002. Runs of before have one generation, of the whole cohort.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

#: New columns that are never empty, with their value in the rows of before.
_VALUES = {
    "runs": {"generation": 0, "first_step": 0, "first_round": 0, "step": 0, "step_round": 0},
    "cohorts": {"takes_part": 1, "is_entrant": 0, "waits": 0, "drops": 0, "more_rows": 0},
    "rounds": {"generation": 0, "step": 0},
}
_EXPIRED = (
    # What was expired stayed as an empty row, and contributions stayed for ever.
    "DELETE FROM contributions WHERE EXISTS (SELECT 1 FROM openings WHERE "
    "openings.run_id = contributions.run_id AND openings.number = contributions.number AND "
    "openings.frame IS NULL)",
    "DELETE FROM openings WHERE frame IS NULL",
)


def upgrade() -> None:
    """Bring the tables of version 2 to this one."""
    bank = sa.String(63).with_variant(sa.String(63, collation="C"), "postgresql")
    for table, values in _VALUES.items():
        for name, value in values.items():
            column = sa.Column(name, sa.BigInteger(), nullable=False, server_default=str(value))
            op.add_column(table, column)
            if op.get_bind().dialect.name != "sqlite":
                # SQLite could do so only by copying the table; there the default stays.
                op.alter_column(table, name, server_default=None)
    op.add_column("cohorts", sa.Column("ready_step", sa.BigInteger(), nullable=True))
    op.add_column("rounds", sa.Column("abandoned_at", sa.BigInteger(), nullable=True))
    for statement in _EXPIRED:
        op.execute(statement)
    # No table refers to this one, so that SQLite may copy it.
    with op.batch_alter_table("openings") as openings:
        openings.alter_column("frame", existing_type=sa.LargeBinary(), nullable=False)
    op.create_table(
        "handovers",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("bank", bank, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("stored_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["bank"], ["banks.name"]),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"]),
        sa.PrimaryKeyConstraint("run_id", "generation"),
    )
