//! What is measured, and the limits.

use super::proc::{Core, Result, Role};
use super::report::{check, info, median};

const JSON_CONNECTIONS: usize = 16;
/// In each of many short rounds: what disturbs the machine for longer then disturbs all of a round.
const JSON_REQUESTS: usize = 8_000;
const JSON_ROUNDS: usize = 5;
const JSON_LIMIT: f64 = 1.08;
const JSON_PROXY_LIMIT: f64 = 1.05;
/// With origin and session, over the gateway without them.
const JSON_WHOLE_LIMIT: f64 = 1.08;

/// With auth and scopes, over the gateway without them.
const AUTH_LIMIT: f64 = 1.04;
/// To refuse a token, over a request that is proxied.
const REFUSED_LIMIT: f64 = 0.55;

/// With shares for everybody, over the gateway with none.
const COUNTING_LIMIT: f64 = 1.04;
/// To refuse who has asked too often, over a request that is proxied.
const LIMITED_LIMIT: f64 = 0.55;

/// With interceptors that are not interested.
const INDIFFERENT_LIMIT: f64 = 0.25;

const SSE_EVENTS: usize = 200_000;
const SSE_LIMIT: f64 = 0.25;
const SSE_PROXY_LIMIT: f64 = 0.20;

const PACED_STREAMS: usize = 1_000;
const PACED_EVENTS: usize = 15;
const PACED_EVERY_MS: usize = 100;
const PACED_LIMIT: f64 = 1.1;

const IDLE_STREAMS: usize = 9_000;
/// Over the baseline.
const IDLE_PROXY_LIMIT_KIB: f64 = 1.0;
/// Over the gateway without replay.
const IDLE_REPLAY_LIMIT_KIB: f64 = 1.0;

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
        self.ask(proxy, "json")
    }

    fn ask(&mut self, proxy: &Role, what: &str) -> Result<f64> {
        let before = proxy.cpu_ns()?;
        let addr = proxy.addr();
        self.load
            .tell(&format!("{what} {addr} {JSON_CONNECTIONS} {JSON_REQUESTS}"))?;
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
    fn idle(&mut self, kind: &str, reply: &str) -> Result<(f64, f64)> {
        let proxy = self.proxy(kind)?;
        // Some requests first: what the first of all requests costs is no stream's.
        self.json(&proxy)?;
        let before = (proxy.resident_kib()?, proxy.reserved_kib()?);
        let addr = proxy.addr();
        self.load
            .tell(&format!("streams {addr} {IDLE_STREAMS} {reply}"))?;
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

/// So often are all processes started anew: where one happens to lie in memory makes it some percent
/// slower or faster than another of its kind, for as long as it lives.
const JSON_STARTS: usize = 3;
const PACED_STARTS: usize = 9;

/// `count` [`rounds`] each time with new processes; `kinds` are compared.
fn starts<const N: usize>(
    starts: usize,
    count: usize,
    kinds: [&str; N],
    mut measure: impl FnMut(&mut Bench, &Role) -> Result<f64>,
) -> Result<[Vec<f64>; N]> {
    let mut values = [const { Vec::new() }; N];
    for _ in 0..starts {
        let new = of(count, kinds, &mut measure)?;
        for (values, new) in values.iter_mut().zip(new) {
            values.extend(new);
        }
    }
    Ok(values)
}

/// The median of the ratios of one round each: what slows a round down slows both.
fn ratio(values: &[f64], baseline: &[f64]) -> f64 {
    let mut ratios: Vec<f64> = values.iter().zip(baseline).map(|(a, b)| a / b).collect();
    median(&mut ratios)
}

/// What is measured against what: a pass-through, one that only merges, the gateway without replay,
/// and with it, both without a guard and sessions.
const KINDS: [&str; 4] = ["baseline", "merging", "proxy", "gateway"];

pub(crate) fn json(count: usize) -> Result<()> {
    let kinds = ["baseline", "proxy", "gateway", "whole"];
    let each = (count * JSON_ROUNDS).div_ceil(JSON_STARTS);
    let mut values = starts(JSON_STARTS, each, kinds, Bench::json)?;
    let proxy = ratio(&values[1], &values[0]);
    let gateway = ratio(&values[2], &values[0]);
    let whole = ratio(&values[3], &values[2]);
    for (kind, values) in kinds.iter().zip(&mut values) {
        info(&format!("json/{kind}_us"), median(values));
    }
    check("json/proxy_ratio", proxy, JSON_PROXY_LIMIT);
    check("json/ratio", gateway, JSON_LIMIT);
    check("json/whole_ratio_to_gateway", whole, JSON_WHOLE_LIMIT);
    Ok(())
}

pub(crate) fn auth(count: usize) -> Result<()> {
    let mut bench = Bench::start()?;
    let proxies = [bench.proxy("whole")?, bench.proxy("guarded")?];
    let mut values = rounds(count, &proxies, |proxy| bench.json(proxy))?;
    let guarded = ratio(&values[1], &values[0]);
    let proxied = median(&mut values[0]);
    info("auth/whole_us", proxied);
    info("auth/guarded_us", median(&mut values[1]));
    check("auth/ratio_to_whole", guarded, AUTH_LIMIT);
    let [_, guarded] = &proxies;
    let refused: Result<Vec<_>> = (0..count).map(|_| bench.ask(guarded, "refused")).collect();
    let refused = median(&mut refused?);
    info("auth/refused_us", refused);
    check("auth/refused_ratio", refused / proxied, REFUSED_LIMIT);
    Ok(())
}

pub(crate) fn limit(count: usize) -> Result<()> {
    let mut bench = Bench::start()?;
    let proxies = [bench.proxy("whole")?, bench.proxy("counting")?];
    let mut values = rounds(count, &proxies, |proxy| bench.json(proxy))?;
    let counting = ratio(&values[1], &values[0]);
    let proxied = median(&mut values[0]);
    info("limit/whole_us", proxied);
    info("limit/counting_us", median(&mut values[1]));
    check("limit/counting_ratio_to_whole", counting, COUNTING_LIMIT);
    let limited = bench.proxy("limited")?;
    let refused: Result<Vec<_>> = (0..count).map(|_| bench.ask(&limited, "limited")).collect();
    let refused = median(&mut refused?);
    info("limit/refused_us", refused);
    check("limit/refused_ratio", refused / proxied, LIMITED_LIMIT);
    Ok(())
}

pub(crate) fn full_speed(count: usize, streams: usize) -> Result<()> {
    let mut values = of(count, KINDS, |bench, proxy| {
        bench.full_speed(proxy, streams)
    })?;
    let [_, merging, proxy, gateway] = ratios(&values, 0);
    let name = format!("sse_{streams}");
    tell(&name, &mut values);
    info(&format!("{name}/merging_ratio"), merging);
    check(&format!("{name}/proxy_ratio"), proxy, SSE_PROXY_LIMIT);
    check(&format!("{name}/ratio"), gateway, SSE_LIMIT);
    Ok(())
}

/// What nobody is interested in is still merged into few frames.
pub(crate) fn intercept(count: usize) -> Result<()> {
    let kinds = ["baseline", "proxy", "indifferent", "inspecting"];
    let mut values = of(count, kinds, |bench, proxy| bench.full_speed(proxy, 64))?;
    let [_, proxy, indifferent, inspecting] = ratios(&values, 0);
    for (kind, values) in kinds.iter().zip(&mut values) {
        info(&format!("intercept/{kind}_us"), median(values));
    }
    info("intercept/proxy_ratio", proxy);
    check(
        "intercept/indifferent_ratio",
        indifferent,
        INDIFFERENT_LIMIT,
    );
    info("intercept/inspecting_ratio", inspecting);
    Ok(())
}

pub(crate) fn paced(count: usize) -> Result<()> {
    // In two turns: a server closes a connection that has waited for ten seconds, which with all four
    // would be each of them, and what a new one costs is not what is measured.
    let kinds = ["baseline", "merging", "proxy"];
    let mut values = of(count, kinds, Bench::paced)?;
    let merging = ratio(&values[1], &values[0]);
    let proxy = ratio(&values[2], &values[1]);
    for (kind, values) in kinds.iter().zip(&mut values) {
        info(&format!("paced/{kind}_us"), median(values));
    }
    info("paced/merging_ratio", merging);
    check("paced/proxy_ratio_to_merging", proxy, PACED_LIMIT);

    // Twice in each round, in the order 0 1 1 0: a machine that becomes slower or faster meanwhile does
    // so for both.
    let each = 2 * count.div_ceil(PACED_STARTS);
    let kinds = ["merging", "gateway"];
    let mut values = starts(PACED_STARTS, each, kinds, Bench::paced)?;
    for values in &mut values {
        let twice = values.chunks(2);
        *values = twice
            .map(|two| two.iter().sum::<f64>() / two.len() as f64)
            .collect();
    }
    let gateway = ratio(&values[1], &values[0]);
    info("paced/gateway_us", median(&mut values[1]));
    check("paced/ratio_to_merging", gateway, PACED_LIMIT);
    Ok(())
}

/// [`rounds`] of those kinds.
fn of<const N: usize>(
    count: usize,
    kinds: [&str; N],
    mut measure: impl FnMut(&mut Bench, &Role) -> Result<f64>,
) -> Result<[Vec<f64>; N]> {
    let mut bench = Bench::start()?;
    let roles: Result<Vec<Role>> = kinds.iter().map(|kind| bench.proxy(kind)).collect();
    let Ok(proxies) = roles?.try_into() else {
        return Err("as many as there were".into());
    };
    rounds(count, &proxies, |proxy| measure(&mut bench, proxy))
}

/// Of each proxy to the one at `baseline`.
fn ratios(values: &[Vec<f64>; 4], baseline: usize) -> [f64; 4] {
    [0, 1, 2, 3].map(|proxy| ratio(&values[proxy], &values[baseline]))
}

fn tell(name: &str, values: &mut [Vec<f64>; 4]) {
    for (kind, values) in KINDS.iter().zip(values) {
        info(&format!("{name}/{kind}_us"), median(values));
    }
}

pub(crate) fn idle() -> Result<()> {
    let mut bench = Bench::start()?;
    let mut resident = Vec::new();
    for kind in KINDS {
        let (used, reserved) = bench.idle(kind, "idle")?;
        let rest = reserved - HYPER_BUFFERS_KIB;
        info(&format!("idle/{kind}_resident_kib"), used);
        info(&format!("idle/{kind}_reserved_kib"), reserved);
        info(&format!("idle/{kind}_beside_hyper_buffers_kib"), rest);
        resident.push(used);
    }
    check(
        "idle/proxy_over_baseline_kib",
        resident[2] - resident[0],
        IDLE_PROXY_LIMIT_KIB,
    );
    // Each has had an event, which is kept.
    info("idle/over_proxy_with_event_kib", resident[3] - resident[2]);
    let (proxy, _) = bench.idle("proxy", "quiet")?;
    let (gateway, _) = bench.idle("gateway", "quiet")?;
    check(
        "idle/over_proxy_kib",
        gateway - proxy,
        IDLE_REPLAY_LIMIT_KIB,
    );
    Ok(())
}
