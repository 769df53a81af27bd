//! A network of the test's own, in which it can cut any HSM off from any other. Needs root.

use std::process::Command;

use crate::program;

/// The network namespace of the thread that made it, and of what that thread starts.
pub struct Network(());

impl Network {
    /// Leaves the machine's network: this thread, the threads and the programs that it starts from now
    /// on see a loopback of their own, with a firewall that is empty yet.
    ///
    /// # Panics
    /// Where that is not allowed.
    #[must_use]
    pub fn of_its_own() -> Self {
        // SAFETY: unshare changes the calling thread's namespace alone; no memory is involved.
        let left = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        assert_eq!(left, 0, "a network namespace: {}", std::io::Error::last_os_error());
        program("ip").args(["link", "set", "lo", "up"]).ok();
        let network = Self(());
        network.heal();
        network
    }

    /// What `from` sends does not reach `to` any more, whatever connection it is on.
    ///
    /// # Panics
    /// Where the firewall refuses.
    pub fn cut(&self, from: &str, to: &str) {
        self.nft(&format!("add rule inet test input ip saddr {from} ip daddr {to} drop"));
    }

    /// Everything arrives again.
    ///
    /// # Panics
    /// Where the firewall refuses.
    pub fn heal(&self) {
        self.nft("flush ruleset");
        self.nft("add table inet test");
        self.nft("add chain inet test input { type filter hook input priority 0; }");
    }

    /// Whether something listens on TCP in here.
    ///
    /// # Panics
    /// Where `ss` does not run.
    #[must_use]
    pub fn has_listeners(&self) -> bool {
        let output = Command::new("ss").arg("-Hltn").output().expect("ss");
        !output.stdout.is_empty()
    }

    fn nft(&self, rule: &str) {
        program("nft").arg(rule).ok();
    }
}
