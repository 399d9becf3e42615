"""What differs between blocking and asynchronous gRPC, written twice: `blocking` and `asynchronous` have the same names."""
