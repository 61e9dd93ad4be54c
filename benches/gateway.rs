//! CPU time and memory of the gateway, compared with a bare pass-through in the same run.
//!
//! `cargo bench --bench gateway` measures everything; `-- json auth limit intercept sse paced idle` picks, and
//! `--rounds N` changes how often each proxy is measured. The upstream, the load and every proxy
//! are processes of their own: this binary, started again with `--role`.

use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::net::TcpListener;

use proc::Result;

#[path = "support/baseline.rs"]
mod baseline;
#[path = "support/gateway_role.rs"]
mod gateway_role;
#[path = "support/load.rs"]
mod load;
#[path = "support/merging.rs"]
mod merging;
#[path = "support/message.rs"]
mod message;
#[path = "support/payload.rs"]
mod payload;
#[path = "support/proc.rs"]
mod proc;
#[path = "support/report.rs"]
mod report;
#[path = "support/scenario.rs"]
mod scenario;
#[path = "support/upstream.rs"]
mod upstream;

/// A run that takes longer than this hangs.
const DEADLINE: Duration = Duration::from_secs(600);

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
    let mut rounds = 9;
    let mut wanted = Vec::new();
    let mut benching = false;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--bench" => benching = true,
            "--rounds" => rounds = args.next().ok_or("--rounds needs a number")?.parse()?,
            "json" | "auth" | "limit" | "intercept" | "sse" | "paced" | "idle" => {
                wanted.push(arg.as_str())
            }
            _ => return Err(format!("unknown argument `{arg}`").into()),
        }
    }
    if !benching {
        // `cargo test --all-targets` runs this binary too; numbers from there would mean nothing.
        return Ok(ExitCode::SUCCESS);
    }

    let (running, ended) = mpsc::channel::<()>();
    thread::spawn(move || {
        if ended.recv_timeout(DEADLINE) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("error: not done after {DEADLINE:?}");
            // The children end when their standard input closes.
            std::process::exit(2);
        }
    });
    report::info("pinned_to_cores", f64::from(u8::from(proc::can_pin())));
    let runs = |name| wanted.is_empty() || wanted.contains(&name);
    if runs("json") {
        scenario::json(rounds)?;
    }
    if runs("auth") {
        scenario::auth(rounds)?;
    }
    if runs("limit") {
        scenario::limit(rounds)?;
    }
    if runs("intercept") {
        scenario::intercept(rounds)?;
    }
    if runs("sse") {
        scenario::full_speed(rounds, 64)?;
        scenario::full_speed(rounds, 1_000)?;
    }
    if runs("paced") {
        scenario::paced(rounds)?;
    }
    if runs("idle") {
        scenario::idle()?;
    }
    drop(running);
    Ok(report::finish())
}

/// Runs a role on one thread, until standard input closes.
fn serve(role: &[String]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let role: Vec<&str> = role.iter().map(String::as_str).collect();
        match role[..] {
            ["upstream"] => upstream::run().await,
            ["load"] => load::run().await,
            [proxy, upstream] => {
                drop(proc::commands());
                let upstream = format!("http://{upstream}/mcp").parse()?;
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                println!("listening on {}", listener.local_addr()?);
                match proxy {
                    "baseline" => baseline::bare(listener, upstream).await,
                    "merging" => baseline::merging(listener, upstream).await,
                    "proxy" => gateway_role::proxying(listener, upstream).await,
                    "gateway" => gateway_role::replaying(listener, upstream).await,
                    "whole" => gateway_role::whole(listener, upstream).await,
                    "guarded" => gateway_role::guarded(listener, upstream).await,
                    "counting" => gateway_role::limited(listener, upstream, true).await,
                    "indifferent" => gateway_role::intercepting(listener, upstream, false).await,
                    "inspecting" => gateway_role::intercepting(listener, upstream, true).await,
                    "limited" => gateway_role::limited(listener, upstream, false).await,
                    _ => Err("unknown proxy".into()),
                }
            }
            _ => Err("unknown role".into()),
        }
    })
}
