//! The command line: a contract that scripts build on.
//!
//! A flag whose layer is not there yet is known, and refused by name: a script never runs with
//! less protection than it asked for.

use std::{
    net::SocketAddr,
    num::{NonZeroU16, NonZeroUsize, ParseIntError},
    time::Duration,
};

use clap::Parser;
use http::{HeaderValue, Uri};
use shadowcat::{origin::OriginLayer, rate_limit::Quota};
use tower_http::cors::CorsLayer;

use super::{auth, stack};

/// An MCP gateway: Tower layers in front of an MCP server.
#[derive(Debug, Parser)]
#[command(name = "gateway", disable_version_flag = true)]
pub(crate) struct Args {
    /// Where to serve /mcp, its OAuth metadata and /healthz; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    /// MCP endpoint to proxy to [default: a demo server in this process]
    #[arg(long, value_name = "URL")]
    pub(crate) upstream: Vec<Uri>,

    /// A web origin whose pages may use the server and read its answers; those of loopback may use it
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,

    /// A host, with or without a port, that requests may name, next to loopback ones and the address
    /// listened on
    #[arg(long, value_name = "HOST")]
    allow_host: Vec<String>,

    #[command(flatten)]
    pub(crate) auth: auth::Flags,

    /// Where events and sessions are kept
    #[arg(long, value_name = "memory", default_value = "memory")]
    store: String,

    /// When an event may leave
    #[arg(long, value_name = "live-first", default_value = "live-first")]
    durability: String,

    /// Events kept per stream, for clients that come back
    #[arg(long, value_name = "N", default_value_t = stack::Options::DEFAULT.window.events)]
    retain_events: NonZeroUsize,

    /// Bytes kept per stream; one event is always kept
    #[arg(long, value_name = "N", default_value_t = stack::Options::DEFAULT.window.bytes, value_parser = bytes)]
    retain_bytes: usize,

    /// How long a stream goes on without its client, and is kept after its end
    #[arg(long, value_name = "SECS", default_value = "300", value_parser = retention)]
    retain_for: Duration,

    /// Requests of one client: its principal's, or else those of its address, which behind a proxy is
    /// that of all clients; a client that comes back for a stream has 10 a second more [default: no
    /// limit]
    #[arg(long, value_name = "N/s|N/m", value_parser = rate)]
    rate: Option<Quota>,

    /// Requests at once [default: the N of --rate, but 10 at least]
    #[arg(long, value_name = "N", requires = "rate")]
    burst: Option<u32>,

    /// Streams that one client may have open, and calls under way; who a client is, --rate says
    /// [default: no limit]
    #[arg(long, value_name = "N")]
    max_streams: Option<NonZeroU16>,

    /// Silence after which a stream's client is sent a comment, and TCP probes a connection; 1 to
    /// 32767
    #[arg(long, value_name = "SECS", default_value = "15", value_parser = probe_seconds)]
    pub(crate) keep_alive: Duration,

    /// How long calls that cannot be resumed may go on after SIGTERM or Ctrl-C
    #[arg(long, value_name = "SECS", default_value = "10", value_parser = seconds)]
    pub(crate) shutdown_grace: Duration,

    /// Worker threads [default: number of cores]
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<NonZeroUsize>,

    /// The admin interface
    #[arg(long, value_name = "off", default_value = "off")]
    admin: String,

    #[command(flatten)]
    later: Later,
}

/// Flags of layers to come.
#[derive(Debug, clap::Args)]
struct Later {
    #[arg(long, hide = true)]
    rules: Option<String>,
    #[arg(long, hide = true)]
    admin_token: Option<String>,
}

impl Args {
    /// How streams are treated.
    pub(crate) const fn stack(&self) -> stack::Options {
        stack::Options {
            window: stack::Window {
                events: self.retain_events,
                bytes: self.retain_bytes,
                time: self.retain_for,
            },
            keep_alive: self.keep_alive,
        }
    }

    /// How much everybody may do.
    pub(crate) fn share(&self) -> Result<stack::Share, String> {
        let mut share = stack::Share {
            max_streams: self.max_streams,
            ..stack::Share::ALL
        };
        if let Some(rate) = self.rate {
            share.quota = rate;
        }
        if let Some(burst) = self.burst {
            let quota = share.quota.with_burst(burst);
            share.quota = quota.map_err(|error| format!("--burst {burst}: {error}"))?;
        }
        Ok(share)
    }

    /// Who is let in, if the gateway listens on `address`.
    pub(crate) fn origin(&self, address: SocketAddr) -> Result<OriginLayer, String> {
        let mut layer = OriginLayer::loopback();
        // The address that stands for all of a machine's is none to ask for; browsers take it for
        // loopback, past what keeps other sites away from that.
        if !address.ip().is_unspecified() {
            let host = address.to_string();
            layer = layer.add_host(&host).map_err(|error| error.to_string())?;
        }
        for host in &self.allow_host {
            let added = layer.add_host(host);
            layer = added.map_err(|error| format!("--allow-host {host}: {error}"))?;
        }
        for origin in &self.allow_origin {
            let added = layer.add_origin(origin);
            layer = added.map_err(|error| format!("--allow-origin {origin}: {error}"))?;
        }
        Ok(layer)
    }

    /// What pages of other origins are told that they may read.
    pub(crate) fn cors(&self) -> Result<Option<CorsLayer>, String> {
        let origins = self.allow_origin.iter().map(|origin| {
            let origin = origin.to_ascii_lowercase();
            let port = match origin.split_once(':') {
                Some(("https", _)) => ":443",
                Some(("http", _)) => ":80",
                _ => "",
            };
            let plain = origin.strip_suffix(port).unwrap_or(&origin);
            HeaderValue::from_str(plain)
                .map_err(|error| format!("--allow-origin {origin}: {error}"))
        });
        Ok(stack::cors(origins.collect::<Result<_, _>>()?))
    }

    /// What this gateway cannot do yet, or must not do.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Later { rules, admin_token } = &self.later;
        let later = [
            ("--rules", rules.is_some(), "interceptor"),
            ("--admin-token", admin_token.is_some(), "admin"),
            ("--admin", self.admin != "off", "admin"),
            ("--store", self.store != "memory", "store"),
            ("--durability", self.durability != "live-first", "store"),
        ];
        if let Some((flag, _, layer)) = later.iter().find(|(_, given, _)| *given) {
            return Err(format!(
                "{flag} is not there yet: it comes with the {layer} layer"
            ));
        }
        if self.upstream.len() > 1 {
            return Err("several --upstream are not there yet: balancing comes later".to_owned());
        }
        // Said before an address is taken.
        self.share()?;
        self.auth.guard(self.listen)?;
        self.origin(self.listen).and_then(|_| self.cors()).map(drop)
    }
}

/// What a client may do at once, however slow its rate: it takes three requests until one has the answer
/// to its first question, and with a burst of one it would wait for each of them.
const MIN_BURST: u32 = 10;

/// The most that one stream may keep: an event's place in its log has 32 bits.
const MAX_RETAIN_BYTES: u64 = u32::MAX as u64;

fn rate(text: &str) -> Result<Quota, String> {
    const EXPECTED: &str = "expected a number and /s or /m, such as 20/s";
    let (units, period) = text.split_once('/').ok_or(EXPECTED)?;
    let units: u32 = units.parse().map_err(|_| EXPECTED)?;
    let quota = match period {
        "s" => Quota::per_second(units),
        "m" => Quota::per_minute(units),
        _ => return Err(EXPECTED.to_owned()),
    };
    let quota = quota.and_then(|quota| quota.with_burst(units.max(MIN_BURST)));
    quota.map_err(|error| error.to_string())
}

/// Zero would keep one event all the same.
fn bytes(text: &str) -> Result<usize, String> {
    let bytes = text
        .parse()
        .ok()
        .filter(|bytes| (1..=MAX_RETAIN_BYTES).contains(bytes));
    bytes
        .and_then(|bytes| usize::try_from(bytes).ok())
        .ok_or_else(|| format!("expected 1 to {MAX_RETAIN_BYTES}"))
}

/// Zero would give out event ids that nobody can come back with.
fn retention(text: &str) -> Result<Duration, String> {
    /// Thirty years, which every clock can add.
    const MAX: u64 = 30 * 365 * 24 * 60 * 60;
    match text.parse() {
        Ok(seconds @ 1..=MAX) => Ok(Duration::from_secs(seconds)),
        _ => Err(format!("expected 1 to {MAX}")),
    }
}

/// What the kernel takes.
fn probe_seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..=32_767) => Ok(Duration::from_secs(seconds)),
        _ => Err("expected 1 to 32767".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, ParseIntError> {
    text.parse().map(Duration::from_secs)
}
