//! From nothing to the first signature: `strongroom up`, and the on-demand local HSM.

use std::time::Instant;

use strongroom_tests::{LocalToken, Region};

/// Seconds of each of `rounds` cold starts.
pub(crate) struct Starts {
    /// `strongroom up`, to its end (the first signature is verified before).
    pub(crate) up: Vec<f64>,
    /// One process that finds no HSM running: it starts one, logs in and signs.
    pub(crate) on_demand: Vec<f64>,
    /// The same process with the HSM still running: what of it is the tool's own time.
    pub(crate) running: Vec<f64>,
}

pub(crate) fn measure(rounds: usize) -> Starts {
    let mut starts = Starts { up: Vec::new(), on_demand: Vec::new(), running: Vec::new() };
    for _ in 0..rounds {
        let begin = Instant::now();
        let region = Region::up("bench-up");
        starts.up.push(begin.elapsed().as_secs_f64());
        drop(region);

        let token = LocalToken::initialised("bench-local");
        token
            .logged_in()
            .args(["--keypairgen", "--key-type", "EC:prime256v1", "--id", "01", "--label", "k"])
            .ok();
        let data = token.scratch.write("data", [7; 32]);
        let sign = || {
            let begin = Instant::now();
            token
                .logged_in()
                .args(["--sign", "-m", "ECDSA", "--id", "01", "--input-file"])
                .arg(&data)
                .arg("--output-file")
                .arg(token.scratch.file("signature"))
                .ok();
            begin.elapsed().as_secs_f64()
        };
        token.stop();
        starts.on_demand.push(sign());
        starts.running.push(sign());
    }
    starts
}
