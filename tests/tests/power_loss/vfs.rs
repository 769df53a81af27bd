//! SQLite on a [`Disk`]: a virtual file system that is the process' default.
//!
//! All connections of a folder are in this process, so locks and the shared memory of the write-ahead
//! log are plain memory too; a power loss clears them, as the end of a process does.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::size_of;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, Once, OnceLock, PoisonError};

use rusqlite::ffi;

use crate::disk::{Dead, Disk};

/// A region of the write-ahead log's shared memory, as SQLite asks for it.
type Region = Box<[u64]>;

/// One folder's disk, and what its connections share.
pub(crate) struct Device {
    pub(crate) disk: Mutex<Disk>,
    shared: Mutex<HashMap<String, Shared>>,
}

/// What the connections to one file share.
#[derive(Default)]
struct Shared {
    /// The lock of each handle.
    levels: HashMap<u64, c_int>,
    regions: Vec<Region>,
    /// Handles that use the regions, with their slots: shared, exclusive.
    users: HashMap<u64, (u8, u8)>,
}

/// An open file, as SQLite sees it.
#[repr(C)]
struct OpenFile {
    base: ffi::sqlite3_file,
    /// From `Box::into_raw`; null once closed.
    handle: *mut Handle,
}

struct Handle {
    number: u64,
    device: Arc<Device>,
    name: String,
}

fn devices() -> MutexGuard<'static, HashMap<PathBuf, Arc<Device>>> {
    static DEVICES: OnceLock<Mutex<HashMap<PathBuf, Arc<Device>>>> = OnceLock::new();
    lock(DEVICES.get_or_init(Mutex::default))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Device {
    /// Puts a disk under a folder, until [`Device::remove`].
    pub(crate) fn insert(folder: &Path, disk: Disk) -> Arc<Self> {
        register();
        let device = Arc::new(Self { disk: Mutex::new(disk), shared: Mutex::default() });
        devices().insert(folder.to_owned(), device.clone());
        device
    }

    pub(crate) fn remove(folder: &Path) {
        devices().remove(folder);
    }

    pub(crate) fn disk(&self) -> MutexGuard<'_, Disk> {
        lock(&self.disk)
    }

    /// The power goes and comes back. All connections must be closed.
    pub(crate) fn crash(&self) {
        let mut shared = lock(&self.shared);
        assert!(shared.values().all(|shared| shared.levels.is_empty()), "a connection is open");
        shared.clear();
        self.disk().crash();
    }
}

thread_local! {
    static SYNCHRONOUS_OFF: Cell<bool> = const { Cell::new(false) };
}

/// Connections that this thread opens from now on never sync, whatever they are told: the mutant.
pub(crate) fn never_sync(never: bool) {
    SYNCHRONOUS_OFF.set(never);
}

/// Makes the file system the default one of this process' SQLite.
fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: no connection is open yet; the structure lives as long as the process, and its
        // functions keep SQLite's rules for them.
        let registered = unsafe {
            ffi::sqlite3_initialize();
            let system = ffi::sqlite3_vfs_find(std::ptr::null());
            let vfs = ffi::sqlite3_vfs {
                iVersion: 1,
                szOsFile: size_of::<OpenFile>() as c_int,
                zName: c"power-loss".as_ptr(),
                xOpen: Some(open),
                xDelete: Some(delete),
                xAccess: Some(access),
                xFullPathname: Some(full_path_name),
                pNext: std::ptr::null_mut(),
                // Chance, time and sleep are the system's.
                ..*system
            };
            ffi::sqlite3_vfs_register(Box::into_raw(Box::new(vfs)), 1)
        };
        assert_eq!(registered, ffi::SQLITE_OK);
        // SAFETY: the function is one that SQLite may call for each new connection.
        unsafe { ffi::sqlite3_auto_extension(Some(opened)) };
    });
}

/// Called for each new connection.
unsafe extern "C" fn opened(
    db: *mut ffi::sqlite3,
    _: *mut *mut c_char,
    _: *const ffi::sqlite3_api_routines,
) -> c_int {
    if SYNCHRONOUS_OFF.get() {
        // SAFETY: `db` is an open connection, and the strings end with a zero byte.
        unsafe {
            let sql = c"PRAGMA synchronous = OFF".as_ptr();
            let null = std::ptr::null_mut();
            ffi::sqlite3_exec(db, sql, None, null, std::ptr::null_mut());
            ffi::sqlite3_set_authorizer(db, Some(authorize), null);
        }
    }
    ffi::SQLITE_OK
}

/// Ignores what would make the connection sync again.
unsafe extern "C" fn authorize(
    _: *mut c_void,
    action: c_int,
    first: *const c_char,
    _: *const c_char,
    _: *const c_char,
    _: *const c_char,
) -> c_int {
    // SAFETY: SQLite gives the pragma's name.
    let ignored = action == ffi::SQLITE_PRAGMA
        && !first.is_null()
        && unsafe { CStr::from_ptr(first) } == c"synchronous";
    if ignored { ffi::SQLITE_IGNORE } else { ffi::SQLITE_OK }
}

/// The device and the name of a path, where one is under its folder.
///
/// # Safety
/// `path` is null or a string that ends with a zero byte.
unsafe fn find(path: *const c_char) -> Option<(Arc<Device>, String)> {
    if path.is_null() {
        return None;
    }
    // SAFETY: as above.
    let path = Path::new(unsafe { CStr::from_ptr(path) }.to_str().ok()?);
    let device = devices().get(path.parent()?)?.clone();
    Some((device, path.file_name()?.to_str()?.to_owned()))
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    path: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let file = file.cast::<OpenFile>();
    // SAFETY: SQLite gives `szOsFile` bytes for the file, and a path or null.
    let found = unsafe {
        (*file).base.pMethods = std::ptr::null();
        find(path)
    };
    let Some((device, name)) = found else { return ffi::SQLITE_CANTOPEN };
    // The store makes the database's file before it opens it, durably.
    let durable = flags & ffi::SQLITE_OPEN_MAIN_DB != 0;
    if device.disk().create(&name, durable).is_err() {
        return ffi::SQLITE_CANTOPEN;
    }
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    lock(&device.shared).entry(name.clone()).or_default().levels.insert(number, 0);
    let handle = Box::into_raw(Box::new(Handle { number, device, name }));
    // SAFETY: as above; `out_flags` is null or SQLite's.
    unsafe {
        (*file).handle = handle;
        (*file).base.pMethods = &raw const METHODS;
        if !out_flags.is_null() {
            *out_flags = flags;
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, path: *const c_char, sync: c_int) -> c_int {
    // SAFETY: SQLite gives a path.
    let Some((device, name)) = (unsafe { find(path) }) else { return ffi::SQLITE_IOERR_DELETE };
    let mut disk = device.disk();
    if !disk.exists(&name) {
        return ffi::SQLITE_IOERR_DELETE_NOENT;
    }
    code(disk.delete(&name, sync != 0), ffi::SQLITE_IOERR_DELETE)
}

unsafe extern "C" fn access(
    _: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    _: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives a path, and a place for the answer.
    unsafe {
        let there = find(path).is_some_and(|(device, name)| device.disk().exists(&name));
        *out = there.into();
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_path_name(
    _: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    size: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: SQLite gives a path, and `size` bytes for the answer. Tests give whole paths.
    unsafe {
        let bytes = CStr::from_ptr(path).to_bytes_with_nul();
        if bytes.len() > size as usize {
            return ffi::SQLITE_CANTOPEN;
        }
        std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), out, bytes.len());
    }
    ffi::SQLITE_OK
}

fn code(result: Result<(), Dead>, error: c_int) -> c_int {
    if result.is_ok() { ffi::SQLITE_OK } else { error }
}

/// Shared memory came with version 2 of the methods.
static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock_file),
    xUnlock: Some(unlock_file),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// # Safety
/// `file` is one that [`open`] opened, and it is not closed while the reference is used.
unsafe fn handle<'a>(file: *mut ffi::sqlite3_file) -> &'a Handle {
    // SAFETY: as above.
    unsafe { &*(*file.cast::<OpenFile>()).handle }
}

impl Handle {
    fn shared<T>(&self, with: impl FnOnce(&mut Shared) -> T) -> T {
        with(lock(&self.device.shared).entry(self.name.clone()).or_default())
    }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes a file once, and uses it no more.
    let handle = unsafe {
        let file = file.cast::<OpenFile>();
        let handle = Box::from_raw((*file).handle);
        (*file).handle = std::ptr::null_mut();
        handle
    };
    handle.shared(|shared| {
        shared.levels.remove(&handle.number);
        shared.users.remove(&handle.number);
    });
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    out: *mut c_void,
    count: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: an open file, and `count` bytes for what is read.
    let (handle, out) =
        unsafe { (handle(file), std::slice::from_raw_parts_mut(out.cast::<u8>(), count as usize)) };
    let disk = handle.device.disk();
    let Ok(content) = disk.read(&handle.name) else { return ffi::SQLITE_IOERR_READ };
    let start = content.len().min(offset as usize);
    let found = &content[start..content.len().min(start + out.len())];
    out[..found.len()].copy_from_slice(found);
    // SQLite wants zeros where the file has ended.
    out[found.len()..].fill(0);
    if found.len() == out.len() { ffi::SQLITE_OK } else { ffi::SQLITE_IOERR_SHORT_READ }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    bytes: *const c_void,
    count: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: an open file, and `count` bytes to write.
    let (handle, bytes) =
        unsafe { (handle(file), std::slice::from_raw_parts(bytes.cast::<u8>(), count as usize)) };
    let written = handle.device.disk().write(&handle.name, offset as usize, bytes);
    code(written, ffi::SQLITE_IOERR_WRITE)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, length: ffi::sqlite3_int64) -> c_int {
    // SAFETY: an open file.
    let handle = unsafe { handle(file) };
    let truncated = handle.device.disk().truncate(&handle.name, length as usize);
    code(truncated, ffi::SQLITE_IOERR_TRUNCATE)
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    // SAFETY: an open file.
    let handle = unsafe { handle(file) };
    code(handle.device.disk().sync(&handle.name), ffi::SQLITE_IOERR_FSYNC)
}

unsafe extern "C" fn file_size(
    file: *mut ffi::sqlite3_file,
    out: *mut ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: an open file, and a place for the answer.
    unsafe {
        let handle = handle(file);
        let disk = handle.device.disk();
        let Ok(content) = disk.read(&handle.name) else { return ffi::SQLITE_IOERR_FSTAT };
        *out = content.len() as ffi::sqlite3_int64;
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn lock_file(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: an open file.
    let handle = unsafe { handle(file) };
    handle.shared(|shared| {
        let highest = shared.levels.iter().filter(|(number, _)| **number != handle.number);
        let highest = highest.map(|(_, level)| *level).max().unwrap_or(0);
        let allowed = match level {
            ffi::SQLITE_LOCK_SHARED => highest < ffi::SQLITE_LOCK_PENDING,
            ffi::SQLITE_LOCK_RESERVED => highest < ffi::SQLITE_LOCK_RESERVED,
            _ => highest == ffi::SQLITE_LOCK_NONE,
        };
        if !allowed {
            return ffi::SQLITE_BUSY;
        }
        let own = shared.levels.entry(handle.number).or_default();
        *own = (*own).max(level);
        ffi::SQLITE_OK
    })
}

unsafe extern "C" fn unlock_file(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: an open file.
    let handle = unsafe { handle(file) };
    handle.shared(|shared| {
        let own = shared.levels.entry(handle.number).or_default();
        *own = (*own).min(level);
    });
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: an open file, and a place for the answer.
    unsafe {
        let reserved = |shared: &mut Shared| {
            shared.levels.values().any(|level| *level >= ffi::SQLITE_LOCK_RESERVED)
        };
        *out = handle(file).shared(reserved).into();
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(_: *mut ffi::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    4096
}

/// What SQLite says of a file on Linux: a write changes no byte beside it.
unsafe extern "C" fn device_characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    number: c_int,
    size: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: an open file.
    let handle = unsafe { handle(file) };
    let region = handle.shared(|shared| {
        shared.users.entry(handle.number).or_default();
        let number = number as usize;
        while extend != 0 && shared.regions.len() <= number {
            shared.regions.push(vec![0; size as usize / size_of::<u64>()].into());
        }
        // A region does not move while it has users: the box stays where it is.
        shared.regions.get_mut(number).map_or(std::ptr::null_mut(), |region| region.as_mut_ptr())
    });
    // SAFETY: a place for the answer.
    unsafe { *out = region.cast() };
    ffi::SQLITE_OK
}

unsafe extern "C" fn shm_lock(
    file: *mut ffi::sqlite3_file,
    offset: c_int,
    count: c_int,
    flags: c_int,
) -> c_int {
    // SAFETY: an open file.
    let handle = unsafe { handle(file) };
    let slots = (((1_u32 << count) - 1) << offset) as u8;
    handle.shared(|shared| {
        let others = shared.users.iter().filter(|(number, _)| **number != handle.number);
        let (theirs_shared, theirs_exclusive) =
            others.fold((0, 0), |sum, (_, held)| (sum.0 | held.0, sum.1 | held.1));
        let own = shared.users.entry(handle.number).or_default();
        let exclusive = flags & ffi::SQLITE_SHM_EXCLUSIVE != 0;
        let held = if exclusive { &mut own.1 } else { &mut own.0 };
        if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
            *held &= !slots;
            return ffi::SQLITE_OK;
        }
        let against = if exclusive { theirs_shared | theirs_exclusive } else { theirs_exclusive };
        if against & slots != 0 {
            return ffi::SQLITE_BUSY;
        }
        *held |= slots;
        ffi::SQLITE_OK
    })
}

unsafe extern "C" fn shm_barrier(_: *mut ffi::sqlite3_file) {
    fence(Ordering::SeqCst);
}

unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, delete: c_int) -> c_int {
    // SAFETY: an open file.
    let handle = unsafe { handle(file) };
    handle.shared(|shared| {
        shared.users.remove(&handle.number);
        if delete != 0 && shared.users.is_empty() {
            shared.regions.clear();
        }
    });
    ffi::SQLITE_OK
}
