"""Pictures of report and pages for the documentation, from a federation that really ran."""
