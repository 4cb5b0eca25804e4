"""Several processes of one run: ranks, launch, strategies, sharding, preemption."""
