//! Resumes over sockets, from a process of its own.

use super::proc::{Core, Result, Role};
use super::report::{check, info};

const CLIENTS: usize = 4_000;
const BEFORE: usize = 5;
const TOTAL: usize = 25;
const CLIENTS_LIMIT_MS: f64 = 5_000.0;

const LIVE: usize = 50;
const LIVE_EVERY_MS: usize = 10;
const RESUMES: usize = 600;
const FIRST_LIMIT_US: f64 = 250.0;

pub(crate) fn measure() -> Result<()> {
    first()?;
    all_at_once()
}

/// The first event that was missed, while other streams go on.
fn first() -> Result<()> {
    let server = Role::start(Core::Proxy, &["server"])?;
    let mut clients = Role::start(Core::Rest, &["clients"])?;
    let addr = server.addr();
    clients.tell(&format!("first {addr} {LIVE} {LIVE_EVERY_MS} {RESUMES}"))?;
    for name in ["ended", "live"] {
        let time = clients.expect("first")?.parse()?;
        check(
            &format!("sockets/first/{name}_p50_us"),
            time,
            FIRST_LIMIT_US,
        );
    }
    Ok(())
}

/// Very many clients that were cut off together and come back together, each to a place of its own,
/// while their streams go on.
fn all_at_once() -> Result<()> {
    let mut server = Role::start(Core::Proxy, &["server"])?;
    let mut clients = Role::start(Core::Rest, &["clients"])?;
    let addr = server.addr();
    clients.tell(&format!("cut {addr} {CLIENTS} {BEFORE} {TOTAL}"))?;
    clients.expect("cut")?;
    server.tell("go")?;
    let before = server.cpu_ns()?;
    clients.tell("resume")?;
    let done = clients.expect("done")?;
    let mut numbers = done.split(' ').map(str::parse);
    let mut number = || numbers.next().ok_or("a number is missing");
    let name = format!("sockets/{CLIENTS}_at_once");
    check(&format!("{name}/ms"), number()??, CLIENTS_LIMIT_MS);
    for what in ["missed", "doubled", "foreign"] {
        check(&format!("{name}/{what}"), number()??, 0.0);
    }
    let cpu = (server.cpu_ns()? - before) as f64;
    info(
        &format!("{name}/server_us_per_client"),
        cpu / CLIENTS as f64 / 1_000.0,
    );
    Ok(())
}
