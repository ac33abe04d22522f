"""The matrix of clients: each popular client, as published, in every scenario, on a Claude and on a Nova model."""
