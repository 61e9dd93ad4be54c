//! A server of keys that does as it is told.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What it answers with, as bytes on the wire.
#[derive(Clone)]
pub(crate) enum Answer {
    Document(String),
    Raw(Vec<u8>),
    /// Part of an answer, and never the rest.
    Stall(Vec<u8>),
    /// An answer of which one byte comes each second.
    Trickle(Vec<u8>),
    /// Closes the connection.
    Nothing,
}

pub(crate) struct KeyServer {
    pub(crate) port: u16,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    answer: Mutex<Answer>,
    requests: AtomicUsize,
    /// What it was asked for last.
    head: Mutex<String>,
}

impl KeyServer {
    pub(crate) async fn start(answer: Answer) -> Self {
        let (listener, port, state) = Self::listen(answer).await;
        let served = Arc::clone(&state);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                tokio::spawn(serve(stream, Arc::clone(&served)));
            }
        });
        Self { port, state, task }
    }

    /// With that certificate.
    pub(crate) async fn start_tls(answer: Answer, tls: tokio_rustls::TlsAcceptor) -> Self {
        let (listener, port, state) = Self::listen(answer).await;
        let served = Arc::clone(&state);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let (tls, served) = (tls.clone(), Arc::clone(&served));
                tokio::spawn(async move {
                    // Whoever does not trust it goes away.
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, served).await;
                    }
                });
            }
        });
        Self { port, state, task }
    }

    async fn listen(answer: Answer) -> (TcpListener, u16, Arc<State>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(State {
            answer: Mutex::new(answer),
            requests: AtomicUsize::new(0),
            head: Mutex::default(),
        });
        (listener, port, state)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/keys?v=1", self.port)
    }

    /// From the next request on.
    pub(crate) fn answer(&self, answer: Answer) {
        *self.state.answer.lock().expect("no panic") = answer;
    }

    pub(crate) fn requests(&self) -> usize {
        self.state.requests.load(SeqCst)
    }

    pub(crate) fn head(&self) -> String {
        self.state.head.lock().expect("no panic").clone()
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve<I: AsyncRead + AsyncWrite + Unpin>(mut stream: I, state: Arc<State>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    state.requests.fetch_add(1, SeqCst);
    *state.head.lock().expect("no panic") = String::from_utf8_lossy(&head).into_owned();
    let answer = state.answer.lock().expect("no panic").clone();
    let (bytes, stalls) = match answer {
        Answer::Document(text) => (ok(&text), false),
        Answer::Raw(bytes) => (bytes, false),
        Answer::Stall(bytes) => (bytes, true),
        Answer::Trickle(bytes) => {
            for byte in bytes {
                if stream.write_all(&[byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            return;
        }
        Answer::Nothing => return,
    };
    // Whoever has read enough goes away.
    let written = stream.write_all(&bytes).await;
    if stalls {
        std::future::pending::<()>().await;
    }
    if written.is_ok() {
        let _closed = stream.shutdown().await;
    }
}

pub(crate) fn ok(text: &str) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ";
    format!("{head}{}\r\n\r\n{text}", text.len()).into_bytes()
}
