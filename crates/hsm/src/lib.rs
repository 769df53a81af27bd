//! The HSM process: listeners, trust, hardening, lifecycle
