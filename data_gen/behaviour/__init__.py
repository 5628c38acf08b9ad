"""What honest customers do: everyday transactions and unusual occasions."""
