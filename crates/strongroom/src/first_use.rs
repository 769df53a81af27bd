//! The first use of a region, just as any program uses it: through the PKCS#11 module.
//!
//! It runs in a process of its own, because a program gets the module's configuration through its
//! environment, and because a module that crashed would not take `up` with it. The signature is
//! checked by `openssl`, which knows nothing of us.

use std::path::Path;
use std::process::{Command, Stdio};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use strongroom_seal::write_atomically;

use crate::error::Error;
use crate::private_folder;
use crate::region::{self, Region};
use crate::signature;
use crate::steps::Steps;

const AES: &str = "example-aes-256";
const RSA: &str = "example-rsa-2048";
const EC: &str = "example-p-256";
const MESSAGE: &[u8] = b"Signed by a key that only its HSM knows.\n";

/// Runs [`run`] in a process of its own, with the environment that programs are given.
///
/// # Errors
/// Where that process failed; it has said why.
pub(crate) fn start(region: &Region, module: &Path) -> Result<(), Error> {
    let program = std::env::current_exe().map_err(Error::io("finding this program"))?;
    let status = Command::new(program)
        .args(["first-use", "--dir"])
        .arg(region.dir())
        .env("STRONGROOM_CONFIG", region.client_config())
        .env("STRONGROOM_PKCS11", module)
        .env_remove("STRONGROOM_PERSONALITY")
        .stdin(Stdio::null())
        .status()
        .map_err(Error::io("starting the first use"))?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::Program { program: "the first use of the region", problem: status.to_string() })
    }
}

/// Makes the example keys where they are missing, signs a file, and has `openssl` verify it.
///
/// # Errors
/// The step that failed.
pub(crate) fn run(region: &Region) -> Result<(), Error> {
    let mut steps = Steps::begin();
    let credentials = region.credentials()?.ok_or_else(|| Error::NoRegion(region.dir().into()))?;
    let module = region::module()?;
    let pkcs11 = Pkcs11::new(&module).map_err(failed("loading the module"))?;
    pkcs11
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .map_err(failed("C_Initialize"))?;
    let slots = pkcs11.get_slots_with_token().map_err(failed("C_GetSlotList"))?;
    let slot = *slots.first().ok_or_else(|| Error::Pkcs11 {
        what: "C_GetSlotList".to_owned(),
        problem: "no slot has a token".to_owned(),
    })?;
    let session = pkcs11.open_rw_session(slot).map_err(failed("C_OpenSession"))?;
    let pin = AuthPin::from(credentials.pin.clone());
    session.login(UserType::User, Some(&pin)).map_err(failed("C_Login"))?;
    steps.done(format_args!("{} loaded, crypto user logged in", module.display()));

    make_aes(&session, &mut steps)?;
    make_rsa(&session, &mut steps)?;
    let (public, private) = make_ec(&session, &mut steps)?;
    sign(region, &session, public, private, &mut steps)?;

    session.logout().map_err(failed("C_Logout"))?;
    drop(session);
    pkcs11.finalize().map_err(failed("C_Finalize"))
}

fn make_aes(session: &Session, steps: &mut Steps) -> Result<(), Error> {
    if find(session, AES, ObjectClass::SECRET_KEY)?.is_some() {
        return Ok(());
    }
    let template = [
        Attribute::Token(true),
        label(AES),
        Attribute::ValueLen(32.into()),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
    ];
    session.generate_key(&Mechanism::AesKeyGen, &template).map_err(failed("AES generation"))?;
    steps.done(format_args!("AES-256 key `{AES}` made in the HSM"));
    Ok(())
}

fn make_rsa(session: &Session, steps: &mut Steps) -> Result<(), Error> {
    if find(session, RSA, ObjectClass::PRIVATE_KEY)?.is_some() {
        return Ok(());
    }
    let public = [
        Attribute::Token(true),
        label(RSA),
        Attribute::ModulusBits(2048.into()),
        Attribute::PublicExponent(vec![1, 0, 1]),
        Attribute::Verify(true),
    ];
    let private = [Attribute::Token(true), label(RSA), Attribute::Sign(true)];
    session
        .generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &private)
        .map_err(failed("RSA generation"))?;
    steps.done(format_args!("RSA-2048 key pair `{RSA}` made in the HSM"));
    Ok(())
}

fn make_ec(session: &Session, steps: &mut Steps) -> Result<(ObjectHandle, ObjectHandle), Error> {
    let public = find(session, EC, ObjectClass::PUBLIC_KEY)?;
    let private = find(session, EC, ObjectClass::PRIVATE_KEY)?;
    if let (Some(public), Some(private)) = (public, private) {
        steps.done("the keys are there");
        return Ok((public, private));
    }
    let public = [
        Attribute::Token(true),
        label(EC),
        Attribute::EcParams(signature::P256_OID.to_vec()),
        Attribute::Verify(true),
    ];
    let private = [Attribute::Token(true), label(EC), Attribute::Sign(true)];
    let pair = session
        .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)
        .map_err(failed("P-256 generation"))?;
    steps.done(format_args!("P-256 key pair `{EC}` made in the HSM"));
    Ok(pair)
}

fn sign(
    region: &Region,
    session: &Session,
    public: ObjectHandle,
    private: ObjectHandle,
    steps: &mut Steps,
) -> Result<(), Error> {
    let folder = region.first_signature();
    private_folder::make(&folder)?;
    let signature =
        session.sign(&Mechanism::EcdsaSha256, private, MESSAGE).map_err(failed("C_Sign"))?;
    let point = public_point(session, public)?;
    let bad = |problem: der::Error| Error::Pkcs11 {
        what: "the signature".to_owned(),
        problem: problem.to_string(),
    };
    write_atomically(&folder.join("message.txt"), MESSAGE)?;
    write_atomically(&folder.join("signature.der"), &signature::to_der(&signature).map_err(bad)?)?;
    write_atomically(
        &folder.join("public.pem"),
        signature::p256_to_pem(&point).map_err(bad)?.as_bytes(),
    )?;
    steps.done("a file signed through PKCS#11");
    verify(&folder, steps)
}

fn verify(folder: &Path, steps: &mut Steps) -> Result<(), Error> {
    const COMMAND: &str =
        "openssl dgst -sha256 -verify public.pem -signature signature.der message.txt";
    let output = Command::new("openssl")
        .args(COMMAND.split(' ').skip(1))
        .current_dir(folder)
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.success() => {
            steps.done("openssl: Verified OK, with the exported public key");
            Ok(())
        }
        Ok(output) => {
            let problem = [output.stdout, output.stderr].concat();
            let problem = String::from_utf8_lossy(&problem).trim().to_owned();
            Err(Error::Program { program: "openssl dgst -verify", problem })
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            steps.done(format_args!(
                "not verified outside: there is no openssl here. In {}: {COMMAND}",
                folder.display()
            ));
            Ok(())
        }
        Err(e) => Err(Error::io("starting openssl")(e)),
    }
}

fn public_point(session: &Session, public: ObjectHandle) -> Result<Vec<u8>, Error> {
    let attributes = session
        .get_attributes(public, &[AttributeType::EcPoint])
        .map_err(failed("C_GetAttributeValue"))?;
    let point = attributes.into_iter().find_map(|attribute| match attribute {
        Attribute::EcPoint(point) => Some(point),
        _ => None,
    });
    point.ok_or_else(|| Error::Pkcs11 {
        what: "C_GetAttributeValue".to_owned(),
        problem: "the public key has no CKA_EC_POINT".to_owned(),
    })
}

fn find(session: &Session, name: &str, class: ObjectClass) -> Result<Option<ObjectHandle>, Error> {
    let found = session
        .find_objects(&[label(name), Attribute::Class(class)])
        .map_err(failed("C_FindObjects"))?;
    Ok(found.first().copied())
}

fn label(label: &str) -> Attribute {
    Attribute::Label(label.as_bytes().to_vec())
}

fn failed(what: &str) -> impl FnOnce(cryptoki::error::Error) -> Error {
    move |error| Error::Pkcs11 { what: what.to_owned(), problem: error.to_string() }
}
