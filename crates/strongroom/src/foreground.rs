//! `strongroom up --foreground`: stays until all HSMs have ended, and ends them when it is told to.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::process::Child;

use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};

use crate::error::Error;
use crate::fleet;
use crate::region::{HsmDescription, Region};
use crate::steps::say;

/// Waits until the HSMs have ended. One that ends by itself is told of; the others go on.
///
/// # Errors
/// Where an HSM failed.
pub(crate) fn stay(
    region: &Region,
    mut children: Vec<(HsmDescription, Child)>,
) -> Result<(), Error> {
    let failed = "waiting for the HSMs";
    let (mut woken, waker) = UnixStream::pair().map_err(Error::io(failed))?;
    for signal in [SIGTERM, SIGINT, SIGCHLD] {
        let waker = waker.try_clone().map_err(Error::io(failed))?;
        signal_hook::low_level::pipe::register(signal, waker).map_err(Error::io(failed))?;
    }
    let told = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, std::sync::Arc::clone(&told))
            .map_err(Error::io(failed))?;
    }
    let mut problems = Vec::new();
    let mut asked = false;
    loop {
        let mut left = Vec::new();
        for (hsm, mut child) in children {
            match child.try_wait().map_err(Error::io(failed))? {
                None => left.push((hsm, child)),
                Some(status) => {
                    say(format_args!("{} has ended: {status}", hsm.hsm_id));
                    if !status.success() {
                        problems.push(format!("{} has ended: {status}", hsm.hsm_id));
                    }
                }
            }
        }
        children = left;
        if children.is_empty() {
            break;
        }
        if told.load(std::sync::atomic::Ordering::Relaxed) && !asked {
            asked = true;
            let hsms: Vec<_> = children.iter().map(|(hsm, _)| hsm.clone()).collect();
            for result in fleet::stop(region, &hsms) {
                result?;
            }
            continue;
        }
        woken.read_exact(&mut [0]).map_err(Error::io(failed))?;
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::Broken(problems)) }
}
