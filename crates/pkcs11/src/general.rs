//! General-purpose functions (PKCS#11 2.40, section 5.4).

use cryptoki_sys::*;
use strongroom_client::{Client, Config, Options};

use crate::abi::library;
use crate::error::{Ckr, Result};
use crate::fork;
use crate::hsm::PROGRAM;
use crate::log;
use crate::module::{self, Module};
use crate::slot::{MANUFACTURER, padded, version};

/// C_Initialize: reads the configuration and connects once, so that what is wrong shows here.
///
/// # Errors
/// CKR_FUNCTION_FAILED for everything that only the log can explain.
pub(crate) fn initialize(arguments: Option<&CK_C_INITIALIZE_ARGS>) -> Result<()> {
    if let Some(arguments) = arguments {
        check(arguments)?;
    }
    fork::watch();
    log::start();
    module::initialize(|| {
        // The first random bytes of a process are slow (20 ms), and without them it can't go on.
        let mut first = [0; 16];
        strongroom_crypto::random(&mut first).map_err(|_| Ckr(CKR_FUNCTION_FAILED))?;
        let client = connect().map_err(|error| {
            tracing::error!("C_Initialize: {error}");
            Ckr(CKR_FUNCTION_FAILED)
        })?;
        Ok(Module::new(Box::new(client)))
    })
}

fn connect() -> std::result::Result<Client, strongroom_client::Error> {
    let config = Config::load()?;
    log::configure(&config.logging);
    let options = Options { program: PROGRAM.to_owned(), library_dir: library::folder() };
    let client = Client::open_with(config, options)?;
    let info = client.info();
    tracing::info!("connected to {} of cluster {}", info.hsm_id, info.cluster_id);
    Ok(client)
}

/// What C_Initialize's arguments may be: all four mutex functions or none, and nothing reserved.
/// The module locks with the system's primitives and makes no threads, whatever the flags say.
fn check(arguments: &CK_C_INITIALIZE_ARGS) -> Result<()> {
    let given = [
        arguments.CreateMutex.is_some(),
        arguments.DestroyMutex.is_some(),
        arguments.LockMutex.is_some(),
        arguments.UnlockMutex.is_some(),
    ];
    let all_or_none = given.iter().all(|&is| is) || !given.contains(&true);
    if !all_or_none || !arguments.pReserved.is_null() {
        return Err(Ckr(CKR_ARGUMENTS_BAD));
    }
    Ok(())
}

/// C_Finalize: logs out, which ends the application's session objects too, and closes every
/// connection. Nothing of the module's runs afterwards.
pub(crate) fn finalize() -> Result<()> {
    let module = module::finalize()?;
    if module.hsm.role().is_some()
        && let Err(error) = module.hsm.logout()
    {
        tracing::warn!("the HSM was not told of the logout: {error:?}");
    }
    Ok(())
}

/// C_GetInfo, of the interface of version `cryptoki`.
pub(crate) fn info(cryptoki: CK_VERSION) -> CK_INFO {
    CK_INFO {
        cryptokiVersion: cryptoki,
        manufacturerID: padded(MANUFACTURER),
        flags: 0,
        libraryDescription: padded("Strongroom PKCS#11 module"),
        libraryVersion: version(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C" fn lock(_mutex: *mut std::os::raw::c_void) -> CK_RV {
        CKR_OK
    }

    #[test]
    fn mutex_functions_come_all_or_none_and_nothing_is_reserved() {
        let none = CK_C_INITIALIZE_ARGS {
            CreateMutex: None,
            DestroyMutex: None,
            LockMutex: None,
            UnlockMutex: None,
            flags: CKF_OS_LOCKING_OK | CKF_LIBRARY_CANT_CREATE_OS_THREADS,
            pReserved: std::ptr::null_mut(),
        };
        assert_eq!(check(&none), Ok(()));
        let some = CK_C_INITIALIZE_ARGS { LockMutex: Some(lock), ..none };
        assert_eq!(check(&some), Err(Ckr(CKR_ARGUMENTS_BAD)));
        let mut byte = 0u8;
        let reserved = CK_C_INITIALIZE_ARGS { pReserved: (&raw mut byte).cast(), ..none };
        assert_eq!(check(&reserved), Err(Ckr(CKR_ARGUMENTS_BAD)));
    }
}
