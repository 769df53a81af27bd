//! What one thread repeats on a PKCS#11 module.

use std::path::Path;

use cryptoki_sys::{
    CK_OBJECT_HANDLE, CK_SESSION_HANDLE, CKM_AES_ECB, CKM_ECDSA, CKM_SHA256_RSA_PKCS,
};
use strongroom_tests::{Failed, Module};

use crate::Work;
use crate::measure::Step;

/// A module with a logged-in session.
pub(crate) struct LoggedIn {
    module: Module,
    session: CK_SESSION_HANDLE,
}

impl LoggedIn {
    pub(crate) fn open(path: &Path, pin: &str) -> Result<Self, String> {
        let module = Module::open(path).map_err(text)?;
        let session = module.session().map_err(text)?;
        module.login(session, pin).map_err(text)?;
        Ok(Self { module, session })
    }

    /// Makes the key that the work needs, as a session object.
    pub(crate) fn key(&self, work: Work) -> Result<CK_OBJECT_HANDLE, String> {
        match work {
            Work::Rsa2048 => self.module.rsa_pair(self.session),
            Work::P256 => self.module.p256_pair(self.session, None).map(|(_, private)| private),
            Work::Gcm1K | Work::Gcm16K | Work::Ecb1K => self.module.aes_key(self.session, false),
            Work::Empty | Work::DurableKey => Ok(0),
        }
        .map_err(text)
    }

    /// What one thread repeats, on a session of its own.
    pub(crate) fn step(&self, work: Work, key: CK_OBJECT_HANDLE) -> Result<Step<'_>, String> {
        let module = &self.module;
        let session = module.session().map_err(text)?;
        let sign = move |mechanism| -> Step<'_> {
            let mut signature = [0; 512];
            Box::new(move || {
                module
                    .sign(session, mechanism, key, &[7; 32], &mut signature)
                    .map_err(text)
                    .map(drop)
            })
        };
        let encrypt = move |bytes: usize| -> Step<'_> {
            let plain = vec![0x5a; bytes];
            let mut cipher = vec![0; bytes + 64];
            Box::new(move || {
                module.encrypt_gcm(session, key, &plain, &mut cipher).map_err(text).map(drop)
            })
        };
        Ok(match work {
            Work::Rsa2048 => sign(CKM_SHA256_RSA_PKCS),
            Work::P256 => sign(CKM_ECDSA),
            Work::Gcm1K => encrypt(1024),
            Work::Gcm16K => encrypt(16 * 1024),
            Work::Ecb1K => {
                let plain = [0x5a; 1024];
                let mut cipher = [0; 1024];
                Box::new(move || {
                    module
                        .encrypt(
                            session,
                            &mut strongroom_tests::plain(CKM_AES_ECB),
                            key,
                            &plain,
                            &mut cipher,
                        )
                        .map_err(text)
                        .map(drop)
                })
            }
            Work::Empty => Box::new(move || module.random(session, &mut [0; 1]).map_err(text)),
            Work::DurableKey => {
                Box::new(move || module.aes_key(session, true).map_err(text).map(drop))
            }
        })
    }

    pub(crate) fn close(&self) -> Result<(), String> {
        self.module.finalize().map_err(text)
    }
}

fn text(failed: Failed) -> String {
    failed.to_string()
}
