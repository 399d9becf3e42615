"""Why models were imported whose files can run code"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("model_events", schema=None) as batch_op:
        batch_op.add_column(sa.Column("grant", sa.Text(), nullable=False, server_default=""))
