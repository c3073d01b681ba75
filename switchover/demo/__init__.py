"""The lab: a whole migration on this machine, with real servers, on loopback."""
