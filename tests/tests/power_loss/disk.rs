//! A disk in memory that forgets: what was not synced is kept apart, and a power loss drops it, whole
//! or in parts.

use std::collections::BTreeMap;

use crate::common::model::Rng;

/// What a write may be torn at.
const SECTOR_BYTES: usize = 512;
const PAGE_BYTES: usize = 4096;

/// Something that was done to a file and not synced.
enum Unsynced {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate { length: usize },
}

/// One file.
#[derive(Default)]
struct File {
    /// What whoever reads it sees; `None` where it was deleted.
    seen: Option<Vec<u8>>,
    /// What is there after a power loss, at least; `None` where its name is not durable.
    durable: Option<Vec<u8>>,
    unsynced: Vec<Unsynced>,
}

/// How a power loss treats what was not synced.
#[derive(Clone, Copy)]
enum Loss {
    /// Nothing of it is there.
    All,
    /// All of it is: the disk was about to say so.
    Nothing,
    /// Each write is there or not.
    Writes,
    /// Each part of so many bytes is there or not.
    Parts(usize),
    /// The first writes are there, the next one in part, the others not.
    Tail,
}

/// The files of one folder.
pub(crate) struct Disk {
    files: BTreeMap<String, File>,
    rng: Rng,
    /// After so many changes the power goes.
    power_for: Option<u64>,
    /// Whether the power is gone: nothing can be read or written.
    dead: bool,
    pub(crate) syncs: u64,
}

/// The power is gone.
#[derive(Debug)]
pub(crate) struct Dead;

impl Disk {
    pub(crate) fn new(seed: u64) -> Self {
        let rng = Rng(seed);
        Self { files: BTreeMap::new(), rng, power_for: None, dead: false, syncs: 0 }
    }

    /// The power goes after so many changes.
    pub(crate) fn power_for(&mut self, changes: u64) {
        self.power_for = Some(changes);
    }

    /// Whether the power is gone.
    pub(crate) fn is_dead(&self) -> bool {
        self.dead
    }

    /// The power goes now, unless it has, and comes back: what was not synced is lost as chance has it.
    pub(crate) fn crash(&mut self) {
        (self.power_for, self.dead) = (None, false);
        let loss = match self.rng.below(7) {
            0 => Loss::All,
            1 => Loss::Nothing,
            2 => Loss::Writes,
            3 => Loss::Parts(PAGE_BYTES),
            4 => Loss::Parts(SECTOR_BYTES),
            _ => Loss::Tail,
        };
        let rng = &mut self.rng;
        for file in self.files.values_mut() {
            // A name that was made or deleted, and the folder not synced since, may be there or not.
            let name_is_there = match (&file.durable, &file.seen) {
                (Some(_), Some(_)) => true,
                _ => rng.one_in(2),
            };
            let unsynced = std::mem::take(&mut file.unsynced);
            let mut content = file.durable.take().unwrap_or_default();
            lose(rng, loss, unsynced, &mut content);
            file.seen = name_is_there.then(|| content.clone());
            file.durable = file.seen.clone();
        }
        self.files.retain(|_, file| file.seen.is_some());
    }

    /// Whether a file is there.
    pub(crate) fn exists(&self, name: &str) -> bool {
        self.files.get(name).is_some_and(|file| file.seen.is_some())
    }

    /// Makes a file where it is missing: with a durable name, where the caller has seen to that.
    pub(crate) fn create(&mut self, name: &str, durable: bool) -> Result<(), Dead> {
        self.alive()?;
        let file = self.files.entry(name.to_owned()).or_default();
        if file.seen.is_none() {
            file.seen = Some(Vec::new());
            // Where an old file of the name may come back, it is empty now or will be.
            file.unsynced = vec![Unsynced::Truncate { length: 0 }];
        }
        if durable && file.durable.is_none() {
            file.durable = Some(Vec::new());
        }
        Ok(())
    }

    /// Deletes a file. Until the folder is synced, a power loss may bring it back.
    pub(crate) fn delete(&mut self, name: &str, synced: bool) -> Result<(), Dead> {
        self.change()?;
        if let Some(file) = self.files.get_mut(name) {
            file.seen = None;
            file.unsynced.clear();
            if synced || file.durable.is_none() {
                self.files.remove(name);
            }
        }
        Ok(())
    }

    /// The file's content.
    pub(crate) fn read(&self, name: &str) -> Result<&[u8], Dead> {
        self.alive()?;
        Ok(self.files.get(name).and_then(|file| file.seen.as_deref()).unwrap_or_default())
    }

    pub(crate) fn write(&mut self, name: &str, offset: usize, bytes: &[u8]) -> Result<(), Dead> {
        self.unsynced(name, Unsynced::Write { offset, bytes: bytes.to_vec() })
    }

    pub(crate) fn truncate(&mut self, name: &str, length: usize) -> Result<(), Dead> {
        self.unsynced(name, Unsynced::Truncate { length })
    }

    /// What was done to a file is durable. With a new file its folder is synced too, as SQLite does on
    /// Linux: names that were deleted do not come back.
    pub(crate) fn sync(&mut self, name: &str) -> Result<(), Dead> {
        // A sync that the power interrupts has synced nothing for certain.
        self.change()?;
        self.syncs += 1;
        if self.files.get(name).is_none_or(|file| file.durable.is_none()) {
            self.files.retain(|_, file| file.seen.is_some());
        }
        let file = self.files.entry(name.to_owned()).or_default();
        let content = file.durable.get_or_insert_default();
        for unsynced in file.unsynced.drain(..) {
            unsynced.apply(content);
        }
        Ok(())
    }

    fn unsynced(&mut self, name: &str, unsynced: Unsynced) -> Result<(), Dead> {
        self.alive()?;
        let file = self.files.entry(name.to_owned()).or_default();
        unsynced.apply(file.seen.get_or_insert_default());
        file.unsynced.push(unsynced);
        self.change()
    }

    fn alive(&self) -> Result<(), Dead> {
        if self.dead { Err(Dead) } else { Ok(()) }
    }

    /// Counts a change.
    fn change(&mut self) -> Result<(), Dead> {
        self.alive()?;
        if let Some(left) = &mut self.power_for {
            *left = left.saturating_sub(1);
            self.dead = *left == 0;
        }
        self.alive()
    }
}

impl Unsynced {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => put(content, *offset, bytes),
            Self::Truncate { length } => content.truncate(*length),
        }
    }
}

/// Writes into a content, which grows by zeros where it is too short.
fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

/// Applies what is not lost.
fn lose(rng: &mut Rng, loss: Loss, unsynced: Vec<Unsynced>, content: &mut Vec<u8>) {
    let kept = rng.below(unsynced.len() as u64 + 1) as usize;
    for (number, done) in unsynced.iter().enumerate() {
        match (loss, done) {
            (Loss::All, _) => {}
            (Loss::Nothing, _) => done.apply(content),
            (Loss::Tail, _) if number < kept => done.apply(content),
            (Loss::Tail, Unsynced::Write { .. }) if number == kept => {
                tear(rng, SECTOR_BYTES, done, content);
            }
            (Loss::Tail, _) => {}
            (Loss::Parts(part), Unsynced::Write { .. }) => tear(rng, part, done, content),
            (Loss::Writes | Loss::Parts(_), _) if rng.one_in(2) => done.apply(content),
            (Loss::Writes | Loss::Parts(_), _) => {}
        }
    }
}

/// Applies some parts of a write, cut where the disk's sectors or pages are.
fn tear(rng: &mut Rng, part: usize, done: &Unsynced, content: &mut Vec<u8>) {
    let Unsynced::Write { offset, bytes } = done else { return };
    let mut start = 0;
    while start < bytes.len() {
        let to_boundary = part - (offset + start) % part;
        let end = bytes.len().min(start + to_boundary);
        if rng.one_in(2) {
            put(content, offset + start, &bytes[start..end]);
        }
        start = end;
    }
}

#[test]
fn only_what_was_synced_is_certain() {
    let (mut lost, mut kept) = (0, 0);
    for seed in 0..200 {
        let mut disk = Disk::new(seed);
        disk.create("file", true).unwrap();
        disk.write("file", 0, &[1; 2 * SECTOR_BYTES]).unwrap();
        disk.sync("file").unwrap();
        disk.write("file", SECTOR_BYTES, &[2; 2 * SECTOR_BYTES]).unwrap();
        disk.crash();
        let content = disk.read("file").unwrap();
        assert_eq!(content[..SECTOR_BYTES], [1; SECTOR_BYTES]);
        if content.contains(&2) {
            kept += 1;
        } else {
            lost += 1;
        }
    }
    assert!(lost > 20 && kept > 20, "{lost} lost, {kept} kept");
}

#[test]
fn without_power_nothing_can_be_done() {
    let mut disk = Disk::new(1);
    disk.create("file", true).unwrap();
    disk.power_for(2);
    disk.write("file", 0, b"one").unwrap();
    disk.sync("file").unwrap_err();
    disk.read("file").unwrap_err();
    disk.write("file", 0, b"two").unwrap_err();
    disk.crash();
    let content = disk.read("file").unwrap();
    assert!(content.is_empty() || content == b"one", "{content:?}");
}
