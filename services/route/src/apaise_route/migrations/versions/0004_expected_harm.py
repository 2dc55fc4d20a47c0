"""The queue's order by expected harm: items that wait keep their priority, their harm counts as none."""

from alembic import op

revision = "0004_expected_harm"
down_revision = "0003_cases"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """`urgency` was -priority; it becomes -(tens * 100 + step of harm * 10 + ones)."""
    op.execute("alter table review_items add column expected_harm double precision not null default 0")
    op.execute("update review_items set urgency = -(-urgency / 10 * 100 + -urgency % 10)")


def downgrade() -> None:
    """The priority alone again."""
    op.execute("update review_items set urgency = -(-urgency / 100 * 10 + -urgency % 10)")
    op.execute("alter table review_items drop column expected_harm")
