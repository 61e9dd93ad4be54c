//! The gateway example as a process, and clients of it that write their requests by hand.

// Not every test binary that includes this uses all of it.
#![allow(dead_code)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    time::Duration,
};

pub(crate) mod client;

/// A gateway process that does not outlive its test.
pub(crate) struct Gateway {
    child: Child,
    pub(crate) stdout: BufReader<ChildStdout>,
    pub(crate) address: String,
}

pub(crate) fn command() -> Command {
    // `cargo test` builds the examples next to the directory of the test binaries.
    let mut path: PathBuf = std::env::current_exe().expect("the test's own path");
    path.pop();
    path.pop();
    path.push("examples/gateway");
    let mut command = Command::new(path);
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    command
}

impl Gateway {
    pub(crate) fn start(flags: &[&str]) -> Self {
        let mut child = command()
            .args(["--listen", "127.0.0.1:0"])
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .expect("`cargo test` builds the example; `cargo test --test` alone does not");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("readable");
        let address = line
            .strip_prefix("listening on http://")
            .and_then(|rest| rest.strip_suffix("/mcp\n"))
            .unwrap_or_else(|| panic!("unexpected first line {line:?}"))
            .to_owned();
        Self {
            child,
            stdout,
            address,
        }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("it listens");
        let limit = Some(Duration::from_secs(10));
        stream.set_read_timeout(limit).expect("a valid limit");
        stream
    }

    /// Sends `request` and reads until the gateway closes.
    pub(crate) fn exchange(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer
    }

    /// POSTs a message of 2025-11-25, and leaves the connection open.
    pub(crate) fn post(&self, fields: &str, body: &str) -> BufReader<TcpStream> {
        let mut stream = self.connect();
        let request = format!(
            "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2025-11-25\r\n\
             {fields}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("sent");
        BufReader::new(stream)
    }

    /// Opens a session, and returns the header field that names it.
    pub(crate) fn initialize(&self) -> String {
        const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"raw","version":"1"}}}"#;
        const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

        let head = read_until(&mut self.post("", INITIALIZE), "mcp-session-id: ");
        let session = format!("{}\r\n", head.lines().last().expect("a line"));
        read_until(&mut self.post(&session, INITIALIZED), "HTTP/1.1 202");
        session
    }

    /// Calls the demo's `count`; it waits at `gate` after its first step, unless that is `none`.
    pub(crate) fn count(&self, session: &str, steps: u32, gate: &str) -> BufReader<TcpStream> {
        let gate = match gate {
            "none" => String::new(),
            gate => format!(r#","gate":"{gate}""#),
        };
        let call = format!(
            r#"{{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{{"name":"count","arguments":{{"steps":{steps}{gate}}},"_meta":{{"progressToken":"p"}}}}}}"#
        );
        self.post(session, &call)
    }

    /// Opens the GET stream of a session.
    pub(crate) fn listen(&self, session: &str) -> BufReader<TcpStream> {
        let mut stream = self.connect();
        let request = format!(
            "GET /mcp HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\
             MCP-Protocol-Version: 2025-11-25\r\n{session}\r\n"
        );
        stream.write_all(request.as_bytes()).expect("sent");
        BufReader::new(stream)
    }

    pub(crate) fn terminate(&self) {
        let status = Command::new("sh")
            .args(["-c", &format!("kill -TERM {}", self.child.id())])
            .status()
            .expect("a shell");
        assert!(status.success());
    }

    /// What it printed after its first line, and how it ended.
    pub(crate) fn finish(mut self) -> (String, ExitStatus) {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("readable");
        (rest, self.child.wait().expect("it was started"))
    }
}

/// Reads lines up to one that has `needle` in it, and returns them all.
pub(crate) fn read_until(stream: &mut BufReader<TcpStream>, needle: &str) -> String {
    let mut text = String::new();
    loop {
        let start = text.len();
        let read = stream.read_line(&mut text).expect("readable");
        assert_ne!(read, 0, "no {needle:?} in {text}");
        if text[start..].contains(needle) {
            return text;
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Gone already, if the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
