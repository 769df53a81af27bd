//! cloudhsm-cli and the configure tools
