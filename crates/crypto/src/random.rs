//! Random bytes and the backend's self-test.

use std::sync::OnceLock;

use crate::{Error, backend, known_answers};

/// Fills `out` from the backend's DRBG (per thread, reseeded from the operating system, safe over
/// fork).
///
/// The backend aborts the process when no entropy can be had, rather than return predictable
/// bytes; the first call in a process may take 20 ms, so make it before serving.
pub fn random(out: &mut [u8]) -> Result<(), Error> {
    backend::random(out).map_err(Error::backend("random"))
}

/// Runs the known-answer tests of all algorithms (some 5 ms), the backend's and this crate's own, for
/// a process that is about to serve. An error names the algorithm.
/// They run once in a process; afterwards this costs one load.
pub fn self_test() -> Result<(), Error> {
    static RESULT: OnceLock<Result<(), Error>> = OnceLock::new();
    *RESULT.get_or_init(|| {
        backend::self_test().map_err(Error::backend("self-test"))?;
        known_answers::run()
    })
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

    #[test]
    fn the_backends_self_test_passes() {
        self_test().expect("known answers");
    }
}
