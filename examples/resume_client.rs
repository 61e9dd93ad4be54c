//! A client that loses its connection in the middle of a tool call, on purpose, and goes on with
//! `Last-Event-ID` where it was.
//!
//! ```sh
//! cargo run --release --example gateway          # or axum_app, in another terminal
//! cargo run --release --example resume_client
//! cargo run --release --example resume_client -- --cut-after 700b --cuts 3 http://127.0.0.1:8080/mcp
//! ```
//!
//! It calls the tool `count`, which reports its progress, and prints what it hears. It fails unless
//! it hears every step once and in order, and then the answer.

use std::{collections::HashSet, error::Error, process::ExitCode, time::Duration};

use bytes::Bytes;
use clap::Parser;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use shadowcat::{
    header::{LAST_EVENT_ID, MCP_PROTOCOL_VERSION, MCP_SESSION_ID},
    sse::{Decoder, Frame, RawEvent},
};
use tokio::{
    net::TcpStream,
    task::JoinHandle,
    time::{sleep, timeout},
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const PROTOCOL_VERSION: &str = "2025-11-25";

/// How often in a row it comes back without hearing anything new, before it gives up.
const MAX_FUTILE: u32 = 5;

/// How long it waits before it comes back, unless the server says.
const DEFAULT_RETRY: Duration = Duration::from_millis(100);

/// Calls a tool, loses its connection meanwhile, and resumes.
#[derive(Debug, Parser)]
#[command(name = "resume_client", disable_version_flag = true)]
struct Args {
    /// An MCP endpoint with a tool `count`
    #[arg(default_value = "http://127.0.0.1:8080/mcp")]
    url: Uri,

    /// How far to count
    #[arg(long, value_name = "N", default_value = "8")]
    steps: u32,

    /// How long each step takes
    #[arg(long, value_name = "MS", default_value = "100")]
    delay_ms: u64,

    /// When to cut a connection: after so many messages on it, or with a b, bytes
    #[arg(long, value_name = "N|Nb", default_value = "3", value_parser = cut)]
    cut_after: Cut,

    /// How many connections to cut
    #[arg(long, value_name = "N", default_value = "1")]
    cuts: u32,
}

#[derive(Clone, Copy, Debug)]
enum Cut {
    Messages(usize),
    Bytes(usize),
}

fn cut(text: &str) -> std::result::Result<Cut, std::num::ParseIntError> {
    match text.strip_suffix('b') {
        Some(bytes) => bytes.parse().map(Cut::Bytes),
        None => text.parse().map(Cut::Messages),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let patience =
        Duration::from_secs(60) + Duration::from_millis(u64::from(args.steps) * args.delay_ms);
    let ran = match timeout(patience, run(&args)).await {
        Ok(ran) => ran,
        Err(_) => Err("no answer, and it is high time".into()),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("resume_client: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<()> {
    let session = Session::open(&args.url).await?;
    let mut heard = Heard::new(args.steps);
    let mut cuts = args.cuts;
    let mut futile = 0;
    let mut request = session.post(&json!({
        "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {
            "name": "count",
            "arguments": { "steps": args.steps, "delay_ms": args.delay_ms },
            "_meta": { "progressToken": "resume" },
        },
    }))?;
    loop {
        let before = heard.messages;
        let cut = (cuts > 0).then_some(args.cut_after);
        match listen(&session.url, request, &mut heard, cut).await {
            Ok(End::Answered) => break,
            Ok(End::Closed) => println!("--- the server closed"),
            Ok(End::Cut) => {
                cuts -= 1;
                println!("--- connection cut");
            }
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Connection(error)) => println!("--- {error}"),
        }
        futile = if heard.messages > before {
            0
        } else {
            futile + 1
        };
        if futile > MAX_FUTILE {
            return Err("nothing new is heard any more".into());
        }
        let cursor = heard.cursor.clone();
        let cursor =
            cursor.ok_or("the server gave no event id: there is nothing to resume with")?;
        let retry = heard.retry.unwrap_or(DEFAULT_RETRY);
        sleep(retry).await;
        println!(
            "--- back after {retry:?}, with Last-Event-ID {}",
            text(&cursor)
        );
        request = session.resume(&cursor)?;
    }
    session.close().await?;
    println!(
        "all {} steps, once each and in order, and the answer",
        args.steps
    );
    Ok(())
}

/// How a connection ended.
#[derive(Debug)]
enum End {
    Answered,
    Closed,
    Cut,
}

enum Failure {
    /// It may work another time.
    Connection(Box<dyn Error + Send + Sync>),
    Final(Box<dyn Error + Send + Sync>),
}

fn connection(error: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
    Failure::Connection(error.into())
}

/// Hears what is said on one connection, until that ends in one way or another.
async fn listen(
    url: &Uri,
    request: Request<Full<Bytes>>,
    heard: &mut Heard,
    cut: Option<Cut>,
) -> std::result::Result<End, Failure> {
    let (response, socket) = send(url, request).await.map_err(Failure::Connection)?;
    if response.status() != StatusCode::OK {
        let status = response.status();
        let body = response.into_body().collect().await.map_err(connection)?;
        let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        return Err(Failure::Final(format!("{status}: {body}").into()));
    }
    let (mut messages_left, mut bytes_left) = match cut {
        Some(Cut::Messages(messages)) => (messages, usize::MAX),
        Some(Cut::Bytes(bytes)) => (usize::MAX, bytes),
        None => (usize::MAX, usize::MAX),
    };
    let mut body = response.into_body();
    // Of this connection: what it did not finish never was (SWF-9).
    let mut decoder = Decoder::new();
    while let Some(frame) = body.frame().await {
        let Ok(mut chunk) = frame.map_err(connection)?.into_data() else {
            continue;
        };
        chunk.truncate(bytes_left);
        bytes_left -= chunk.len();
        while let Some(frame) = decoder.decode(&mut chunk).map_err(connection)? {
            let Frame::Event(event) = frame else { continue };
            if heard.take(&event).map_err(Failure::Final)? {
                messages_left -= 1;
                if heard.is_answered {
                    return Ok(End::Answered);
                }
            }
            if messages_left == 0 {
                break;
            }
        }
        if messages_left == 0 || bytes_left == 0 {
            // Not a word to the server: the socket is gone.
            drop(body);
            socket.cut().await;
            return Ok(End::Cut);
        }
    }
    Ok(End::Closed)
}

/// What was heard so far, and whether it is what it should be.
#[derive(Debug)]
struct Heard {
    steps: u32,
    next_step: u32,
    messages: usize,
    ids: HashSet<Vec<u8>>,
    cursor: Option<Vec<u8>>,
    retry: Option<Duration>,
    is_answered: bool,
}

impl Heard {
    fn new(steps: u32) -> Self {
        Self {
            steps,
            next_step: 1,
            messages: 0,
            ids: HashSet::new(),
            cursor: None,
            retry: None,
            is_answered: false,
        }
    }

    /// Takes an event; true if it is a message.
    fn take(&mut self, event: &RawEvent) -> Result<bool> {
        if let Some(retry) = event.retry() {
            self.retry = Some(Duration::from_millis(retry));
        }
        if let Some(id) = event.id() {
            self.cursor = Some(id.to_owned());
        }
        let id = text(event.id().unwrap_or(b"none"));
        let data = event.data().unwrap_or_default();
        if !event.is_message() || data.is_empty() {
            println!("cursor    {id}");
            return Ok(false);
        }
        if let Some(id) = event.id()
            && !self.ids.insert(id.to_owned())
        {
            return Err(format!("event {} came twice", text(id)).into());
        }
        self.messages += 1;
        let message: Value = serde_json::from_slice(&data)?;
        if let Some(step) = message["params"]["progress"].as_f64() {
            println!("step {step:<4} {id}");
            let expected = self.next_step;
            if step != f64::from(expected) {
                return Err(format!("step {expected} was expected, not {step}").into());
            }
            self.next_step += 1;
        } else if message["id"] == 2 && message.get("method").is_none() {
            println!(
                "answer    {id}: {}",
                message.get("result").unwrap_or(&message["error"])
            );
            if self.next_step != self.steps + 1 {
                return Err(format!("the answer came before step {}", self.next_step).into());
            }
            if message["result"]["isError"] != false {
                return Err("the call failed".into());
            }
            self.is_answered = true;
        } else {
            println!("other     {id}: {message}");
        }
        Ok(true)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An MCP session.
struct Session {
    url: Uri,
    id: Option<HeaderValue>,
}

impl Session {
    async fn open(url: &Uri) -> Result<Self> {
        let mut session = Self {
            url: url.clone(),
            id: None,
        };
        let initialize = session.post(&json!({
            "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
                "protocolVersion": PROTOCOL_VERSION,
                "capabilities": {},
                "clientInfo": { "name": "resume_client", "version": "1" },
            },
        }))?;
        let response = session.exchange(initialize).await?;
        session.id = response.headers().get(MCP_SESSION_ID).cloned();
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        session.exchange(session.post(&initialized)?).await?;
        Ok(session)
    }

    fn request(
        &self,
        method: Method,
        cursor: Option<&[u8]>,
        body: String,
    ) -> Result<Request<Full<Bytes>>> {
        let mut request = Request::builder()
            .method(method)
            .uri(self.url.path())
            .header(header::ACCEPT, "application/json, text/event-stream")
            .header(MCP_PROTOCOL_VERSION, PROTOCOL_VERSION);
        if let Some(authority) = self.url.authority() {
            request = request.header(header::HOST, authority.as_str());
        }
        if let Some(id) = &self.id {
            request = request.header(MCP_SESSION_ID, id);
        }
        if let Some(cursor) = cursor {
            request = request.header(LAST_EVENT_ID, cursor);
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        Ok(request.body(Full::from(body))?)
    }

    fn post(&self, message: &Value) -> Result<Request<Full<Bytes>>> {
        self.request(Method::POST, None, message.to_string())
    }

    fn resume(&self, cursor: &[u8]) -> Result<Request<Full<Bytes>>> {
        self.request(Method::GET, Some(cursor), String::new())
    }

    /// Sends a request whose answer has an end, and reads that.
    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>> {
        let (response, _socket) = send(&self.url, request).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        if !head.status.is_success() {
            return Err(format!("{}: {}", head.status, text(&body)).into());
        }
        Ok(Response::from_parts(head, body))
    }

    async fn close(self) -> Result<()> {
        if self.id.is_some() {
            let request = self.request(Method::DELETE, None, String::new())?;
            // A server need not let its clients end a session.
            let _ = self.exchange(request).await;
        }
        Ok(())
    }
}

/// A connection of its own for each request.
struct Socket {
    task: JoinHandle<hyper::Result<()>>,
}

impl Socket {
    /// Returns once the socket is closed.
    async fn cut(self) {
        self.task.abort();
        // The error says that it was aborted, which is no news.
        let _ = self.task.await;
    }
}

async fn send(url: &Uri, request: Request<Full<Bytes>>) -> Result<(Response<Incoming>, Socket)> {
    let host = url.host().ok_or("the URL has no host")?;
    let stream =
        TcpStream::connect((host.trim_matches(['[', ']']), url.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let socket = Socket {
        task: tokio::spawn(connection),
    };
    let response = sender.send_request(request).await?;
    Ok((response, socket))
}
