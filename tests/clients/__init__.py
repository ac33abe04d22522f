"""The matrix of clients: each popular one, as its makers publish it, in every scenario, on a Claude and on a Nova model."""
