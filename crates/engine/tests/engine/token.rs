//! Personality `token`: C_InitToken, C_InitPIN, C_SetPIN, C_GetTokenInfo.

use cryptoki_sys::*;
use strongroom_wire::message::{Operation, Outcome, Role, TokenInfo, TokenInfoReply};

use crate::support::*;

fn info(client: &mut Client) -> TokenInfoReply {
    match client.call(Operation::TokenInfo(TokenInfo {})) {
        Ok(Some(Outcome::Token(reply))) => reply,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_blank_token_takes_the_so_pin_and_then_the_users() {
    let hsm = Hsm::blank_token();
    let mut client = hsm.client();
    assert!(!info(&mut client).initialized);
    assert_eq!(client.refused(init_token(b"so")), CKR_PIN_LEN_RANGE);
    client.done(init_token(b"so-pin"));
    let after = info(&mut client);
    assert!(after.initialized && !after.user_pin_set);
    assert_eq!(after.label, b"test token                      ");
    assert!(after.serial_number.len() <= 16);
    let refused = client.log_in("user", Role::CryptoUser, b"1234").unwrap_err();
    assert_eq!(refused.status, CKR_USER_PIN_NOT_INITIALIZED);
    assert_eq!(client.refused(init_pin(b"1234")), CKR_USER_NOT_LOGGED_IN);
    client.log_in("so", Role::Admin, b"so-pin").unwrap();
    client.done(init_pin(b"1234"));
    assert!(info(&mut client).user_pin_set);
    hsm.user().object(aes(&[]));
}

#[test]
fn initialising_again_wants_the_so_pin_and_destroys_everything() {
    let hsm = Hsm::token();
    let mut user = hsm.user();
    let token_key = user.object(aes(&[]));
    let session_key = user.object(aes(&[(CKA_TOKEN, FALSE)]));
    let mut client = hsm.client();
    assert_eq!(client.refused(init_token(b"wrong")), CKR_PIN_INCORRECT);
    assert!(user.attribute(token_key, CKA_LABEL).is_ok());
    client.done(init_token(b"so-pin"));
    assert!(user.attribute(token_key, CKA_LABEL).is_err());
    assert!(user.attribute(session_key, CKA_LABEL).is_err());
    assert!(!info(&mut client).user_pin_set);
    // The SO's PIN stays what it was.
    client.log_in("so", Role::Admin, b"so-pin").unwrap();
}

#[test]
fn the_so_pin_locks_too() {
    let hsm = Hsm::token();
    let mut client = hsm.client();
    for _ in 0..5 {
        assert_eq!(client.refused(init_token(b"wrong")), CKR_PIN_INCORRECT);
    }
    assert_eq!(client.refused(init_token(b"so-pin")), CKR_PIN_LOCKED);
    let after = info(&mut client);
    assert!(after.so_locked && after.so_failures == 5 && !after.user_locked);
}

#[test]
fn setting_the_pin_wants_the_old_one_and_keeps_the_session() {
    let hsm = Hsm::token();
    let mut user = hsm.user();
    let key = user.object(aes(&[]));
    let set = |old: Option<&[u8]>| change_password("user", Role::CryptoUser, old, b"5678");
    assert_eq!(user.refused(set(None)), CKR_PIN_INCORRECT);
    assert_eq!(user.refused(set(Some(b"wrong"))), CKR_PIN_INCORRECT);
    user.done(set(Some(b"1234")));
    assert!(user.attribute(key, CKA_LABEL).is_ok());
    user.another(&hsm).attribute(key, CKA_LABEL).unwrap();
    hsm.client().log_in("user", Role::CryptoUser, b"1234").unwrap_err();
    hsm.client().log_in("user", Role::CryptoUser, b"5678").unwrap();
}

#[test]
fn setting_the_pin_without_a_login_works_with_the_old_pin() {
    let hsm = Hsm::token();
    hsm.client().done(change_password("user", Role::CryptoUser, Some(b"1234"), b"5678"));
    hsm.client().log_in("user", Role::CryptoUser, b"5678").unwrap();
    hsm.client().done(change_password("so", Role::Admin, Some(b"so-pin"), b"new-so-pin"));
    hsm.client().log_in("so", Role::Admin, b"new-so-pin").unwrap();
}

#[test]
fn without_a_login_public_objects_live_and_private_ones_are_hidden() {
    let hsm = Hsm::token();
    let mut anonymous = hsm.client();
    let value = number(CKO_DATA);
    let data = |private: &'static [u8]| {
        create(&[
            (CKA_CLASS, &value),
            (CKA_TOKEN, TRUE),
            (CKA_PRIVATE, private),
            (CKA_VALUE, b"note"),
        ])
    };
    let public = anonymous.object(data(FALSE));
    assert_eq!(anonymous.refused(data(TRUE)), CKR_USER_NOT_LOGGED_IN);
    let private = hsm.user().object(data(TRUE));
    assert_eq!(anonymous.attribute(public, CKA_VALUE).unwrap(), b"note");
    assert_eq!(anonymous.attribute(private, CKA_VALUE), Err(CKR_OBJECT_HANDLE_INVALID));
    assert_eq!(anonymous.find(template(&[]), 10), [public]);
    assert_eq!(hsm.user().find(template(&[]), 10), [public, private]);
}

#[test]
fn a_cloudhsms_user_operations_are_not_for_a_token() {
    let hsm = Hsm::token();
    let mut user = hsm.user();
    assert_eq!(user.refused(create_user("carol", Role::CryptoUser)), CKR_FUNCTION_NOT_SUPPORTED);
    let activate = Operation::ActivateCluster(activation(PASSWORD));
    assert_eq!(user.refused(activate), CKR_FUNCTION_NOT_SUPPORTED);
}
