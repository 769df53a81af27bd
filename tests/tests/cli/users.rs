//! Users, passwords, lock-out, and who sees what.

use serde_json::{Value, json};
use strongroom_tests::{Region, Scratch, program};

use crate::cli::{BOTH_MODES, Mode, User, anonymous, data, refusal, run, single};

#[test]
fn users_are_created_listed_given_passwords_and_deleted_in_both_modes() {
    let region = Region::up("cli-users");
    let admin = User::admin(&region);
    for mode in BOTH_MODES {
        let name = format!("worker_{mode:?}").to_lowercase();
        let user = format!("--username {name} --role crypto-user");
        let done = run(
            &region,
            &admin,
            mode,
            &[
                format!("user create {user} --password first-password"),
                "user list".to_owned(),
                format!("user change-password {user} --password second-password"),
            ],
        );
        let shown = json!({"username": name, "role": "crypto-user"});
        assert_eq!(done[0], shown);
        assert_eq!(
            *listed(&done[1], &name).expect("the new user"),
            json!({
                "username": name, "role": "crypto-user", "locked": "false", "mfa": [],
                "cluster-coverage": "full"
            })
        );
        assert_eq!(done[2], shown);

        // A user changes its own password; the one before it no longer counts.
        let second = User::new(&name, "crypto-user", "second-password");
        let own = format!("user change-password {user} --password third-password");
        run(&region, &second, mode, &[own]);
        let third = User::new(&name, "crypto-user", "third-password");
        run(&region, &third, mode, &["key list".to_owned()]);
        let old = refusal(&single(&region, &second, "key list").output());
        assert!(old.contains("password is wrong"), "{old}");

        let done =
            run(&region, &admin, mode, &[format!("user delete {user}"), "user list".to_owned()]);
        assert_eq!(done[0], shown);
        assert!(listed(&done[1], &name).is_none());
        let gone = refusal(&single(&region, &third, "key list").output());
        assert_eq!(gone, old, "an absent user looks like a wrong password");
    }
}

#[test]
fn five_failures_lock_a_user_and_an_admin_unlocks_it() {
    let region = Region::up("cli-lock");
    let admin = User::admin(&region);
    let right = User::crypto_user(&region);
    let wrong = User { password: "not-the-password".to_owned(), ..right.clone() };
    for attempt in 1..=5 {
        let said = refusal(&single(&region, &wrong, "key list").output());
        assert!(said.contains("password is wrong"), "{attempt}: {said}");
    }
    for user in [&wrong, &right] {
        let said = refusal(&single(&region, user, "key list").output());
        assert!(said.contains("locked"), "{said}");
    }
    // It is on disk: a restart forgives nothing.
    region.strongroom("down").ok();
    let restarted = region.strongroom("up").args(["--address", &region.address]).output();
    assert!(!restarted.status.success(), "up uses the locked user");
    let users = run(&region, &admin, Mode::Single, &["user list".to_owned()]).remove(0);
    assert_eq!(listed(&users, &right.name).expect("there")["locked"], "true");

    let unlock = format!(
        "user change-password --username {} --role crypto-user --password {}",
        right.name, right.password
    );
    run(&region, &admin, Mode::Single, &[unlock, "user list".to_owned()]);
    let keys = run(&region, &right, Mode::Single, &["key list".to_owned()]).remove(0);
    assert!(keys["total_key_count"].as_u64() > Some(0));
}

#[test]
fn a_good_login_forgives_the_failures_before_it() {
    let region = Region::up("cli-forgive");
    let right = User::crypto_user(&region);
    let wrong = User { password: "not-the-password".to_owned(), ..right.clone() };
    for _ in 0..3 {
        for _ in 0..4 {
            refusal(&single(&region, &wrong, "key list").output());
        }
        data(&single(&region, &right, "key list").output());
    }
}

#[test]
fn a_crypto_user_neither_sees_nor_uses_anothers_private_keys() {
    let region = Region::up("cli-others");
    let owner = User::crypto_user(&region);
    let other = User::new("mallory", "crypto-user", "mallory-password");
    run(
        &region,
        &User::admin(&region),
        Mode::Single,
        &["user create --username mallory --role crypto-user --password mallory-password".into()],
    );
    let all = run(&region, &owner, Mode::Single, &["key list --verbose".to_owned()]).remove(0);
    let seen = run(&region, &other, Mode::Single, &["key list --verbose".to_owned()]).remove(0);
    for key in seen["matched_keys"].as_array().expect("keys") {
        assert_eq!(key["attributes"]["class"], "public-key", "{key:#}");
    }
    for key in all["matched_keys"].as_array().expect("keys") {
        if key["attributes"]["class"] == "public-key" {
            continue;
        }
        let reference = key["key-reference"].as_str().expect("a reference");
        for command in [
            format!("key delete --filter key-reference={reference}"),
            format!(
                "key generate-file --encoding reference-pem --path /dev/null --filter key-reference={reference}"
            ),
            format!(
                "crypto sign ecdsa --key-filter key-reference={reference} --hash-function sha256 --data YWJj"
            ),
        ] {
            let said = refusal(&single(&region, &other, &command).output());
            assert!(said.contains("matched 0 keys"), "{command}: {said}");
        }
    }
    // It may take a public key, which is its owner's to delete.
    let public = format!(
        "key generate-file --encoding pem --path {} --filter attr.label=example-p-256 \
         attr.class=public-key",
        region.scratch.file("public.pem").display()
    );
    run(&region, &other, Mode::Single, &[public]);
    let delete = "key delete --filter attr.label=example-p-256 attr.class=public-key";
    refusal(&single(&region, &other, delete).output());

    // Admins see labels, whatever they ask for, and use nothing.
    let admin = User::admin(&region);
    let seen = run(&region, &admin, Mode::Single, &["key list --verbose".to_owned()]).remove(0);
    assert_eq!(seen["total_key_count"], all["total_key_count"]);
    assert_eq!(seen["matched_keys"][0].get("key-info"), None);
    let sign = "crypto sign ecdsa --key-filter attr.label=example-p-256 attr.class=private-key \
                --hash-function sha256 --data YWJj";
    refusal(&single(&region, &admin, sign).output());
}

#[test]
fn a_name_is_one_user_whatever_its_case_and_a_password_has_a_length() {
    let region = Region::up("cli-names");
    let admin = User::admin(&region);
    let create = |name: &str, password: &str| {
        let command =
            format!("user create --username {name} --role crypto-user --password {password}");
        single(&region, &admin, &command).output()
    };
    assert_eq!(data(&create("Alice", "alice-password"))["username"], "alice");
    assert!(refusal(&create("ALICE", "alice-password")).contains("exists"));
    for password in ["seven-7", &"x".repeat(33)] {
        assert!(refusal(&create("bob", password)).contains("8 to 32"), "{password}");
    }
    let upper = User::new("ALICE", "crypto-user", "alice-password");
    data(&single(&region, &upper, "key list").output());
    let admin_of_that_name = User::new("alice", "admin", "alice-password");
    refusal(&single(&region, &admin_of_that_name, "key list").output());
    let nobody = anonymous(&region, "user delete --username alice --role crypto-user");
    assert!(refusal(&nobody.output()).contains("Not logged in"));
}

#[test]
fn a_local_cloudhsm_is_activated_with_nothing_but_a_folder() {
    let scratch = Scratch::new("cli-local");
    let cli = |command: &str| {
        program("cloudhsm-cli")
            .env("STRONGROOM_DIR", scratch.file("hsm"))
            .env("STRONGROOM_PERSONALITY", "cloudhsm")
            .args(command.split_whitespace())
    };
    let users = data(&cli("user list").output());
    assert_eq!(listed(&users, "admin").expect("the first user")["role"], "unactivated-admin");
    let differ = cli("cluster activate").input("one-password\nother-password\n").output();
    assert_eq!(refusal(&differ), "The passwords differ");
    let activated = cli("cluster activate").input("admin-password\nadmin-password\n").output();
    assert_eq!(data(&activated), "Cluster activation successful");
    let users = data(&cli("user list").output());
    assert_eq!(listed(&users, "admin").expect("there")["role"], "admin");
    let again = cli("cluster activate").input("taken-over\ntaken-over\n").output();
    assert!(refusal(&again).contains("active already"));

    // From here on it is as any other: a user, a key.
    let admin = User::new("admin", "admin", "admin-password");
    let create = admin.lend(cli("user create --username alice --role crypto-user"));
    data(&create.input("alice-password\nalice-password\n").output());
    let alice = User::new("alice", "crypto-user", "alice-password");
    let make = cli("key generate-symmetric aes --label here --key-length-bytes 32");
    let made = data(&alice.lend(make).output());
    assert_eq!(made["key"]["attributes"]["label"], "here");
    if let Some(process) = strongroom_tests::hsm_process(&scratch.file("hsm")) {
        strongroom_tests::stop(process);
    }
}

/// A user of `user list`.
fn listed<'a>(users: &'a Value, name: &str) -> Option<&'a Value> {
    users["users"].as_array().expect("users").iter().find(|user| user["username"] == *name)
}
