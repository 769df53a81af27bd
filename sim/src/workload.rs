//! What clients do, and the history of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cryptoki_sys::*;
use strongroom_wire::message::{self, Attribute, Mechanism, Operation, Outcome, Role, Template};

use crate::bridge::pass;
use crate::check::linear::Call;
use crate::check::models::{KeyOperation, UserOperation};
use crate::client::{Called, Client};
use crate::dice::Dice;
use crate::history::{Moment, moments};
use crate::logins::LoginBook;
use crate::network::Machine;
use crate::world::World;

/// An HSM that is in touch is at most so far behind: a second without a leader's word, and that word's
/// way.
const BEHIND_MS_MAX: u64 = 1_150;
/// How long HSMs that are cut off go on.
pub const CUT_OFF_SECONDS: u64 = 5;

/// The password with a number.
#[must_use]
pub fn password(number: u64) -> String {
    format!("password-{number}")
}

/// Keys that clients have made, by user and label; one user's.
#[derive(Clone, Default)]
pub struct Pool {
    user: String,
    keys: Arc<Mutex<Keys>>,
    book: Arc<Mutex<BTreeMap<String, LoginBook>>>,
}

type Keys = BTreeMap<String, BTreeMap<String, Shared>>;

struct Shared {
    handle: u64,
    /// What the key makes of a block of zeros: it must stay the same key.
    cipher: Option<Vec<u8>>,
}

impl Pool {
    /// The keys of another user.
    #[must_use]
    pub fn of(&self, user: &str) -> Self {
        let (keys, book) = (Arc::clone(&self.keys), Arc::clone(&self.book));
        Self { user: user.to_owned(), keys, book }
    }

    fn lock(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_book(&self, book: &LoginBook) {
        let mut books = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        books.insert(self.user.clone(), book.clone());
    }

    /// What is known of the user's passwords, where they change.
    #[must_use]
    pub fn book(&self) -> Option<LoginBook> {
        let books = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        books.get(&self.user).cloned()
    }

    /// Everybody who has made a key.
    #[must_use]
    pub fn users(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// Every label that the user ever gave.
    #[must_use]
    pub fn labels(&self) -> Vec<String> {
        self.lock().get(&self.user).into_iter().flat_map(BTreeMap::keys).cloned().collect()
    }

    fn add(&self, label: &str, handle: u64) {
        let shared = Shared { handle, cipher: None };
        self.lock().entry(self.user.clone()).or_default().insert(label.to_owned(), shared);
    }

    /// A key that is known by its handle, rather a new one than an old one.
    fn pick(&self, dice: &mut Dice) -> Option<(String, u64)> {
        let keys = self.lock();
        let known: Vec<_> =
            keys.get(&self.user)?.iter().filter(|(_, shared)| shared.handle != 0).collect();
        let recent = &known[known.len().saturating_sub(8)..];
        dice.pick(recent).map(|(label, shared)| ((*label).clone(), shared.handle))
    }
}

fn attribute(kind: u64, value: &[u8]) -> Attribute {
    let mut attribute = Attribute::default();
    attribute.kind = kind;
    attribute.value = value.to_vec();
    attribute
}

fn label_template(label: &str) -> Template {
    Template { attributes: vec![attribute(CKA_LABEL, label.as_bytes())] }
}

/// A client that makes, finds, uses and destroys keys.
pub struct KeyUser {
    /// The program.
    pub client: Client,
    world: Arc<World>,
    machine: Machine,
    user: String,
    pool: Pool,
    made: u64,
    /// When it asked for its last change of each key.
    changed: BTreeMap<String, Moment>,
    /// Where its password changes: what is known of that.
    book: Option<LoginBook>,
    /// Its login's name in the history, where its end is watched.
    login: Option<String>,
    /// Whether its login began on an HSM that was cut off: other HSMs learn of it later.
    apart: bool,
}

impl KeyUser {
    /// A program of a user's.
    #[must_use]
    pub fn new(
        world: &Arc<World>,
        machine: Machine,
        user: &str,
        pool: &Pool,
        book: Option<LoginBook>,
    ) -> Self {
        let servers = world.servers();
        if let Some(book) = &book {
            pool.keep_book(book);
        }
        Self {
            book,
            login: None,
            apart: false,
            client: Client::new(Arc::clone(world), machine, &servers),
            world: Arc::clone(world),
            machine,
            user: user.to_owned(),
            pool: pool.clone(),
            made: 0,
            changed: BTreeMap::new(),
        }
    }

    /// Logs in, as often as it takes.
    pub fn ready(&mut self, until_ms: u64) -> bool {
        while !self.client.is_logged_in() {
            if self.world.trace.now_ms() >= until_ms {
                return false;
            }
            let number = self.book.as_ref().map_or(0, LoginBook::password);
            let called = self.client.log_in(&self.user, Role::CryptoUser, &password(number));
            match called.status() {
                Some(CKR_OK) => {
                    self.apart = called.cut_off;
                    let book = self.book.as_ref().filter(|_| !called.cut_off);
                    self.login = book.map(|book| book.opened(&self.world, self.machine, &called));
                }
                None => {}
                // It has just changed, or changed while the login was on its way.
                Some(_) if self.book.is_some() => pass(Duration::from_millis(50)),
                Some(status) => {
                    self.world.history.problem(format!("a right password gets {status:x}"));
                    return false;
                }
            }
        }
        true
    }

    /// Works until a moment of the run, in milliseconds.
    pub fn work(mut self, until_ms: u64) {
        while self.ready(until_ms) && self.world.trace.now_ms() < until_ms {
            match self.client.dice.below(10) {
                0..3 => self.create(),
                3..7 => self.use_one(),
                7 => self.find_one(),
                8 => self.destroy_one(),
                _ => pass(Duration::from_millis(self.client.dice.between(1, 300))),
            }
        }
    }

    fn create(&mut self) {
        self.made += 1;
        let label = format!("c{}-{}", self.machine, self.made);
        let name = label.clone();
        let called = self.client.call(&move || {
            let attributes = vec![
                attribute(CKA_TOKEN, &[1]),
                attribute(CKA_VALUE_LEN, &32_u64.to_le_bytes()),
                attribute(CKA_ENCRYPT, &[1]),
                attribute(CKA_LABEL, name.as_bytes()),
            ];
            Operation::GenerateKey(message::GenerateKey {
                mechanism: Some(Mechanism { kind: CKM_AES_KEY_GEN, parameter: None }),
                template: Some(Template { attributes }),
            })
        });
        let until = match (&called.outcome(), called.status()) {
            (Some(Outcome::Object(reply)), _) => {
                self.pool.add(&label, reply.handle);
                self.client.wrote = called.from;
                self.changed.insert(label.clone(), called.from);
                self.used_login(called.from, called.until);
                Some(called.until)
            }
            // It may be there all the same.
            (_, None) => {
                self.pool.add(&label, 0);
                None
            }
            (_, status) => {
                self.unexpected("a creation", &called, status);
                if !called.may_have_happened_before() {
                    return;
                }
                self.pool.add(&label, 0);
                None
            }
        };
        let operation = KeyOperation::Created;
        self.world.history.key(&label, Call { from: called.from, until, operation });
    }

    fn use_one(&mut self) {
        if let Some((label, handle)) = self.pool.pick(&mut self.client.dice) {
            self.use_key(&label, handle);
        }
    }

    /// Encrypts a block of zeros.
    pub fn use_key(&mut self, label: &str, handle: u64) {
        let called = self.client.call(&move || {
            let mut encrypt = message::Encrypt::default();
            encrypt.handle = handle;
            encrypt.mechanism = Some(Mechanism { kind: CKM_AES_ECB, parameter: None });
            encrypt.data = vec![0; 16];
            Operation::Encrypt(encrypt)
        });
        let operation = match called.status() {
            None => return,
            Some(CKR_OK) => {
                if let Some(Outcome::Encrypted(reply)) = called.outcome() {
                    self.compare(label, &reply.data);
                }
                KeyOperation::Used
            }
            Some(CKR_KEY_HANDLE_INVALID | CKR_OBJECT_HANDLE_INVALID) => KeyOperation::Missing,
            status => return self.unexpected("a use", &called, status),
        };
        self.world.history.took((called.until - called.from) / moments(1));
        self.read(label, &called, operation);
    }

    /// A key stays the key that it was.
    fn compare(&self, label: &str, cipher: &[u8]) {
        let mut keys = self.pool.lock();
        let shared = keys.get_mut(&self.user).and_then(|keys| keys.get_mut(label));
        if let Some(shared) = shared {
            let first = shared.cipher.get_or_insert_with(|| cipher.to_vec());
            if first != cipher {
                self.world.history.problem(format!("the key {label} is another one now"));
            }
        }
    }

    fn find_one(&mut self) {
        let labels = self.pool.labels();
        let Some(label) = self.client.dice.pick(&labels).cloned() else { return };
        self.find(&label);
    }

    /// Looks for a key by its label.
    pub fn find(&mut self, label: &str) -> Option<u64> {
        let name = label.to_owned();
        let called = self.client.call(&move || {
            let template = Some(label_template(&name));
            Operation::FindObjects(message::FindObjects { template, after: 0, max: 10 })
        });
        match (called.outcome(), called.status()) {
            (Some(Outcome::Found(found)), _) => {
                let operation = KeyOperation::Found(found.handles.len() as u64);
                let first = found.handles.first().copied();
                self.read(label, &called, operation);
                first
            }
            (_, None) => None,
            (_, status) => {
                self.unexpected("a search", &called, status);
                None
            }
        }
    }

    fn destroy_one(&mut self) {
        let Some((label, handle)) = self.pool.pick(&mut self.client.dice) else { return };
        let called =
            self.client.call(&move || Operation::DestroyObject(message::DestroyObject { handle }));
        let (until, operation) = match called.status() {
            None => (None, KeyOperation::MaybeDestroyed),
            Some(CKR_OK) => {
                self.client.wrote = called.from;
                self.changed.insert(label.clone(), called.from);
                self.used_login(called.from, called.until);
                (Some(called.until), KeyOperation::Destroyed)
            }
            Some(CKR_OBJECT_HANDLE_INVALID) => {
                return self.read(&label, &called, KeyOperation::Missing);
            }
            status => {
                self.unexpected("a destruction", &called, status);
                if !called.may_have_happened_before() {
                    return;
                }
                (None, KeyOperation::MaybeDestroyed)
            }
        };
        self.world.history.key(&label, Call { from: called.from, until, operation });
    }

    /// What was read may be as old as an HSM may be, but not older than the client's own changes (a use
    /// of a key: of that key); and what was missed, not older than the question.
    fn read(&self, label: &str, called: &Called, operation: KeyOperation) {
        let missed = matches!(operation, KeyOperation::Missing | KeyOperation::Found(0));
        let behind_ms = match (called.cut_off, missed) {
            (true, _) => BEHIND_MS_MAX + CUT_OFF_SECONDS * 1000,
            (false, true) => 0,
            (false, false) => BEHIND_MS_MAX,
        };
        let asked = called.last_sent();
        let oldest = asked.saturating_sub(moments(behind_ms));
        let wrote = match operation {
            KeyOperation::Used => self.changed.get(label).copied().unwrap_or(0),
            _ => self.client.wrote,
        };
        let from = oldest.max(wrote.min(asked));
        if operation == KeyOperation::Used {
            self.used_login(from, called.until);
        }
        self.world.history.key(label, Call { from, until: Some(called.until), operation });
    }

    /// A change was made, or something read, on the strength of the login.
    fn used_login(&self, from: Moment, until: Moment) {
        if let Some(login) = &self.login {
            let until = Some(until);
            self.world.history.key(login, Call { from, until, operation: KeyOperation::Used });
        }
    }

    fn unexpected(&mut self, what: &str, called: &Called, status: Option<u64>) {
        if status == Some(CKR_USER_NOT_LOGGED_IN) {
            // A client that was told so logs in again; its login ends only with its password.
            if self.book.is_none() && !self.apart {
                self.world.history.problem(format!("{what} finds its login ended"));
            }
            self.login = None;
            self.client.forget_login();
            return;
        }
        let message = called.reply.as_ref().map_or("", |reply| &reply.message);
        let status = status.unwrap_or(0);
        self.world.history.problem(format!("{what} gets {status:x}: {message}"));
    }
}

/// What everybody knows of accounts: the newest password of each, as far as it is known.
#[derive(Clone, Default)]
pub struct Accounts(Arc<Mutex<BTreeMap<String, u64>>>);

impl Accounts {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passwords that were never anybody's have numbers from here on.
const WRONG: u64 = 1_000_000;

const NAMES: [&str; 3] = ["ann", "ben", "cleo"];

/// An admin that makes users, removes them and gives them passwords.
pub struct Manager {
    client: Client,
    world: Arc<World>,
    accounts: Accounts,
    passwords: u64,
}

impl Manager {
    /// An admin's program.
    #[must_use]
    pub fn new(world: &Arc<World>, machine: Machine, accounts: &Accounts) -> Self {
        let servers = world.servers();
        let client = Client::new(Arc::clone(world), machine, &servers);
        Self { client, world: Arc::clone(world), accounts: accounts.clone(), passwords: 0 }
    }

    /// Works until a moment of the run, in milliseconds.
    pub fn work(mut self, until_ms: u64) {
        while self.world.trace.now_ms() < until_ms {
            if !self.client.is_logged_in() {
                self.client.log_in("admin", Role::Admin, &password(0));
                continue;
            }
            pass(Duration::from_millis(self.client.dice.between(10, 800)));
            let Some(&name) = self.client.dice.pick(&NAMES) else { continue };
            match self.client.dice.below(4) {
                0 | 1 => self.give(name, false),
                2 => self.give(name, true),
                _ => self.delete(name),
            }
        }
    }

    fn give(&mut self, name: &str, new: bool) {
        self.passwords += 1;
        let number = self.passwords;
        let user = name.to_owned();
        let called = self.client.call(&move || {
            let role = Role::CryptoUser.into();
            let password = password(number).into_bytes();
            if new {
                let mut create = message::CreateUser::default();
                (create.user, create.role, create.password) = (user.clone(), role, password);
                Operation::CreateUser(create)
            } else {
                let mut change = message::ChangePassword::default();
                (change.user, change.role, change.password) = (user.clone(), role, password);
                Operation::ChangePassword(change)
            }
        });
        let done =
            if new { UserOperation::Created(number) } else { UserOperation::Changed(number) };
        let not = if new { UserOperation::Exists } else { UserOperation::Absent };
        if called.status().is_none_or(|status| status == CKR_OK) {
            self.accounts.lock().insert(name.to_owned(), number);
        }
        self.note(name, &called, done, not);
    }

    fn delete(&mut self, name: &str) {
        let user = name.to_owned();
        let called = self.client.call(&move || {
            let mut delete = message::DeleteUser::default();
            (delete.user, delete.role) = (user.clone(), Role::CryptoUser.into());
            Operation::DeleteUser(delete)
        });
        self.note(name, &called, UserOperation::Deleted, UserOperation::Absent);
    }

    fn note(&mut self, name: &str, called: &Called, done: UserOperation, not: UserOperation) {
        let (until, operation) = match called.status() {
            None => (None, done),
            Some(CKR_OK) => (Some(called.until), done),
            Some(CKR_ARGUMENTS_BAD) => (Some(called.until), not),
            // It is logged in.
            Some(CKR_ACTION_PROHIBITED) => (Some(called.until), UserOperation::Exists),
            Some(CKR_USER_NOT_LOGGED_IN) => {
                self.client.forget_login();
                if !called.may_have_happened_before() {
                    return;
                }
                (None, done)
            }
            Some(status) => {
                return self.world.history.problem(format!("the admin gets {status:x}"));
            }
        };
        self.world.history.user(name, Call { from: called.from, until, operation });
    }
}

/// Somebody who tries passwords, right ones and wrong ones.
pub struct Guesser {
    world: Arc<World>,
    machine: Machine,
    accounts: Accounts,
}

impl Guesser {
    /// Somebody at a client's machine.
    #[must_use]
    pub fn new(world: &Arc<World>, machine: Machine, accounts: &Accounts) -> Self {
        Self { world: Arc::clone(world), machine, accounts: accounts.clone() }
    }

    /// Tries until a moment of the run, in milliseconds.
    pub fn work(self, until_ms: u64) {
        let servers = self.world.servers();
        let mut client = Client::new(Arc::clone(&self.world), self.machine, &servers);
        while self.world.trace.now_ms() < until_ms {
            pass(Duration::from_millis(client.dice.between(1, 250)));
            let Some(&name) = client.dice.pick(&NAMES) else { continue };
            let right = self.accounts.lock().get(name).copied().unwrap_or(0);
            // One of them is guessed at by those alone who do not know the password.
            let knows = name != NAMES[0] && client.dice.chance(400);
            let guess = if knows { right } else { right + WRONG };
            let called = client.log_in(name, Role::CryptoUser, &password(guess));
            for attempt in &called.attempts {
                self.note(name, guess, attempt);
            }
            if client.is_logged_in() {
                self.log_out(&mut client);
            }
        }
    }

    /// Logs out, and now and then tries whether the ticket is still good for something.
    fn log_out(&self, client: &mut Client) {
        let called = client.call(&|| Operation::Logout(message::Logout {}));
        if called.status() == Some(CKR_OK) && !called.cut_off && client.dice.chance(300) {
            pass(Duration::from_millis(BEHIND_MS_MAX));
            client.hang_up();
            let called = client.call(&|| Operation::Logout(message::Logout {}));
            if called.status() == Some(CKR_OK) && !called.cut_off {
                self.world.history.problem("a ticket is good for something after its logout");
            }
        }
        client.forget_login();
    }

    fn note(&self, name: &str, guess: u64, attempt: &crate::client::Attempt) {
        let (until, operation) = match attempt.answer {
            // Judged apart; what it counted is added later, or never.
            Some((_, _, true)) => (None, UserOperation::LoginLost(guess)),
            Some((until, CKR_OK, _)) => (Some(until), UserOperation::LoggedIn(guess)),
            // Right when it was charged, perhaps, and changed before the login was opened.
            Some((until, CKR_PIN_INCORRECT, _)) if guess < WRONG => {
                (Some(until), UserOperation::LoginLost(guess))
            }
            Some((until, CKR_PIN_INCORRECT, _)) => (Some(until), UserOperation::Refused(guess)),
            Some((until, CKR_PIN_LOCKED, _)) => (Some(until), UserOperation::Locked),
            Some(_) | None => (None, UserOperation::LoginLost(guess)),
        };
        self.world.history.user(name, Call { from: attempt.from, until, operation });
    }
}
