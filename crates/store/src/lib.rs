//! Log, state and audit records on disk
