"""Where things are kept: in memory, in a file, in Redis. Nothing here is known to the gateway."""
