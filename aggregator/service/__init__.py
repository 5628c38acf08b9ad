"""The service as a whole: its application, its server, its own directory, its documents."""
