"""Services for every command: command line, help, signals, imports, memory and machine."""
