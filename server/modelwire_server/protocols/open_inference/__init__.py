"""Version 2 of the Open Inference Protocol: gRPC here, its REST form in the gateway."""
