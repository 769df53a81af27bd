//! Logins that end: a user's password changes over and over, and nothing may be done on the strength of
//! a login that ended before it was asked for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use strongroom_wire::message::{self, Operation, Role};

use crate::bridge::pass;
use crate::check::linear::Call;
use crate::check::models::KeyOperation;
use crate::client::{Called, Client};
use crate::history::Moment;
use crate::network::Machine;
use crate::workload::password;
use crate::world::World;

/// What is known of one user's password and logins.
#[derive(Clone, Default)]
pub struct LoginBook(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    password: u64,
    opened: u64,
    /// Logins that are not known to have ended.
    open: Vec<String>,
    /// Changes of the password: when they were asked for, and when they were done, if that is known.
    changes: Vec<(Moment, Option<Moment>)>,
}

impl LoginBook {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest password's number.
    #[must_use]
    pub fn password(&self) -> u64 {
        self.lock().password
    }

    /// A login was opened; its name in the history.
    #[must_use]
    pub fn opened(&self, world: &World, machine: Machine, called: &Called) -> String {
        let mut inner = self.lock();
        inner.opened += 1;
        let name = format!("login c{machine}-{}", inner.opened);
        let from = called.last_sent();
        let note = |from, until, operation| {
            world.history.key(&name, Call { from, until, operation });
        };
        note(from, Some(called.until), KeyOperation::Created);
        // Changes that were under way meanwhile may have ended it at once.
        for (asked, done) in &inner.changes {
            if done.is_none_or(|done| done >= from) {
                let until = done.map(|done| done.max(called.until));
                note(*asked, until, KeyOperation::MaybeDestroyed);
            }
        }
        inner.open.push(name.clone());
        name
    }
}

/// An admin that changes one user's password, over and over.
pub struct Changer {
    world: Arc<World>,
    client: Client,
    user: String,
    book: LoginBook,
}

impl Changer {
    /// An admin's program.
    #[must_use]
    pub fn new(world: &Arc<World>, machine: Machine, user: &str, book: &LoginBook) -> Self {
        let servers = world.servers();
        let client = Client::new(Arc::clone(world), machine, &servers);
        Self { world: Arc::clone(world), client, user: user.to_owned(), book: book.clone() }
    }

    /// Works until a moment of the run, in milliseconds.
    pub fn work(mut self, until_ms: u64) {
        let mut number = 0;
        while self.world.trace.now_ms() < until_ms {
            if !self.client.is_logged_in() {
                self.client.log_in("admin", Role::Admin, &password(0));
                continue;
            }
            pass(Duration::from_millis(self.client.dice.between(100, 1500)));
            number += 1;
            self.change(number);
        }
    }

    fn change(&mut self, number: u64) {
        let asked = self.world.history.moment();
        let at = {
            let mut inner = self.book.lock();
            inner.changes.push((asked, None));
            inner.changes.len() - 1
        };
        // What was open before it was asked for ends for sure; the rest may.
        let surely = self.book.lock().open.len();
        let user = self.user.clone();
        let called = self.client.call(&move || {
            let mut change = message::ChangePassword::default();
            change.user.clone_from(&user);
            change.role = Role::CryptoUser.into();
            change.password = password(number).into_bytes();
            Operation::ChangePassword(change)
        });
        let mut inner = self.book.lock();
        let done = match called.status() {
            None => None,
            Some(0) => Some(called.until),
            Some(status) => {
                self.world.history.problem(format!("a change of password gets {status:x}"));
                return self.client.forget_login();
            }
        };
        inner.password = number;
        inner.changes[at].1 = done;
        let open = std::mem::take(&mut inner.open);
        for (place, name) in open.iter().enumerate() {
            let operation = match done {
                Some(_) if place < surely => KeyOperation::Destroyed,
                _ => KeyOperation::MaybeDestroyed,
            };
            self.world.history.key(name, Call { from: asked, until: done, operation });
        }
        // Those are not known to have ended.
        let kept = if done.is_some() { surely } else { 0 };
        inner.open.extend(open.into_iter().skip(kept));
    }
}
