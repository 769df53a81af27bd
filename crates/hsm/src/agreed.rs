//! For this crate's tests: a replicated state without a cluster that agrees on it.

use strongroom_vault::{Actor, ClientId, Command, Entry, LogIndex, State};

/// Applies a command of the system's own, which the state takes.
pub(crate) fn apply(state: &mut State, command: Command) {
    let index = LogIndex(state.applied().0 + 1);
    let entry = Entry {
        time_ms: 1,
        client: ClientId([0; 16]),
        sequence: 0,
        lowest_unanswered: 0,
        actor: Actor::System,
        command,
    };
    state.apply(index, entry).0.unwrap();
}
