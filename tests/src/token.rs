//! A local token on demand, as a test suite that used SoftHSM2 sees it.

use std::path::PathBuf;

use crate::process::stop;
use crate::{Program, Scratch, hsm_process, program, release};

/// The SO's PIN of a test token.
pub const SO_PIN: &str = "87654321";
/// The user's PIN of a test token.
pub const USER_PIN: &str = "123456";

/// A token of personality `token` in a folder of its own; its HSM ends by itself.
#[derive(Debug)]
pub struct LocalToken {
    /// Its folder's parent, where the test may put files.
    pub scratch: Scratch,
}

impl LocalToken {
    /// A token that nobody has initialised.
    #[must_use]
    pub fn fresh(name: &str) -> Self {
        Self { scratch: Scratch::new(name) }
    }

    /// A token with label, SO PIN and user PIN, made by pkcs11-tool as its manual says.
    ///
    /// # Panics
    /// Where pkcs11-tool fails.
    #[must_use]
    pub fn initialised(name: &str) -> Self {
        Self::with_pins(name, SO_PIN, USER_PIN)
    }

    /// As [`LocalToken::initialised`], for a program that has PINs of its own.
    ///
    /// # Panics
    /// Where pkcs11-tool fails.
    #[must_use]
    pub fn with_pins(name: &str, so_pin: &str, user_pin: &str) -> Self {
        let token = Self::fresh(name);
        token.tool().args(["--init-token", "--label", name, "--so-pin", so_pin]).ok();
        token
            .tool()
            .args(["--login", "--login-type", "so", "--so-pin", so_pin])
            .args(["--init-pin", "--new-pin", user_pin])
            .ok();
        token
    }

    /// The token's folder: `STRONGROOM_DIR`.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.scratch.file("token")
    }

    /// Stops the token's HSM, where one runs; the next program that uses the token starts it again.
    pub fn stop(&self) {
        if let Some(process) = hsm_process(&self.dir()) {
            stop(process);
        }
    }

    /// A program that sees the token.
    #[must_use]
    pub fn program(&self, name: &str) -> Program {
        program(name)
            .env("STRONGROOM_DIR", self.dir())
            .env("STRONGROOM_PERSONALITY", "token")
            .env("STRONGROOM_PKCS11", module())
    }

    /// `pkcs11-tool` on the module, not logged in.
    #[must_use]
    pub fn tool(&self) -> Program {
        self.program("pkcs11-tool").arg("--module").arg(module())
    }

    /// `pkcs11-tool` on the module, logged in as the user.
    #[must_use]
    pub fn logged_in(&self) -> Program {
        self.tool().args(["--login", "--pin", USER_PIN])
    }
}

impl Drop for LocalToken {
    fn drop(&mut self) {
        // It would end by itself when idle; the folder is removed now.
        self.stop();
    }
}

fn module() -> PathBuf {
    release().join("libstrongroom_pkcs11.so")
}
