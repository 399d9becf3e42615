"""Where the messages of the protocol are known: not among those that all programs in the process share."""

from google.protobuf.descriptor_pool import DescriptorPool

POOL = DescriptorPool()
