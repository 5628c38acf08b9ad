"""Candidate, challenger, champion, retired: which model decides, and since when."""
