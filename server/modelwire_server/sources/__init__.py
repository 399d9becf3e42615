"""Models that live in another registry: how they are fetched from there, and how names here follow them."""
