"""The command line: one thin file a command group; nothing but argument handling."""
