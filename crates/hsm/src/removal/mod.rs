//! How a member leaves its cluster, and what it leaves behind.

mod receipt;
