//! The simulation: seeds spread over the cores, a process for each.

use std::process::{Child, Command};

use crate::run::{Result, cargo, release, root, run};

/// `[--seeds N] [--from S] [--scenario NAME] [--mutants]`; the last breaks each thing on purpose and
/// sees that it is noticed.
pub(crate) fn sim(arguments: &[String]) -> Result {
    run(&mut cargo(&["build", "--release", "-p", "strongroom-sim"]))?;
    let program = release().join("strongroom-sim");
    if arguments.iter().any(|argument| argument == "--mutants") {
        run(Command::new(&program).arg("--mutants").current_dir(root()))?;
        // A broken build, in a folder of its own so that nobody takes it for another.
        let folder = root().join("target/early-ack");
        let build = ["build", "--release", "-p", "strongroom-sim", "--features", "early-ack"];
        run(cargo(&build).arg("--target-dir").arg(&folder))?;
        let broken = folder.join("release/strongroom-sim");
        return run(Command::new(&broken).arg("--mutants").current_dir(root()));
    }
    let mut from = 1_u64;
    let mut rest = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if word == "--from" {
            let number = words.next().and_then(|number| number.parse().ok());
            from = number.ok_or("--from wants a number")?;
        } else {
            rest.push(word);
        }
    }
    let seeds = rest.iter().position(|word| *word == "--seeds").and_then(|at| rest.get(at + 1));
    let many: u64 = seeds.and_then(|seeds| seeds.parse().ok()).unwrap_or(1);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let processes = cores.min(many).max(1);
    let mut children: Vec<Child> = Vec::new();
    for process in 0..processes {
        let child = Command::new(&program)
            .args(&rest)
            .args(["--from", &(from + process).to_string(), "--step", &processes.to_string()])
            .args(["--until", &(from + many).to_string()])
            .current_dir(root())
            .spawn();
        children.push(child.map_err(|e| format!("{}: {e}", program.display()))?);
    }
    let mut failed = false;
    for mut child in children {
        failed |= !child.wait().map_err(|e| e.to_string())?.success();
    }
    if failed { Err("some seeds failed; what repeats each stands above".into()) } else { Ok(()) }
}
