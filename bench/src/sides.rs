//! The sides of a comparison: who they are and what a child needs to be one of them.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use strongroom_tests::{LocalToken, Region, Scratch, USER_PIN, program};

use crate::Work;

/// SoftHSM2's module, as Debian installs it.
const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// One side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Strongroom's module over TLS, one HSM, audit on.
    Strongroom,
    /// Strongroom's module over a UNIX socket, the on-demand local HSM, audit on: what stands in
    /// for SoftHSM2 on one machine.
    Local,
    /// aws-lc in the measuring process.
    Raw,
    /// SoftHSM2 in the measuring process.
    SoftHsm,
    /// SoftHSM2 behind `p11-kit server`: the peer with a process border.
    SoftHsmServer,
}

impl Side {
    pub(crate) const ALL: [Self; 5] =
        [Self::Strongroom, Self::Local, Self::Raw, Self::SoftHsm, Self::SoftHsmServer];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Strongroom => "strongroom",
            Self::Local => "strongroom, local",
            Self::Raw => "aws-lc",
            Self::SoftHsm => "softhsm2",
            Self::SoftHsmServer => "softhsm2 + p11-kit server",
        }
    }
}

/// Everything that the sides run on; gone when dropped, the server before its folder.
pub(crate) struct Field {
    region: Region,
    local: LocalToken,
    server: Server,
    scratch: Scratch,
}

impl Field {
    pub(crate) fn new() -> Result<Self, String> {
        let scratch = Scratch::new("bench");
        std::fs::create_dir(scratch.file("tokens")).map_err(|e| e.to_string())?;
        scratch.write(
            "softhsm2.conf",
            format!(
                "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
                scratch.file("tokens").display()
            ),
        );
        program("softhsm2-util")
            .env("SOFTHSM2_CONF", scratch.file("softhsm2.conf"))
            .args(["--init-token", "--free", "--label", "peer", "--so-pin", "87654321"])
            .args(["--pin", USER_PIN])
            .ok();
        // In the foreground: a daemon would keep the pipe that its words are read from.
        let socket = scratch.file("p11-kit.sock");
        let server = program("p11-kit")
            .env("SOFTHSM2_CONF", scratch.file("softhsm2.conf"))
            .args(["server", "--foreground", "--provider", SOFTHSM, "--name"])
            .arg(&socket)
            .arg("pkcs11:token=peer")
            .into_command()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("p11-kit server: {e}"))?;
        let server = Server { child: server, address: format!("unix:path={}", socket.display()) };
        let patience = Instant::now() + Duration::from_secs(10);
        while !socket.exists() {
            if Instant::now() > patience {
                return Err("p11-kit server does not listen".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Self {
            region: Region::up("bench"),
            local: LocalToken::initialised("bench"),
            server,
            scratch,
        })
    }

    /// The child's command for one side.
    pub(crate) fn command(&self, side: Side, work: Work, threads: usize, ms: u64) -> Command {
        let me = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("strongroom-bench"));
        let mut command = if side == Side::Strongroom {
            let mut command = Command::new(me);
            command.envs(&self.region.environment);
            command
        } else {
            Command::new(me)
        };
        command.args(["--measure", work.name(), &threads.to_string(), &ms.to_string()]);
        match side {
            Side::Raw => command.arg("raw"),
            Side::Strongroom => command
                .arg(self.region.variable("STRONGROOM_PKCS11"))
                .arg(self.region.variable("CLOUDHSM_PIN")),
            Side::Local => command
                .env("STRONGROOM_DIR", self.local.dir())
                .env("STRONGROOM_PERSONALITY", "token")
                .arg(self.region.variable("STRONGROOM_PKCS11"))
                .arg(USER_PIN),
            Side::SoftHsm => command
                .env("SOFTHSM2_CONF", self.scratch.file("softhsm2.conf"))
                .args([SOFTHSM, USER_PIN]),
            Side::SoftHsmServer => command
                .env("P11_KIT_SERVER_ADDRESS", &self.server.address)
                .args([client_module(), USER_PIN]),
        };
        command
    }
}

/// A p11-kit server; ended when dropped.
struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// p11-kit's client module, as Debian installs it.
fn client_module() -> &'static str {
    [
        "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so",
        "/usr/lib/aarch64-linux-gnu/pkcs11/p11-kit-client.so",
    ]
    .into_iter()
    .find(|module| std::path::Path::new(module).exists())
    .unwrap_or("p11-kit-client.so")
}
