//! What must hold: checks over what clients saw and what HSMs hold.

pub mod linear;
pub mod models;
