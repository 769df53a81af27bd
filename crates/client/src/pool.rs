//! Idle connections: each calling thread finds the one that it used last, and where its HSM is dead
//! or it is time to choose again, one to the HSM that it is told.
//!
//! A thread has a shard, given to it round robin, so threads meet on a lock only where there are
//! more of them than shards. A thread that finds nothing of its own takes a connection that nobody
//! has used for a while, before a new one is opened: threads that come and go don't pile connections
//! up.
//!
//! The thread's number is kept in a thread-local without a destructor: one with a destructor would
//! run code of this library at a thread's end, even after dlclose has unmapped it.

use std::{
    cell::Cell,
    ops::{Deref, DerefMut},
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    connection::Connection,
    fleet::{CHOSEN_FIRST_FOR, CHOSEN_FOR, HsmKey, Standing},
};

/// Shards, and so threads that never share one.
const SHARDS: usize = 64;
/// Open connections of one client: an eighth of what an HSM allows to all. More threads wait.
const CONNECTIONS_MAX: usize = 256;
/// A connection that was not used for this long may go to another thread.
const LEFT_ALONE: Duration = Duration::from_secs(1);
/// A connection that was not used for this long may have been closed by the HSM or on the way to it.
const LIVENESS_CHECK_AFTER: Duration = Duration::from_secs(30);

static NEXT_SHARD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static SHARD: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The idle connections of one client.
pub(crate) struct Pool {
    shards: Box<[Shard]>,
    /// Connections that exist, idle or in use.
    open: AtomicUsize,
    waiting: Mutex<()>,
    returned: Condvar,
}

/// Alone on its cache line.
#[repr(align(128))]
struct Shard(Mutex<Vec<Connection>>);

/// What [`Pool::take`] gives.
pub(crate) enum Taken<'a> {
    /// A connection that was idle.
    Idle(Lease<'a>),
    /// The right to open one.
    Vacancy(Vacancy<'a>),
}

/// A connection in use. Dropped, it is closed; [`Lease::put_back`] keeps it.
pub(crate) struct Lease<'a> {
    connection: Connection,
    vacancy: Vacancy<'a>,
}

/// A place among the [`CONNECTIONS_MAX`], given back when dropped.
pub(crate) struct Vacancy<'a>(&'a Pool);

impl Pool {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard(Mutex::new(Vec::new()))).collect(),
            open: AtomicUsize::new(0),
            waiting: Mutex::new(()),
            returned: Condvar::new(),
        }
    }

    /// The connection that this thread used last, where its HSM is not dead and was chosen not long
    /// ago. Else the HSM that it was to.
    pub(crate) fn own(&self) -> Result<Lease<'_>, Option<HsmKey>> {
        let shard = own_shard();
        let mut last = None;
        loop {
            let mut idle = lock(&self.shards[shard]);
            let Some(connection) = idle.last() else { return Err(last) };
            let gone = connection.site.load.standing() == Standing::Gone;
            if !gone && connection.last_used > connection.choose_again {
                return Err(Some(connection.site.key));
            }
            let Some(mut connection) = idle.pop() else { return Err(last) };
            drop(idle);
            let stale = connection.last_used.elapsed() > LIVENESS_CHECK_AFTER;
            if !gone && (!stale || connection.is_alive()) {
                return Ok(self.lease(connection));
            }
            last.get_or_insert(connection.site.key);
            drop(self.lease(connection));
        }
    }

    /// An idle connection to one HSM, or the right to open one; waits where all are in use.
    pub(crate) fn take(&self, key: HsmKey) -> Taken<'_> {
        let mut taken = self.take_any(key);
        if let Taken::Idle(lease) = &mut taken {
            lease.chosen();
        }
        taken
    }

    fn take_any(&self, key: HsmKey) -> Taken<'_> {
        let shard = own_shard();
        loop {
            while let Some(mut connection) = take_to(key, &mut lock(&self.shards[shard])) {
                let stale = connection.last_used.elapsed() > LIVENESS_CHECK_AFTER;
                if !stale || connection.is_alive() {
                    return Taken::Idle(self.lease(connection));
                }
                drop(self.lease(connection));
            }
            if let Some(connection) = self.take_from_others(shard, Some(key), LEFT_ALONE) {
                return Taken::Idle(self.lease(connection));
            }
            if let Some(vacancy) = self.vacancy() {
                return Taken::Vacancy(vacancy);
            }
            if let Some(connection) = self.take_from_others(shard, Some(key), Duration::ZERO) {
                return Taken::Idle(self.lease(connection));
            }
            // One to another HSM makes room. One to this HSM has come back meanwhile.
            let own = lock(&self.shards[shard]).pop();
            if let Some(mut idle) =
                own.or_else(|| self.take_from_others(shard, None, Duration::ZERO))
            {
                if idle.site.key == key && idle.is_alive() {
                    return Taken::Idle(self.lease(idle));
                }
                self.gone(1);
                idle.close();
                continue;
            }
            self.wait_for_return();
        }
    }

    /// The right to open a connection, where there are not too many.
    pub(crate) fn vacancy(&self) -> Option<Vacancy<'_>> {
        self.open
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| {
                (open < CONNECTIONS_MAX).then_some(open + 1)
            })
            .ok()
            .map(|_| Vacancy(self))
    }

    /// Closes idle connections to one HSM that have died, or whose HSM has: where one was found dead,
    /// others often are too.
    pub(crate) fn close_dead(&self, key: HsmKey) {
        for shard in &self.shards {
            let mut idle = lock(shard);
            let before = idle.len();
            idle.retain_mut(|connection| {
                connection.site.key != key
                    || (connection.site.load.standing() != Standing::Gone && connection.is_alive())
            });
            self.gone(before - idle.len());
        }
    }

    /// Closes all idle connections in order.
    pub(crate) fn close_all(&self) {
        for shard in &self.shards {
            let idle = std::mem::take(&mut *lock(shard));
            self.gone(idle.len());
            idle.into_iter().for_each(Connection::close);
        }
    }

    /// Lets go of idle connections without a word to the HSM, without waiting for a lock: for a
    /// child after fork, in which a thread that held one does not exist.
    pub(crate) fn forget(&self) {
        for Shard(shard) in &self.shards {
            let mut idle = match shard.try_lock() {
                Ok(idle) => idle,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => continue,
            };
            idle.clear();
        }
    }

    fn lease(&self, connection: Connection) -> Lease<'_> {
        Lease { connection, vacancy: Vacancy(self) }
    }

    /// To `key`, or to any HSM.
    fn take_from_others(
        &self,
        own: usize,
        key: Option<HsmKey>,
        idle_for: Duration,
    ) -> Option<Connection> {
        for step in 1..SHARDS {
            // A shard that is locked is in use.
            let Ok(mut idle) = self.shards[(own + step) % SHARDS].0.try_lock() else { continue };
            // The first has been idle for longest.
            let fits = |connection: &Connection| {
                key.is_none_or(|key| connection.site.key == key)
                    && connection.last_used.elapsed() >= idle_for
            };
            if let Some(place) = idle.iter().position(fits) {
                let mut connection = idle.remove(place);
                drop(idle);
                if connection.is_alive() {
                    return Some(connection);
                }
                self.gone(1);
            }
        }
        None
    }

    fn gone(&self, connections: usize) {
        if connections > 0 {
            self.open.fetch_sub(connections, Ordering::AcqRel);
            self.tell_waiting();
        }
    }

    fn wait_for_return(&self) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // One that came back between the look and this wait is found when the time is over.
        drop(self.returned.wait_timeout(waiting, Duration::from_millis(5)));
    }

    fn tell_waiting(&self) {
        // Threads wait only where all connections exist, which is rare.
        if self.open.load(Ordering::Acquire) + 1 >= CONNECTIONS_MAX {
            self.returned.notify_one();
        }
    }
}

impl<'a> Vacancy<'a> {
    /// Takes the place with a connection.
    pub(crate) fn fill(self, connection: Connection) -> Lease<'a> {
        let mut lease = Lease { connection, vacancy: self };
        lease.connection.choose_again = Instant::now() + CHOSEN_FIRST_FOR;
        lease
    }
}

impl Drop for Vacancy<'_> {
    fn drop(&mut self) {
        self.0.gone(1);
    }
}

impl<'a> Lease<'a> {
    /// The connection; its place stays taken.
    fn into_parts(self) -> (&'a Pool, Connection) {
        let Self { connection, vacancy } = self;
        let pool = vacancy.0;
        std::mem::forget(vacancy);
        (pool, connection)
    }

    /// The thread stays on this HSM for a while.
    fn chosen(&mut self) {
        // Threads don't choose in step.
        let part = (own_shard() * 7 % SHARDS) as u32;
        let longer = CHOSEN_FOR * part / SHARDS as u32;
        self.connection.choose_again = Instant::now() + CHOSEN_FOR + longer;
    }

    /// Keeps the connection for this thread's next request.
    pub(crate) fn put_back(self) {
        let (pool, connection) = self.into_parts();
        lock(&pool.shards[own_shard()]).push(connection);
        pool.tell_waiting();
    }

    /// Keeps the connection for whoever goes to its HSM.
    pub(crate) fn put_aside(self) {
        let (pool, connection) = self.into_parts();
        lock(&pool.shards[own_shard()]).insert(0, connection);
        pool.tell_waiting();
    }
}

impl Deref for Lease<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Lease<'_> {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

fn own_shard() -> usize {
    SHARD.with(|shard| {
        if shard.get() == usize::MAX {
            shard.set(NEXT_SHARD.fetch_add(1, Ordering::Relaxed) % SHARDS);
        }
        shard.get()
    })
}

/// The last used to one HSM.
fn take_to(key: HsmKey, idle: &mut Vec<Connection>) -> Option<Connection> {
    let place = idle.iter().rposition(|connection| connection.site.key == key)?;
    Some(idle.remove(place))
}

fn lock(Shard(shard): &Shard) -> MutexGuard<'_, Vec<Connection>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
