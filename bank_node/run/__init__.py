"""Taking part in a run of any kind: choosing it, its rules, its generations, its result."""
