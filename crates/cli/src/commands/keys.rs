//! `key list`, `key delete`, `key generate-file`, and the search behind every key filter.

use std::path::Path;

use cryptoki_sys::*;
use serde_json::{Value, json};
use strongroom_wire::limits::FIND_HANDLES_MAX;
use strongroom_wire::message::{DestroyObject, FindObjects, Operation, Outcome, Template};

use super::Session;
use crate::attributes;
use crate::error::Error;
use crate::filter::{Criterion, Filter};
use crate::grammar::{Encoding, KeyCommand, Role};
use crate::key::Key;
use crate::key_file::{self, PublicPart};

pub(super) fn run(session: &mut Session, command: &KeyCommand) -> Result<Value, Error> {
    match command {
        KeyCommand::List { filter, max_items, starting_token, verbose } => {
            list(session, filter, starting_token.unwrap_or(0), *max_items, *verbose)
        }
        KeyCommand::Delete { filter } => {
            let handle = session.find_one(filter)?;
            session.backend.call(Operation::DestroyObject(DestroyObject { handle }))?;
            Ok(json!({ "message": "Key deleted successfully" }))
        }
        KeyCommand::GenerateFile { encoding, path, filter } => {
            generate_file(session, *encoding, path, filter)
        }
        KeyCommand::GenerateSymmetric(_) | KeyCommand::GenerateAsymmetricPair(_) => {
            Err(Error::usage("Not a command on keys that exist"))
        }
    }
}

fn list(
    session: &mut Session,
    criteria: &[Criterion],
    start: usize,
    max_items: usize,
    verbose: bool,
) -> Result<Value, Error> {
    let handles = session.find(criteria)?;
    let page: Vec<u64> = handles.iter().copied().skip(start).take(max_items).collect();
    // The guide: "This flag when used by Admins has no effect".
    let verbose = verbose && session.role != Some(Role::Admin);
    let mut matched = Vec::with_capacity(page.len());
    for handle in &page {
        matched.push(if verbose {
            session.show(*handle)?
        } else {
            Key::read_some(&mut *session.backend, *handle, vec![CKA_LABEL])?.brief()
        });
    }
    let mut data = json!({
        "matched_keys": matched,
        "total_key_count": handles.len(),
        "returned_key_count": page.len()
    });
    let next = start.saturating_add(page.len());
    if !page.is_empty() && next < handles.len() {
        data["next_token"] = json!(next.to_string());
    }
    Ok(data)
}

fn generate_file(
    session: &mut Session,
    encoding: Encoding,
    path: &Path,
    criteria: &[Criterion],
) -> Result<Value, Error> {
    let handle = session.find_one(criteria)?;
    let key = Key::read(&mut *session.backend, handle)?;
    if encoding == Encoding::ReferencePem && key.class() != Some(CKO_PRIVATE_KEY) {
        return Err(Error::usage("reference-pem is for private keys"));
    }
    let public = session.public_part(&key)?;
    let (text, mode) = match encoding {
        Encoding::ReferencePem => (key_file::pem("PRIVATE KEY", &public.reference(handle))?, 0o600),
        Encoding::Pem => (key_file::pem("PUBLIC KEY", &public.spki())?, 0o644),
    };
    key_file::write(path, &text, mode)?;
    Ok(json!({ "message": "Successfully generated key file" }))
}

impl Session {
    /// A key in its long form.
    pub(super) fn show(&mut self, handle: u64) -> Result<Value, Error> {
        Ok(Key::read(&mut *self.backend, handle)?.full())
    }

    /// The one key that the filter names.
    pub(super) fn find_one(&mut self, criteria: &[Criterion]) -> Result<u64, Error> {
        match self.find(criteria)?.as_slice() {
            [handle] => Ok(*handle),
            many => Err(Error::Selection { matched: many.len() }),
        }
    }

    /// All keys that the filter names, by rising handle.
    pub(super) fn find(&mut self, criteria: &[Criterion]) -> Result<Vec<u64>, Error> {
        let filter = Filter::new(criteria)?;
        let mut handles = Vec::new();
        // A search without a class would find certificates and data objects too.
        match filter.search.iter().any(|attribute| attribute.kind == CKA_CLASS) {
            true => self.search(&filter, None, &mut handles)?,
            false => {
                for (_, class) in attributes::CLASSES {
                    self.search(&filter, Some(*class), &mut handles)?;
                }
            }
        }
        handles.sort_unstable();
        if let Some(reference) = filter.reference {
            handles.retain(|handle| *handle == reference);
        }
        if filter.compare.is_empty() {
            return Ok(handles);
        }
        let mut admitted = Vec::new();
        for handle in handles {
            if filter.admits(&Key::read(&mut *self.backend, handle)?.attributes()) {
                admitted.push(handle);
            }
        }
        Ok(admitted)
    }

    fn search(
        &mut self,
        filter: &Filter,
        class: Option<u64>,
        handles: &mut Vec<u64>,
    ) -> Result<(), Error> {
        // With a reference, the search begins just below it and needs one answer.
        let (mut after, max) = match filter.reference {
            Some(reference) => (reference.saturating_sub(1), 1),
            None => (0, FIND_HANDLES_MAX as u32),
        };
        loop {
            let mut wanted = filter.search.clone();
            wanted.extend(
                class.map(|class| attributes::attribute(CKA_CLASS, attributes::ulong(class))),
            );
            let operation = Operation::FindObjects(FindObjects {
                template: Some(Template { attributes: wanted }),
                after,
                max,
            });
            let Some(Outcome::Found(found)) = self.backend.call(operation)? else {
                return Err(Error::Answer("FindObjects"));
            };
            handles.extend_from_slice(&found.handles);
            match found.handles.last() {
                Some(last) if found.more && filter.reference.is_none() => after = *last,
                _ => return Ok(()),
            }
        }
    }

    /// The public half of a key of a pair. A private EC key of PKCS#11 does not carry its point:
    /// the public key that was made with it (same curve, same check value) does.
    fn public_part(&mut self, key: &Key) -> Result<PublicPart, Error> {
        if let Some(public) = key.public_part() {
            return Ok(public);
        }
        let none =
            || Error::usage(format!("Key {} has no public half that can be read", key.reference()));
        let (Some(params), Some(check_value)) =
            (key.value(CKA_EC_PARAMS), key.value(CKA_CHECK_VALUE))
        else {
            return Err(none());
        };
        let search = [(CKA_EC_PARAMS, params), (CKA_CHECK_VALUE, check_value)]
            .map(|(cka, value)| attributes::attribute(cka, value.to_vec()));
        let filter = Filter { search: search.into(), ..Filter::default() };
        let mut handles = Vec::new();
        self.search(&filter, Some(CKO_PUBLIC_KEY), &mut handles)?;
        let mut found: Option<PublicPart> = None;
        for handle in handles {
            let public = Key::read(&mut *self.backend, handle)?.public_part();
            match (&found, public) {
                (None, public) => found = public,
                // A check value is only three bytes: two different keys that share it leave no
                // way to tell which is meant.
                (Some(first), Some(second)) if *first != second => return Err(none()),
                _ => {}
            }
        }
        found.ok_or_else(none)
    }
}
