//! The gateway example as scripts use it: its flags, what it prints, how it stops.

mod gateway_process;

use std::{
    io::{BufRead, BufReader, Read, Write},
    time::Duration,
};

use gateway_process::{Gateway, command, read_until};
use tokio::time::Instant;

/// The request that the greeting's curl command sends, taken from what was printed.
fn curl_as_request(printed: &str, address: &str) -> String {
    let quoted: Vec<_> = printed.split('\'').skip(1).step_by(2).collect();
    let (body, headers) = quoted.split_last().expect("a body");
    format!(
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{}\r\nContent-Length: {}\r\n\r\n{body}",
        headers.join("\r\n"),
        body.len()
    )
}

#[test]
fn greeting_shows_a_command_that_works_as_printed() {
    let mut gateway = Gateway::start(&["--workers", "1"]);
    let mut printed = String::new();
    while !printed.contains("Stop with") {
        let read = gateway.stdout.read_line(&mut printed).expect("readable");
        assert_ne!(read, 0, "ended after {printed:?}");
    }
    assert!(printed.contains(&format!("curl -sN http://{}/mcp", gateway.address)));
    let answer = gateway.exchange(&curl_as_request(&printed, &gateway.address));
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    for event in ["step 1 of 3", "step 3 of 3", "counted to 3"] {
        assert!(answer.contains(event), "{event} is missing in {answer}");
    }
}

#[test]
fn health_is_served_and_nothing_else_reaches_the_upstream_prx_13() {
    let gateway = Gateway::start(&["--upstream", "http://127.0.0.1:9/mcp"]);
    let get = |path: &str| {
        gateway.exchange(&format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        ))
    };
    assert!(get("/healthz").starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(get("/mcp/").starts_with("HTTP/1.1 404 Not Found\r\n"));
    assert!(get("/other").starts_with("HTTP/1.1 404 Not Found\r\n"));
    assert!(get("/mcp").starts_with("HTTP/1.1 502 Bad Gateway\r\n"));
}

#[test]
fn sigterm_stops_it_cleanly_with_a_stream_open() {
    let gateway = Gateway::start(&[]);
    let mut stream = gateway.connect();
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"count","arguments":{"steps":2,"delay_ms":500},"_meta":{"progressToken":"p","io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n\
         Mcp-Method: tools/call\r\nMcp-Name: count\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut lines = BufReader::new(stream).lines();
    let is_progress = |line: &str| line.contains("step 1 of 2");
    assert!(lines.any(|line| is_progress(&line.expect("the stream lives"))));

    gateway.terminate();
    let is_answer = |line: &str| line.contains("counted to 2");
    assert!(
        lines.any(|line| is_answer(&line.expect("the stream lives"))),
        "a call that is under way gets its answer"
    );
    let (printed, status) = gateway.finish();
    assert!(status.success(), "{status}");
    assert!(printed.ends_with("stopped\n"), "{printed}");
}

/// A call that nobody lets go on, and a GET stream that has no end, used the whole grace period up.
#[test]
fn sigterm_sends_the_clients_of_open_streams_away_c63() {
    const SESSIONS: usize = 40;

    let gateway = Gateway::start(&["--shutdown-grace", "60"]);
    let mut streams = Vec::new();
    for session in 0..SESSIONS {
        let name = gateway.initialize();
        let mut count = gateway.count(&name, 2, &session.to_string());
        read_until(&mut count, "step 1 of 2");
        let mut listen = gateway.listen(&name);
        read_until(&mut listen, "text/event-stream");
        streams.extend([count, listen]);
    }

    gateway.terminate();
    let terminated = Instant::now();
    for mut stream in streams {
        let mut rest = String::new();
        stream.read_to_string(&mut rest).expect("a clean end");
        // Behind what the demo says about it at the start of its streams.
        let (_, retry) = rest.rsplit_once("retry: ").expect("a time to come back");
        let (retry, end) = retry.split_once('\n').expect("a whole line");
        let retry: u64 = retry.parse().expect("milliseconds");
        assert!((1000..=2000).contains(&retry), "{retry}");
        assert_eq!(
            end, "\n\r\n0\r\n\r\n",
            "a whole block, and the end of the body"
        );
    }
    let (printed, status) = gateway.finish();
    let took = terminated.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(status.success(), "{status}");
    assert!(printed.ends_with("stopped\n"), "{printed}");
}

#[test]
fn other_sites_are_refused_although_they_reach_loopback_b44_b45() {
    let gateway = Gateway::start(&["--upstream", "http://127.0.0.1:9/mcp"]);
    let status = |fields: &str| {
        let answer = gateway.exchange(&format!(
            "GET /mcp HTTP/1.1\r\n{fields}\r\nConnection: close\r\n\r\n"
        ));
        answer.split(' ').nth(1).map(str::to_owned)
    };
    for (fields, expected) in [
        ("Host: LOCALHOST:8080", "502"),
        ("Host: localhost.", "502"),
        ("Host: [::1]:3000", "502"),
        ("Host: 127.0.0.1\r\nOrigin: http://localhost:5173", "502"),
        ("Host: evil.example", "403"),
        ("Host: localhost.evil.example", "403"),
        ("Host: 127.0.0.1.evil.example:80", "403"),
        ("Host: a@localhost", "400"),
        ("Host: localhost\r\nHost: evil.example", "400"),
        ("X-No: host", "400"),
        ("Host: localhost\r\nOrigin: http://evil.example", "403"),
        ("Host: localhost\r\nOrigin: null", "403"),
        (
            "Host: localhost\r\nOrigin: http://localhost\r\nOrigin: http://evil.example",
            "403",
        ),
    ] {
        assert_eq!(status(fields).as_deref(), Some(expected), "{fields}");
    }
}

#[test]
fn sites_and_names_that_are_listed_are_let_in() {
    let gateway = Gateway::start(&[
        "--upstream",
        "http://127.0.0.1:9/mcp",
        "--allow-host",
        "mcp.example",
        "--allow-host",
        "10.0.0.7:8443",
        "--allow-origin",
        "https://app.example",
        "--allow-origin",
        "null",
    ]);
    let get = |path: &str, fields: &str| {
        let answer = gateway.exchange(&format!(
            "GET {path} HTTP/1.1\r\n{fields}\r\nConnection: close\r\n\r\n"
        ));
        answer.split(' ').nth(1).map(str::to_owned)
    };
    let own = format!("Host: {}", gateway.address);
    for (fields, expected) in [
        ("Host: mcp.example", "502"),
        ("Host: 10.0.0.7:8443", "502"),
        ("Host: localhost\r\nOrigin: https://app.example", "502"),
        ("Host: mcp.example\r\nOrigin: null", "502"),
        ("Host: mcp.example\r\nOrigin: http://localhost:5173", "502"),
        (own.as_str(), "502"),
        ("Host: 10.0.0.7", "403"),
        ("Host: app.example", "403"),
        ("Host: mcp.example\r\nOrigin: https://mcp.example", "403"),
    ] {
        assert_eq!(get("/mcp", fields).as_deref(), Some(expected), "{fields}");
    }
    // Health is for probes, which call it by whatever name.
    let health = get(
        "/healthz",
        "Host: 10.1.2.3:80\r\nOrigin: http://evil.example",
    );
    assert_eq!(health.as_deref(), Some("200"));
}

#[test]
fn methods_that_mcp_has_not_are_not_proxied() {
    let gateway = Gateway::start(&["--upstream", "http://127.0.0.1:9/mcp"]);
    for (request, allow) in [
        ("PUT /mcp", "GET, POST, DELETE"),
        ("POST /healthz", "GET, HEAD"),
    ] {
        let answer = gateway.exchange(&format!(
            "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        ));
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
        assert!(answer.contains(&format!("allow: {allow}\r\n")), "{answer}");
    }
}

#[test]
fn grace_period_ends_what_does_not_end_itself() {
    // An upstream that accepts and never answers.
    let upstream = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/mcp", upstream.local_addr().expect("bound"));
    let gateway = Gateway::start(&["--upstream", &url, "--shutdown-grace", "0"]);
    let mut stream = gateway.connect();
    let request = "GET /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("sent");
    let _held = upstream.accept().expect("the request goes upstream");

    gateway.terminate();
    let (printed, status) = gateway.finish();
    assert!(status.success(), "{status}");
    assert!(printed.ends_with("stopped\n"), "{printed}");
}

#[test]
fn flags_of_layers_to_come_and_senseless_values_are_refused_by_name() {
    for (flags, needle) in [
        (&["--rules", "r.json"][..], "--rules is not there yet"),
        (
            &["--allow-origin", "a.example"],
            "--allow-origin a.example: an origin",
        ),
        (&["--allow-origin", "*"], "--allow-origin *: an origin"),
        (
            &["--allow-host", "*.example"],
            "--allow-host *.example: a host",
        ),
        (&["--admin", "127.0.0.1:9090"], "--admin is not there yet"),
        (&["--store", "redis://x"], "--store is not there yet"),
        (&["--durability", "durable"], "--durability is not there"),
        (
            &["--upstream", "http://a/", "--upstream", "http://b/"],
            "several --upstream",
        ),
        (&["--upstream", "https://a/mcp"], "scheme must be http"),
        (&["--upstream", "/mcp"], "must be an absolute URL"),
        (&["--workers", "0"], "--workers"),
        (&["--retain-events", "0"], "--retain-events"),
        (&["--retain-bytes", "0"], "expected 1 to 4294967295"),
        (
            &["--retain-bytes", "4294967296"],
            "expected 1 to 4294967295",
        ),
        (&["--retain-bytes", "1MiB"], "--retain-bytes"),
        (&["--retain-for", "0"], "expected 1 to 946080000"),
        (&["--retain-for", "946080001"], "--retain-for"),
        (&["--keep-alive", "0"], "--keep-alive"),
        (&["--keep-alive", "40000"], "--keep-alive"),
        (
            &["--listen", "0.0.0.0:0"],
            "refusing to listen on 0.0.0.0:0",
        ),
        (&["--listen", "[::]:0"], "refusing to listen on [::]:0"),
    ] {
        let output = command().args(flags).output().expect("it runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{flags:?} was accepted");
        assert!(error.contains(needle), "{flags:?}: {error}");
    }
}

#[test]
fn replay_window_can_be_set() {
    let gateway = Gateway::start(&[
        "--retain-events",
        "1",
        "--retain-bytes",
        "4294967295",
        "--retain-for",
        "946080000",
        "--keep-alive",
        "1",
    ]);
    let session = gateway.initialize();
    let mut count = gateway.count(&session, 3, "none");
    read_until(&mut count, "counted to 3");
    gateway.terminate();
    assert!(gateway.finish().1.success());
}

#[test]
fn values_that_change_nothing_are_accepted_from_the_start() {
    let gateway = Gateway::start(&[
        "--admin",
        "off",
        "--store",
        "memory",
        "--durability",
        "live-first",
        "--keep-alive",
        "20",
    ]);
    gateway.terminate();
    assert!(gateway.finish().1.success());
}

#[test]
fn address_in_use_is_said_so() {
    let gateway = Gateway::start(&[]);
    let output = command()
        .args(["--listen", &gateway.address])
        .output()
        .expect("it runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        error.contains(&format!("cannot listen on {}", gateway.address)),
        "{error}"
    );
    assert!(error.contains("--listen"), "{error}");
}
