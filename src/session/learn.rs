use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::{
    jsonrpc::Handshake,
    sse::{Decoder, Frame},
};

/// Reads along in the response to an `initialize`, until it says what server and client have agreed
/// on (VER-9). Nothing waits for it.
pub(super) struct Learner {
    form: Form,
    /// Called once.
    tell: Option<Tell>,
}

type Tell = Box<dyn FnOnce(Handshake) + Send + Sync>;

enum Form {
    Json {
        held: BytesMut,
        /// How often it has been read in vain.
        reads: u8,
    },
    Stream(Decoder),
}

impl Learner {
    /// How much of a response is kept to read it.
    const MAX_BYTES: usize = 64 * 1024;
    /// A response in very many parts is read so often, and once more at its end.
    const MAX_READS: u8 = 8;

    pub(super) fn new(
        is_stream: bool,
        tell: impl FnOnce(Handshake) + Send + Sync + 'static,
    ) -> Self {
        let form = if is_stream {
            Form::Stream(Decoder::with_max_event_bytes(Self::MAX_BYTES))
        } else {
            Form::Json {
                held: BytesMut::new(),
                reads: 0,
            }
        };
        Self {
            form,
            tell: Some(Box::new(tell)),
        }
    }

    /// Whether it has learned what it can.
    pub(super) const fn is_done(&self) -> bool {
        self.tell.is_none()
    }

    pub(super) fn pass(&mut self, data: &Bytes) {
        let handshake = match &mut self.form {
            Form::Json { held, reads } => {
                if held.len() + data.len() > Self::MAX_BYTES {
                    self.tell = None;
                    return;
                }
                held.extend_from_slice(data);
                // What closes may be the end, before the body says so: the client is quicker.
                if *reads < Self::MAX_READS && held.trim_ascii_end().last() == Some(&b'}') {
                    *reads += 1;
                    Handshake::read(held)
                } else {
                    None
                }
            }
            Form::Stream(decoder) => {
                let mut chunk = data.clone();
                loop {
                    match decoder.decode(&mut chunk) {
                        Ok(Some(Frame::Event(event))) => {
                            let data = event.data().filter(|_| event.is_message());
                            let read = data.and_then(|data| Handshake::read(&data));
                            if read.is_some() {
                                break read;
                            }
                        }
                        Ok(Some(Frame::Comment(_))) => {}
                        Ok(None) => break None,
                        Err(_) => {
                            self.tell = None;
                            return;
                        }
                    }
                }
            }
        };
        self.tell(handshake);
    }

    /// The body is over.
    pub(super) fn end(&mut self) {
        if let Form::Json { held, .. } = &self.form {
            let handshake = Handshake::read(held);
            self.tell(handshake);
        }
        self.tell = None;
    }

    fn tell(&mut self, handshake: Option<Handshake>) {
        if let Some(handshake) = handshake
            && let Some(tell) = self.tell.take()
        {
            tell(handshake);
        }
    }
}

impl fmt::Debug for Learner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Learner")
            .field("is_done", &self.is_done())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::protocol::ProtocolVersion;

    const JSON: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18","capabilities":{"a":{}}}}"#;

    /// What is learned from each part, and at the end.
    fn learn(is_stream: bool, parts: &[&[u8]]) -> Vec<Option<Handshake>> {
        let told = Arc::new(Mutex::new(None));
        let tell = Arc::clone(&told);
        let mut learner = Learner::new(is_stream, move |handshake| {
            *tell.lock().expect("not poisoned") = Some(handshake);
        });
        let mut learned = Vec::new();
        for part in parts {
            learner.pass(&Bytes::copy_from_slice(part));
            learned.push(*told.lock().expect("not poisoned"));
        }
        learner.end();
        assert!(learner.is_done());
        learned.push(*told.lock().expect("not poisoned"));
        learned
    }

    const AGREED: Option<Handshake> = Some(Handshake::Agreed(Some(ProtocolVersion::V2025_06_18)));

    #[test]
    fn ver9_json_is_read_with_its_last_byte_however_it_is_cut() {
        assert_eq!(learn(false, &[JSON.as_bytes()]), [AGREED, AGREED]);
        for at in 1..JSON.len() {
            let (one, two) = JSON.as_bytes().split_at(at);
            assert_eq!(learn(false, &[one, two]), [None, AGREED, AGREED], "{at}");
        }
        let bytes: Vec<_> = JSON.as_bytes().chunks(1).collect();
        assert_eq!(learn(false, &bytes).last(), Some(&AGREED));
    }

    #[test]
    fn ver9_an_event_is_read_when_it_is_whole() {
        let stream = format!(
            "id: 1\ndata:\n\n: x\n\ndata: {{\"method\":\"ping\",\"id\":1}}\n\ndata: {JSON}\n\n"
        );
        assert_eq!(learn(true, &[stream.as_bytes()]), [AGREED, AGREED]);
        for at in 1..stream.len() {
            let (one, two) = stream.as_bytes().split_at(at);
            let learned = learn(true, &[one, two]);
            assert_eq!(learned[1..], [AGREED, AGREED], "{at}");
        }
        let cut = &stream.as_bytes()[..stream.len() - 1];
        assert_eq!(learn(true, &[cut]), [None, None]);
    }

    #[test]
    fn what_is_too_long_teaches_nothing_and_is_not_kept() {
        let padding = " ".repeat(Learner::MAX_BYTES);
        for (is_stream, start) in [(false, "{"), (true, "data: {")] {
            let parts = [
                start.as_bytes(),
                padding.as_bytes(),
                &JSON.as_bytes()[1..],
                b"\n\n",
            ];
            assert_eq!(learn(is_stream, &parts), [None; 5]);
        }
    }
}
