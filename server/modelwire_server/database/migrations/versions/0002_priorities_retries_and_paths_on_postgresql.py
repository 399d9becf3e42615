"""Priorities and retries of jobs; paths that PostgreSQL compares byte by byte"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("failures", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("priority", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("not_before", sa.DateTime(timezone=True), nullable=True))
        batch_op.drop_index("ix_jobs_status_id")
        batch_op.create_index("ix_jobs_status_priority_id", ["status", "priority", "id"], unique=False)
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("artifacts", "path", type_=sa.Text(collation="C"), existing_type=sa.Text(), existing_nullable=False)
