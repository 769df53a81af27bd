//! `docs/manual/attributes.md` says what the table of attributes says.
//!
//! The page is derived from the table. `STRONGROOM_BLESS=1 cargo test -p strongroom-vault` writes it
//! anew after a change.

use std::fmt::Write as _;
use std::path::Path;

use strongroom_vault::attributes::table::{Changing, Form, Place, Row, Sort, TABLE, Uses};

const HEAD: &str = "\
# Attributes

<!-- Written by crates/vault/tests/attributes_page.rs out of the one table of attributes. -->

Which attributes there are, which objects have them, who gives them and who may change them.
`cloudhsm-cli` uses the names of the second column, beside some that it computes.

Objects are named by letters: **ec** and **EC** are EC private and public keys, **rsa** and **RSA** RSA
private and public keys, **pq** and **PQ** private and public keys of ML-DSA and ML-KEM, **a** AES keys,
**g** generic secrets, **c** certificates, **d** data objects. Keys of Edwards and Montgomery curves are as
EC keys.

## What they are

| attribute | CLI | value | objects | changes |
|---|---|---|---|---|
";

const AFTER: &str = "
- *secret*: a key's is read only where CKA_SENSITIVE is false and CKA_EXTRACTABLE is true.
- CKA_TOKEN: C_SetAttributeValue with true makes a session object a token object; its old handle goes on
  working for the program that did it.
- *until trusted*: by the owner until an admin has set CKA_TRUSTED, afterwards by an admin only.
- A secret key whose CKA_TRUSTED is true wraps and unwraps, and does nothing else. What it unwraps, and what is
  derived of a key whose CKA_WRAP_WITH_TRUSTED is true, has CKA_SENSITIVE and CKA_WRAP_WITH_TRUSTED:
  [known attacks](attacks.md).
- Nothing changes where CKA_MODIFIABLE is false, but an admin may still set CKA_TRUSTED.
- In personality `cloudhsm` an admin changes CKA_TRUSTED and nothing else.

## What a template may say

| letter | a template … |
|---|---|
| `-` | must not name it (`CK_FALSE` for a boolean is passed over) |
| `M` | must give it |
| `y` | may give it; without: false, zero, empty |
| `Y` | may give it; without: true |
| `t` | may only say true, which it is anyway |
| `f` | may only say false, which it is anyway |
| `T` | may give any value; it is true all the same |
| `R` | must not give it: the HSM does |

Each column has a letter for each sort of object, in the order of its head.

### Personality `cloudhsm`

";

const TOKEN: &str = "
### Personality `token`, where it differs

";

const COLUMNS: &str = "\
| attribute | C_GenerateKeyPair<br>ec EC rsa RSA pq PQ | C_GenerateKey<br>a g | C_CreateObject<br>ec EC rsa RSA \
pq PQ a g c d | C_UnwrapKey<br>ec rsa pq a g | C_DeriveKey<br>a g |
|---|---|---|---|---|---|
";

#[test]
fn the_attributes_page_equals_the_table() {
    let mut text = String::from(HEAD);
    for row in TABLE {
        let cli = if row.cli_name.is_empty() { "–" } else { row.cli_name };
        let secret = if row.place == Place::Secret { ", *secret*" } else { "" };
        let (value, objects, changes) = (form(row.form), objects(row), changing(row.changing));
        let name = row.name;
        writeln!(text, "| {name} | {cli} | {value}{secret} | {objects} | {changes} |")
            .expect("a string");
    }
    text.push_str(AFTER);
    text.push_str(COLUMNS);
    for row in TABLE {
        uses(&mut text, row.name, &row.cloudhsm);
    }
    text.push_str(TOKEN);
    text.push_str(COLUMNS);
    for row in TABLE.iter().filter(|row| letters(&row.token) != letters(&row.cloudhsm)) {
        uses(&mut text, row.name, &row.token);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/manual/attributes.md");
    if std::env::var_os("STRONGROOM_BLESS").is_some() {
        std::fs::write(&path, &text).expect("a writable file");
    }
    let kept = std::fs::read_to_string(&path).expect("docs/manual/attributes.md");
    assert!(kept == text, "docs/manual/attributes.md is old: run the test with STRONGROOM_BLESS=1");
}

fn uses(text: &mut String, name: &str, uses: &Uses) {
    let [pair, generate, create, unwrap, derive] = letters(uses);
    writeln!(text, "| {name} | `{pair}` | `{generate}` | `{create}` | `{unwrap}` | `{derive}` |")
        .expect("a string");
}

/// The columns of the page.
fn letters(uses: &Uses) -> [String; 5] {
    [&uses.pair[..], uses.generate, uses.create, uses.unwrap, uses.derive]
        .map(|column| column.iter().map(|letter| char::from(*letter)).collect())
}

fn form(form: Form) -> &'static str {
    match form {
        Form::Boolean => "CK_BBOOL",
        Form::Number => "CK_ULONG",
        Form::Bytes => "bytes",
        Form::Date => "CK_DATE",
        Form::Mechanisms => "mechanisms",
        Form::Template => "template",
    }
}

fn changing(changing: Changing) -> &'static str {
    match changing {
        Changing::Never => "–",
        Changing::Free => "freely",
        Changing::UntilTrusted => "until trusted",
        Changing::OnlyOn => "false to true",
        Changing::OnlyOff => "true to false",
        Changing::ByAdmin => "by an admin",
    }
}

fn objects(row: &Row) -> String {
    const SORTS: [(Sort, &str); 10] = [
        (Sort::EcPrivate, "ec"),
        (Sort::EcPublic, "EC"),
        (Sort::RsaPrivate, "rsa"),
        (Sort::RsaPublic, "RSA"),
        (Sort::PqPrivate, "pq"),
        (Sort::PqPublic, "PQ"),
        (Sort::Aes, "a"),
        (Sort::Generic, "g"),
        (Sort::Certificate, "c"),
        (Sort::Data, "d"),
    ];
    let having: Vec<&str> =
        SORTS.iter().filter(|(sort, _)| row.is_of(*sort)).map(|(_, name)| *name).collect();
    match having.len() {
        10 => "all".to_owned(),
        _ => having.join(" "),
    }
}
