//! Just enough HTTP/1.1 on raw sockets that the load and the upstream cost little.

// Each benchmark uses some of it.
#![allow(dead_code)]

use std::cell::RefCell;
use std::io::ErrorKind;

use tokio::net::TcpStream;

use super::payload;
use super::proc::Result;

thread_local! {
    /// One read buffer for all connections keeps the caches for the process that is measured.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 256 * 1024]);
}

/// Waits for bytes and shows them to `f`; `None` at the end of the connection.
pub(crate) async fn read<T>(socket: &TcpStream, f: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
    loop {
        socket.readable().await?;
        let read = BUFFER.with_borrow_mut(|buffer| match socket.try_read(buffer) {
            Ok(len) => Ok(Ok(len)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Err(())),
            Err(error) => Err(error),
        })?;
        match read {
            Ok(0) => return Ok(None),
            Ok(len) => return Ok(Some(BUFFER.with_borrow(|buffer| f(&buffer[..len])))),
            Err(()) => {}
        }
    }
}

/// Reads one message with a known length into `message`; returns where its head ends.
///
/// `None` when the peer closed between two messages.
pub(crate) async fn read_message(
    socket: &TcpStream,
    message: &mut Vec<u8>,
) -> Result<Option<usize>> {
    message.clear();
    loop {
        let open = read(socket, |bytes| message.extend_from_slice(bytes)).await?;
        match open {
            None if message.is_empty() => return Ok(None),
            None => return Err("the connection closed within a message".into()),
            Some(()) => {}
        }
        let Some(end) = memchr::memmem::find(message, b"\r\n\r\n") else {
            continue;
        };
        let head = end + 4;
        let length = match payload::header(&message[..head], "content-length") {
            Some(length) => length.parse()?,
            None => 0,
        };
        if message.len() >= head + length {
            return Ok(Some(head));
        }
    }
}
