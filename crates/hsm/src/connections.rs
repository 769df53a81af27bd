//! Which connections are open: a bound on their number, a way to stop them, and since when there
//! is none.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::link::Socket;

/// The open connections of a process.
pub(crate) struct Connections {
    open: Mutex<Open>,
    fewer: Condvar,
}

struct Open {
    sockets: HashMap<u64, Arc<Socket>>,
    next: u64,
    idle_since: Instant,
    stopping: bool,
}

impl Connections {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            open: Mutex::new(Open {
                sockets: HashMap::new(),
                next: 0,
                idle_since: Instant::now(),
                stopping: false,
            }),
            fewer: Condvar::new(),
        })
    }

    /// Notes a connection while its guard lives. `None` where there are `max` already, or the
    /// process stops.
    pub(crate) fn enter(self: &Arc<Self>, socket: &Arc<Socket>, max: usize) -> Option<Guard> {
        let mut open = self.lock();
        if open.stopping || open.sockets.len() >= max {
            return None;
        }
        let id = open.next;
        open.next += 1;
        open.sockets.insert(id, Arc::clone(socket));
        Some(Guard { connections: Arc::clone(self), id })
    }

    /// For how long there has been none; `None` while there is one.
    pub(crate) fn idle_for(&self) -> Option<Duration> {
        let open = self.lock();
        open.sockets.is_empty().then(|| open.idle_since.elapsed())
    }

    /// Lets requests in progress end and closes every connection; whether all were gone within
    /// `patience`. None is taken from now on.
    pub(crate) fn stop(&self, patience: Duration) -> bool {
        let mut open = self.lock();
        open.stopping = true;
        for socket in open.sockets.values() {
            socket.stop_reading();
        }
        let (open, _) = self
            .fewer
            .wait_timeout_while(open, patience, |open| !open.sockets.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        open.sockets.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One open connection; it ends when this is dropped.
pub(crate) struct Guard {
    connections: Arc<Connections>,
    id: u64,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        open.sockets.remove(&self.id);
        if open.sockets.is_empty() {
            open.idle_since = Instant::now();
        }
        self.connections.fewer.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn socket() -> (Arc<Socket>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Arc::new(Socket::Unix(ours)), theirs)
    }

    #[test]
    fn the_cap_holds_and_a_place_is_free_again_when_a_connection_ends() {
        let connections = Connections::new();
        let (a, _a) = socket();
        let (b, _b) = socket();
        let guard = connections.enter(&a, 1).unwrap();
        assert!(connections.enter(&b, 1).is_none());
        assert_eq!(connections.idle_for(), None);
        drop(guard);
        assert!(connections.idle_for().is_some());
        assert!(connections.enter(&b, 1).is_some());
    }

    #[test]
    fn stopping_wakes_a_waiting_reader_and_takes_nobody_new() {
        use std::io::Read;
        let connections = Connections::new();
        let (ours, _theirs) = socket();
        let guard = connections.enter(&ours, 1).unwrap();
        let reader = std::thread::spawn(move || {
            let _guard = guard;
            (&mut &*ours).read(&mut [0; 1]).unwrap()
        });
        assert!(connections.stop(Duration::from_secs(60)));
        assert_eq!(reader.join().unwrap(), 0);
        let (late, _late) = socket();
        assert!(connections.enter(&late, 1).is_none());
    }
}
