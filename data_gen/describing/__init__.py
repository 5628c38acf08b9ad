"""What a data set holds: ``summary`` counts, ``describe`` makes tables, ``plots`` draws."""
