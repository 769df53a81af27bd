//! The vault of a CloudHSM cluster against a model that is too simple to be wrong: sets of users,
//! logins and objects, and for each command the sentence of the rules that decides it.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{World, aes, create_user, verifier};
use crate::limits::LOGIN_FAILURES_MAX;
use crate::{Actor, Command, Flags, Handle, LoginId, Outcome, Personality, Role};

/// What happens, by small numbers: which user, which of the open logins, which of all objects.
#[derive(Clone, Debug)]
enum Step {
    CreateUser { by: usize, name: usize, role: Role },
    DeleteUser { by: usize, name: usize },
    ChangePassword { by: usize, name: usize },
    LogIn { name: usize, right: bool },
    LogOut { by: usize },
    Create { by: usize },
    Destroy { by: usize, object: usize },
    Rename { by: usize, object: usize },
    Trust { by: usize, object: usize },
}

const NAMES: [&str; 4] = ["admin", "alice", "bob", "carol"];

#[derive(Clone, Debug)]
struct ModelUser {
    role: Role,
    failures: u32,
}

#[derive(Default)]
struct Model {
    users: BTreeMap<&'static str, ModelUser>,
    logins: Vec<(LoginId, &'static str)>,
    objects: BTreeMap<Handle, &'static str>,
}

fn step() -> impl Strategy<Value = Step> {
    let by = || 0..6_usize;
    let name = || 0..NAMES.len();
    let object = || 0..6_usize;
    prop_oneof![
        3 => (by(), name(), prop_oneof![Just(Role::Admin), Just(Role::CryptoUser)])
            .prop_map(|(by, name, role)| Step::CreateUser { by, name, role }),
        2 => (by(), name()).prop_map(|(by, name)| Step::DeleteUser { by, name }),
        2 => (by(), name()).prop_map(|(by, name)| Step::ChangePassword { by, name }),
        6 => (name(), prop::bool::weighted(0.6))
            .prop_map(|(name, right)| Step::LogIn { name, right }),
        1 => by().prop_map(|by| Step::LogOut { by }),
        4 => by().prop_map(|by| Step::Create { by }),
        2 => (by(), object()).prop_map(|(by, object)| Step::Destroy { by, object }),
        2 => (by(), object()).prop_map(|(by, object)| Step::Rename { by, object }),
        1 => (by(), object()).prop_map(|(by, object)| Step::Trust { by, object }),
    ]
}

impl Model {
    /// One of the open logins, or nobody.
    fn actor(&self, by: usize) -> Option<(LoginId, &'static str)> {
        self.logins.get(by).copied()
    }

    fn role(&self, by: usize) -> Option<Role> {
        self.actor(by).map(|(_, name)| self.users[name].role)
    }

    fn object(&self, at: usize) -> Option<(Handle, &'static str)> {
        self.objects.iter().nth(at).map(|(handle, owner)| (*handle, *owner))
    }

    fn owns(&self, by: usize, object: usize) -> bool {
        let owner = self.object(object).map(|(_, owner)| owner);
        owner.is_some() && self.actor(by).map(|(_, name)| name) == owner
    }

    fn may_delete(&self, by: usize, name: &str) -> bool {
        let Some(user) = self.users.get(name) else { return false };
        let admins = self.users.values().filter(|user| user.role == Role::Admin).count();
        self.role(by) == Some(Role::Admin)
            && (user.role != Role::Admin || admins > 1)
            && !self.objects.values().any(|owner| *owner == name)
            && !self.logins.iter().any(|(_, user)| *user == name)
    }
}

fn run(world: &mut World, model: &mut Model, step: Step) {
    let actor = |model: &Model, by| {
        model.actor(by).map_or(Actor::Anonymous, |(login, _)| Actor::Login(login))
    };
    match step {
        Step::CreateUser { by, name, role } => {
            let name = NAMES[name];
            let result = world.apply(actor(model, by), create_user(name, role));
            let allowed = model.role(by) == Some(Role::Admin) && !model.users.contains_key(name);
            assert_eq!(result.is_ok(), allowed, "{result:?}");
            if allowed {
                model.users.insert(name, ModelUser { role, failures: 0 });
            }
        }
        Step::DeleteUser { by, name } => {
            let name = NAMES[name];
            let role = model.users.get(name).map_or(Role::CryptoUser, |user| user.role);
            let command = Command::DeleteUser { name: name.to_owned(), role };
            let result = world.apply(actor(model, by), command);
            let allowed = model.may_delete(by, name);
            assert_eq!(result.is_ok(), allowed, "{result:?}");
            if allowed {
                model.users.remove(name);
            }
        }
        Step::ChangePassword { by, name } => {
            let name = NAMES[name];
            let role = model.users.get(name).map_or(Role::CryptoUser, |user| user.role);
            let command =
                Command::ChangePassword { name: name.to_owned(), role, verifier: verifier("new") };
            let result = world.apply(actor(model, by), command);
            let own = model.actor(by).is_some_and(|(_, user)| user == name);
            let admin = model.role(by) == Some(Role::Admin);
            let allowed = model.users.contains_key(name) && (own || admin);
            assert_eq!(result.is_ok(), allowed, "{result:?}");
            if allowed && let Some(user) = model.users.get_mut(name) {
                user.failures = 0;
                model.logins.retain(|(_, user)| *user != name);
            }
        }
        Step::LogIn { name, right } => log_in(world, model, NAMES[name], right),
        Step::LogOut { by } => {
            let Some((login, _)) = model.actor(by) else { return };
            world.must(Actor::Login(login), Command::CloseLogins { logins: vec![login] });
            model.logins.remove(by);
        }
        Step::Create { by } => {
            let creation = world.creation(actor(model, by), aes(Personality::CloudHsm));
            let result = world.apply(actor(model, by), creation);
            let allowed = model.role(by) == Some(Role::CryptoUser);
            assert_eq!(result.is_ok(), allowed, "{result:?}");
            if let (Ok(Outcome::Created(handles)), Some((_, name))) = (result, model.actor(by)) {
                assert!(model.objects.insert(handles[0], name).is_none(), "a handle came back");
            }
        }
        Step::Destroy { by, object } => {
            let Some((handle, _)) = model.object(object) else { return };
            let result = world.apply(actor(model, by), Command::DestroyObject { handle });
            assert_eq!(result.is_ok(), model.owns(by, object), "{result:?}");
            if result.is_ok() {
                model.objects.remove(&handle);
            }
        }
        Step::Rename { by, object } => {
            let allowed = model.owns(by, object);
            set(world, model, (by, object), allowed, |meta| meta.label.push(b'x'));
        }
        Step::Trust { by, object } => {
            let Some((handle, _)) = model.object(object) else { return };
            let trusted = world.meta(handle).flags.contains(Flags::TRUSTED);
            let admin = model.role(by) == Some(Role::Admin);
            // To give what is there already is no change, for those whom the object listens to.
            let allowed = admin || (trusted && model.owns(by, object));
            set(world, model, (by, object), allowed, |meta| meta.flags.set(Flags::TRUSTED, true));
        }
    }
}

fn set(
    world: &mut World,
    model: &Model,
    (by, object): (usize, usize),
    allowed: bool,
    edit: impl Fn(&mut crate::Meta),
) {
    let Some((handle, _)) = model.object(object) else { return };
    let version = world.state.object(handle).expect("in the model").version;
    let old = world.meta(handle);
    let mut meta = old.clone();
    edit(&mut meta);
    let actor = model.actor(by).map_or(Actor::Anonymous, |(login, _)| Actor::Login(login));
    let result = world.apply(actor, Command::SetMeta { handle, version, meta: meta.clone() });
    assert_eq!(result.is_ok(), allowed, "{result:?}");
    assert_eq!(world.meta(handle), if allowed { meta } else { old });
}

fn log_in(world: &mut World, model: &mut Model, name: &'static str, right: bool) {
    let role = model.users.get(name).map_or(Role::CryptoUser, |user| user.role);
    let charge = Command::ChargeLogin { name: name.to_owned(), role };
    let result = world.apply(Actor::Anonymous, charge);
    let Some(known) = model.users.get_mut(name) else {
        assert_eq!(result, Ok(Outcome::LoginCharged { user: None }));
        return;
    };
    if known.failures >= LOGIN_FAILURES_MAX {
        assert_eq!(super::ckr(result), cryptoki_sys::CKR_PIN_LOCKED);
        return;
    }
    known.failures += 1;
    let Ok(Outcome::LoginCharged { user: Some(user) }) = result else { panic!("{result:?}") };
    assert_eq!(user.failures, known.failures);
    if right {
        let open = Command::OpenLogin { user: user.id, epoch: user.epoch, client_key: [7; 32] };
        let Outcome::LoginOpened(login) = world.must(Actor::Anonymous, open) else {
            panic!("no login");
        };
        known.failures = 0;
        model.logins.push((login, name));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_vault_does_what_the_model_does(steps in vec(step(), 0..150)) {
        let mut world = World::cloudhsm();
        let mut model = Model::default();
        model.users.insert("admin", ModelUser { role: Role::Admin, failures: 0 });
        for step in steps {
            run(&mut world, &mut model, step);
            let logins: Vec<_> = world.state.logins().map(|login| login.id).collect();
            prop_assert_eq!(logins, model.logins.iter().map(|(id, _)| *id).collect::<Vec<_>>());
        }
        // `app_user` is not in the model.
        prop_assert_eq!(world.state.users().count(), model.users.len() + 1);
        let handles = world.state.objects.iter().map(|object| object.handle);
        prop_assert!(handles.eq(model.objects.keys().copied()));
        world.check();
    }
}
