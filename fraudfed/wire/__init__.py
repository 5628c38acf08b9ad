"""The messages between the programs: only checks and (de)serialisation."""
