//! The gateway's limits, as a client meets them that writes its requests by hand.

mod gateway_process;

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;

use gateway_process::{Gateway, command, read_until};

const TOKENS: &[&str] = &["--token", "alpha=alice", "--token", "beta=bob"];

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// Opens a session with a token, and returns the fields of requests in it. It costs one unit.
fn session(gateway: &Gateway, token: &str) -> String {
    const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"raw","version":"1"}}}"#;

    let head = read_until(
        &mut gateway.post(&bearer(token), INITIALIZE),
        "mcp-session-id: ",
    );
    let session = head.lines().last().expect("a line");
    let fields = format!("{}{session}\r\n", bearer(token));
    const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    read_until(&mut gateway.post(&fields, INITIALIZED), "HTTP/1.1 202");
    fields
}

/// The whole answer to a message.
fn ask(gateway: &Gateway, fields: &str, body: &str) -> String {
    let fields = format!("{fields}Connection: close\r\n");
    let mut answer = String::new();
    let mut stream = gateway.post(&fields, body);
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

const LIST: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#;

/// The head of an answer whose body may be long in coming.
fn status(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).expect("readable");
    line
}

#[test]
fn rate_is_each_principals_own() {
    let flags = [TOKENS, &["--rate", "1/m", "--burst", "3"]].concat();
    let gateway = Gateway::start(&flags);
    let alice = session(&gateway, "alpha");
    for _ in 0..2 {
        let answer = ask(&gateway, &alice, LIST);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    let answer = ask(&gateway, &alice, LIST);
    assert!(
        answer.starts_with("HTTP/1.1 429 Too Many Requests\r\n"),
        "{answer}"
    );
    // A minute, but for the time that the test has taken so far.
    let retry_after = answer.split("retry-after: ").nth(1).expect("a field");
    let seconds = retry_after.split("\r\n").next().expect("a line");
    let seconds: u32 = seconds.parse().expect("a number");
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert!(
        answer.contains("ratelimit-policy: \"default\";q=3;w=180\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains(r#"{"jsonrpc":"2.0","id":7,"error":{"code":-31429,"#),
        "{answer}"
    );

    // What a server waits for passes, and so does the end of the session.
    const CANCELLED: &str =
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    let answer = ask(&gateway, &alice, CANCELLED);
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    let bob = session(&gateway, "beta");
    let answer = ask(&gateway, &bob, LIST);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let answer = gateway.exchange(&format!(
        "DELETE /mcp HTTP/1.1\r\nHost: localhost\r\nMCP-Protocol-Version: 2025-11-25\r\n\
         Connection: close\r\n{alice}\r\n"
    ));
    assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
}

#[test]
fn without_principals_it_is_the_address_that_counts() {
    let gateway = Gateway::start(&["--rate", "1/m", "--burst", "1"]);
    let mut answers = (0..2).map(|_| ask(&gateway, "", LIST));
    let first = answers.next().expect("two of them");
    assert!(!first.starts_with("HTTP/1.1 429 "), "{first}");
    let second = answers.next().expect("two of them");
    assert!(second.starts_with("HTTP/1.1 429 "), "{second}");
}

/// A rate alone lets clients begin: they ask for a few things one after the other.
#[test]
fn slow_rate_has_a_burst_that_a_client_can_begin_with() {
    let gateway = Gateway::start(&["--rate", "1/m"]);
    let is_refused = |answer: &str| answer.starts_with("HTTP/1.1 429 ");
    let refused: Vec<_> = (0..11)
        .map(|_| is_refused(&ask(&gateway, "", LIST)))
        .collect();
    let (last, others) = refused.split_last().expect("eleven of them");
    assert!(
        *last && others.iter().all(|is_refused| !is_refused),
        "{refused:?}"
    );
}

#[test]
fn rate_and_open_streams_are_limited_together() {
    let limits = ["--rate", "1/m", "--burst", "4", "--max-streams", "1"];
    let gateway = Gateway::start(&[TOKENS, &limits].concat());
    let alice = session(&gateway, "alpha");
    let mut first = gateway.count(&alice, 2, "one");
    read_until(&mut first, "\"progress\":1");
    let answer = ask(&gateway, &alice, LIST);
    assert!(
        answer.contains("too many streams and calls at once"),
        "{answer}"
    );
    drop(first);
    // Four units, one of which has opened the session.
    let bob = session(&gateway, "beta");
    for allowed in [true, true, true, false] {
        let answer = ask(&gateway, &bob, LIST);
        assert_eq!(answer.contains("too many requests"), !allowed, "{answer}");
    }
}

/// RL-5: the one stream too many is refused, and let in once another one has ended.
#[test]
fn call_beyond_the_last_is_refused_until_one_ends() {
    let flags = [TOKENS, &["--max-streams", "2"]].concat();
    let gateway = Gateway::start(&flags);
    let (alice, bob) = (session(&gateway, "alpha"), session(&gateway, "beta"));
    let mut first = gateway.count(&alice, 2, "one");
    read_until(&mut first, "\"progress\":1");
    // In another session, but nobody else's.
    let mut second = gateway.count(&session(&gateway, "alpha"), 2, "two");
    read_until(&mut second, "\"progress\":1");
    let answer = ask(&gateway, &alice, LIST);
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
    // Bob has his own; and a stream that listens is no call.
    let answer = ask(&gateway, &bob, LIST);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let mut listening = gateway.listen(&alice);
    assert_eq!(status(&mut listening), "HTTP/1.1 200 OK\r\n");

    let release = r#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"release","arguments":{"gate":"one"}}}"#;
    let answer = ask(&gateway, &bob, release);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    read_until(&mut first, "counted to 2");
    drop(first);
    // Its answer was read, and so it is over.
    let answer = ask(&gateway, &alice, LIST);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// RL-5: of those that listen, too; but whoever comes back for one may be one more, because nobody here
/// knows whether its connection is dead.
#[test]
fn stream_beyond_the_last_is_refused_and_one_that_comes_back_is_not() {
    let flags = [TOKENS, &["--max-streams", "1"]].concat();
    let gateway = Gateway::start(&flags);
    let (alice, bob) = (session(&gateway, "alpha"), session(&gateway, "beta"));
    let mut call = gateway.count(&alice, 2, "one");
    let seen = read_until(&mut call, "\"progress\":1");
    let cursor = seen.lines().rfind(|line| line.starts_with("id:"));
    let cursor = cursor.expect("an id").trim_start_matches("id:").trim();
    let mut listening = gateway.listen(&alice);
    assert_eq!(status(&mut listening), "HTTP/1.1 200 OK\r\n");
    let mut another = gateway.listen(&alice);
    assert_eq!(status(&mut another), "HTTP/1.1 429 Too Many Requests\r\n");
    // Its connection is still open, and nobody knows that nobody reads it.
    let resume = format!("{alice}Last-Event-ID: {cursor}\r\n");
    let mut resumed = gateway.listen(&resume);
    assert_eq!(status(&mut resumed), "HTTP/1.1 200 OK\r\n");
    let mut others = gateway.listen(&bob);
    assert_eq!(status(&mut others), "HTTP/1.1 200 OK\r\n");

    let release = r#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"release","arguments":{"gate":"one"}}}"#;
    let answer = ask(&gateway, &bob, release);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    read_until(&mut resumed, "counted to 2");
}

#[test]
fn senseless_limits_are_refused() {
    for (flags, needle) in [
        (&["--rate", "5"][..], "expected a number and /s or /m"),
        (&["--rate", "5/h"], "expected a number and /s or /m"),
        (&["--rate=-1/s"], "expected a number and /s or /m"),
        (&["--rate", "0/s"], "a quota of no units"),
        (
            &["--rate", "4000000000/s"],
            "more than one unit per nanosecond",
        ),
        (&["--burst", "5"], "--rate <N/s|N/m>"),
        (
            &["--rate", "5/s", "--burst", "0"],
            "--burst 0: a quota without",
        ),
        (
            &["--rate", "1/m", "--burst", "4000000000"],
            "longer than a hundred years",
        ),
        (&["--max-streams", "0"], "--max-streams"),
        (&["--max-streams", "65536"], "--max-streams"),
    ] {
        let output = command().args(flags).output().expect("it runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{flags:?} was accepted");
        assert!(error.contains(needle), "{flags:?}: {error}");
    }
}
