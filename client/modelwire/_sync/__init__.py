# Generated from ../_async by scripts/generate_client.py. Do not edit.

"""The client."""
