"""Generated code (`make protos`)."""
