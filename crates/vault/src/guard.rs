//! The guards against the known attacks on PKCS#11 tokens, each with a switch for its own test.
//!
//! An attack that is refused proves little: it may be written wrong. So each test runs the published
//! attack twice, against the product and against one without the guard, where it must succeed
//! (`docs/manual/attacks.md`). [`without`] takes a guard away from the thread that calls it, while one
//! closure runs. Nothing that ships calls it: `cargo xtask verify` refuses a mention of it outside of
//! tests, and no message, file, argument or variable leads here.

use std::cell::Cell;

/// One guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The value of a sensitive or unextractable key is not read.
    Sensitive,
    /// A key whose CKA_EXTRACTABLE is false is not wrapped.
    Extractable,
    /// A key whose CKA_WRAP_WITH_TRUSTED is true, or that is trusted itself, is wrapped by trusted keys
    /// only.
    WrapWithTrusted,
    /// An admin sets CKA_TRUSTED, and nobody else.
    TrustedByAdmin,
    /// A trusted secret key wraps and unwraps, and does nothing else.
    TrustedUse,
    /// What a trusted key is for does not change.
    TrustedSettings,
    /// CKA_SENSITIVE, CKA_EXTRACTABLE, CKA_WRAP_WITH_TRUSTED and others change in one direction.
    OneWay,
    /// What a trusted key unwraps, and what is derived of a key that leaves under trusted keys only, is
    /// protected as that key is.
    Inheritance,
    /// Keys are their owner's.
    Ownership,
    /// What would decrypt for whoever may only wrap and unwrap needs a key that may decrypt.
    Oracles,
}

thread_local! {
    static TAKEN_AWAY: Cell<u32> = const { Cell::new(0) };
}

/// Whether a guard stands: always, but in a test of it.
#[must_use]
pub fn stands(guard: Guard) -> bool {
    TAKEN_AWAY.get() & bit(guard) == 0
}

/// Runs `attack` on this thread without a guard. For tests.
pub fn without<T>(guard: Guard, attack: impl FnOnce() -> T) -> T {
    struct PutBack(u32);
    impl Drop for PutBack {
        fn drop(&mut self) {
            TAKEN_AWAY.set(self.0);
        }
    }
    let before = TAKEN_AWAY.get();
    let _put_back = PutBack(before);
    TAKEN_AWAY.set(before | bit(guard));
    attack()
}

const fn bit(guard: Guard) -> u32 {
    1 << guard as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_is_away_for_one_closure_on_one_thread() {
        let elsewhere = || std::thread::spawn(|| stands(Guard::OneWay)).join().unwrap();
        without(Guard::OneWay, || {
            assert!(!stands(Guard::OneWay));
            assert!(stands(Guard::Sensitive));
            assert!(elsewhere());
        });
        assert!(stands(Guard::OneWay));
        let panics = || without(Guard::OneWay, || panic!("on purpose"));
        assert!(std::panic::catch_unwind(panics).is_err());
        assert!(stands(Guard::OneWay));
    }
}
