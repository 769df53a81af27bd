//! Which file to write: the one that clients of the same environment will read.

use std::path::PathBuf;

use strongroom_client::config::Environment;

use crate::error::Error;

/// `STRONGROOM_CONFIG`; else `client.json` in `STRONGROOM_DIR`; else the user's file; but the
/// system's where it is there and the user has none, since that is the one in use.
pub(super) fn of(environment: &Environment) -> Result<PathBuf, Error> {
    if let Some(path) = &environment.config {
        return Ok(path.clone());
    }
    if let Some(dir) = &environment.dir {
        return Ok(dir.join("client.json"));
    }
    let user = environment.config_home.as_ref().map(|home| home.join("strongroom/client.json"));
    match user {
        Some(user) if user.exists() || !environment.system.exists() => Ok(user),
        None if environment.system.as_os_str().is_empty() => {
            Err(Error::usage("No place for the configuration: give --config, or set HOME"))
        }
        _ => Ok(environment.system.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_the_one_that_clients_read() {
        let mut environment = Environment {
            config_home: Some("/nowhere/config".into()),
            system: "/nowhere/etc/client.json".into(),
            ..Environment::default()
        };
        let place = |environment: &Environment| of(environment).ok().unwrap();
        assert_eq!(place(&environment), PathBuf::from("/nowhere/config/strongroom/client.json"));
        environment.dir = Some("/region".into());
        assert_eq!(place(&environment), PathBuf::from("/region/client.json"));
        environment.config = Some("/c.json".into());
        assert_eq!(place(&environment), PathBuf::from("/c.json"));
        assert!(of(&Environment::default()).is_err());
    }
}
