//! What tests say to a gateway that wants tokens, and what it has to do with besides.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::mpsc,
    thread,
};

use super::Gateway;

pub(crate) const CALL: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"count","arguments":{"steps":1},"_meta":{"progressToken":"p"}}}"#;
pub(crate) const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"raw","version":"1"}}}"#;

/// What is answered to `POST /mcp` with those fields, whole.
pub(crate) fn post(gateway: &Gateway, fields: &str, body: &str) -> String {
    gateway.exchange(&format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2025-11-25\r\n\
         Connection: close\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

pub(crate) fn get(gateway: &Gateway, path: &str, fields: &str) -> String {
    gateway.exchange(&format!(
        "GET {path} HTTP/1.1\r\n{fields}Connection: close\r\n\r\n"
    ))
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// The session that `token` opens.
pub(crate) fn session(gateway: &Gateway, token: &str) -> String {
    let answer = post(gateway, &bearer(token), INITIALIZE);
    let (_, rest) = answer.split_once("mcp-session-id: ").expect("a session");
    let (id, _) = rest.split_once("\r\n").expect("a field");
    format!("Mcp-Session-Id: {id}\r\n")
}

pub(crate) fn challenge(answer: &str) -> &str {
    let (_, rest) = answer
        .split_once("www-authenticate: ")
        .unwrap_or_else(|| panic!("no challenge in {answer}"));
    rest.split_once("\r\n").expect("a field").0
}

/// A file that is gone with its test.
pub(crate) struct TempFile(PathBuf);

impl TempFile {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("shadowcat-{}-{name}", std::process::id()));
        fs::write(&path, text).expect("a temporary directory");
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        // Whether it is there or not, it is in nobody's way.
        let _ = fs::remove_file(&self.0);
    }
}

/// Answers one request after another, each over its own connection, and says that it has.
pub(crate) fn answering(answers: Vec<String>) -> (String, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let (said, heard) = mpsc::channel();
    thread::spawn(move || {
        for answer in answers {
            let (stream, _) = listener.accept().expect("a connection");
            let mut stream = BufReader::new(stream);
            let head = read_until_empty(&mut stream);
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                let is_length = name.eq_ignore_ascii_case("content-length");
                is_length.then(|| value.parse().expect("a number"))
            });
            let mut body = vec![0; length.unwrap_or(0)];
            stream.read_exact(&mut body).expect("a body");
            stream.get_mut().write_all(answer.as_bytes()).expect("sent");
            // Whoever has heard enough is gone.
            let _ = said.send(());
        }
    });
    (address, heard)
}

fn read_until_empty(stream: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let read = stream.read_line(&mut head).expect("readable");
        assert_ne!(read, 0, "{head}");
    }
    head
}
