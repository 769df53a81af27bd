//! Who may do what, asked of a vault in use.

use cryptoki_sys::*;

use super::*;
use crate::attributes::{Attribute, encode_template};
use crate::testing::{World, aes, aes_with, ckr, public_key};
use crate::{Command, Handle};

const CLOUDHSM: Personality = Personality::CloudHsm;
const TOKEN: Personality = Personality::Token;

fn ask(world: &World, actor: Actor, action: Action<'_>) -> u64 {
    let who = world.state.principal(actor).expect("an open login");
    ckr(world.state.authorise(&who, &action))
}

fn found(world: &World, actor: Actor) -> Vec<Handle> {
    let who = world.state.principal(actor).expect("an open login");
    world.state.find(&who, &[], Handle(0)).map(|(object, _)| object.handle).collect()
}

fn object(world: &World, handle: Handle) -> &Object {
    world.state.object(handle).expect("an object")
}

#[test]
fn a_cloudhsm_user_sees_and_uses_their_own_keys_and_all_public_ones() {
    let mut world = World::cloudhsm();
    let alice = world.crypto_user("alice");
    let bob = world.crypto_user("bob");
    let secret = world.object(alice, aes(CLOUDHSM));
    let public = world.object(alice, public_key(Flags::PRIVATE | Flags::VERIFY));
    assert_eq!(found(&world, alice), [secret, public]);
    assert_eq!(found(&world, bob), [public]);
    assert!(found(&world, Actor::Anonymous).is_empty());
    let (secret, public) = (object(&world, secret), object(&world, public));
    let sign = |object| Action::Use { object, flag: Flags::SIGN };
    let verify = |object| Action::Use { object, flag: Flags::VERIFY };
    assert_eq!(ask(&world, alice, sign(secret)), CKR_OK);
    assert_eq!(ask(&world, bob, sign(secret)), CKR_KEY_HANDLE_INVALID);
    assert_eq!(ask(&world, bob, verify(public)), CKR_OK);
    assert_eq!(ask(&world, Actor::Anonymous, sign(secret)), CKR_USER_NOT_LOGGED_IN);
    assert_eq!(ask(&world, alice, sign(public)), CKR_KEY_FUNCTION_NOT_PERMITTED);
    assert_eq!(ask(&world, bob, Action::Destroy(secret)), CKR_OBJECT_HANDLE_INVALID);
    assert_eq!(ask(&world, bob, Action::Destroy(public)), CKR_ACTION_PROHIBITED);
    assert_eq!(ask(&world, alice, Action::Destroy(secret)), CKR_OK);
    assert_eq!(ask(&world, bob, Action::Copy(secret)), CKR_OBJECT_HANDLE_INVALID);
    assert_eq!(ask(&world, bob, Action::Copy(public)), CKR_ACTION_PROHIBITED);
    assert_eq!(ask(&world, alice, Action::Copy(secret)), CKR_OK);
}

#[test]
fn a_cloudhsm_admin_sees_keys_and_uses_none() {
    let mut world = World::cloudhsm();
    let alice = world.crypto_user("alice");
    let key = world.object(alice, aes(CLOUDHSM));
    let admin = world.admin();
    assert_eq!(found(&world, admin), [key]);
    let key = object(&world, key);
    let used = ask(&world, admin, Action::Use { object: key, flag: Flags::SIGN });
    assert_eq!(used, CKR_KEY_FUNCTION_NOT_PERMITTED);
    assert_eq!(ask(&world, admin, Action::Destroy(key)), CKR_ACTION_PROHIBITED);
    let meta = aes(CLOUDHSM);
    assert_eq!(ask(&world, admin, Action::Create { meta: &meta }), CKR_ACTION_PROHIBITED);
    let mut renamed = key.meta.clone();
    renamed.label = b"mine".to_vec();
    let rename = Action::ChangeMeta { object: key, new: &renamed };
    assert_eq!(ask(&world, admin, rename), CKR_ATTRIBUTE_READ_ONLY);
}

#[test]
fn only_an_admin_makes_a_key_trusted() {
    let mut world = World::cloudhsm();
    let alice = world.crypto_user("alice");
    let handle = world.object(alice, aes_with(CLOUDHSM, &[(CKA_WRAP, true)]));
    let admin = world.admin();
    let mut trusted = world.meta(handle);
    trusted.flags.set(Flags::TRUSTED, true);
    assert_eq!(ask(&world, alice, Action::Create { meta: &trusted }), CKR_ATTRIBUTE_READ_ONLY);
    let set = Command::SetMeta { handle, version: 1, meta: trusted.clone() };
    assert_eq!(ckr(world.apply(alice, set.clone())), CKR_ATTRIBUTE_READ_ONLY);
    world.must(admin, set);
    // Its owner cannot make it decrypt what it wraps.
    let mut decrypting = trusted;
    decrypting.flags.set(Flags::DECRYPT, true);
    let set = Command::SetMeta { handle, version: 2, meta: decrypting };
    assert_eq!(ckr(world.apply(alice, set)), CKR_ATTRIBUTE_READ_ONLY);
}

#[test]
fn a_tokens_so_and_strangers_reach_public_objects_only() {
    let (mut world, so, user) = World::token();
    let secret = world.object(user, aes(TOKEN));
    let public = world.object(Actor::Anonymous, public_key(Flags::VERIFY));
    assert_eq!(found(&world, user), [secret, public]);
    for actor in [so, Actor::Anonymous] {
        assert_eq!(found(&world, actor), [public]);
        let (secret, public) = (object(&world, secret), object(&world, public));
        let used = ask(&world, actor, Action::Use { object: secret, flag: Flags::SIGN });
        assert_eq!(used, CKR_USER_NOT_LOGGED_IN);
        assert_eq!(ask(&world, actor, Action::Destroy(secret)), CKR_OBJECT_HANDLE_INVALID);
        assert_eq!(ask(&world, actor, Action::Destroy(public)), CKR_OK);
        assert_eq!(ask(&world, actor, Action::Copy(secret)), CKR_OBJECT_HANDLE_INVALID);
        assert_eq!(ask(&world, actor, Action::Copy(public)), CKR_OK);
        let meta = aes(TOKEN);
        let created = ask(&world, actor, Action::Create { meta: &meta });
        assert_eq!(created, CKR_USER_NOT_LOGGED_IN);
    }
    assert_eq!(ask(&world, user, Action::Destroy(object(&world, public))), CKR_OK);
}

#[test]
fn nothing_is_made_on_a_token_before_it_is_initialised() {
    let world = World::created(TOKEN);
    let meta = public_key(Flags::VERIFY);
    let created = ask(&world, Actor::Anonymous, Action::Create { meta: &meta });
    assert_eq!(created, CKR_USER_PIN_NOT_INITIALIZED);
}

#[test]
fn a_key_leaves_only_wrapped_by_a_key_that_may() {
    let mut world = World::cloudhsm();
    let alice = world.crypto_user("alice");
    let bob = world.crypto_user("bob");
    let mut key = |flags: &[(u64, bool)]| {
        let handle = world.object(alice, aes_with(CLOUDHSM, flags));
        object(&world, handle).clone()
    };
    let plain = key(&[]);
    let kept = key(&[(CKA_EXTRACTABLE, false)]);
    let careful = key(&[(CKA_WRAP_WITH_TRUSTED, true)]);
    let wrapping = key(&[(CKA_WRAP, true)]);
    let mut trusted = wrapping.clone();
    trusted.meta.flags.set(Flags::TRUSTED, true);
    let wrap = |wrapping, target| ask(&world, alice, Action::Wrap { wrapping, target });
    assert_eq!(wrap(&wrapping, &plain), CKR_OK);
    assert_eq!(wrap(&plain, &plain), CKR_KEY_FUNCTION_NOT_PERMITTED);
    assert_eq!(wrap(&wrapping, &kept), CKR_KEY_UNEXTRACTABLE);
    assert_eq!(wrap(&wrapping, &careful), CKR_KEY_NOT_WRAPPABLE);
    assert_eq!(wrap(&trusted, &careful), CKR_OK);
    let action = Action::Wrap { wrapping: &wrapping, target: &plain };
    assert_eq!(ask(&world, bob, action), CKR_KEY_HANDLE_INVALID);
}

#[test]
fn a_wrap_template_keeps_other_keys_in() {
    let mut world = World::cloudhsm();
    let alice = world.crypto_user("alice");
    let handle = world.object(alice, aes_with(CLOUDHSM, &[(CKA_WRAP, true)]));
    let plain = object(&world, handle).clone();
    let with = |template: &[Attribute]| {
        let mut wrapping = plain.clone();
        wrapping.meta.more.insert(CKA_WRAP_TEMPLATE, encode_template(template));
        wrapping
    };
    let wrap = |wrapping: &Object| ask(&world, alice, Action::Wrap { wrapping, target: &plain });
    assert_eq!(wrap(&with(&[Attribute::boolean(CKA_TOKEN, true)])), CKR_OK);
    assert_eq!(wrap(&with(&[])), CKR_OK);
    let session_keys = with(&[Attribute::boolean(CKA_TOKEN, false)]);
    assert_eq!(wrap(&session_keys), CKR_KEY_HANDLE_INVALID);
}
