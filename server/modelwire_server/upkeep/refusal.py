"""What those who look after a service are told instead of a result."""


class Refused(Exception):
    """It cannot be done, or not now; the message says why and what to do."""
