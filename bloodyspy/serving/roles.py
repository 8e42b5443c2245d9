"""What a user or a key may do."""

from enum import StrEnum


class Role(StrEnum):
    """One of four, in this order; each includes those before it."""

    READ = "read"
    """Which model answers, and its card."""
    CLASSIFY = "classify"
    """Send pictures."""
    REVIEW = "review"
    """Correct answers."""
    ADMIN = "admin"
    """Everything."""

    @property
    def rank(self) -> int:
        """Place in the order, from 0."""
        return list(Role).index(self)

    def includes(self, other: "Role") -> bool:
        """Whether who has this role may do what needs the other."""
        return self.rank >= other.rank

    @classmethod
    def least(cls, *roles: "Role") -> "Role":
        """The smallest of some."""
        return min(roles, key=lambda role: role.rank)
