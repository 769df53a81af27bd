//! Logins while an HSM is cut off from the majority.
//!
//! Applications must be able to start then, too. An attempt is charged on this HSM, durably, on top of
//! what the cluster had counted: no HSM gives more guesses than were left. The login that it gives is known
//! here alone. When contact is back, the failures are added to the cluster's and the login becomes
//! the cluster's, under its number, so that its ticket counts on every HSM; it ends where the user's
//! epoch has changed meanwhile.
//!
//! Never: a login here that a later start of the process knows, or a count that one forgets.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cryptoki_sys::{CKR_FUNCTION_FAILED, CKR_PIN_INCORRECT, CKR_PIN_LOCKED};
use strongroom_vault::{
    Action, Actor, Command, Gate, LoginId, Principal, Refusal, Role, State, User, UserId,
};
use strongroom_wire::limits;
use strongroom_wire::message::{self, Login};

use crate::connection::Connection;
use crate::desk::{LocalCounters, LocalFailures};
use crate::engine::Engine;
use crate::error::Error;

/// Logins that one HSM gives while it is cut off.
const LOGINS_MAX: usize = 4096;
/// How long a request waits while another one settles.
const PATIENCE: Duration = Duration::from_secs(10);

/// A login that the cluster does not know yet.
#[derive(Clone, Copy)]
pub(crate) struct ApartLogin {
    pub(crate) user: UserId,
    pub(crate) epoch: u64,
    pub(crate) client_key: [u8; 32],
}

/// What happened here while this HSM was cut off.
pub(crate) struct Apart {
    /// Without them nobody logs in here while it is cut off.
    counters: Option<Arc<dyn LocalCounters>>,
    failures: Mutex<BTreeMap<UserId, (u64, u32)>>,
    logins: Mutex<HashMap<LoginId, ApartLogin>>,
    /// Whether there is anything to settle: read by every login.
    unsettled: AtomicBool,
    settling: AtomicBool,
    settled: Gate,
}

impl Apart {
    pub(crate) fn new(counters: Option<Arc<dyn LocalCounters>>) -> Self {
        let mut failures = BTreeMap::new();
        let counters = counters.filter(|counters| match counters.load() {
            Ok(kept) => {
                failures.extend(kept.iter().map(|kept| (kept.user, (kept.epoch, kept.count))));
                true
            }
            Err(error) => {
                tracing::error!(
                    "failed logins from while this HSM was cut off can't be read, so nobody logs in \
                     here when it is cut off: {error}"
                );
                false
            }
        });
        let unsettled = AtomicBool::new(!failures.is_empty());
        Self {
            counters,
            failures: Mutex::new(failures),
            logins: Mutex::default(),
            unsettled,
            settling: AtomicBool::new(false),
            settled: Gate::new(),
        }
    }

    /// A login that the cluster does not know yet.
    pub(crate) fn login(&self, id: LoginId) -> Option<ApartLogin> {
        if !id.began_apart() {
            return None;
        }
        self.logins().get(&id).copied()
    }

    /// Ends a login that the cluster does not know yet; whether it was one.
    pub(crate) fn end(&self, id: LoginId) -> bool {
        id.began_apart() && self.logins().remove(&id).is_some()
    }

    /// As [`State::principal`], with the logins that began here.
    pub(crate) fn principal(&self, state: &State, actor: Actor) -> Result<Principal, Refusal> {
        let Actor::Login(id) = actor else { return state.principal(actor) };
        if !id.began_apart() || state.login(id).is_some() {
            return state.principal(actor);
        }
        let login = self.login(id).ok_or_else(Refusal::login_ended)?;
        let user = state.user(login.user).filter(|user| user.epoch == login.epoch);
        let user = user.ok_or_else(Refusal::login_ended)?;
        Ok(Principal::User { login: id, user: user.id, role: user.role })
    }

    /// Charges an attempt, durably, before its hash is computed. The caller has the turn, so one attempt
    /// at a time comes here.
    fn charge(&self, user: &User) -> Result<(), Error> {
        let mut failures = self.failures();
        let counted = failures.get(&user.id).filter(|(epoch, _)| *epoch == user.epoch);
        let counted = counted.map_or(0, |(_, count)| *count);
        if user.failures.saturating_add(counted) >= limits::LOGIN_FAILURES_MAX {
            return Err(Error::caller(
                CKR_PIN_LOCKED,
                "the user is locked after too many failed logins",
            ));
        }
        failures.insert(user.id, (user.epoch, counted + 1));
        self.unsettled.store(true, Ordering::Release);
        self.save(&failures)
    }

    /// The password was right: what was counted here is forgotten.
    fn refund(&self, user: UserId) -> Result<(), Error> {
        let mut failures = self.failures();
        failures.remove(&user);
        self.save(&failures)
    }

    fn open(&self, login: ApartLogin) -> Result<LoginId, Error> {
        let mut random = [0; 8];
        strongroom_crypto::random(&mut random)?;
        let id = LoginId(u64::from_le_bytes(random) | LoginId::APART_BIT);
        let mut logins = self.logins();
        if logins.len() >= LOGINS_MAX {
            return Err(Error::caller(
                CKR_FUNCTION_FAILED,
                "this HSM is cut off, and gives no more logins until it is not",
            ));
        }
        logins.insert(id, login);
        self.unsettled.store(true, Ordering::Release);
        Ok(id)
    }

    fn save(&self, failures: &BTreeMap<UserId, (u64, u32)>) -> Result<(), Error> {
        let kept: Vec<LocalFailures> = failures
            .iter()
            .map(|(user, (epoch, count))| LocalFailures {
                user: *user,
                epoch: *epoch,
                count: *count,
            })
            .collect();
        let counters = self.counters.as_ref().ok_or(Error::Bug("no local counters"))?;
        counters.save(&kept).map_err(|error| {
            tracing::error!("failed logins can't be counted: {error}");
            Error::Counters
        })
    }

    /// Takes away what the cluster has counted now.
    fn merged(&self, merged: &[(UserId, u64, u32)]) -> Result<(), Error> {
        let mut failures = self.failures();
        for (user, epoch, count) in merged {
            let left = failures.get(user).map_or(0, |(_, counted)| counted.saturating_sub(*count));
            let same = failures.get(user).is_some_and(|(counted, _)| counted == epoch);
            if same && left == 0 {
                failures.remove(user);
            } else if same {
                failures.insert(*user, (*epoch, left));
            }
        }
        self.save(&failures)
    }

    fn failures(&self) -> MutexGuard<'_, BTreeMap<UserId, (u64, u32)>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn logins(&self) -> MutexGuard<'_, HashMap<LoginId, ApartLogin>> {
        self.logins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to settle, for one thread at a time.
struct Settling<'a>(&'a Apart);

impl Drop for Settling<'_> {
    fn drop(&mut self) {
        self.0.settling.store(false, Ordering::Release);
        self.0.settled.notify();
    }
}

impl Engine {
    /// Gives the cluster what happened here while this HSM was cut off. Costs one load where nothing did.
    ///
    /// # Errors
    /// [`Error::CutOff`] where it still is; those of a proposal.
    pub(crate) fn settle(&self) -> Result<(), Error> {
        let apart = &self.apart;
        if !apart.unsettled.load(Ordering::Acquire) {
            return Ok(());
        }
        if self.is_cut_off() {
            return Err(self.no_change());
        }
        let take = || !apart.settling.swap(true, Ordering::AcqRel);
        if !apart.settled.wait(PATIENCE, take) {
            return Err(Error::Behind);
        }
        let _settling = Settling(apart);
        // What is added from here on is settled the next time.
        if !apart.unsettled.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let settled = self.settle_all();
        if settled.is_err() {
            apart.unsettled.store(true, Ordering::Release);
        }
        settled
    }

    fn settle_all(&self) -> Result<(), Error> {
        let failures: Vec<_> = {
            let failures = self.apart.failures();
            failures.iter().map(|(user, (epoch, count))| (*user, *epoch, *count)).collect()
        };
        // First, so that a good login forgives them as it would have. Where the answer is lost they count
        // twice, up to the lock: never less than there were.
        if !failures.is_empty() {
            self.propose_own(Command::MergeFailures { failures: failures.clone() })?;
            self.apart.merged(&failures)?;
        }
        let logins: Vec<_> = self.apart.logins().iter().map(|(id, login)| (*id, *login)).collect();
        for (id, ApartLogin { user, epoch, client_key }) in logins {
            match self.propose_own(Command::AdoptLogin { login: id, user, epoch, client_key }) {
                Ok(_) => {}
                // Its client is told so by its next request: nobody knows the login any more.
                Err(Error::Refused(refusal)) => {
                    tracing::info!("a login from while this HSM was cut off ends: {refusal}");
                }
                Err(error) => return Err(error),
            }
            self.apart.end(id);
        }
        Ok(())
    }
}

impl Connection {
    /// C_Login on an HSM that is cut off.
    ///
    /// # Errors
    /// As a login elsewhere: CKR_PIN_INCORRECT, CKR_PIN_LOCKED.
    pub(crate) fn log_in_apart(
        &mut self,
        login: &Login,
        role: Role,
        client_key: [u8; 32],
    ) -> Result<message::Outcome, Error> {
        let engine = Arc::clone(&self.engine);
        if engine.apart.counters.is_none() {
            return Err(engine.no_change());
        }
        self.may(&Action::LogIn)?;
        let turn = engine.passwords.turn()?;
        let user = self.glance(|state| {
            let user = state.user_by_name(&login.user);
            user.filter(|user| user.role == role && user.verifier.is_some()).cloned()
        });
        if let Some(user) = &user {
            engine.apart.charge(user)?;
        }
        let verifier = user.as_ref().and_then(|user| user.verifier.as_ref());
        let right = turn.check(&login.password, verifier)?;
        let Some(user) = user.filter(|_| right) else {
            tracing::info!(role = ?role, "a login failed");
            return Err(Error::caller(CKR_PIN_INCORRECT, crate::login::WRONG));
        };
        engine.apart.refund(user.id)?;
        drop(turn);
        let apart = ApartLogin { user: user.id, epoch: user.epoch, client_key };
        let id = engine.apart.open(apart)?;
        self.give_ticket(id, &user, client_key)
    }
}
