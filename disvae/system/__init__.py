"""The command line, signals, imports, memory and machine."""
