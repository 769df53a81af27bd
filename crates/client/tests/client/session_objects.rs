//! Session objects outlive the HSM that they were made on, and what was destroyed stays so.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Barrier, Mutex},
    thread,
};

use cryptoki_sys::CKR_OBJECT_HANDLE_INVALID;
use strongroom_wire::{
    SESSION_HANDLE_BIT,
    message::{
        CloseSession, DestroyObject, FindObjects, FoundReply, GenerateKey, ObjectReply, Operation,
        Outcome, Reply, SessionObject, SetAttributes, Sign,
    },
};

use crate::{
    fake::{Action, answer, refuse},
    fleet::Cluster,
};

/// The session objects in three HSMs' memories: handle to (session, version).
type Memory = Mutex<[BTreeMap<u64, (u64, u64)>; 3]>;

/// HSMs that keep session objects as the real ones do.
fn cluster() -> (Cluster, Arc<Memory>) {
    let memory = Arc::<Memory>::default();
    let memories = Arc::clone(&memory);
    let cluster = Cluster::new(move |number, seen, operation| {
        let mut memories = memories.lock().unwrap();
        let made: u64 = memories.iter().map(|memory| memory.len() as u64).sum();
        let memory = &mut memories[number];
        let kept = |handle: u64, (session, version): (u64, u64)| {
            let blob = vec![version as u8; 64];
            let session_objects = vec![SessionObject { handle, session, version, blob }];
            let outcome = Some(Outcome::Object(ObjectReply { handle }));
            Action::Answer(Reply { outcome, session_objects, ..Reply::default() })
        };
        match operation {
            Operation::GenerateKey(_) => {
                let handle = SESSION_HANDLE_BIT | (number as u64 * 1000 + made);
                memory.insert(handle, (seen.session, 1));
                kept(handle, (seen.session, 1))
            }
            Operation::SetAttributes(set) => match memory.get_mut(&set.handle) {
                None => refuse(CKR_OBJECT_HANDLE_INVALID),
                Some((_, version)) => {
                    *version += 1;
                    kept(set.handle, memory[&set.handle])
                }
            },
            Operation::Sign(sign) if memory.contains_key(&sign.handle) => answer(None),
            Operation::DestroyObject(destroy) if memory.remove(&destroy.handle).is_some() => {
                answer(None)
            }
            Operation::Sign(_) | Operation::DestroyObject(_) => refuse(CKR_OBJECT_HANDLE_INVALID),
            Operation::CloseSession(_) => {
                memory.retain(|_, (session, _)| *session != seen.session);
                answer(None)
            }
            Operation::RestoreObjects(restore) => {
                for object in &restore.objects {
                    let version = object.version;
                    assert_eq!(object.blob, vec![version as u8; 64]);
                    let present = memory.entry(object.handle).or_insert((object.session, 0));
                    present.1 = present.1.max(version);
                }
                answer(None)
            }
            Operation::FindObjects(_) => {
                let handles = memory.keys().copied().collect();
                answer(Some(Outcome::Found(FoundReply { handles, more: false })))
            }
            _ => answer(None),
        }
    });
    (cluster, memory)
}

fn make(client: &strongroom_client::Client, session: u64) -> u64 {
    match client.call(session, Operation::GenerateKey(GenerateKey::default())).unwrap() {
        Some(Outcome::Object(object)) => object.handle,
        other => panic!("{other:?}"),
    }
}

fn sign(handle: u64) -> Operation {
    let mut sign = Sign::default();
    sign.handle = handle;
    Operation::Sign(sign)
}

fn find() -> Operation {
    Operation::FindObjects(FindObjects { max: 100, ..FindObjects::default() })
}

fn found(outcome: Option<Outcome>) -> Vec<u64> {
    match outcome {
        Some(Outcome::Found(found)) => found.handles,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_session_object_outlives_its_hsm_in_its_newest_version() {
    let (cluster, memory) = cluster();
    let client = cluster.open();
    let handle = make(&client, 7);
    let set = SetAttributes { handle, ..SetAttributes::default() };
    client.call(7, Operation::SetAttributes(set)).unwrap();
    let home = cluster.requests("GenerateKey")[0].0;
    cluster.hsms[home].die();
    client.call(7, sign(handle)).unwrap();
    let next = cluster.requests("Sign")[0].0;
    assert_ne!(next, home);
    assert_eq!(memory.lock().unwrap()[next][&handle], (7, 2));
    // Once is enough.
    client.call(7, sign(handle)).unwrap();
    assert_eq!(cluster.requests("RestoreObjects").len(), 1);
}

#[test]
fn requests_that_need_no_session_object_bring_none() {
    let (cluster, _) = cluster();
    let client = cluster.open();
    make(&client, 1);
    cluster.hsms[cluster.requests("GenerateKey")[0].0].die();
    client.call(1, sign(5)).unwrap_err();
    assert_eq!(cluster.requests("RestoreObjects").len(), 0);
    let handles = found(client.call(1, find()).unwrap());
    assert_eq!(handles.len(), 1);
}

#[test]
fn an_hsm_that_lost_its_memory_gets_the_objects_again() {
    let (cluster, memory) = cluster();
    let client = cluster.open();
    let handle = make(&client, 1);
    // Behind the client's back.
    for memory in memory.lock().unwrap().iter_mut() {
        memory.clear();
    }
    client.call(1, sign(handle)).unwrap();
    assert_eq!(cluster.requests("RestoreObjects").len(), 1);
    assert_eq!(cluster.requests("Sign").len(), 2);
}

#[test]
fn threads_on_several_hsms_share_their_session_objects() {
    const THREADS: usize = 9;
    let (cluster, _) = cluster();
    let client = cluster.open();
    let together = Barrier::new(THREADS);
    let handles = Mutex::new(HashMap::new());
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (client, together, handles) = (&client, &together, &handles);
            scope.spawn(move || {
                handles.lock().unwrap().insert(thread, make(client, 3));
                together.wait();
                let all: Vec<u64> = handles.lock().unwrap().values().copied().collect();
                for handle in &all {
                    client.call(3, sign(*handle)).unwrap();
                }
                assert!(found(client.call(3, find()).unwrap()).len() >= THREADS);
            });
        }
    });
}

#[test]
fn what_was_destroyed_or_closed_is_gone_from_the_hsm_that_had_it_before_it_is_used_again() {
    let (cluster, memory) = cluster();
    let client = cluster.open();
    let (kept, destroyed, closed) = (make(&client, 1), make(&client, 1), make(&client, 2));
    let home = cluster.requests("GenerateKey")[0].0;
    cluster.hsms[home].die();
    client.call(1, sign(kept)).unwrap();
    let next = cluster.requests("Sign")[0].0;
    client.call(1, Operation::DestroyObject(DestroyObject { handle: destroyed })).unwrap();
    client.call(2, Operation::CloseSession(CloseSession {})).unwrap();
    assert_eq!(memory.lock().unwrap()[next].keys().copied().collect::<Vec<_>>(), [kept]);
    // The first one comes back with its memory: only the network was away.
    assert_eq!(memory.lock().unwrap()[home].len(), 3);
    cluster.hsms[home].revive();
    cluster.hsms.iter().enumerate().filter(|(n, _)| *n != home).for_each(|(_, hsm)| hsm.die());
    assert_eq!(found(client.call(1, find()).unwrap()), [kept]);
    for gone in [destroyed, closed] {
        assert_eq!(client.call(1, sign(gone)).unwrap_err().ckr(), CKR_OBJECT_HANDLE_INVALID);
    }
}

#[test]
fn after_logout_no_session_object_is_kept() {
    let (cluster, _) = cluster();
    let client = cluster.open();
    let handle = make(&client, 1);
    client.logout().unwrap();
    cluster.hsms[cluster.requests("GenerateKey")[0].0].die();
    client.call(1, sign(handle)).unwrap_err();
    assert_eq!(cluster.requests("RestoreObjects").len(), 0);
}
