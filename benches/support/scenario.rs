//! What is measured, and the limits.

use super::proc::{Core, Result, Role};
use super::report::{check, info, median};

const JSON_CONNECTIONS: usize = 16;
const JSON_REQUESTS: usize = 40_000;
const JSON_LIMIT: f64 = 1.05;

const SSE_EVENTS: usize = 200_000;
const SSE_LIMIT: f64 = 0.20;

const PACED_STREAMS: usize = 1_000;
const PACED_EVENTS: usize = 15;
const PACED_EVERY_MS: usize = 100;
const PACED_LIMIT: f64 = 1.1;

const IDLE_STREAMS: usize = 9_000;
const IDLE_LIMIT_KIB: f64 = 1.0;

/// What hyper reserves for one stream: 8 KiB to read and 8 KiB to write on each of its two
/// connections, and 8.5 KiB for the channel that brings requests to the one to the upstream. Of
/// these, only the pages that were ever used are resident.
const HYPER_BUFFERS_KIB: f64 = 40.5;

/// The processes of one scenario, each started for it alone.
struct Bench {
    upstream: Role,
    load: Role,
}

impl Bench {
    fn start() -> Result<Self> {
        Ok(Self {
            upstream: Role::start(Core::Rest, &["upstream"])?,
            load: Role::start(Core::Rest, &["load"])?,
        })
    }

    fn proxy(&self, kind: &str) -> Result<Role> {
        Role::start(Core::Proxy, &[kind, &self.upstream.addr().to_string()])
    }

    /// CPU time per request.
    fn json(&mut self, proxy: &Role) -> Result<f64> {
        let before = proxy.cpu_ns()?;
        let addr = proxy.addr();
        self.load
            .tell(&format!("json {addr} {JSON_CONNECTIONS} {JSON_REQUESTS}"))?;
        self.load.expect("done")?;
        Ok(per(proxy.cpu_ns()? - before, JSON_REQUESTS))
    }

    /// CPU time per event, from the moment when all streams are open.
    fn events(&mut self, proxy: &Role, streams: usize, reply: &str, each: usize) -> Result<f64> {
        let addr = proxy.addr();
        self.load
            .tell(&format!("streams {addr} {streams} {reply}"))?;
        self.load.expect("opened")?;
        let before = proxy.cpu_ns()?;
        self.upstream.tell("go")?;
        let events: usize = self.load.expect("done")?.parse()?;
        if events != streams * each {
            return Err(format!("{events} events instead of {}", streams * each).into());
        }
        Ok(per(proxy.cpu_ns()? - before, events))
    }

    fn full_speed(&mut self, proxy: &Role, streams: usize) -> Result<f64> {
        let each = SSE_EVENTS / streams;
        self.events(proxy, streams, &format!("sse {each}"), each)
    }

    fn paced(&mut self, proxy: &Role) -> Result<f64> {
        let reply = format!("paced {PACED_EVENTS} {PACED_EVERY_MS}");
        self.events(proxy, PACED_STREAMS, &reply, PACED_EVENTS)
    }

    /// Memory per idle stream, resident and reserved.
    fn idle(&mut self, kind: &str) -> Result<(f64, f64)> {
        let proxy = self.proxy(kind)?;
        // Some requests first: what the first of all requests costs is no stream's.
        self.json(&proxy)?;
        let before = (proxy.resident_kib()?, proxy.reserved_kib()?);
        let addr = proxy.addr();
        self.load
            .tell(&format!("streams {addr} {IDLE_STREAMS} idle"))?;
        self.load.expect("opened")?;
        let after = (proxy.resident_kib()?, proxy.reserved_kib()?);
        self.load.tell("close")?;
        self.load.expect("closed")?;
        let streams = IDLE_STREAMS as f64;
        Ok((
            (after.0 - before.0) / streams,
            (after.1 - before.1) / streams,
        ))
    }
}

fn per(ns: u64, count: usize) -> f64 {
    ns as f64 / count as f64 / 1_000.0
}

/// Measures all proxies in each round, forwards and backwards in turn, after one round that does
/// not count; returns each proxy's values, round by round.
fn rounds<const N: usize>(
    rounds: usize,
    proxies: &[Role; N],
    mut measure: impl FnMut(&Role) -> Result<f64>,
) -> Result<[Vec<f64>; N]> {
    let mut values = [const { Vec::new() }; N];
    for round in 0..=rounds {
        for step in 0..N {
            let proxy = if round % 2 == 0 { step } else { N - 1 - step };
            let value = measure(&proxies[proxy])?;
            if round > 0 {
                values[proxy].push(value);
            }
        }
    }
    Ok(values)
}

/// The median of the ratios of one round each: what slows a round down slows both.
fn ratio(values: &[f64], baseline: &[f64]) -> f64 {
    let mut ratios: Vec<f64> = values.iter().zip(baseline).map(|(a, b)| a / b).collect();
    median(&mut ratios)
}

pub(crate) fn json(count: usize) -> Result<()> {
    let mut bench = Bench::start()?;
    let proxies = [bench.proxy("baseline")?, bench.proxy("gateway")?];
    let mut values = rounds(count, &proxies, |proxy| bench.json(proxy))?;
    let result = ratio(&values[1], &values[0]);
    info("json/baseline_us", median(&mut values[0]));
    info("json/gateway_us", median(&mut values[1]));
    check("json/ratio", result, JSON_LIMIT);
    Ok(())
}

pub(crate) fn full_speed(count: usize, streams: usize) -> Result<()> {
    let mut bench = Bench::start()?;
    let proxies = [
        bench.proxy("baseline")?,
        bench.proxy("merging")?,
        bench.proxy("gateway")?,
    ];
    let mut values = rounds(count, &proxies, |proxy| bench.full_speed(proxy, streams))?;
    let merging = ratio(&values[1], &values[0]);
    let result = ratio(&values[2], &values[0]);
    let name = format!("sse_{streams}");
    info(&format!("{name}/baseline_us"), median(&mut values[0]));
    info(&format!("{name}/merging_us"), median(&mut values[1]));
    info(&format!("{name}/merging_ratio"), merging);
    info(&format!("{name}/gateway_us"), median(&mut values[2]));
    check(&format!("{name}/ratio"), result, SSE_LIMIT);
    Ok(())
}

pub(crate) fn paced(count: usize) -> Result<()> {
    let mut bench = Bench::start()?;
    let proxies = [
        bench.proxy("baseline")?,
        bench.proxy("merging")?,
        bench.proxy("gateway")?,
    ];
    let mut values = rounds(count, &proxies, |proxy| bench.paced(proxy))?;
    let merging = ratio(&values[1], &values[0]);
    let result = ratio(&values[2], &values[1]);
    info("paced/baseline_us", median(&mut values[0]));
    info("paced/merging_us", median(&mut values[1]));
    info("paced/merging_ratio", merging);
    info("paced/gateway_us", median(&mut values[2]));
    check("paced/ratio_to_merging", result, PACED_LIMIT);
    Ok(())
}

pub(crate) fn idle() -> Result<()> {
    let mut bench = Bench::start()?;
    let mut resident = Vec::new();
    for kind in ["baseline", "merging", "gateway"] {
        let (used, reserved) = bench.idle(kind)?;
        let rest = reserved - HYPER_BUFFERS_KIB;
        info(&format!("idle/{kind}_resident_kib"), used);
        info(&format!("idle/{kind}_reserved_kib"), reserved);
        info(&format!("idle/{kind}_beside_hyper_buffers_kib"), rest);
        resident.push(used);
    }
    check(
        "idle/over_baseline_kib",
        resident[2] - resident[0],
        IDLE_LIMIT_KIB,
    );
    Ok(())
}
