"""The command line: arguments -> Settings -> exit code, and nothing else. Heavy imports stay inside the commands."""
