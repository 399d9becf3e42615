"""How good models are on rows whose target is known."""
