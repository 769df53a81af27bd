//! Wiping memory that held what nobody should find later, at the speed of a plain fill.

use std::hint::black_box;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{Ordering, compiler_fence};

/// Overwrites bytes with zeros, whatever becomes of them then.
///
/// A fill of memory that is freed next has no reader, so the compiler might leave it out. Here it has
/// one: [`black_box`] hands the address to something that, for all that the optimiser can know,
/// reads the bytes (an empty block of assembly that clobbers memory, in rustc's LLVM backend), and
/// the fence keeps the stores in front of it. Rust calls `black_box` best effort, so a test of this
/// module looks at the memory of dropped messages, in the build that it runs in.
///
/// `zeroize` promises as much without a test, by a volatile store for each byte: that took 6 % of an
/// HSM's time with AES-GCM at 16 KiB. What holds keys, in `strongroom-crypto`, stays with it; this
/// is for the traffic.
pub fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    compiler_fence(Ordering::SeqCst);
    black_box(bytes);
}

/// Wipes all of a vector's memory, what a longer content left behind its end too, and empties it.
pub fn wipe_vec(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.capacity(), 0);
    wipe(bytes);
    bytes.clear();
}

/// Bytes that are wiped when they are dropped. Growing the vector inside would leave the old copy as
/// it was: [`Wiped::append`] does not.
#[derive(Default)]
pub struct Wiped(Vec<u8>);

impl Wiped {
    /// Empty, with room for so many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Adds bytes at the end, moving first where there is no room.
    pub fn append(&mut self, more: &[u8]) {
        let needed = self.len() + more.len();
        if needed > self.0.capacity() {
            self.move_to(needed.next_power_of_two());
        }
        self.0.extend_from_slice(more);
    }

    /// Moves the content to memory of another size, at least its own length, and wipes what it was
    /// in.
    pub fn move_to(&mut self, capacity: usize) {
        let old = mem::replace(self, Self::with_capacity(capacity.max(self.len())));
        self.0.extend_from_slice(&old);
    }
}

impl From<Vec<u8>> for Wiped {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        wipe_vec(&mut self.0);
    }
}

impl Deref for Wiped {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Wiped {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

/// A message's field that is wiped with it.
pub(crate) trait Wipe {
    fn wipe(&mut self);
}

impl Wipe for Vec<u8> {
    fn wipe(&mut self) {
        wipe_vec(self);
    }
}

impl Wipe for Option<Vec<u8>> {
    fn wipe(&mut self) {
        if let Some(bytes) = self {
            wipe_vec(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::message::{ChangePassword, Data, Login};

    const CANARY: u8 = 0xc5;
    const BYTES: usize = 16 * 1024;
    /// At the begin of freed memory the allocator keeps pointers, whose bytes may be any.
    const ALLOCATORS_BYTES: usize = 64;

    /// Looks at memory that may be freed already.
    struct Memory {
        file: File,
        seen: Vec<u8>,
    }

    impl Memory {
        fn new() -> Self {
            Self { file: File::open("/proc/self/mem").unwrap(), seen: vec![0; BYTES] }
        }

        /// How many canary bytes there are where `value` has `bytes`, once `free` has had it.
        fn canaries<T>(
            &mut self,
            value: T,
            bytes: impl Fn(&T) -> &[u8],
            free: impl FnOnce(T),
        ) -> usize {
            let address = bytes(&value).as_ptr() as u64;
            assert!(
                bytes(&value).len() == BYTES && bytes(&value).iter().all(|byte| *byte == CANARY)
            );
            // Allocated behind it, so that the memory does not go back to the system.
            let _behind = Box::new([1_u8; 64]);
            free(value);
            self.file.read_exact_at(&mut self.seen, address).unwrap();
            self.seen[ALLOCATORS_BYTES..].iter().filter(|byte| **byte == CANARY).count()
        }
    }

    fn canary() -> Vec<u8> {
        vec![CANARY; BYTES]
    }

    #[test]
    fn nothing_of_a_dropped_message_is_left_in_memory() {
        let mut memory = Memory::new();
        let unwiped = memory.canaries(canary(), |bytes| bytes, drop);
        assert!(unwiped > BYTES / 2, "the test would see nothing: {unwiped}");

        let data = Data { data: canary() };
        assert_eq!(memory.canaries(data, |message| &message.data, drop), 0);
        let mut login = Login::default();
        login.password = canary();
        assert_eq!(memory.canaries(login, |message| &message.password, drop), 0);
        let mut change = ChangePassword::default();
        change.old_password = Some(canary());
        let old = memory.canaries(change, |m| m.old_password.as_deref().unwrap(), drop);
        assert_eq!(old, 0);
    }

    #[test]
    fn nothing_is_left_where_bytes_were_moved_from_or_cut_off() {
        let mut memory = Memory::new();
        let moved = memory.canaries(
            Wiped(canary()),
            |wiped| wiped,
            |mut wiped| {
                wiped.move_to(2 * BYTES);
                assert!(wiped.iter().all(|byte| *byte == CANARY));
            },
        );
        assert_eq!(moved, 0);
        let cut = memory.canaries(Wiped(canary()), |wiped| wiped, |mut wiped| wiped.truncate(1));
        assert_eq!(cut, 0);
    }

    #[test]
    fn moved_bytes_are_the_same() {
        let mut wiped = Wiped(vec![1, 2, 3]);
        wiped.move_to(0);
        assert_eq!((&**wiped, wiped.capacity()), (&[1, 2, 3][..], 3));
        wiped.move_to(100);
        assert_eq!(**wiped, [1, 2, 3]);
        assert!(wiped.capacity() >= 100);
    }
}
