//! The blocking client: configuration, trust, connections, login, retry
