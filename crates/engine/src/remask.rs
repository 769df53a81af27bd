//! Masking all objects anew after the cluster's secrets were replaced.
//!
//! In: the newest epoch of the masking key. Out: on the leader, a blob of that epoch for each object that
//! has an older one, a few at a time; on every HSM, the knowledge that none is left, so that it may
//! forget the older keys. Never: a key forgotten that a blob still needs.
//!
//! An HSM may go on masking under the old key for a moment after the new one has come. So what counts is
//! a pass over all objects that began [`SETTLED_MS`] after the new key came and found none that is older.

use std::sync::{Mutex, MutexGuard, PoisonError};

use strongroom_vault::{Command, Handle, Object, ReplicationError, State, limits};

use crate::engine::Engine;
use crate::error::Error;

/// So long after a new key has come no HSM masks under the older one, in milliseconds.
const SETTLED_MS: u64 = 60_000;
/// A pass that found something that this HSM could not change is repeated after this, in milliseconds.
const AGAIN_MS: u64 = 10 * 60_000;
/// Objects looked at in one step.
pub(crate) const LOOKS_MAX: usize = 512;

/// How far the passes have come.
#[derive(Default)]
pub(crate) struct Remasking(Mutex<Progress>);

#[derive(Clone, Copy, Default)]
struct Progress {
    /// The newest epoch, and when it was first seen here.
    epoch: u64,
    since_ms: u64,
    /// Where the present pass goes on; the first handle is above 0.
    after: Handle,
    pass_began_ms: u64,
    /// No pass begins before this.
    pause_until_ms: u64,
    /// The present pass has met an older blob.
    found: bool,
    /// And one that this HSM could not change.
    stuck: bool,
    /// No blob is older than `epoch`.
    done: bool,
}

impl Remasking {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// No object is masked under a key of an older epoch than this, as far as this HSM knows: older
    /// masking keys may be forgotten.
    #[must_use]
    pub fn masked_from(&self) -> u64 {
        let progress = *self.remasking.progress();
        if progress.done && progress.epoch == self.masking.newest_epoch() {
            progress.epoch
        } else {
            1
        }
    }

    /// Looks at the next objects and, on the leader, masks those anew whose blob is of an older epoch.
    /// Called by housekeeping alone.
    pub(crate) fn remask_step(&self, looks_max: usize) -> Result<(), Error> {
        let epoch = self.masking.newest_epoch();
        if epoch <= 1 {
            return Ok(());
        }
        let now_ms = (self.clock)();
        let mut progress = *self.remasking.progress();
        if progress.epoch != epoch {
            progress = Progress { epoch, since_ms: now_ms, ..Progress::default() };
        }
        if !progress.done && now_ms >= progress.pause_until_ms {
            // Where this fails, the same objects are looked at again.
            progress = self.look(progress, now_ms, looks_max)?;
        }
        *self.remasking.progress() = progress;
        Ok(())
    }

    fn look(
        &self,
        mut progress: Progress,
        now_ms: u64,
        looks_max: usize,
    ) -> Result<Progress, Error> {
        if progress.after == Handle(0) {
            progress.pass_began_ms = now_ms;
            (progress.found, progress.stuck) = (false, false);
        }
        let (domain, objects) = {
            let state = self.replicator.state().read();
            let objects = state.objects_after(progress.after).take(looks_max).cloned();
            (State::masking_domain(&state), objects.collect::<Vec<Object>>())
        };
        let leads = self.replicator.leads();
        let (mut masked, mut bytes) = (Vec::new(), 0);
        for object in &objects {
            let full = bytes + limits::BLOB_BYTES_MAX > limits::REMASK_BYTES_MAX
                || masked.len() >= limits::REMASK_OBJECTS_MAX;
            if full {
                break;
            }
            progress.after = object.handle;
            // One that is gone, or not on this disk yet, is nobody's concern or the next pass's.
            let blob = match self.replicator.blob(object.id) {
                Ok(Some(blob)) => blob,
                Ok(None) => continue,
                // It is looked at again when it has come from another HSM.
                Err(ReplicationError::Damaged(_)) => {
                    (progress.found, progress.stuck) = (true, true);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if self.masking.is_of(&blob, progress.epoch) {
                continue;
            }
            progress.found = true;
            if !leads {
                progress.stuck = true;
                continue;
            }
            let content = match self.masking.unmask(&domain, object.id, &object.meta, &blob) {
                Ok(content) => content,
                Err(error) => {
                    tracing::error!(handle = object.handle.0, "can't be masked anew: {error}");
                    progress.stuck = true;
                    continue;
                }
            };
            let blob = self.masking.mask(&domain, object.id, &content)?;
            bytes += blob.len();
            masked.push((object.handle, object.id, blob));
        }
        if !masked.is_empty() {
            self.propose_own(Command::Remask { objects: masked })?;
        }
        if objects.is_empty() {
            progress.after = Handle(0);
            let settled_ms = progress.since_ms.saturating_add(SETTLED_MS);
            progress.done = !progress.found && progress.pass_began_ms >= settled_ms;
            progress.pause_until_ms =
                if progress.stuck { now_ms.saturating_add(AGAIN_MS) } else { settled_ms };
        }
        Ok(progress)
    }
}
