//! Reading a request body: `peek` against `serde_json` into a struct that borrows everything, alone
//! and with all that a message is judged by: its era, its shape, and the headers that mirror it.
//!
//! The two are timed in turns within one run, so that a busy machine slows both, and what counts
//! is the ratio of their medians.

use std::{borrow::Cow, hint::black_box, process::ExitCode};

use http::{HeaderMap, HeaderValue, Method, header};
use serde::Deserialize;
use serde_json::value::RawValue;
use shadowcat::{
    header::{MCP_METHOD, MCP_NAME, MCP_PROTOCOL_VERSION},
    jsonrpc::peek,
    message::classify,
};

#[path = "support/report.rs"]
mod report;

const ROUNDS: usize = 15;

/// What a hop would ask `serde_json` for.
#[derive(Deserialize)]
struct Call<'a> {
    jsonrpc: &'a str,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    params: Option<Params<'a>>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow)]
    _meta: Option<Meta<'a>>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(borrow, rename = "io.modelcontextprotocol/protocolVersion")]
    claim: Option<Cow<'a, str>>,
}

fn main() -> ExitCode {
    let small = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{}}"#.to_owned();
    let typical = call(r#"{"city":"Lisbon","country":"PT","units":"metric","days":5}"#);
    let text = "The quick brown fox jumps over the lazy dog. ".repeat(84);
    let large = call(&format!(
        r#"{{"text":"{text}","tags":["a","b"],"size":3840}}"#
    ));

    report::check(
        "peek_vs_serde_json/typical",
        compare("typical", &typical),
        0.5,
    );
    report::info("peek_vs_serde_json/small", compare("small", &small));
    report::info("peek_vs_serde_json/large", compare("large", &large));
    for len in [300, 4096] {
        let name = format!("judge_vs_serde_json/{len}");
        report::check(&name, compare_judged(&padded(len)), 0.6);
    }
    report::finish()
}

/// A call of `len` bytes.
fn padded(len: usize) -> String {
    let with = |text: &str| call(&format!(r#"{{"query":"{text}"}}"#));
    let text = "The quick brown fox jumps over the lazy dog. ".repeat(len / 45 + 1);
    with(&text[..len - with("").len()])
}

/// What the client of such a call sends along.
fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (header::HOST, "localhost:8080"),
        (header::CONTENT_TYPE, "application/json"),
        (header::ACCEPT, "application/json, text/event-stream"),
        (header::AUTHORIZATION, "Bearer 0123456789"),
        (header::USER_AGENT, "bench"),
        (MCP_PROTOCOL_VERSION, "2026-07-28"),
        (MCP_METHOD, "tools/call"),
        (MCP_NAME, "get_forecast"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
}

/// Prints the medians, and returns that of `peek` and `classify` over `serde_json`'s.
fn compare_judged(body: &str) -> f64 {
    let headers = headers();
    let judge = |body: &[u8]| {
        let peek = peek(body);
        let classified = classify(&Method::POST, black_box(&headers), Some(peek.as_ref()));
        usize::from(black_box(classified).fault.is_some())
    };
    assert_eq!(judge(body.as_bytes()), 0, "no fault");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(time(body.as_bytes(), judge));
        theirs.push(time(body.as_bytes(), with_serde_json));
    }
    let [ours, theirs] = [ours, theirs].map(|mut times| report::median(&mut times));
    let len = body.len();
    report::info(&format!("judge_ns/{len}_bytes"), ours);
    report::info(&format!("serde_json_ns/{len}_bytes"), theirs);
    ours / theirs
}

fn call(arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":42,"method":"tools/call","params":{{"name":"get_forecast","arguments":{arguments},"_meta":{{"progressToken":"p-17","io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{"elicitation":{{}}}}}}}}}}"#
    )
}

/// Prints the medians, and returns `peek`'s over `serde_json`'s.
fn compare(name: &str, body: &str) -> f64 {
    let body = body.as_bytes();
    let (mut ours, mut read, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(time(body, with_peek));
        theirs.push(time(body, with_serde_json));
        read.push(time(body, with_peek_and_fields));
    }
    let len = body.len();
    let [ours, read, theirs] = [ours, read, theirs].map(|mut times| report::median(&mut times));
    report::info(&format!("peek_ns/{name}_{len}_bytes"), ours);
    report::info(&format!("peek_and_fields_ns/{name}_{len}_bytes"), read);
    report::info(&format!("serde_json_ns/{name}_{len}_bytes"), theirs);
    ours / theirs
}

/// Nanoseconds per call.
#[allow(
    clippy::disallowed_types,
    reason = "measures the machine, not a paused clock"
)]
fn time(body: &[u8], read: impl Fn(&[u8]) -> usize) -> f64 {
    const CALLS: u32 = 20_000;
    let start = std::time::Instant::now();
    for _ in 0..CALLS {
        black_box(read(black_box(body)));
    }
    start.elapsed().as_nanos() as f64 / f64::from(CALLS)
}

fn with_peek(body: &[u8]) -> usize {
    let peek = peek(black_box(body)).expect("valid");
    usize::from(black_box(&peek).is_batch())
}

/// Also takes out what `with_serde_json` has taken out by then.
fn with_peek_and_fields(body: &[u8]) -> usize {
    let peek = peek(body).expect("valid");
    let call = peek.single().expect("no batch");
    black_box(call.claim());
    black_box(call.is_jsonrpc_2());
    call.id_raw().map_or(0, str::len)
        + call.method().map_or(0, |method| method.len())
        + call.name().map_or(0, |name| name.len())
}

fn with_serde_json(body: &[u8]) -> usize {
    let call: Call<'_> = serde_json::from_slice(body).expect("valid");
    let mut len = call.id.map_or(0, |id| id.get().len()) + call.method.len();
    black_box(call.jsonrpc);
    if let Some(params) = call.params {
        len += params.name.map_or(0, |name| name.len());
        black_box(params.arguments);
        black_box(params._meta.and_then(|meta| meta.claim));
    }
    len
}
