//! An HSM in memory: it answers the operations that the commands send, with made-up key material,
//! and remembers what it was asked. It does no cryptography and checks no rules.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use clap::Parser as _;
use cryptoki_sys::*;
use serde_json::Value;
use strongroom_crypto::Curve;
use strongroom_wire::message::*;
use strongroom_wire::vendor::CKA_STRONGROOM_OWNER;

use crate::attributes::ulong;
use crate::backend::Backend;
use crate::commands::{Prompt, Session};
use crate::error::Error;
use crate::grammar::{Line, LineCommand, Password};
use crate::{der, output};

/// What is behind a [`Fake`], shared with the test.
#[derive(Default)]
pub(super) struct State {
    pub(super) users: Vec<(String, i32)>,
    pub(super) objects: BTreeMap<u64, BTreeMap<u64, Vec<u8>>>,
    pub(super) login: Option<String>,
    /// The passwords that were sent.
    pub(super) passwords: Vec<Vec<u8>>,
    /// Handles that the next keys get.
    pub(super) next_handles: Vec<u64>,
    /// The last signature request: mechanism, data.
    pub(super) signed: Option<(Mechanism, Vec<u8>)>,
    /// What is known of the cluster.
    pub(super) cluster: ClusterInfoReply,
    /// The last request that was to change the cluster.
    pub(super) governed: Option<Operation>,
    /// Whether private EC keys give their point.
    pub(super) points_of_private_keys: bool,
}

#[derive(Clone, Default)]
pub(super) struct Fake(pub(super) Rc<RefCell<State>>);

impl Fake {
    pub(super) fn new() -> Self {
        let fake = Self::default();
        fake.0.borrow_mut().users =
            vec![("admin".into(), Role::Admin.into()), ("cu1".into(), Role::CryptoUser.into())];
        fake
    }

    pub(super) fn session(&self) -> Session {
        Session::new(Box::new(self.clone()))
    }

    /// A session of the crypto user `cu1`.
    pub(super) fn user(&self) -> Session {
        let mut session = self.session();
        session
            .login("cu1", crate::grammar::Role::CryptoUser, &Password::new(b"pw".to_vec()))
            .ok()
            .unwrap();
        session
    }

    /// Puts an object in.
    pub(super) fn insert(&self, handle: u64, attributes: &[(u64, Vec<u8>)]) {
        self.0.borrow_mut().objects.insert(handle, attributes.iter().cloned().collect());
    }
}

impl State {
    fn make(&mut self, class: u64, key_type: u64, template: Option<Template>) -> u64 {
        let handle = match self.next_handles.is_empty() {
            true => self.objects.keys().last().map_or(1, |last| last + 1),
            false => self.next_handles.remove(0),
        };
        let template = template.unwrap_or_default();
        let mut object: BTreeMap<u64, Vec<u8>> =
            template.attributes.iter().map(|a| (a.kind, a.value.clone())).collect();
        object.insert(CKA_CLASS, ulong(class));
        object.insert(CKA_KEY_TYPE, ulong(key_type));
        object.insert(CKA_LOCAL, vec![1]);
        object.insert(CKA_STRONGROOM_OWNER, b"cu1".to_vec());
        if class != CKO_PUBLIC_KEY {
            let sensitive = object.get(&CKA_SENSITIVE) == Some(&vec![1]);
            let extractable = object.get(&CKA_EXTRACTABLE) == Some(&vec![1]);
            object.insert(CKA_ALWAYS_SENSITIVE, vec![u8::from(sensitive)]);
            object.insert(CKA_NEVER_EXTRACTABLE, vec![u8::from(!extractable)]);
        }
        if key_type != CKK_GENERIC_SECRET {
            object.insert(CKA_CHECK_VALUE, vec![0x9b, 0x94, 0xbd]);
        }
        self.objects.insert(handle, object);
        handle
    }

    fn make_pair(&mut self, pair: GenerateKeyPair) -> PairReply {
        let template = pair.public_template.clone().unwrap_or_default();
        let given =
            |cka: u64| template.attributes.iter().find(|a| a.kind == cka).map(|a| a.value.clone());
        let mut shared = Vec::new();
        let key_type = match given(CKA_EC_PARAMS) {
            Some(params) => {
                let curve = Curve::from_params(&params).unwrap();
                let mut point = vec![0x42; 1 + 2 * curve.field_bytes()];
                point[0] = 4;
                shared.push((CKA_EC_PARAMS, params));
                shared.push((CKA_EC_POINT, der::octet_string(&point)));
                CKK_EC
            }
            None => {
                let bits = u64::from_le_bytes(given(CKA_MODULUS_BITS).unwrap().try_into().unwrap());
                shared.push((CKA_PUBLIC_EXPONENT, given(CKA_PUBLIC_EXPONENT).unwrap()));
                shared.push((CKA_MODULUS, vec![0xdf; usize::try_from(bits / 8).unwrap()]));
                CKK_RSA
            }
        };
        let public_handle = self.make(CKO_PUBLIC_KEY, key_type, pair.public_template.clone());
        let private_handle = self.make(CKO_PRIVATE_KEY, key_type, pair.private_template.clone());
        for handle in [public_handle, private_handle] {
            let object = self.objects.get_mut(&handle).unwrap();
            object.extend(shared.clone());
            if handle == private_handle && !self.points_of_private_keys {
                object.remove(&CKA_EC_POINT);
            }
        }
        PairReply { public_handle, private_handle }
    }

    fn answer(&mut self, operation: Operation) -> Result<Option<Outcome>, Error> {
        let refuse = |ckr, message: &str| Err(Error::Hsm { ckr, message: message.into() });
        Ok(match operation {
            Operation::HsmInfo(_) => Some(Outcome::HsmInfo(HsmInfoReply {
                vendor: "Strongroom".into(),
                model: "Software HSM".into(),
                serial_number: "hsm-abc".into(),
                version_major: 0,
                version_minor: 1,
                version_build: 0,
                fips_mode: false,
            })),
            Operation::ClusterInfo(_) => Some(Outcome::ClusterInfo(self.cluster.clone())),
            Operation::ClusterCsr(_) => Some(Outcome::ClusterCsr(ClusterCsrReply {
                csr: "a request".into(),
                generation: 2,
            })),
            operation @ (Operation::SetJoinPolicy(_)
            | Operation::ApproveJoin(_)
            | Operation::SetCutOffPolicy(_)
            | Operation::SetRecoveryKeys(_)
            | Operation::InstallClusterCertificate(_)) => {
                self.governed = Some(operation);
                None
            }
            Operation::ListUsers(_) => {
                let reply = |(id, (user, role)): (usize, &(String, i32))| UserReply {
                    user: user.clone(),
                    role: *role,
                    locked: user == "locked_user",
                    id: id as u32,
                    failures: 0,
                };
                let users = self.users.iter().enumerate().map(reply).collect();
                Some(Outcome::Users(UsersReply { users }))
            }
            Operation::CreateUser(new) => {
                self.passwords.push(new.password.clone());
                self.users.push((new.user.clone(), new.role));
                None
            }
            Operation::ChangePassword(change) => {
                self.passwords.push(change.password.clone());
                None
            }
            Operation::ActivateCluster(activate) => {
                self.passwords.push(activate.password.clone());
                None
            }
            Operation::DeleteUser(delete) => {
                let before = self.users.len();
                self.users.retain(|(user, _)| *user != delete.user);
                if self.users.len() == before {
                    return refuse(CKR_USER_PIN_NOT_INITIALIZED, "there is no such user");
                }
                None
            }
            Operation::GenerateKey(key) => {
                let key_type = match key.mechanism.unwrap().kind {
                    CKM_AES_KEY_GEN => CKK_AES,
                    _ => CKK_GENERIC_SECRET,
                };
                let handle = self.make(CKO_SECRET_KEY, key_type, key.template);
                Some(Outcome::Object(ObjectReply { handle }))
            }
            Operation::GenerateKeyPair(pair) => Some(Outcome::Pair(self.make_pair(pair))),
            Operation::GetAttributes(get) => {
                let Some(object) = self.objects.get(&get.handle) else {
                    return refuse(CKR_OBJECT_HANDLE_INVALID, "no object has this handle");
                };
                let read = |kind: &u64| match object.get(kind) {
                    Some(value) => {
                        AttributeReply { kind: *kind, status: CKR_OK, value: value.clone() }
                    }
                    None => AttributeReply {
                        kind: *kind,
                        status: CKR_ATTRIBUTE_TYPE_INVALID,
                        value: vec![],
                    },
                };
                let attributes = get.kinds.iter().map(read).collect();
                Some(Outcome::Attributes(AttributesReply { attributes }))
            }
            Operation::FindObjects(find) => {
                let template = find.template.unwrap_or_default();
                let matches = |object: &BTreeMap<u64, Vec<u8>>| {
                    template.attributes.iter().all(|a| object.get(&a.kind) == Some(&a.value))
                };
                let mut handles: Vec<u64> = self
                    .objects
                    .range(find.after + 1..)
                    .filter(|(_, object)| matches(object))
                    .map(|(handle, _)| *handle)
                    .collect();
                let max = usize::try_from(find.max).unwrap();
                let more = handles.len() > max;
                handles.truncate(max);
                Some(Outcome::Found(FoundReply { handles, more }))
            }
            Operation::DestroyObject(destroy) => {
                self.objects.remove(&destroy.handle);
                None
            }
            Operation::Sign(sign) => {
                assert!(sign.prehashed);
                self.signed = Some((sign.mechanism.clone().unwrap(), sign.data.clone()));
                Some(Outcome::Signature(Data { data: vec![1, 2, 3] }))
            }
            Operation::Verify(verify) if verify.signature == [1, 2, 3] => None,
            Operation::Verify(_) => return refuse(CKR_SIGNATURE_INVALID, "the signature is wrong"),
            _ => return refuse(CKR_FUNCTION_NOT_SUPPORTED, "not in the fake"),
        })
    }
}

impl Backend for Fake {
    fn cluster_id(&self) -> String {
        "cluster-abc".into()
    }

    fn call(&mut self, operation: Operation) -> Result<Option<Outcome>, Error> {
        self.0.borrow_mut().answer(operation)
    }

    fn login(&mut self, user: &str, _: Role, password: &[u8]) -> Result<(), Error> {
        let mut state = self.0.borrow_mut();
        state.passwords.push(password.to_vec());
        state.login = Some(user.to_owned());
        Ok(())
    }

    fn logout(&mut self) -> Result<(), Error> {
        self.0.borrow_mut().login.take();
        Ok(())
    }
}

/// Passwords that a person would type.
pub(super) struct Typed(pub(super) Vec<&'static str>);

impl Prompt for Typed {
    fn password(&mut self, _: &str) -> Result<Password, Error> {
        if self.0.is_empty() {
            return Err(Error::usage("No password was given"));
        }
        Ok(Password::new(self.0.remove(0).as_bytes().to_vec()))
    }
}

/// Runs a line as it would be typed in an interactive session, with the passwords typed then.
pub(super) fn run_typing(
    session: &mut Session,
    line: &str,
    passwords: &[&'static str],
) -> Result<Value, Error> {
    let words = crate::words::split(line)?;
    let parsed = Line::try_parse_from(words.iter().map(|word| &**word));
    match parsed.map_err(|error| crate::interactive::misunderstood(&error))?.command {
        LineCommand::Command(command) => session.run(&command, &mut Typed(passwords.to_vec())),
        LineCommand::Quit => Err(Error::usage("quit")),
    }
}

/// The printed output of a line.
pub(super) fn print(session: &mut Session, line: &str) -> String {
    output::render(&run_typing(session, line, &[]))
}
