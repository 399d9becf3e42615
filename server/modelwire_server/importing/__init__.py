"""Models that were made elsewhere: how they become versions of registered models."""
