//! The state machine: any log can be applied, and what it leaves on disk is what is in memory.

use strongroom_vault::codec::{decode_entry, encode_entry};
use strongroom_vault::{Command, Entry, LogIndex, Outcome, Refusal, State};

use super::history;
use crate::disk::Disk;
use crate::input::{Fields, framed, frames};

/// A log from its beginning: an entry in each frame.
pub(super) fn log(data: &[u8]) -> bool {
    let mut taken = false;
    let mut state = State::new();
    let mut disk = Disk::default();
    for entry in frames(data).filter_map(|frame| decode_entry(frame).ok()) {
        let index = LogIndex(state.applied().0 + 1);
        let remembered = remembered(&state, &entry);
        let (result, changes) = state.apply(index, entry);
        assert_eq!(state.applied(), index);
        if let Some(remembered) = remembered {
            assert_eq!(result, remembered, "what has run does not run again");
        }
        taken |= result.is_ok();
        disk.write(changes);
    }
    disk.check(&state);
    taken
}

/// What an entry gave when it ran before. Logins run each time: their count is what matters.
fn remembered(state: &State, entry: &Entry) -> Option<Result<Outcome, Refusal>> {
    let of_logins = matches!(
        entry.command,
        Command::ChargeLogin { .. }
            | Command::OpenLogin { .. }
            | Command::AdoptLogin { .. }
            | Command::SeeLogins { .. }
            | Command::RefundLogin { .. }
            | Command::CloseLogins { .. }
    );
    (!of_logins && entry.sequence != 0).then(|| state.remembered(entry.client, entry.sequence))?
}

pub(super) fn log_seeds() -> Vec<Vec<u8>> {
    history::all().iter().map(|history| framed(history.entries.iter().map(encode_entry))).collect()
}

/// The records of a store, a key behind a byte of length and a value in each frame, in any
/// combination. Where they belong together, the state that they make goes on.
pub(super) fn load(data: &[u8]) -> bool {
    let mut state = State::new();
    for frame in frames(data) {
        let mut fields = Fields(frame);
        let (key, value) = (fields.short(), fields.rest());
        // Passed over where it is none: the rest may still be a state.
        let _ = state.load(key, value);
    }
    if state.finish_load().is_err() {
        return false;
    }
    let mut disk = Disk { records: state.records().collect(), ..Disk::default() };
    disk.check(&state);
    for entry in history::all().into_iter().flat_map(|history| history.entries) {
        // The last number is for ever: a log does not come near it.
        let Some(index) = state.applied().0.checked_add(1) else { return true };
        let (_, changes) = state.apply(LogIndex(index), entry);
        disk.write(changes);
    }
    disk.check(&state);
    true
}

pub(super) fn load_seeds() -> Vec<Vec<u8>> {
    let histories = history::all().into_iter().flat_map(|history| {
        let middle = history.entries.len() - 3;
        [middle, history.entries.len()].map(|length| after(&history.entries[..length]))
    });
    histories.collect()
}

/// What a disk holds after these entries.
fn after(entries: &[Entry]) -> Vec<u8> {
    let mut state = State::new();
    for (index, entry) in (1..).zip(entries) {
        // What they give is checked where the histories are made.
        let _ = state.apply(LogIndex(index), entry.clone());
    }
    framed(state.records().map(|(key, value)| [crate::input::short(&key), value].concat()))
}
