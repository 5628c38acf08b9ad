"""How one tree is grown: which node is split next, where its rows go, how its nodes are kept."""
