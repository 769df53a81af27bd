//! `strongroom up`: from nothing to a region that has signed, or the same region started again.
//!
//! Each step looks first whether it is done, so that an `up` that was interrupted anywhere is
//! finished by the next, and one on a finished region only starts and signs.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};
use strongroom_client::{Client, Config};
use strongroom_hsm::{Log, new_hsm_id, start_detached};
use strongroom_seal::write_atomically;
use strongroom_wire::message::{
    ActivateCluster, ClusterPhase, CreateUser, ListUsers, Operation, Outcome, Role,
};

use crate::administration::Administration;
use crate::arguments::UpOptions;
use crate::error::Error;
use crate::process::Process;
use crate::region::{Credentials, Description, HsmDescription, Login, Region};
use crate::steps::{Steps, say};
use crate::{client_config, first_use, owner, private_folder, region};

/// Where the first HSM listens, where nobody says.
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 1, 10));
/// The first admin of a CloudHSM cluster has this name.
const ADMIN: &str = "admin";
const CRYPTO_USER: &str = "crypto_user";
const PROGRAM: &str = concat!("strongroom ", env!("CARGO_PKG_VERSION"));
/// For an HSM that does not answer, and may be about to start or to end.
const PATIENCE: Duration = Duration::from_secs(15);
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// Of 62 signs: some 142 bits.
const PASSWORD_CHARS: usize = 24;

/// Sets the region up and runs it.
///
/// # Errors
/// The step that failed; what came before stays.
pub(crate) fn run(options: &UpOptions) -> Result<(), Error> {
    if options.hsms != 1 {
        return Err(Error::Usage(format!(
            "--hsms {}: this version runs regions of one HSM; clusters of several come with \
             replication",
            options.hsms
        )));
    }
    let region = options.region.region();
    let module = region::module()?;
    let mut steps = Steps::begin();
    say(format_args!("Strongroom region in {}", region.dir().display()));

    let description = describe(&region, options, &mut steps)?;
    let [hsm, ..] = description.hsms.as_slice() else {
        return Err(Error::file(region.dir())("region.json names no HSM"));
    };
    let child = start(&region, &description, hsm, options.foreground, &mut steps)?;
    initialise(&region, hsm, &mut steps)?;
    client_config::complete(&region, &description, &mut steps)?;
    let credentials = activate(&region, &mut steps)?;
    drop(credentials);
    first_use::start(&region, &module)?;
    say_what_next(&region, &steps);
    match child {
        Some(child) if options.foreground => stay(&region, hsm, child),
        _ => Ok(()),
    }
}

/// The region's folder and description, made where they are missing.
fn describe(region: &Region, options: &UpOptions, steps: &mut Steps) -> Result<Description, Error> {
    private_folder::make(region.dir())?;
    if let Some(description) = region.find()? {
        steps.done(format_args!("region found: {}", description.cluster_id));
        return moved(region, description, options, steps);
    }
    owner::make_provisioner(&region.provisioner())?;
    let hsm = HsmDescription {
        hsm_id: new_hsm_id()?,
        address: options.address.unwrap_or(ADDRESS),
        port_offset: options.port_offset.unwrap_or_default(),
    };
    let description = Description { cluster_id: new_cluster_id()?, hsms: vec![hsm] };
    region.describe(&description)?;
    steps.done(format_args!("region folder made, for {}", description.cluster_id));
    Ok(description)
}

/// Has the first HSM listen where the options say from its next start on.
fn moved(
    region: &Region,
    mut description: Description,
    options: &UpOptions,
    steps: &mut Steps,
) -> Result<Description, Error> {
    let Some(hsm) = description.hsms.first_mut() else { return Ok(description) };
    let before = hsm.clone();
    hsm.address = options.address.unwrap_or(before.address);
    hsm.port_offset = options.port_offset.unwrap_or(before.port_offset);
    if *hsm == before {
        return Ok(description);
    }
    let (from, to) = (before.clients(), hsm.clients());
    if Process::of(region, &before).is_some() {
        return Err(Error::Usage(format!(
            "{} runs on {from}; after `strongroom down{}` it can be moved to {to}",
            before.hsm_id,
            region.option()
        )));
    }
    region.describe(&description)?;
    steps.done(format_args!("moved from {from} to {to}"));
    Ok(description)
}

fn new_cluster_id() -> Result<String, Error> {
    let id = new_hsm_id()?;
    Ok(format!("cluster-{}", id.trim_start_matches("hsm-")))
}

/// The HSM's process, where it does not run yet.
fn start(
    region: &Region,
    description: &Description,
    hsm: &HsmDescription,
    foreground: bool,
    steps: &mut Steps,
) -> Result<Option<Child>, Error> {
    let place = hsm.clients();
    if runs(region, hsm)? {
        if foreground {
            return Err(Error::Usage(format!(
                "{} runs already; `strongroom down{}` stops it",
                hsm.hsm_id,
                region.option()
            )));
        }
        steps.done(format_args!("{} runs already on {place}", hsm.hsm_id));
        return Ok(None);
    }
    let folder = region.hsm_folder(hsm);
    private_folder::make(&folder)?;
    let arguments: Vec<std::ffi::OsString> = vec![
        "hsm".into(),
        "--dir".into(),
        folder.into(),
        "--listen".into(),
        hsm.address.to_string().into(),
        "--port-offset".into(),
        hsm.port_offset.to_string().into(),
        "--provisioner".into(),
        region.provisioner().certificate.into(),
        "--hsm-id".into(),
        hsm.hsm_id.clone().into(),
        "--cluster-id".into(),
        description.cluster_id.clone().into(),
    ];
    let log = region.hsm_log(hsm);
    let log = if foreground { Log::Inherited } else { Log::File(&log) };
    let child = start_detached(arguments, None, log)?;
    write_atomically(&region.pid_file(hsm), child.id().to_string().as_bytes())?;
    steps.done(format_args!("{} listens on {place}", hsm.hsm_id));
    Ok(Some(child))
}

/// Whether the HSM runs. The ports of one that was killed a moment ago may still take a connection,
/// to reset it, and its folder is locked a little longer than they are open: so the end of a process
/// that does not answer is awaited, and then its ports are asked again.
fn runs(region: &Region, hsm: &HsmDescription) -> Result<bool, Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        // Before the connection: what is not there now cannot be what resets it.
        let process = Process::of(region, hsm);
        match (Administration::connect(region, hsm), process) {
            (Ok(_), _) => return Ok(true),
            (Err(Error::NotRunning(_) | Error::Unreachable { .. }), Some(process)) => {
                // Not to its end at once: it may be one that is only about to listen.
                if !process.ends_within(ASK_AGAIN)? && Instant::now() > deadline {
                    return Err(Error::Program {
                        program: "the HSM",
                        problem: format!(
                            "its process does not answer; `strongroom down{}` ends it",
                            region.option()
                        ),
                    });
                }
            }
            // Where something else answers in its place, its own listening will say so.
            (Err(Error::NotRunning(_) | Error::Unreachable { .. }), None) => return Ok(false),
            (Err(e), _) => return Err(e),
        }
    }
}

/// customerCA, and with it the owner's word on the cluster.
fn initialise(region: &Region, hsm: &HsmDescription, steps: &mut Steps) -> Result<(), Error> {
    let mut administration = Administration::connect(region, hsm)?;
    if administration.status()?.phase() != ClusterPhase::Uninitialized {
        return Ok(());
    }
    let files = region.customer_ca();
    owner::make_customer_ca(&files)?;
    steps.done("customerCA made: the region's owner");
    let request = administration.cluster_request()?;
    let certificate = owner::sign_cluster(&files, &request)?;
    steps.done("the cluster's request signed with customerCA");
    let anchor =
        std::fs::read_to_string(&files.certificate).map_err(Error::file(&files.certificate))?;
    administration.initialize(certificate, anchor)?;
    steps.done("cluster initialised: it belongs to customerCA");
    Ok(())
}

/// The first admin and the crypto user. Their passwords are on disk before the HSM hears of them,
/// so that no interruption leaves a cluster that nobody can enter.
fn activate(region: &Region, steps: &mut Steps) -> Result<Credentials, Error> {
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
    Ok(credentials)
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

fn say_what_next(region: &Region, steps: &Steps) {
    let program = std::env::args().next().unwrap_or_else(|| "strongroom".to_owned());
    let option = region.option();
    say(format_args!(
        "Ready after {} ms.\n\
         This is software, not FIPS-validated, and its seal is a file: whoever reads {} reads the \
         keys.\n\n\
         Next:\n  \
         eval \"$({program} env{option})\"\n  \
         pkcs11-tool --module $STRONGROOM_PKCS11 --login --pin $CLOUDHSM_PIN --list-objects\n  \
         {program} status{option}\n  \
         {program} down{option}",
        steps.total_ms(),
        region.dir().display(),
    ));
}

/// Waits until the HSM ends, and ends it when this process is told to.
fn stay(region: &Region, hsm: &HsmDescription, mut child: Child) -> Result<(), Error> {
    let failed = "waiting for the HSM";
    let (mut woken, waker) = UnixStream::pair().map_err(Error::io(failed))?;
    for signal in [SIGTERM, SIGINT, SIGCHLD] {
        let waker = waker.try_clone().map_err(Error::io(failed))?;
        signal_hook::low_level::pipe::register(signal, waker).map_err(Error::io(failed))?;
    }
    loop {
        if let Some(status) = child.try_wait().map_err(Error::io(failed))? {
            if status.success() {
                return Ok(());
            }
            return Err(Error::Program { program: "the HSM", problem: status.to_string() });
        }
        woken.read_exact(&mut [0]).map_err(Error::io(failed))?;
        if child.try_wait().map_err(Error::io(failed))?.is_none() {
            match Administration::connect(region, hsm).and_then(|mut a| a.shut_down()) {
                // It does not listen yet, or not any more: the signal reaches it all the same.
                Err(Error::NotRunning(_) | Error::Unreachable { .. }) => {
                    if let Some(process) = Process::of(region, hsm) {
                        process.terminate()?;
                    }
                }
                other => other?,
            }
        }
    }
}
