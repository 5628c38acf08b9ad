"""What is inside a data set: ``summary`` counts it, ``describe`` prints and ``plots`` draws it."""
