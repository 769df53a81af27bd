//! The harness that whole-process tests share.
