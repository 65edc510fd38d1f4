"""Any table to redshifts: its sources staged and partitioned, or read where they lie."""
