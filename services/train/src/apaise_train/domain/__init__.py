"""What train is about, without any machinery: examples, snapshots, runs, the gate, the ledger."""
