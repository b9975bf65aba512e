"""The networks: plain torch modules, each with a frozen config beside it."""
