"""Other people's contracts, each an adapter over the domain."""
