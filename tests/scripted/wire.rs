use std::{net::SocketAddr, time::Duration};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// One side of a connection, by hand.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    /// Read from the stream, and not yet by the test.
    unread: Vec<u8>,
}

/// A message as it came.
#[derive(Debug, PartialEq)]
pub(crate) struct Received {
    /// With the names of the fields in lower case, without the empty line.
    pub(crate) head: String,
    /// Without its framing.
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: String,
    /// Whether the end that its framing promises came.
    pub(crate) is_whole: bool,
}

impl Received {
    pub(crate) fn start_line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// The values of a field.
    pub(crate) fn fields(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1);
        fields
            .filter_map(|line| line.split_once(": "))
            .filter(|(key, _)| *key == name)
            .map(|(_, value)| value)
            .collect()
    }

    /// The names of all fields, sorted.
    pub(crate) fn names(&self) -> Vec<&str> {
        let fields = self.head.lines().skip(1);
        let mut names: Vec<_> = fields.filter_map(|line| line.split(':').next()).collect();
        names.sort_unstable();
        names
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a socket");
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).await.expect("a server"))
    }

    pub(crate) const fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let written = self.stream.write_all(bytes.as_ref()).await;
        written.expect("the other side is there");
    }

    /// As [`write`](Self::write), to somebody who may have gone.
    pub(crate) async fn try_write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Says that nothing more comes, and goes on reading.
    pub(crate) async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Closes with a reset instead of an end.
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .expect("a socket");
    }

    /// Waits until the other side has closed; returns what it sent until then.
    pub(crate) async fn closed(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.unread)
    }

    /// Reads up to and including `end`.
    pub(crate) async fn read_until(&mut self, end: &str) -> Option<String> {
        let bytes = loop {
            let end = end.as_bytes();
            let found = self.unread.windows(end.len()).position(|w| w == end);
            if let Some(at) = found {
                break self.take(at + end.len());
            }
            if !self.fill().await {
                return None;
            }
        };
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Reads `len` bytes, or what comes before the end.
    pub(crate) async fn read(&mut self, len: usize) -> Vec<u8> {
        while self.unread.len() < len && self.fill().await {}
        self.take(len.min(self.unread.len()))
    }

    /// Reads a head, without the empty line; the names of its fields are made lower case.
    pub(crate) async fn read_head(&mut self) -> String {
        let head = self.read_until("\r\n\r\n").await.expect("a head");
        let mut lines = head.trim_end().split("\r\n");
        let mut head = lines.next().unwrap_or_default().to_owned();
        for line in lines {
            let (name, value) = line.split_once(':').expect("a field");
            head += &format!("\n{}: {}", name.to_ascii_lowercase(), value.trim());
        }
        head
    }

    /// Reads a message with a length, in chunks, or without a body.
    pub(crate) async fn read_message(&mut self) -> Received {
        let mut message = Received {
            head: self.read_head().await,
            body: Vec::new(),
            trailers: String::new(),
            is_whole: true,
        };
        if message.fields("transfer-encoding") == ["chunked"] {
            message.is_whole = self.read_chunks(&mut message).await.is_some();
        } else if let [len] = message.fields("content-length")[..] {
            let len = len.parse().expect("a number");
            message.body = self.read(len).await;
            message.is_whole = message.body.len() == len;
        }
        message
    }

    async fn read_chunks(&mut self, message: &mut Received) -> Option<()> {
        loop {
            let (data, is_whole) = self.read_chunk().await?;
            message.body.extend_from_slice(&data);
            if !is_whole {
                return None;
            }
            if data.is_empty() {
                break;
            }
        }
        loop {
            let line = self.read_until("\r\n").await?;
            if line == "\r\n" {
                return Some(());
            }
            message.trailers += &line;
        }
    }

    /// Reads one chunk, and whether it is whole; of the last one, the line with its size.
    pub(crate) async fn read_chunk(&mut self) -> Option<(Vec<u8>, bool)> {
        let line = self.read_until("\r\n").await?;
        let len = usize::from_str_radix(line.trim_end(), 16).expect("a chunk's size");
        if len == 0 {
            return Some((Vec::new(), true));
        }
        let data = self.read(len).await;
        let is_whole = self.read_until("\r\n").await.is_some();
        Some((data, is_whole))
    }

    fn take(&mut self, len: usize) -> Vec<u8> {
        let rest = self.unread.split_off(len);
        std::mem::replace(&mut self.unread, rest)
    }

    /// Reads more; false at the end, or at a reset.
    async fn fill(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.unread).await, Ok(1..))
    }
}
