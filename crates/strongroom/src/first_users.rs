//! The first admin and the crypto user of a region that `up` makes.

use strongroom_client::{Client, Config};
use strongroom_wire::message::{
    ActivateCluster, ClusterPhase, CreateUser, InstallClusterCertificate, ListUsers, Operation,
    Outcome, Role,
};

use crate::error::Error;
use crate::region::{Credentials, Login, Region};
use crate::steps::Steps;

/// The first admin of a CloudHSM cluster has this name.
const ADMIN: &str = "admin";
const CRYPTO_USER: &str = "crypto_user";
const PROGRAM: &str = concat!("strongroom ", env!("CARGO_PKG_VERSION"));
/// Of 62 signs: some 142 bits.
const PASSWORD_CHARS: usize = 24;

/// Makes the users where they are missing. Their passwords are on disk before an HSM hears of them,
/// so that no interruption leaves a cluster that nobody can enter.
///
/// # Errors
/// Where a file does not read, or the cluster refuses.
pub(crate) fn make(region: &Region, steps: &mut Steps) -> Result<(), Error> {
    let credentials = match region.credentials()? {
        Some(credentials) => credentials,
        None => {
            let credentials = new_credentials()?;
            region.keep_credentials(&credentials)?;
            credentials
        }
    };
    let client = Client::open(Config::read(&region.client_config())?, PROGRAM)?;
    if client.info().phase != ClusterPhase::Active {
        let password = credentials.admin.password.as_bytes().to_vec();
        client.call(0, Operation::ActivateCluster(ActivateCluster { password }))?;
        steps.done(format_args!("cluster activated: admin `{ADMIN}` has a password"));
    }
    let admin = &credentials.admin;
    client.login(&admin.user, Role::Admin, admin.password.as_bytes())?;
    if !has_crypto_user(&client, &credentials)? {
        client.call(
            0,
            Operation::CreateUser(CreateUser {
                user: credentials.crypto_user.user.clone(),
                role: Role::CryptoUser.into(),
                password: credentials.crypto_user.password.as_bytes().to_vec(),
            }),
        )?;
        steps.done(format_args!("crypto user `{CRYPTO_USER}` created"));
    }
    client.logout()?;
    Ok(())
}

/// As the region's admin: the owner's certificate of the cluster's newest key, PEM.
///
/// # Errors
/// Where there is no admin, or the cluster refuses.
pub(crate) fn install_certificate(region: &Region, certificate: String) -> Result<(), Error> {
    let credentials = region.credentials()?.ok_or_else(|| Error::NoRegion(region.dir().into()))?;
    let client = Client::open(Config::read(&region.client_config())?, PROGRAM)?;
    let admin = &credentials.admin;
    client.login(&admin.user, Role::Admin, admin.password.as_bytes())?;
    let install = InstallClusterCertificate { signed_certificate: certificate };
    client.call(0, Operation::InstallClusterCertificate(install))?;
    client.logout()?;
    Ok(())
}

fn has_crypto_user(client: &Client, credentials: &Credentials) -> Result<bool, Error> {
    let Some(Outcome::Users(users)) = client.call(0, Operation::ListUsers(ListUsers {}))? else {
        return Ok(false);
    };
    Ok(users.users.iter().any(|user| user.user == credentials.crypto_user.user))
}

fn new_credentials() -> Result<Credentials, Error> {
    let login =
        |user: &str| Ok::<_, Error>(Login { user: user.to_owned(), password: new_password()? });
    let crypto_user = login(CRYPTO_USER)?;
    let pin = format!("{}:{}", crypto_user.user, crypto_user.password);
    Ok(Credentials { admin: login(ADMIN)?, crypto_user, pin })
}

fn new_password() -> Result<String, Error> {
    const SIGNS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut password = String::with_capacity(PASSWORD_CHARS);
    while password.len() < PASSWORD_CHARS {
        let mut byte = [0];
        aws_lc_rs::rand::fill(&mut byte)
            .map_err(|_| Error::Usage("the system gives no random bytes".to_owned()))?;
        // Of 256 values 248 are four times 62: the others would make some signs likelier.
        if byte[0] < 248 {
            password.push(char::from(SIGNS[usize::from(byte[0] % 62)]));
        }
    }
    Ok(password)
}
