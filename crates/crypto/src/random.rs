//! Random bytes.

use crate::{Error, backend};

/// Fills `out` from the backend's DRBG (per thread, reseeded from the operating system, safe over
/// fork).
///
/// The backend aborts the process when no entropy can be had, rather than return predictable
/// bytes; the first call in a process may take 20 ms, so make it before serving.
pub fn random(out: &mut [u8]) -> Result<(), Error> {
    backend::random(out).map_err(Error::backend("random"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        let (mut one, mut two) = ([0; 32], [0; 32]);
        random(&mut one).expect("random");
        random(&mut two).expect("random");
        assert_ne!(one, two);
        random(&mut []).expect("nothing to fill");
    }
}
