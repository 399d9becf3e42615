"""The Open Inference Protocol over HTTP, below /v2: bodies become the messages of its service, and back."""
