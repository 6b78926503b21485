"""The worker process: the file under audit is parsed and run there, never in the process that the user started."""
