//! Users: activation, creation, passwords, listing.

use cryptoki_sys::*;
use strongroom_wire::message::{
    ClusterPhase, DeleteUser, ListUsers, Operation, Outcome, Role, UserReply,
};

use crate::support::*;

fn users(client: &mut Client) -> Vec<UserReply> {
    match client.call(Operation::ListUsers(ListUsers {})) {
        Ok(Some(Outcome::Users(reply))) => reply.users,
        other => panic!("{other:?}"),
    }
}

fn phase(client: &mut Client) -> ClusterPhase {
    match client.call(hello()) {
        Ok(Some(Outcome::Hello(reply))) => reply.phase(),
        other => panic!("{other:?}"),
    }
}

fn delete(user: &str, role: Role) -> Operation {
    Operation::DeleteUser(DeleteUser { user: user.to_owned(), role: role.into() })
}

#[test]
fn activation_gives_the_first_admin_its_password_once() {
    let hsm = Hsm::initialised();
    let mut client = hsm.client();
    assert_eq!(phase(&mut client), ClusterPhase::Initialized);
    assert_eq!(users(&mut client)[0].role(), Role::UnactivatedAdmin);
    let short = Operation::ActivateCluster(activation(b"short"));
    assert_eq!(client.refused(short), CKR_PIN_LEN_RANGE);
    client.done(Operation::ActivateCluster(activation(PASSWORD)));
    assert_eq!(phase(&mut client), ClusterPhase::Active);
    assert_eq!(users(&mut client)[0].role(), Role::Admin);
    client.refused(Operation::ActivateCluster(activation(PASSWORD)));
    client.log_in("admin", Role::Admin, PASSWORD).unwrap();
}

#[test]
fn only_admins_make_and_delete_users() {
    let hsm = Hsm::active();
    let create = || create_user("carol", Role::CryptoUser);
    assert_eq!(hsm.client().refused(create()), CKR_USER_NOT_LOGGED_IN);
    assert_eq!(hsm.alice().refused(create()), CKR_ACTION_PROHIBITED);
    let mut admin = hsm.admin();
    admin.done(create());
    admin.refused(create());
    hsm.client().log_in("carol", Role::CryptoUser, PASSWORD).unwrap();
    hsm.client().log_in("carol", Role::Admin, PASSWORD).unwrap_err();
    assert_eq!(hsm.alice().refused(delete("bob", Role::CryptoUser)), CKR_ACTION_PROHIBITED);
    admin.done(delete("bob", Role::CryptoUser));
    hsm.client().log_in("bob", Role::CryptoUser, PASSWORD).unwrap_err();
    assert!(users(&mut admin).iter().all(|user| user.user != "bob"));
}

#[test]
fn names_roles_and_passwords_of_new_users_keep_the_rules() {
    let hsm = Hsm::active();
    let mut admin = hsm.admin();
    assert_eq!(admin.refused(create_user("a:b", Role::CryptoUser)), CKR_ARGUMENTS_BAD);
    assert_eq!(admin.refused(create_user("carol", Role::Unspecified)), CKR_USER_TYPE_INVALID);
    assert_eq!(admin.refused(create_user("carol", Role::ApplianceUser)), CKR_USER_TYPE_INVALID);
    let new = |password| change_password("alice", Role::CryptoUser, None, password);
    assert_eq!(admin.refused(new(b"1234567")), CKR_PIN_LEN_RANGE);
    assert_eq!(admin.refused(new(&[b'x'; 33])), CKR_PIN_LEN_RANGE);
    assert_eq!(admin.refused(new(b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8")), CKR_PIN_INVALID);
}

#[test]
fn everybody_may_list_users_and_sees_locks() {
    let hsm = Hsm::active();
    let mut client = hsm.client();
    for _ in 0..5 {
        client.log_in("bob", Role::CryptoUser, b"wrong password").unwrap_err();
    }
    let users = users(&mut client);
    let names: Vec<&str> = users.iter().map(|user| user.user.as_str()).collect();
    assert_eq!(names, ["admin", "app_user", "alice", "bob"]);
    let ids: Vec<u32> = users.iter().map(|user| user.id).collect();
    assert_eq!(ids, [1, 2, 3, 4]);
    assert!(users[3].locked && users[3].failures == 5);
    assert!(!users[2].locked && users[2].failures == 0);
}

#[test]
fn users_change_their_own_password_and_admins_everybodys() {
    let hsm = Hsm::active();
    let own = change_password("alice", Role::CryptoUser, None, b"alice's new one");
    hsm.alice().done(own);
    hsm.client().log_in("alice", Role::CryptoUser, b"alice's new one").unwrap();
    let other = change_password("alice", Role::CryptoUser, None, b"bob was here");
    assert_eq!(hsm.bob().refused(other), CKR_ACTION_PROHIBITED);
    hsm.admin().done(change_password("alice", Role::CryptoUser, None, b"the admin's"));
    hsm.client().log_in("alice", Role::CryptoUser, b"the admin's").unwrap();
}

#[test]
fn whoever_knows_the_old_password_may_set_a_new_one() {
    let hsm = Hsm::active();
    let mut client = hsm.client();
    let change = |old| change_password("alice", Role::CryptoUser, Some(old), b"a new one");
    assert_eq!(client.refused(change(b"wrong password")), CKR_PIN_INCORRECT);
    client.done(change(PASSWORD));
    client.log_in("alice", Role::CryptoUser, b"a new one").unwrap();
    // No login was left open for it.
    let logins = hsm.memory.shared_logins();
    assert_eq!(logins, 2, "the set-up's admin and alice");
}

#[test]
fn a_token_operation_is_not_for_a_cloudhsm() {
    let hsm = Hsm::active();
    let mut admin = hsm.admin();
    assert_eq!(admin.refused(init_token(b"so-pin")), CKR_FUNCTION_NOT_SUPPORTED);
    assert_eq!(admin.refused(init_pin(b"1234")), CKR_FUNCTION_NOT_SUPPORTED);
}
