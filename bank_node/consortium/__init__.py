"""A bank as a member: enrolment, the other members, the key ceremony."""
