"""Who computes the blocks: this process, several, or a cluster. The bits are the same."""
