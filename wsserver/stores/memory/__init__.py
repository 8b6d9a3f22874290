"""The embedded twins of the ports: everything in this process's memory."""
