//! One HSM without a network
