//! What one key and one user may do: sequential models for [`super::linear`].

use super::linear::Model;

/// One token key, named by a label that nobody else gives; or one login, which is made, used and ended.
pub struct Key;

/// Where a key is in its life, and how many carry its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Life {
    /// Not made yet.
    Never,
    /// There.
    Present,
    /// Destroyed.
    Gone,
}

/// What was done with a key, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOperation {
    /// Made.
    Created,
    /// A search for its label found so many.
    Found(u64),
    /// It was used.
    Used,
    /// The HSM said that there is no such key.
    Missing,
    /// Destroyed.
    Destroyed,
    /// Not known: perhaps it was destroyed.
    MaybeDestroyed,
}

impl Model for Key {
    type State = Life;
    type Operation = KeyOperation;

    fn initial(&self) -> Life {
        Life::Never
    }

    fn step(&self, life: &Life, operation: &KeyOperation) -> Vec<Life> {
        use KeyOperation as K;
        match (operation, life) {
            // A second run of a creation, and a key that comes back, have no place here.
            (K::Created, Life::Never) => vec![Life::Present],
            (K::Found(1) | K::Used, Life::Present) => vec![Life::Present],
            (K::Found(0) | K::Missing, Life::Never | Life::Gone) => vec![*life],
            (K::Destroyed, Life::Present) => vec![Life::Gone],
            (K::MaybeDestroyed, Life::Present) => vec![Life::Present, Life::Gone],
            (K::MaybeDestroyed, _) => vec![*life],
            _ => vec![],
        }
    }
}

/// One user, whose passwords are numbers.
pub struct User {
    /// Failed logins in a row that lock.
    pub failures_max: u32,
    /// Logins that may be on their way at the same time: each is charged before it is known to be
    /// right, so others may find the user locked so much earlier.
    pub at_once: u32,
}

/// What the cluster knows of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Account {
    /// Password; `None`: no such user.
    pub password: Option<u64>,
    /// Failed logins since the last good one.
    pub failures: u32,
}

/// What was done with a user, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserOperation {
    /// Made, with this password.
    Created(u64),
    /// The password was changed, which unlocks.
    Changed(u64),
    /// Removed.
    Deleted,
    /// Logged in with this password.
    LoggedIn(u64),
    /// The password was refused.
    Refused(u64),
    /// Locked: no password would do.
    Locked,
    /// A login had no answer.
    LoginLost(u64),
    /// It was said that there is such a user already.
    Exists,
    /// It was said that there is no such user.
    Absent,
}

impl Model for User {
    type State = Account;
    type Operation = UserOperation;

    fn initial(&self) -> Account {
        Account { password: None, failures: 0 }
    }

    fn step(&self, account: &Account, operation: &UserOperation) -> Vec<Account> {
        use UserOperation as U;
        let Account { password, failures } = *account;
        let open = failures < self.failures_max;
        let charged = Account { failures: failures + 1, ..*account };
        let refunded = Account { failures: 0, ..*account };
        match *operation {
            U::Created(new) if password.is_none() => {
                vec![Account { password: Some(new), failures: 0 }]
            }
            U::Changed(new) if password.is_some() => {
                vec![Account { password: Some(new), failures: 0 }]
            }
            U::Deleted if password.is_some() => vec![Account { password: None, failures: 0 }],
            U::LoggedIn(given) if password == Some(given) && open => vec![refunded],
            U::Refused(_) if password.is_none() => vec![*account],
            // Charged first and compared then: the password may have been changed in between.
            U::Refused(given) if password != Some(given) && open => vec![charged],
            U::Locked if failures + self.at_once > self.failures_max => vec![*account],
            // Perhaps never charged; perhaps charged, and given back or not.
            U::LoginLost(given) if open && password == Some(given) => {
                vec![*account, charged, refunded]
            }
            // Charged while it was open, or judged right by an HSM that was cut off, and only now known:
            // it counts as a success now.
            U::LoginLost(given) if password == Some(given) => vec![*account, refunded],
            U::LoginLost(_) if open && password.is_some() => vec![*account, charged],
            U::LoginLost(_) => vec![*account],
            U::Exists if password.is_some() => vec![*account],
            U::Absent if password.is_none() => vec![*account],
            _ => vec![],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::linear::{Call, Verdict, check};

    fn after_each_other<O: Clone>(operations: &[O]) -> Vec<Call<O>> {
        (0..)
            .zip(operations)
            .map(|(at, operation)| Call {
                from: at * 10,
                until: Some(at * 10 + 5),
                operation: operation.clone(),
            })
            .collect()
    }

    #[test]
    fn a_destroyed_key_does_not_come_back() {
        use KeyOperation as K;
        let life = [K::Created, K::Used, K::Found(1), K::Destroyed, K::Missing, K::Found(0)];
        assert_eq!(check(&Key, after_each_other(&life)), Verdict::Linearizable);
        for wrong in [
            &[K::Created, K::Destroyed, K::Used][..],
            &[K::Created, K::Missing],
            &[K::Created, K::Found(2)],
            &[K::Created, K::Created],
            &[K::Used],
        ] {
            assert_eq!(check(&Key, after_each_other(wrong)), Verdict::Impossible, "{wrong:?}");
        }
    }

    #[test]
    fn a_sixth_guess_is_refused_before_it_is_looked_at() {
        use UserOperation as U;
        let user = User { failures_max: 5, at_once: 1 };
        let mut history = vec![U::Created(1)];
        history.extend([U::Refused(2); 5]);
        history.extend([U::Locked, U::Changed(3), U::LoggedIn(3)]);
        assert_eq!(check(&user, after_each_other(&history)), Verdict::Linearizable);
        let mut reset = vec![U::Created(1)];
        reset.extend([U::Refused(2); 6]);
        assert_eq!(check(&user, after_each_other(&reset)), Verdict::Impossible);
        let stale = [U::Created(1), U::Changed(2), U::LoggedIn(1)];
        assert_eq!(check(&user, after_each_other(&stale)), Verdict::Impossible);
    }
}
