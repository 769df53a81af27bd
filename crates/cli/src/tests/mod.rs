//! Whole commands against an HSM in memory, compared with the outputs that CloudHSM documents.

mod cluster;
mod fake;
mod files;
mod golden;
mod sessions;
