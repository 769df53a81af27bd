//! Keeping an HSM's root secret
