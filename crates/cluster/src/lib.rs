//! Replication of vault commands
