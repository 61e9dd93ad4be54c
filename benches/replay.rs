//! What replay costs: per event, per stream, per resume; and whether anything is left over.
//!
//! `cargo bench --bench replay` measures everything; `-- track churn sockets` picks. Server and
//! clients of the latter are processes of their own: this binary, started again with `--role`.

use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use proc::Result;

#[path = "support/alloc.rs"]
mod alloc;
#[path = "support/churn.rs"]
mod churn;
#[path = "support/message.rs"]
mod message;
#[path = "support/payload.rs"]
mod payload;
#[path = "support/proc.rs"]
mod proc;
#[path = "support/replay_server.rs"]
mod replay_server;
#[path = "support/report.rs"]
mod report;
#[path = "support/resumes.rs"]
mod resumes;
#[path = "support/script.rs"]
mod script;
#[path = "support/sockets.rs"]
mod sockets;
#[path = "support/track.rs"]
mod track;

/// A run that takes longer than this hangs.
const DEADLINE: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.split_first() {
        Some((first, role)) if first == "--role" => serve(role).map(|()| ExitCode::SUCCESS),
        _ => measure(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

fn measure(args: &[String]) -> Result<ExitCode> {
    let (flags, wanted): (Vec<&str>, Vec<&str>) = args
        .iter()
        .map(String::as_str)
        .partition(|arg| arg.starts_with("--"));
    if !flags.contains(&"--bench") {
        // `cargo test --all-targets` runs this binary too; numbers from there would mean nothing.
        return Ok(ExitCode::SUCCESS);
    }
    let known = ["track", "churn", "sockets"];
    if let Some(unknown) = wanted.iter().find(|name| !known.contains(name)) {
        return Err(format!("unknown argument `{unknown}`").into());
    }
    let runs = |name| wanted.is_empty() || wanted.contains(&name);

    let (running, ended) = mpsc::channel::<()>();
    thread::spawn(move || {
        if ended.recv_timeout(DEADLINE) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("error: not done after {DEADLINE:?}");
            // The children end when their standard input closes.
            std::process::exit(2);
        }
    });
    if runs("track") {
        let runtime = runtime()?;
        let _within = runtime.enter();
        track::measure();
    }
    if runs("churn") {
        runtime()?.block_on(churn::measure());
    }
    if runs("sockets") {
        sockets::measure()?;
    }
    drop(running);
    Ok(report::finish())
}

/// Runs a role on one thread, until standard input closes.
fn serve(role: &[String]) -> Result<()> {
    let role: Vec<&str> = role.iter().map(String::as_str).collect();
    runtime()?.block_on(async {
        match role[..] {
            ["server"] => replay_server::run().await,
            ["clients"] => resumes::run().await,
            _ => Err("unknown role".into()),
        }
    })
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime)
}
