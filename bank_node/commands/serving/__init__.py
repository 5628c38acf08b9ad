"""Commands of what a bank runs day by day: models in charge, service, pages, monitoring."""
