use std::{net::SocketAddr, time::Duration};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use super::Heard;

/// A client that sends and reads what the test says, and nothing of its own accord.
#[derive(Debug)]
pub(crate) struct Client<I> {
    pub(crate) io: I,
    /// The response to the last request.
    pub(crate) heard: Heard,
}

impl Client<TcpStream> {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).await.expect("a server"))
    }

    /// Closes with a reset instead of an end.
    pub(crate) fn reset(self) -> Heard {
        SockRef::from(&self.io)
            .set_linger(Some(Duration::ZERO))
            .expect("a socket");
        self.heard
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Client<I> {
    pub(crate) fn new(io: I) -> Self {
        Self {
            io,
            heard: Heard::default(),
        }
    }

    pub(crate) async fn send(&mut self, request: &str) {
        self.heard = Heard::default();
        let sent = self.io.write_all(request.as_bytes()).await;
        sent.expect("the other side is there");
    }

    /// Reads what there is; false at the end of the connection.
    pub(crate) async fn fill(&mut self) -> bool {
        self.fill_at_most(usize::MAX).await
    }

    /// Reads what there is, but no more than `most` bytes; false at the end of the connection.
    pub(crate) async fn fill_at_most(&mut self, most: usize) -> bool {
        let mut bytes = [0; 4096];
        let most = most.min(bytes.len());
        match self.io.read(&mut bytes[..most]).await {
            Ok(len @ 1..) => {
                self.heard.push(&bytes[..len]);
                true
            }
            Ok(0) | Err(_) => false,
        }
    }

    /// Reads until `found` is true of what was heard.
    pub(crate) async fn until(&mut self, mut found: impl FnMut(&Heard) -> bool) {
        while !found(&self.heard) {
            assert!(self.fill().await, "over too early: {:?}", self.heard);
        }
    }

    /// Reads the response to its end.
    pub(crate) async fn rest(&mut self) -> &Heard {
        self.until(Heard::is_whole).await;
        &self.heard
    }

    /// Reads the response to its end, or to where it is broken off.
    pub(crate) async fn end(&mut self) -> &Heard {
        while !self.heard.is_whole() && self.fill().await {}
        &self.heard
    }

    /// Reads until the other side closes.
    pub(crate) async fn closed(&mut self) -> &Heard {
        while self.fill().await {}
        &self.heard
    }
}
