"""What tests on a real cluster share: one cluster, one controller process, and ways to wait without sleeping."""
